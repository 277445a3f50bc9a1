"""The few operations on images that scorers need, for NumPy arrays and for tensors of PyTorch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np
from PIL import Image as PillowImage

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

#: Images or scores: an array or a tensor, height and width last.
Maps = TypeVar("Maps", "NDArray[np.float32]", "torch.Tensor")
#: Height and width, in pixels.
Size: TypeAlias = tuple[int, int]


def flip(maps: Maps, axes: tuple[int, ...]) -> Maps:
    """Reverse maps along some of their axes."""
    if isinstance(maps, np.ndarray):
        return np.flip(maps, axes)
    return maps.flip(axes)


def take(maps: Maps, places: NDArray[np.intp], axis: int) -> Maps:
    """Give the entries of an axis at some places, each as often as it is named."""
    if isinstance(maps, np.ndarray):
        return np.take(maps, places, axis)
    import torch

    return maps.index_select(axis, torch.from_numpy(places).to(maps.device))


def resize(maps: Maps, size: Size, *, antialias: bool) -> Maps:
    """Resample maps by linear interpolation, pixel centres staying where they are.

    Args:
        maps: (B, C, H, W), float32.
        size: Height and width of the result.
        antialias: Whether what is shrunk is smoothed first. Arrays always are: they are shrunk for
            a network only.

    Returns:
        (B, C, h, w).
    """
    if isinstance(maps, np.ndarray):
        return _resize_array(maps, size)
    from torch.nn.functional import interpolate

    return interpolate(maps, size, mode="bilinear", align_corners=False, antialias=antialias)


def _resize_array(maps: NDArray[np.float32], size: Size) -> NDArray[np.float32]:
    # Pillow's filter is the one that PyTorch's antialiasing follows; enlarging, both interpolate.
    height, width = size
    resized = np.empty((*maps.shape[:-2], height, width), np.float32)
    for index in np.ndindex(maps.shape[:-2]):
        layer: Any = PillowImage.fromarray(np.ascontiguousarray(maps[index], np.float32))
        resized[index] = layer.resize((width, height), PillowImage.Resampling.BILINEAR)
    return resized
