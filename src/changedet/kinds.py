"""Kinds of change that one network tells apart, and what a model file says of each; no PyTorch."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from annotated_types import MaxLen

from changedet.errors import ConfigError
from changedet.selection import Selection

#: Every change that can be seen.
ANY: Final = "any"
#: The kinds of the released models; data sets may name others.
KNOWN_KINDS: Final = (ANY, "building", "cropland")
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_MOST_KINDS = 32


@dataclass(frozen=True)
class KindOfChange:
    """What a model file says of one kind of change that its network finds.

    Attributes:
        name: Of the kind, such as ``any``, ``building`` or ``cropland``.
        threshold: Score in [0, 1] from which a pixel counts as changed; None if none was chosen.
        threshold_selection: How it was chosen, if that is known.
        temperature: What the logit of a score is divided by so that scores are estimates of the
            probability of change (Guo et al., On Calibration of Modern Neural Networks, ICML
            2017); None: it was not measured, which is the same as 1.

    Raises:
        ConfigError: If the name is none, the threshold no score or the temperature not positive.
    """

    name: Annotated[str, MaxLen(40)]
    threshold: float | None = None
    threshold_selection: Selection | None = None
    temperature: float | None = None

    def __post_init__(self) -> None:
        check_kind(self.name)
        if self.threshold is not None and not 0.0 <= self.threshold <= 1.0:
            raise ConfigError(f"`threshold` must be a score in [0, 1], got {self.threshold:g}")
        if self.temperature is not None and not (
            math.isfinite(self.temperature) and self.temperature > 0
        ):
            raise ConfigError(f"a temperature must be a positive number, got {self.temperature}")


def check_kind(name: str) -> str:
    """Let a name through that a kind of change can have.

    Raises:
        ConfigError: If it is none.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"a kind of change is named by lower-case letters, digits, - and _, such as "
            f"{', '.join(KNOWN_KINDS)}; got {name[:80]!r}"
        )
    return name


def check_kinds(names: Sequence[str]) -> tuple[str, ...]:
    """Let the kinds of a network through, of which there is at least one.

    Raises:
        ConfigError: If there are none, too many, or one comes twice.
    """
    checked = tuple(check_kind(name) for name in names)
    if not checked or len(checked) > _MOST_KINDS:
        raise ConfigError(f"a network finds 1 to {_MOST_KINDS} kinds of change, got {len(checked)}")
    twice = sorted({name for name in checked if checked.count(name) > 1})
    if twice:
        raise ConfigError(f"the kind of change {twice[0]!r} is named twice; name it once")
    return checked
