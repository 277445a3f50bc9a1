"""Difference of an image classifier's feature maps at several scales, as in deep change vectors.

The idea is that of deep change vector analysis (Saha et al. 2019), here with the levels of one
encoder that has only ever seen ImageNet.
"""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from changedet.baselines.mosaic import compute_in_tiles
from changedet.models.weight_packages import PACKAGE, PACKAGE_ENCODER
from changedet.models.weights import initialise_encoder
from changedet.nn.distance import unit_vectors
from changedet.nn.encoder import PyramidEncoder
from changedet.raster.grid import default_overlap, mirror_to, round_up

#: Bounds the memory of the feature maps.
_TILE_PX = 512


class DeepFeatures:
    """Compares two dates by the feature maps of an encoder that was never trained on change.

    Attributes:
        encoder: The encoder, in evaluation mode.

    Args:
        encoder: timm's name of the backbone.
        weights: ``package``, ``hub``, ``none`` (random ones from a fixed seed) or a weights file.
        channels: Channels of the images.
        device: Where to compute.

    Raises:
        ConfigError: If timm does not know the encoder, or the source has no weights for it.
        CheckpointError: If the weights cannot be had.
        MissingExtraError: If ``package`` is not installed.
    """

    def __init__(
        self,
        *,
        encoder: str = PACKAGE_ENCODER,
        weights: str = PACKAGE,
        channels: int = 3,
        device: torch.device | str = "cpu",
    ) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.encoder = PyramidEncoder(encoder, in_channels=channels)
        initialise_encoder(self.encoder, source=weights)
        self.encoder.eval().to(device)
        self._device = device

    def magnitude(
        self, before: NDArray[np.float32], after: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Average the distances of the two dates' unit feature vectors over all levels.

        Args:
            before: Standardised values, (H, W, C), which is close to what ImageNet's statistics
                make of a photograph.
            after: The same shape.

        Returns:
            Distances, (H, W), in [0, 2].
        """
        return compute_in_tiles(
            self._distance, before, after, tile_px=_TILE_PX, overlap_px=default_overlap(_TILE_PX)
        )

    def _distance(
        self, before: NDArray[np.float32], after: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        height, width = before.shape[:2]
        size = round_up(height, self.encoder.stride), round_up(width, self.encoder.stride)
        images = np.stack([mirror_to(before, size), mirror_to(after, size)])
        with torch.inference_mode():
            batch = torch.from_numpy(images).permute(0, 3, 1, 2).to(self._device)
            levels = [_level_distance(features, size) for features in self.encoder(batch)]
            distance: NDArray[np.float32] = torch.stack(levels).mean(dim=0).cpu().numpy()
        return distance[:height, :width]


def _level_distance(features: Tensor, size: tuple[int, int]) -> Tensor:
    """Distance of both dates' unit vectors, (2, C, h, w), at the image's size, (H, W)."""
    before, after = unit_vectors(features)
    distance = torch.linalg.vector_norm(after - before, dim=0)
    resized = F.interpolate(distance[None, None], size=size, mode="bilinear", align_corners=False)
    return resized[0, 0]
