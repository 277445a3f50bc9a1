"""Count pixels by score and label on the device of PyTorch, one row per image."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from changedet.errors import DataError
from changedet.metrics.histogram import ScoreHistogram
from changedet.metrics.host_counter import (
    ROUNDING,
    check_shapes,
    counting_edges,
    refuse_wrong_values,
)
from changedet.types import IGNORED

#: Pixels that are counted in one pass.
_COUNTED_AT_ONCE_PX = 2**23


class ScoreCounter:
    """Count the pixels of batch after batch on the device.

    Counts at the edges of :func:`changedet.metrics.host_counter.counting_edges`; nothing but the
    counts is kept.

    Args:
        extra_thresholds: Further scores in [0, 1] that will be asked for, such as a model's own.
        device: Where to count; batches that lie elsewhere are moved there.

    Raises:
        ConfigError: If an extra threshold is not a score in [0, 1].
    """

    def __init__(
        self, *, extra_thresholds: Sequence[float] = (), device: torch.device | str = "cpu"
    ) -> None:
        edges = counting_edges(extra_thresholds)
        self._edges = torch.from_numpy(edges).to(device)
        # One place more than bins, for the pixels that are not counted.
        self._lowest = self._edges.new_full((edges.shape[0] + 1,), 2.0)
        self._highest = self._edges.new_full((edges.shape[0] + 1,), -1.0)
        self._batches: list[torch.Tensor] = []

    # Counting may start in one mode and go on in another, which autograd's checks would refuse.
    @torch.inference_mode()
    def update(self, score: torch.Tensor, label: torch.Tensor) -> None:
        """Add one row of counts for each image of a batch.

        Args:
            score: Change scores, (B, H, W), float, in [0, 1].
            label: Decoded labels, (B, H, W), 0 unchanged, 1 changed, 255 ignored.

        Raises:
            DataError: If the shapes differ, a score is NaN or outside [0, 1], or a label has
                another value.
        """
        check_shapes(tuple(score.shape), tuple(label.shape))
        images, bins = score.shape[0], self._edges.shape[0]
        # A scene is counted in strips: a pixel needs some forty bytes while it is counted.
        strip_px = max(1, _COUNTED_AT_ONCE_PX // max(1, images * score.shape[2]))
        extremes = self._lowest.clone(), self._highest.clone()
        counts = torch.stack(
            [
                self._count(score[:, top : top + strip_px], label[:, top : top + strip_px])
                for top in range(0, max(1, score.shape[1]), strip_px)
            ]
        ).sum(dim=0)
        try:
            wrong_scores, wrong_labels = counts[:, -2:].sum(dim=0).tolist()
            refuse_wrong_values(wrong_scores, wrong_labels, lambda: torch.unique(label).tolist())
        except DataError:
            # A refused batch leaves no trace.
            self._lowest, self._highest = extremes
            raise
        self._batches.append(counts[:, : 2 * bins].view(images, 2, bins))

    def _count(self, score: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Count one strip of every image, (B, slots), and note the extreme scores of each bin."""
        device = self._edges.device
        raw = score.detach().to(device, torch.float32)
        score = raw.clamp(0.0, 1.0)
        label = label.to(device)
        images, bins = score.shape[0], self._edges.shape[0]
        # Slots of an image: bins of unchanged, bins of changed, ignored, wrong score, wrong label.
        slots = 2 * bins + 3
        column = torch.bucketize(score, self._edges, right=True) - 1
        slot = torch.where(label == 1, column + bins, column)
        slot = torch.where(label == IGNORED, 2 * bins, slot)
        is_score = (raw >= -ROUNDING) & (raw <= 1.0 + ROUNDING)
        slot = torch.where(is_score, slot, 2 * bins + 1)
        is_label = (label == 0) | (label == 1) | (label == IGNORED)
        slot = torch.where(is_label, slot, 2 * bins + 2)
        row = slots * torch.arange(images, device=device).view(-1, 1, 1)
        counts = torch.bincount((slot + row).flatten(), minlength=images * slots)
        place = torch.where(slot < 2 * bins, column, bins).flatten()
        self._lowest.scatter_reduce_(0, place, score.flatten(), "amin")
        self._highest.scatter_reduce_(0, place, score.flatten(), "amax")
        return counts.view(images, slots)

    def compute(self) -> ScoreHistogram:
        """Return all counts so far, rows in the order of the images; counting may go on."""
        bins = self._edges.shape[0]
        none = torch.zeros((0, 2, bins), dtype=torch.int64, device=self._edges.device)
        counts = torch.cat([none, *self._batches]).cpu().numpy()
        return ScoreHistogram(
            edges=self._edges.cpu().numpy().copy(),
            unchanged=counts[:, 0].copy(),
            changed=counts[:, 1].copy(),
            lowest=self._lowest[:bins].cpu().numpy().copy(),
            highest=self._highest[:bins].cpu().numpy().copy(),
        )
