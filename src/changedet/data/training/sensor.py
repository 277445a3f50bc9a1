"""Let an 8-bit image look as if another sensor, atmosphere and archive had delivered it."""

import io

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as image_ops  # type: ignore[import-untyped]

from changedet.data.training.augmentation import RGB
from changedet.data.training.stored_values import stored_as

_WHITE = 255.0
# What is varied at most, at strength 1: a gamma of 1/2 to 2; a quarter of the range as haze or as
# a black level cut off, and a tenth more or less in each channel; pixels three times as coarse;
# noise of 6 % of the range; JPEG quality 30.
_GAMMA = 2.0
_HAZE, _TINT = 0.25, 0.1
_COARSER = 2.0
_NOISE = 0.06 * _WHITE
_BEST_QUALITY, _WORST_QUALITY = 95.0, 30.0


def vary_sensor(
    image: torch.Tensor, generator: np.random.Generator, *, strength: float
) -> torch.Tensor:
    """Draw haze, tone, sharpness, noise and compression of one date, in this order.

    Haze and tone vary to both sides; each of the others is left alone half of the time.

    Args:
        image: (C, h, w), uint8, of any number of channels.
        generator: Source of all that is drawn.
        strength: How much is varied, in [0, 1].

    Returns:
        A copy, or the image where nothing is varied.
    """
    gamma, haze, coarser, noise, compression = generator.uniform(-1.0, 1.0, 5)
    tint = generator.uniform(-1.0, 1.0, len(image))
    image = _tone(
        image,
        gamma=_GAMMA ** (strength * gamma),
        haze=strength * (_HAZE * haze + _TINT * tint),
    )
    if coarser > 0.0:
        image = _coarsen(image, 1.0 + strength * _COARSER * coarser)
    if noise > 0.0:
        grain = generator.standard_normal(image.shape, np.float32)
        image = stored_as(image, image + strength * _NOISE * noise * torch.from_numpy(grain))
    if compression > 0.0:
        lost = strength * compression * (_BEST_QUALITY - _WORST_QUALITY)
        image = _compress(image, round(_BEST_QUALITY - lost))
    return image


def _tone(image: torch.Tensor, *, gamma: float, haze: npt.NDArray[np.float64]) -> torch.Tensor:
    """Map the values of each channel: light is added (haze > 0) or the darkest is cut off."""
    shares = np.arange(_WHITE + 1.0) / _WHITE
    hazed = shares + haze[:, None] * (1.0 - shares)
    table = stored_as(image, torch.from_numpy(_WHITE * hazed.clip(0.0, 1.0) ** gamma))
    return torch.stack([table[band][values.long()] for band, values in enumerate(image)])


def _coarsen(image: torch.Tensor, factor: float) -> torch.Tensor:
    """Take away the detail of an image of pixels this many times smaller."""
    sides = list(image.shape[-2:])
    coarse = [max(1, round(side / factor)) for side in sides]
    small = image_ops.resize(image, coarse, antialias=True)
    return image_ops.resize(small, sides, antialias=True)  # type: ignore[no-any-return]


def _compress(image: torch.Tensor, quality: int) -> torch.Tensor:
    """Save as JPEG and read again: pictures as such, the bands of a raster one by one."""
    # torchvision's own jpeg() is deprecated.
    if len(image) == RGB:
        return _through_jpeg(image.permute(1, 2, 0), quality).permute(2, 0, 1).contiguous()
    return torch.stack([_through_jpeg(band, quality) for band in image])


def _through_jpeg(picture: torch.Tensor, quality: int) -> torch.Tensor:
    file = io.BytesIO()
    Image.fromarray(picture.numpy()).save(file, "JPEG", quality=quality)
    with Image.open(file) as read:
        return torch.from_numpy(np.array(read))
