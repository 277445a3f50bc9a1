"""A PyTorch network as a scorer of tiles."""

import contextlib
import copy
import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from changedet.card import LARGEST_TILE_PX, ModelCard
from changedet.choices import check_choice
from changedet.inference.devices import resolve_device
from changedet.inference.scorer import Image
from changedet.inference.views import TileView, views
from changedet.inference.zoom import unzoom_scores, zoom_images
from changedet.models.base import ChangeModel
from changedet.nn.normaliser import normalise
from changedet.raster.grid import round_up
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


class TorchScorer:
    """Scores the change of tiles with a network of PyTorch, see :class:`.scorer.Scorer`.

    Between two batches the network is in the mode in which it was found.

    Attributes:
        model: The network, on ``device``.
        card: Its normalisation, tile size and threshold: the threshold is that of ``kind``, the
            tile as large as the one of the training on the ground.
        kind: The kind of change that is scored; None: the only one of a model that names none.
        zoom: Height and width of what the network sees, in those of the images: they are shrunk or
            enlarged by this for it, and the scores are brought back to their pixels.
        device: Where it computes; CUDA computes in bfloat16.
        test_time: Which views of a tile are scored and averaged, see
            :func:`changedet.inference.views.views`. They go through the network one after the
            other, so memory does not grow with their number.
        source: What it came from, for messages.
    """

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
        self.test_time: TestTime = card.test_time if test_time is None else test_time
        check_choice("test_time", self.test_time, get_args(TestTime))
        self.device = resolve_device(device) if isinstance(device, str) else device
        self.model = model.to(self.device).to(memory_format=torch.channels_last)
        self.source = source
        self._views = views(self.test_time)
        self._stored = card
        self._choose(kind, zoom=1.0)

    def _choose(self, kind: str | None, *, zoom: float) -> None:
        card = self._stored
        self._index = card.kind_index(kind)
        self.kind = card.kinds[self._index].name if card.kinds else None
        self._temperature = card.kinds[self._index].temperature if card.kinds else None
        self.zoom = zoom
        card = card.for_kind(kind)
        if zoom != 1.0:
            side = card.tile_px / zoom
            # Enlarged, it must not become larger than the tile of the training.
            tile_px = round(side) if zoom < 1.0 else int(side)
            card = dataclasses.replace(card, tile_px=max(1, min(tile_px, LARGEST_TILE_PX)))
        self.card = card

    def for_kind(self, kind: str | None) -> "TorchScorer":
        """Give a scorer of another kind of change with the same network.

        Raises:
            ConfigError: If the model does not know it.
        """
        other = copy.copy(self)
        other._choose(kind, zoom=self.zoom)
        return other

    def zoomed(self, zoom: float) -> "TorchScorer":
        """Give a scorer with the same network that sees the images shrunk or enlarged.

        Args:
            zoom: Height and width of what the network sees, in those of the images.
        """
        other = copy.copy(self)
        other._choose(self.kind, zoom=zoom)
        return other

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
    def stride(self) -> int:
        """What height and width of a tile must be multiples of, in pixels.

        Images that are resampled are brought to a size that suits the network on the way.
        """
        return self.model.stride if self.zoom == 1.0 else 1

    @property
    def _multiple(self) -> int:
        """What height and width of resampled images are brought to a multiple of, in pixels."""
        stride = self.model.stride
        return round_up(self._stored.tile_px, stride) if self.fixed_tile else stride

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
            # What the network sees at once, and so its memory, stays that of tiles as they are.
            at_once = max(1, int(len(before) / max(1.0, self.zoom) ** 2))
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
        if self._temperature not in (None, 1.0):
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
