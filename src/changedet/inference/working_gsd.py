"""How images are brought to a ground sample distance at which a model works; no PyTorch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from changedet.domain import MOST_ENLARGED, describe_range, zoom_to
from changedet.errors import ConfigError
from changedet.raster.remark import Remark, note, warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from changedet.card import ModelCard

#: Who says what the ground sample distance of the images is.
GsdSource: TypeAlias = Literal["user", "georeference"]

#: Beyond the working range by more than this, resampling makes up for little.
FAR: Final = MOST_ENLARGED
# What the user says and what the CRS says differ by more than any projection distorts.
_CONTRADICTION: Final = 1.5


@dataclass(frozen=True)
class GsdMatch:
    """The ground sample distance of images, and what is done to bring it to that of a model.

    Attributes:
        gsd_m: Of the images, in metres; None: not known.
        source: Who says so: ``user``, or ``georeference``, the images themselves; None: nobody.
        working_gsd_m: Smallest and largest one at which the model works, in metres; None: it takes
            images as they are.
        factor: Height and width of what the network sees, in those of the images: 0.5 stands for
            images shrunk to half of their lengths, 1 for images as they are.
    """

    gsd_m: float | None = None
    source: GsdSource | None = None
    working_gsd_m: tuple[float, float] | None = None
    factor: float = 1.0

    @property
    def beyond(self) -> float:
        """How many times the images are finer, or coarser, than the working range; 1 within."""
        if self.gsd_m is None or self.working_gsd_m is None:
            return 1.0
        low, high = self.working_gsd_m
        return max(low / self.gsd_m, self.gsd_m / high, 1.0)


def check_gsd(gsd_m: float) -> float:
    """Let a ground sample distance through that is a length.

    Raises:
        ConfigError: If it is not positive or not finite.
    """
    if not 0.0 < gsd_m < math.inf:
        raise ConfigError(
            f"`gsd_m` is the side of a pixel in metres and must be above 0, got {gsd_m:g}"
        )
    return gsd_m


def match_gsd(card: ModelCard, *, given: float | None, measured: float | None) -> GsdMatch:
    """Settle the ground sample distance of images, and how they are resampled for a model.

    Images within the model's working range, or next to it, stay as they are; finer ones are shrunk
    to its smallest length, coarser ones enlarged to its largest, by
    :data:`changedet.domain.MOST_ENLARGED` at most.

    Args:
        card: Of the model.
        given: What the user says, in metres; it counts more than what is measured.
        measured: What the images' georeference says, in metres.

    Raises:
        ConfigError: If what is given is no length.
    """
    gsd_m = measured if given is None else check_gsd(given)
    if gsd_m is None:
        return GsdMatch(working_gsd_m=card.working_gsd_m)
    source: GsdSource = "georeference" if given is None else "user"
    return GsdMatch(gsd_m, source, card.working_gsd_m, zoom_to(card.working_gsd_m, gsd_m))


def remarks_on_gsd(match: GsdMatch, *, measured: float | None) -> Iterator[Remark]:
    """Say what the ground sample distance of images means for a model.

    Args:
        match: As settled.
        measured: What the images' georeference says, in metres.
    """
    gsd_m, working = match.gsd_m, match.working_gsd_m
    lengths = None if working is None else describe_range(working)
    if match.source == "user" and gsd_m and measured:
        apart = max(gsd_m / measured, measured / gsd_m)
        if apart > _CONTRADICTION:
            yield warning(
                "model",
                f"`gsd_m` says that pixels are {gsd_m:.3g} m long, and the georeference of the "
                f"images {measured:.3g} m; {gsd_m:.3g} m is taken: remove `gsd_m` unless the "
                "georeference is wrong",
            )
    if working is None:
        if match.source == "user":
            yield note(
                "model",
                "the model states no ground sample distances at which it works: the images are "
                "taken as they are, whatever `gsd_m` says",
            )
        return
    if gsd_m is None:
        yield warning(
            "model",
            f"the model works on pixels of {lengths} m, and how long those of the images are is "
            "not known: they are taken as they are; set `gsd_m`, the side of a pixel in metres",
        )
        return
    done = "shrunk" if match.factor < 1.0 else "enlarged"
    if match.factor != 1.0:
        yield note(
            "model",
            f"the model works on pixels of {lengths} m: it sees the images, of "
            f"{gsd_m:.3g} m, {done} to {gsd_m / match.factor:.3g} m (x {match.factor:.3g}); scores "
            "are those of the images' own pixels",
        )
    if match.beyond > FAR:
        limit = f", which is done by {MOST_ENLARGED:g} at most," if match.factor > 1.0 else ""
        yield warning(
            "model",
            f"pixels of {gsd_m:.3g} m are beyond the {lengths} m at which the model works "
            f"by a factor of {match.beyond:.3g}: that they are {done}{limit} cannot make up for "
            "it, and the result may mean little; check that the length is right (`gsd_m`), or use "
            "another model",
        )
