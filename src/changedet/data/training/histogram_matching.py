"""Give one image the histogram of another."""

import numpy as np
import torch


def match_histogram(image: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Give an image the histogram of another, channel by channel.

    Args:
        image: (C, h, w), uint8 or float32.
        reference: (C, h', w'), of the same type.

    Returns:
        (C, h, w), of the same type.
    """
    from skimage.exposure import match_histograms

    matched = match_histograms(image.numpy(), reference.numpy(), channel_axis=0)
    if image.dtype == torch.uint8:
        matched = np.rint(matched).clip(0, 255)
    return torch.from_numpy(matched.astype(image.numpy().dtype))
