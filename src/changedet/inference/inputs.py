"""Images in whatever form a caller has them: paths, Pillow images, arrays, tensors."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, TypeGuard

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageOps

from changedet.data.file_names import IMAGE_SUFFIXES
from changedet.data.images import RASTER_SUFFIXES, read_image
from changedet.errors import DataError

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from changedet.card import ModelCard
    from changedet.inference.scorer import Image
    from changedet.raster.remark import Remark

logger = logging.getLogger(__name__)

#: A path, a Pillow image, an array (H, W, C) or (H, W), or a tensor (C, H, W) or (1, C, H, W).
AnyImage: TypeAlias = "str | Path | PillowImage.Image | NDArray[Any] | torch.Tensor"

_PICTURES: Final = IMAGE_SUFFIXES - RASTER_SUFFIXES
#: Rasters of more pixels are mapped tile by tile, not in memory.
_MOST_RASTER_PX: Final = 100_000_000


class ImagePair(NamedTuple):
    """Both images, and what is known of them.

    Attributes:
        before: (H, W, C).
        after: (H, W, C).
        valid: Where both hold data, (H, W); None: everywhere.
        gsd_m: Ground sample distance in metres, where a georeference says it.
    """

    before: Image
    after: Image
    valid: NDArray[np.bool_] | None = None
    gsd_m: float | None = None


def open_images(
    before: AnyImage, after: AnyImage, *, card: ModelCard, channels: int, is_fitted: bool
) -> ImagePair:
    """Bring a pair into arrays; two paths of rasters are aligned by their georeference.

    Args:
        before: The earlier image.
        after: The later image.
        card: Of the model that they are for.
        channels: Channels that it takes.
        is_fitted: Whether it takes values of any type.

    Raises:
        DataError: If an image cannot be read, or is of a kind that the model cannot take.
    """
    rasters = [image for image in (before, after) if _is_raster(image)]
    if len(rasters) == 1:
        raise DataError(
            f"{rasters[0]} is a raster and the other image is none; give two rasters, which are "
            "aligned by their georeference, or two images without one"
        )
    if rasters:
        pixel_type = None if is_fitted else card.pixel_type
        return _read_rasters(str(before), str(after), card, channels, pixel_type=pixel_type)
    return ImagePair(
        _as_array(before, "before", channels=channels),
        _as_array(after, "after", channels=channels),
    )


def count_channels(before: AnyImage, after: AnyImage) -> int:
    """Count the channels of a pair, for methods that take any number.

    Raises:
        ConfigError: If the two rasters have different numbers of bands.
        DataError: If a raster cannot be read.
    """
    if _is_raster(before) and _is_raster(after):
        from changedet.raster.bands import count_common_bands

        return count_common_bands(str(before), str(after))
    if isinstance(after, PillowImage.Image):
        return 1 if after.mode in ("1", "L", "I;16") else 3
    if isinstance(after, str | Path):
        return 3
    shape = tuple(getattr(after, "shape", ()))
    if len(shape) < 3:
        return 1
    return int(shape[-3] if _is_tensor(after) else shape[-1])


def log_remark(remark: Remark) -> None:
    """Log what a user should know of a pair that was given in Python."""
    level = logging.WARNING if remark.severity == "warning" else logging.INFO
    logger.log(level, "%s", remark.text)


def _is_raster(image: AnyImage) -> bool:
    return isinstance(image, str | Path) and Path(image).suffix.lower() not in _PICTURES


def _read_rasters(  # noqa: PLR0917
    before: str, after: str, card: ModelCard, channels: int, *, pixel_type: str | None
) -> ImagePair:
    # GDAL is for rasters only.
    from changedet.raster.nodata import fill_gaps
    from changedet.raster.pair import PairOptions, RasterPair
    from changedet.raster.remarks import remarks_on_reading
    from changedet.raster.value_types import ANY_TYPE

    options = PairOptions(
        channels=channels,
        pixel_type=pixel_type or ANY_TYPE,
        bands=card.source_bands,
        bands_after=card.source_bands_after,
    )
    with RasterPair(before, after, options) as pair:
        for remark in remarks_on_reading(pair.facts):
            log_remark(remark)
        height, width = pair.grid.shape
        if height * width > _MOST_RASTER_PX:
            raise DataError(
                f"the common area of {before} and {after} has {width}x{height} pixels, too many "
                "to predict in memory; use changedet.predict_scene, which writes files"
            )
        pixels = pair.read(pair.grid.window)
        gsd_m = pair.before.gsd_m
    valid = pixels.valid
    if not valid.any():
        raise DataError(f"no pixel has data in both {before} and {after}")
    images = fill_gaps(pixels, card.normalisation)[:2]
    return ImagePair(*images, None if valid.all() else valid, gsd_m)


def _as_array(image: AnyImage, date: str, *, channels: int) -> Image:
    if isinstance(image, str | Path):
        return read_image(image, channels=channels)
    if isinstance(image, PillowImage.Image):
        return _from_pillow(image, date, channels=channels)
    if _is_tensor(image):
        return _from_tensor(image, date)
    if isinstance(image, np.ndarray):
        return image
    raise DataError(
        f"the {date} image must be a path, a Pillow image, an array (height, width, channels) or a "
        f"tensor (channels, height, width), got {type(image).__name__}"
    )


def _from_pillow(image: PillowImage.Image, date: str, *, channels: int) -> Image:
    """Convert what loses nothing, as for files: palettes and 1 bit; turn as EXIF says."""
    image = ImageOps.exif_transpose(image)
    if image.mode in ("P", "1") and "transparency" not in image.info:
        image = image.convert("L" if channels == 1 else "RGB")
    bands = len(image.getbands())
    if bands != channels:
        wanted = {1: "L", 3: "RGB", 4: "RGBA"}.get(channels)
        remedy = f'image.convert("{wanted}") converts it' if wanted else "give an array"
        raise DataError(
            f"the {date} image has {bands} band(s) ({image.mode}), and the model takes {channels}; "
            f"{remedy}"
        )
    return np.asarray(image)


def _is_tensor(image: object) -> TypeGuard[torch.Tensor]:
    # Whoever has a tensor has imported PyTorch; nobody else needs it.
    return type(image).__module__.partition(".")[0] == "torch" and hasattr(image, "detach")


def _from_tensor(image: torch.Tensor, date: str) -> Image:
    shape = tuple(image.shape)
    if len(shape) == 4 and shape[0] == 1:
        image = image[0]
    if image.ndim not in (2, 3):
        raise DataError(
            f"the {date} image must be a tensor (channels, height, width), got {shape}; give the "
            "images of a batch one by one, or as pairs to predict_batch"
        )
    array: Image = image.detach().cpu().numpy()
    return array.transpose(1, 2, 0) if array.ndim == 3 else array
