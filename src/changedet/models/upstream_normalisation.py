"""The normalisation of a public checkpoint, as its user states it; no PyTorch."""

import json
from dataclasses import fields
from pathlib import Path

from changedet.errors import ConfigError
from changedet.storage.text import read_text
from changedet.types import CDD_NORMALISATION, Normalisation

_IMAGENET_MEAN = (123.675, 116.28, 103.53)
_IMAGENET_STD = (58.395, 57.12, 57.375)
#: ImageNet's statistics in units of 8-bit values, for both dates.
IMAGENET_NORMALISATION = Normalisation(
    mean_before=_IMAGENET_MEAN,
    mean_after=_IMAGENET_MEAN,
    std_before=_IMAGENET_STD,
    std_after=_IMAGENET_STD,
)
_NAMED_NORMALISATIONS = {
    "cdd": CDD_NORMALISATION,
    # What it was called before.
    "seed": CDD_NORMALISATION,
    "imagenet": IMAGENET_NORMALISATION,
}
_NUMBERS_EXPECTED = 6


def parse_normalisation(text: str) -> Normalisation:
    """Read the normalisation of a converted network, as set by the user.

    Args:
        text: ``"cdd"`` (CDD's means, spec 3), ``"imagenet"``, six numbers
            ``b,g,r,b,g,r`` (means of the before and after date in BGR order, in units of 8-bit
            values, as in the public configuration), or a JSON file with the fields of
            ``Normalisation``.

    Raises:
        ConfigError: If it is none of these.
    """
    if text in _NAMED_NORMALISATIONS:
        return _NAMED_NORMALISATIONS[text]
    if text.endswith(".json"):
        return _read_normalisation(Path(text))
    try:
        means = tuple(float(number) for number in text.split(","))
    except ValueError:
        means = ()
    if len(means) != _NUMBERS_EXPECTED:
        raise ConfigError(
            "`normalisation` must be cdd, imagenet, six means separated by commas (b,g,r before, "
            f"then b,g,r after) or a .json file, got {text!r}"
        )
    return Normalisation(
        mean_before=means[:3],
        mean_after=means[3:],
        std_before=CDD_NORMALISATION.std_before,
        std_after=CDD_NORMALISATION.std_after,
        bands="bgr",
    )


def _read_normalisation(path: Path) -> Normalisation:
    names = [field.name for field in fields(Normalisation)]
    try:
        stated = json.loads(read_text(path, error=ConfigError))
        statistics = {name: tuple(float(v) for v in stated[name]) for name in names[:-1]}
        bands = stated["bands"]
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise ConfigError(
            f"normalisation file {path} cannot be used ({error!r}); it needs the keys "
            f"{', '.join(names)}, the first four with one number a channel"
        ) from error
    if bands not in ("rgb", "bgr"):
        raise ConfigError(f"normalisation file {path}: bands must be rgb or bgr, got {bands!r}")
    return Normalisation(**statistics, bands=bands)
