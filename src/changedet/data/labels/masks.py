"""Change masks as they are stored: values and how often each occurs, not yet what they mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from changedet.data.images import bits_per_sample, describe, is_raster, open_pixels, upright
from changedet.errors import ImageError

if TYPE_CHECKING:
    from pathlib import Path

    from PIL.ImageFile import ImageFile

    from changedet.raster.geo_grid import GeoGrid
    from changedet.raster.label_file import LabelFile

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
_RGB = 3
_AS_WHOLE = "write 0 for unchanged and 1 for changed, for example with: gdal_rasterize -ot Byte"


class RawMask(NamedTuple):
    """Stored values of one mask.

    ``values`` is (H, W): bool (1 bit), uint8 (grey, JPEG), uint16 (wide) or int32 (colour,
    0xRRGGBB). A raster may say where its values are ``known``, (H, W), by which ``nodata`` value,
    and on which ``grid`` it lies.
    """

    values: npt.NDArray[Any]
    kind: MaskKind
    known: npt.NDArray[np.bool_] | None = None
    nodata: float | None = None
    grid: GeoGrid | None = None


class MaskHistogram(NamedTuple):
    """What one mask holds.

    ``counts`` maps a stored value to its number of pixels; for a JPEG the greys are put together
    as 0 (dark) and 255 (bright). ``middle_share`` is the share of pixels of a JPEG that are
    neither black nor white, ``brightest`` its largest grey. ``ignored`` pixels of a raster are not
    among the counts: they hold no image, have the label's ``nodata`` value, or lie outside of the
    labelled area.
    """

    path: Path
    height: int
    width: int
    kind: MaskKind
    counts: dict[int, int]
    middle_share: float = 0.0
    brightest: int = 0
    ignored: int = 0
    nodata: float | None = None

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
    if is_raster(path):
        return _from_raster(path)
    with open_pixels(path) as image:
        if image.mode == "1":
            return RawMask(upright(np.array(image), image), "bit")
        if image.mode == "L":
            return RawMask(upright(np.array(image), image), "jpeg" if _is_jpeg(image) else "grey")
        if image.mode.startswith("I"):
            return RawMask(upright(_wide_values(path, image), image), "wide")
        if bits_per_sample(image) > 8 or image.mode not in ("LA", "P", "PA", "RGB", "RGBA"):
            raise ImageError(
                f"{path}: expected a mask of one 8-bit value a pixel, got {describe(image)}; "
                "convert it to a grey PNG of 0 and 255"
            )
        bands = upright(np.array(image.convert("RGBA")), image)
        is_jpeg = _is_jpeg(image)
    if (bands[:, :, 3] != 255).any():
        raise _transparent(path)
    return _from_rgb(path, bands[:, :, :3], is_jpeg=is_jpeg)


def inspect_mask(path: Path, *, has_image: npt.NDArray[np.bool_] | None = None) -> MaskHistogram:
    """Read a mask and count its values.

    Args:
        path: The file.
        has_image: Where both dates hold an image, (H, W); elsewhere the mask does not count.

    Raises:
        ImageError: As :func:`read_mask`, and if there are far too many values for a mask.
    """
    return count_values(path, read_mask(path), has_image=has_image)


def count_values(
    path: Path, mask: RawMask, *, has_image: npt.NDArray[np.bool_] | None = None
) -> MaskHistogram:
    """Count the values of a mask; arguments and errors as for :func:`inspect_mask`."""
    height, width = mask.values.shape
    known = mask.known
    if has_image is not None and has_image.shape == mask.values.shape:
        known = has_image if known is None else known & has_image
    values = mask.values.ravel() if known is None else mask.values[known]
    facts = MaskHistogram(
        path,
        height,
        width,
        mask.kind,
        {},
        ignored=mask.values.size - values.size,
        nodata=mask.nodata,
    )
    if mask.kind == "jpeg" and values.size:
        histogram = np.bincount(values, minlength=256)
        bright = int(histogram[GREY_THRESHOLD:].sum())
        return facts._replace(
            counts=_present({0: values.size - bright, 255: bright}),
            middle_share=float(histogram[_MIDDLE_GREYS].sum()) / values.size,
            brightest=int(np.flatnonzero(histogram)[-1]),
        )
    if values.dtype in (np.bool_, np.uint8):
        histogram = np.bincount(values, minlength=2)
        return facts._replace(
            counts=_present({value: int(number) for value, number in enumerate(histogram)})
        )
    distinct, numbers = np.unique(values, return_counts=True)
    if distinct.size > _MAX_DISTINCT:
        raise ImageError(
            f"{path}: {distinct.size} different values are too many for a mask; is this an image "
            "rather than a label?"
        )
    return facts._replace(
        counts={int(value): int(number) for value, number in zip(distinct, numbers, strict=True)}
    )


def _transparent(path: Path) -> ImageError:
    return ImageError(
        f"{path}: the mask has an alpha band with transparent pixels, whose meaning is unknown; "
        "convert it to a grey PNG of 0 and 255"
    )


def _present(counts: dict[int, int]) -> dict[int, int]:
    return {value: number for value, number in counts.items() if number}


def _is_jpeg(image: ImageFile) -> bool:
    # A TIFF may hold JPEG data.
    return image.format == "JPEG" or image.info.get("compression") == "jpeg"


def _from_raster(path: Path) -> RawMask:
    """Read a mask whose file says more than its values: where they are known, and its place."""
    from changedet.raster.label_file import read_label_file

    stored = read_label_file(str(path))
    bands = stored.values.shape[0]
    if stored.is_transparent:
        raise _transparent(path)
    if stored.colours is not None and stored.values.max() < len(stored.colours):
        mask = _from_rgb(path, stored.colours[stored.values[0]], is_jpeg=False)
    elif bands == _RGB and stored.values.dtype == np.uint8:
        mask = _from_rgb(path, stored.values.transpose(1, 2, 0), is_jpeg=stored.is_lossy)
    elif bands > 1:
        raise ImageError(
            f"{path}: a label must have one band, got {bands}; select it with: "
            f"gdal_translate -b 1 {path} label.tif"
        )
    elif stored.is_lossy:
        mask = RawMask(stored.values[0], "jpeg")
    else:
        mask = _whole_numbers(path, stored)
    known = None if stored.known.all() else stored.known
    return mask._replace(known=known, nodata=stored.nodata, grid=stored.grid)


def _whole_numbers(path: Path, stored: LabelFile) -> RawMask:
    """Take the values of a label of any type, as long as they are whole numbers."""
    values, dtype = stored.values[0], stored.values.dtype
    if dtype == np.uint8:
        return RawMask(values, "grey")
    if dtype.kind == "c":
        raise ImageError(f"{path}: a label has complex numbers ({dtype}); {_AS_WHOLE}")
    if dtype.kind == "f":
        stored.known[~np.isfinite(values)] = False
    seen = values[stored.known]
    if dtype.kind == "f" and (seen != np.rint(seen)).any():
        odd = seen[seen != np.rint(seen)][0]
        raise ImageError(
            f"{path}: label values are {dtype}, which is fine, but not whole numbers (such as "
            f"{odd:.4g}); {_AS_WHOLE}"
        )
    largest = np.iinfo(np.uint16).max
    if seen.size and (seen.min() < 0 or seen.max() > largest):
        low, high = float(seen.min()), float(seen.max())
        raise ImageError(
            f"{path}: label values from {low:.6g} to {high:.6g} ({dtype}) are outside "
            f"0..{largest}; if one of them means unknown, declare it with: gdal_edit.py -a_nodata "
            f"VALUE {path}; else {_AS_WHOLE}"
        )
    return RawMask(np.where(stored.known, values, 0).astype(np.uint16), "wide")


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
