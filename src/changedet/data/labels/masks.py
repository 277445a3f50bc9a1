"""Change masks as they are stored: values and how often each occurs, not yet what they mean."""

from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL.ImageFile import ImageFile

from changedet.data.images import bits_per_sample, describe, open_pixels
from changedet.errors import ImageError

MaskKind = Literal["bit", "grey", "jpeg", "wide", "colour", "polygons"]

#: A JPEG grey from here on is "bright" (spec 6: grey >= 128 is changed).
GREY_THRESHOLD = 128
#: Factor that turns a grey into the same colour, 0xRRGGBB.
GREY_TO_COLOUR = 0x010101

# A JPEG mask is black and white with smeared edges; greys between these are neither.
_MIDDLE_GREYS = slice(64, 192)
# Colour noise of JPEG compression around a grey value.
_JPEG_COLOUR_NOISE = 48
_JPEG_COLOURED_SHARE = 0.01
_MAX_DISTINCT = 256


class RawMask(NamedTuple):
    """Stored values of one mask.

    ``values`` is (H, W): bool (1 bit), uint8 (grey, JPEG), uint16 (wide) or int32 (colour,
    0xRRGGBB).
    """

    values: npt.NDArray[Any]
    kind: MaskKind


class MaskHistogram(NamedTuple):
    """What one mask holds.

    ``counts`` maps a stored value to its number of pixels; for a JPEG the greys are put together
    as 0 (dark) and 255 (bright). ``middle_share`` is the share of pixels of a JPEG that are
    neither black nor white, ``brightest`` its largest grey. ``ignored`` pixels of a scene are not
    among the counts: they hold no image, or lie outside of the labelled area.
    """

    path: Path
    height: int
    width: int
    kind: MaskKind
    counts: dict[int, int]
    middle_share: float = 0.0
    brightest: int = 0
    ignored: int = 0

    @property
    def is_blank(self) -> bool:
        """True if every pixel is 0: such a mask says nothing about the encoding."""
        return set(self.counts) <= {0}


def read_mask(path: Path) -> RawMask:
    """Read the stored values of a mask.

    Grey stays grey whether it is stored as grey, palette or RGB. Whether a file is a JPEG is told
    by its content.

    Raises:
        ImageError: If the file cannot be read or holds no single-valued mask.
    """
    with open_pixels(path) as image:
        if image.mode == "1":
            return RawMask(np.array(image), "bit")
        if image.mode == "L":
            return RawMask(np.array(image), "jpeg" if _is_jpeg(image) else "grey")
        if image.mode.startswith("I"):
            return RawMask(_wide_values(path, image), "wide")
        if bits_per_sample(image) > 8 or image.mode not in ("LA", "P", "PA", "RGB", "RGBA"):
            raise ImageError(
                f"{path}: expected a mask of one 8-bit value a pixel, got {describe(image)}; "
                "convert it to a grey PNG of 0 and 255"
            )
        bands = np.array(image.convert("RGBA"))
        is_jpeg = _is_jpeg(image)
    if (bands[:, :, 3] != 255).any():
        raise ImageError(
            f"{path}: the mask has an alpha band with transparent pixels, whose meaning is unknown;"
            " convert it to a grey PNG of 0 and 255"
        )
    return _from_rgb(path, bands[:, :, :3], is_jpeg=is_jpeg)


def inspect_mask(path: Path) -> MaskHistogram:
    """Read a mask and count its values.

    Raises:
        ImageError: As :func:`read_mask`, and if there are far too many values for a mask.
    """
    values, kind = read_mask(path)
    height, width = values.shape
    if kind == "bit":
        bright = int(np.count_nonzero(values))
        counts = _present({0: values.size - bright, 1: bright})
        return MaskHistogram(path, height, width, kind, counts)
    if kind in ("grey", "jpeg"):
        histogram = np.bincount(values.ravel(), minlength=256)
        present = np.flatnonzero(histogram)
        if kind == "grey":
            counts = {int(value): int(histogram[value]) for value in present}
            return MaskHistogram(path, height, width, kind, counts)
        bright = int(histogram[GREY_THRESHOLD:].sum())
        return MaskHistogram(
            path,
            height,
            width,
            kind,
            _present({0: values.size - bright, 255: bright}),
            middle_share=float(histogram[_MIDDLE_GREYS].sum()) / values.size,
            brightest=int(present[-1]),
        )
    distinct, numbers = np.unique(values, return_counts=True)
    if distinct.size > _MAX_DISTINCT:
        raise ImageError(
            f"{path}: {distinct.size} different values are too many for a mask; is this an image "
            "rather than a label?"
        )
    counts = {int(value): int(number) for value, number in zip(distinct, numbers, strict=True)}
    return MaskHistogram(path, height, width, kind, counts)


def _present(counts: dict[int, int]) -> dict[int, int]:
    return {value: number for value, number in counts.items() if number}


def _is_jpeg(image: ImageFile) -> bool:
    return image.format == "JPEG"


def _wide_values(path: Path, image: ImageFile) -> npt.NDArray[np.uint16]:
    values = np.array(image)
    if values.min() < 0 or values.max() > np.iinfo(np.uint16).max:
        raise ImageError(
            f"{path}: mask values from {values.min()} to {values.max()} are outside 0..65535; "
            "convert it to a grey PNG of 0 and 255"
        )
    return values.astype(np.uint16)


def _from_rgb(path: Path, bands: npt.NDArray[np.uint8], *, is_jpeg: bool) -> RawMask:
    spread = bands.max(axis=2) - bands.min(axis=2)
    if is_jpeg:
        if np.mean(spread > _JPEG_COLOUR_NOISE) > _JPEG_COLOURED_SHARE:
            raise ImageError(
                f"{path}: the mask is a coloured JPEG, which alters colours; convert it to a grey "
                "PNG of 0 and 255"
            )
        # The middle of three channels: exact where they are equal, robust where they are not.
        return RawMask(np.sort(bands, axis=2)[:, :, 1], "jpeg")
    if not spread.any():
        return RawMask(np.ascontiguousarray(bands[:, :, 0]), "grey")
    red, green, blue = (bands[:, :, band].astype(np.int32) for band in range(3))
    return RawMask((red << 16) | (green << 8) | blue, "colour")
