"""A PyTorch network as a scorer of tiles."""

import contextlib
import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from changedet.card import ModelCard
from changedet.inference.devices import resolve_device
from changedet.inference.network_scorer import NetworkScorer
from changedet.inference.scorer import Image
from changedet.inference.views import TileView
from changedet.inference.zoom import unzoom_scores, zoom_images
from changedet.models.base import ChangeModel
from changedet.nn.normaliser import normalise
from changedet.types import ChangeOutput, TestTime


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


class TorchScorer(NetworkScorer):
    """Scores the change of tiles with a network of PyTorch, see :class:`.scorer.Scorer`.

    Between two batches the network is in the mode in which it was found.

    Attributes:
        model: The network, on ``device``.
        device: Where it computes; CUDA computes in bfloat16.
        runtime: What computes the network.
    """

    runtime = "torch"

    def __init__(
        self,
        model: ChangeModel,
        card: ModelCard,
        *,
        device: str | torch.device = "auto",
        test_time: TestTime | None = None,
        kind: str | None = None,
        source: str | None = None,
    ) -> None:
        """Move a network to a device and make it ready.

        Args:
            model: The network; it is moved, not copied.
            card: What is known of it.
            device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
            test_time: Test-time augmentation, instead of the one in the card.
            kind: The kind of change to score, of those in the card; None: the first one.
            source: What it came from, such as the path of its file, for messages.

        Raises:
            ConfigError: If the device is unknown or absent, there is no such test-time
                augmentation, or the model does not know the kind of change.
        """
        super().__init__(card, test_time=test_time, kind=kind, source=source)
        self.device = resolve_device(device) if isinstance(device, str) else device
        self.model = model.to(self.device).to(memory_format=torch.channels_last)

    @property
    def weights_sha256(self) -> str:
        """Checksum of the network's values by name."""
        digest = hashlib.sha256()
        for name, value in sorted(self.model.state_dict().items()):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        return digest.hexdigest()

    @property
    def in_channels(self) -> int:
        """Channels of an image."""
        return self.model.in_channels

    @property
    def network_stride(self) -> int:
        """What height and width of what the network sees must be multiples of, in pixels."""
        return self.model.stride

    @property
    def fixed_tile(self) -> bool:
        """Whether the network holds attention, whose result depends on the tile's size."""
        return self.model.fixed_tile

    @property
    def device_name(self) -> str:
        """Name of the device, such as ``cpu`` or ``cuda:0``."""
        return str(self.device)

    def score(self, before: Sequence[Image], after: Sequence[Image]) -> NDArray[np.float32]:
        """Score a batch of tiles, (B, h, w), see :meth:`.scorer.Scorer.score`."""
        return self.to_host(self.score_resident(before, after))

    def score_resident(self, before: Sequence[Image], after: Sequence[Image]) -> Tensor:
        """Score a batch of tiles, (B, h, w), float32 in [0, 1], on the device."""
        with evaluating(self.model), torch.inference_mode(), _half_precision(self.device):
            at_once = self._tiles_at_once(len(before))
            parts = [
                self._score_batch(before[start : start + at_once], after[start : start + at_once])
                for start in range(0, len(before), at_once)
            ]
            return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _score_batch(self, before: Sequence[Image], after: Sequence[Image]) -> Tensor:
        first, second = normalise(self._batch(before), self._batch(after), self.card.normalisation)
        size = (first.shape[-2], first.shape[-1])
        if self.zoom != 1.0:
            first, second = (
                zoom_images(batch, self.zoom, multiple=self._multiple) for batch in (first, second)
            )
        total = self._score_view(self._views[0], first, second)
        for view in self._views[1:]:
            total = total + self._score_view(view, first, second)
        score = total / len(self._views)
        if self.zoom != 1.0:
            score = unzoom_scores(score, self.zoom, size=size)
        if self._temperature is not None and self._is_tempered:
            # Guo et al. 2017; scores of exactly 0 and 1 stay what they are.
            score = torch.sigmoid(torch.logit(score.clamp(0.0, 1.0)) / self._temperature)
        return score

    def zeros(self, shape: tuple[int, ...]) -> Tensor:
        """Make a tensor of zeros, float32, on the device."""
        return torch.zeros(shape, dtype=torch.float32, device=self.device)

    def resident(self, values: NDArray[np.float32]) -> Tensor:
        """Bring an array to the device."""
        return torch.from_numpy(values).to(self.device)

    def clip(self, scores: Tensor) -> None:
        """Limit scores to [0, 1] in place."""
        scores.clamp_(0.0, 1.0)

    def to_host(self, scores: Tensor) -> NDArray[np.float32]:
        """Bring scores to main memory."""
        return scores.cpu().numpy()

    def _score_view(self, view: TileView, before: Tensor, after: Tensor) -> Tensor:
        first, second = (
            view.apply(batch, multiple=self.model.stride).contiguous(
                memory_format=torch.channels_last
            )
            for batch in (before, after)
        )
        wanted = {"kinds": (self._index,)} if len(self.card.kinds) > 1 else {}
        output: ChangeOutput = self.model(first, second, branches="fused", **wanted)
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
