"""Stored pixel values to network input."""

import torch
from torch import Tensor

from changedet.errors import ConfigError
from changedet.types import Normalisation


def normalise(before: Tensor, after: Tensor, stats: Normalisation) -> tuple[Tensor, Tensor]:
    """Bring both dates into the band order and range that a network was trained on.

    Args:
        before: Image batch in stored (RGB) channel order, (B, C, H, W), usually uint8.
        after: The same for the second date.
        stats: Per-date means and standard deviations, listed in ``stats.bands`` order.

    Returns:
        Both batches, (B, C, H, W), float32, on the same device and in the same memory format.

    Raises:
        ConfigError: If the statistics are for another number of channels.
    """
    return (
        _standardise(before, stats.mean_before, stats.std_before, stats=stats),
        _standardise(after, stats.mean_after, stats.std_after, stats=stats),
    )


def _standardise(
    image: Tensor, mean: tuple[float, ...], std: tuple[float, ...], *, stats: Normalisation
) -> Tensor:
    channels = image.shape[1]
    if len(mean) != channels or len(std) != channels:
        raise ConfigError(
            f"the normalisation has statistics of {len(mean)} channels, the image has {channels}; "
            "use images of as many channels, or a model that was trained for these"
        )
    if stats.bands == "bgr":
        image = image.flip(1)
    shape = (1, channels, 1, 1)
    shift = torch.tensor(mean, dtype=torch.float32, device=image.device).view(shape)
    scale = torch.tensor(std, dtype=torch.float32, device=image.device).view(shape)
    return (image.float() - shift) / scale
