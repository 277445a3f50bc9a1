"""Run batches of equally large tiles through a model."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from changedet.inference.views import View, views
from changedet.models.base import ChangeModel
from changedet.nn.normaliser import normalise
from changedet.types import ChangeOutput, Normalisation, TestTime

#: Stored pixel values, (H, W, C): mostly uint8, else float32.
Image: TypeAlias = NDArray[Any]


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode and restore the mode of each of its parts afterwards."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            # Not train(): that would also switch parts which were frozen in evaluation mode.
            module.training = True


class TileScorer:
    """Scores the change of tiles.

    Args:
        model: On ``device``.
        normalisation: Statistics the model was trained with.
        device: Where to compute; CUDA computes in bfloat16.
        test_time: Which views of a tile are scored and averaged, see :func:`views`. They go
            through the model one after the other, so memory does not grow with their number.

    Raises:
        ConfigError: If there is no such test-time augmentation.
    """

    def __init__(
        self,
        model: ChangeModel,
        normalisation: Normalisation,
        device: torch.device,
        *,
        test_time: TestTime = "none",
    ) -> None:
        self.model = model
        self.device = device
        self.normalisation = normalisation
        self.views = views(test_time)

    def score(self, before: Sequence[Image], after: Sequence[Image]) -> Tensor:
        """Score a batch; between two of them the model is in the mode in which it was found.

        Args:
            before: B tiles, (h, w, C), stored values, all of one size that the model takes.
            after: The same places at the second date.

        Returns:
            Scores, (B, h, w), float32 in [0, 1], on the device.
        """
        with evaluating(self.model), torch.inference_mode(), _half_precision(self.device):
            first, second = normalise(self._batch(before), self._batch(after), self.normalisation)
            total = self._score_view(self.views[0], first, second)
            for view in self.views[1:]:
                total = total + self._score_view(view, first, second)
            return total / len(self.views)

    def _score_view(self, view: View, before: Tensor, after: Tensor) -> Tensor:
        first, second = (
            view.apply(batch, multiple=self.model.stride).contiguous(
                memory_format=torch.channels_last
            )
            for batch in (before, after)
        )
        output: ChangeOutput = self.model(first, second, branches="fused")
        return view.invert(output.score.float(), (before.shape[-2], before.shape[-1]))

    def _batch(self, images: Sequence[Image]) -> Tensor:
        """Stack tiles to (B, C, h, w) in channels_last order, on the device."""
        stacked = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
        if self.device.type == "cuda":
            return stacked.pin_memory().to(self.device, non_blocking=True)
        return stacked.to(self.device)


def _half_precision(device: torch.device) -> contextlib.AbstractContextManager[object]:
    if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.autocast("cuda", dtype=torch.bfloat16)
    return contextlib.nullcontext()
