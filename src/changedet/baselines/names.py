"""Names of the untrained baselines, and how they are asked for; imports nothing heavy."""

from pathlib import Path
from typing import Final

from changedet._optional import TORCH, check_all
from changedet.choices import nearest
from changedet.errors import ConfigError
from changedet.models.weight_packages import PACKAGE, PACKAGE_ENCODER, weight_package

#: What the name of a baseline begins with where a model file could stand, and its older form.
BASELINE_PREFIX: Final = "baseline:"
OLDER_PREFIX: Final = "floor:"
DIFFERENCE: Final = "difference"
CVA: Final = "cva"
IR_MAD: Final = "ir_mad"
#: The method that has an encoder, and needs PyTorch.
DEEP_DIFFERENCE: Final = "deep_difference"


def is_baseline(spec: str | Path) -> bool:
    """Tell whether this names an untrained baseline rather than a model file."""
    return isinstance(spec, str) and spec.startswith((BASELINE_PREFIX, OLDER_PREFIX))


def full_name(spec: str) -> str:
    """Give the present name of a baseline that is named in the older form; a path as it is."""
    if spec.startswith(OLDER_PREFIX):
        return f"{BASELINE_PREFIX}{spec.removeprefix(OLDER_PREFIX)}"
    return spec


def baseline_name(spec: str) -> str:
    """Give the method's name of ``baseline:NAME``, or of ``floor:NAME``."""
    return full_name(spec).removeprefix(BASELINE_PREFIX)


def list_baselines() -> list[str]:
    """Return the names of all baselines, simple methods first."""
    return [DIFFERENCE, CVA, IR_MAD, DEEP_DIFFERENCE]


def check_baseline(
    name: str, *, encoder: str | None = None, encoder_weights: str | None = None
) -> None:
    """Refuse a name that no baseline has, an encoder for a method that has none, missing packages.

    Raises:
        ConfigError: Naming the nearest method, or what to remove.
        MissingExtraError: Naming the extra that installs what the method needs.
    """
    if name not in list_baselines():
        raise ConfigError(f"baseline {name!r} does not exist; {nearest(name, list_baselines())}")
    if name != DEEP_DIFFERENCE and (encoder is not None or encoder_weights is not None):
        raise ConfigError(
            f"baseline {name!r} has no encoder; remove `encoder` and `encoder_weights`, or use "
            f"{DEEP_DIFFERENCE}"
        )
    if name == DEEP_DIFFERENCE:
        weights = weight_package(encoder or PACKAGE_ENCODER, encoder_weights or PACKAGE)
        check_all((TORCH, *weights))
