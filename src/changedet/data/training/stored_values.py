"""Computed values as the type in which the pixels of an image are stored."""

import torch


def stored_as(image: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Bring float values back to the image's type; only 8 bits have ends to stop at.

    Args:
        image: Whose type is wanted, uint8 or float32.
        values: Float values of any shape, in units of the image; 8-bit results are computed in
            place.
    """
    if image.dtype != torch.uint8:
        return values.to(image.dtype)
    return values.round_().clamp_(0.0, 255.0).to(torch.uint8)
