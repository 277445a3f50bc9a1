"""An exported graph as a scorer of tiles, whatever runtime computes it. Needs no PyTorch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from changedet.errors import CheckpointError, ConfigError
from changedet.inference.network_scorer import NetworkScorer
from changedet.inference.scorer import HostScorer
from changedet.inference.zoom import unzoom_scores, zoom_images

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from changedet.card import ModelCard
    from changedet.inference.arrays import Size
    from changedet.inference.scorer import Image
    from changedet.inference.views import TileView
    from changedet.storage.onnx_file import GraphFacts
    from changedet.types import TestTime


class Graph(Protocol):
    """An exported graph in a runtime."""

    @property
    def facts(self) -> GraphFacts:
        """What it takes and gives."""

    @property
    def runtime(self) -> str:
        """Name of the runtime, and in what it computes where that is not float32."""

    def run(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Score a batch.

        Args:
            image: Stored values, (B, 2 C, H, W): the bands of the earlier date, then those of the
                later one.

        Returns:
            Scores of each kind of change, (B, K, H, W), in [0, 1].
        """


class GraphScorer(NetworkScorer, HostScorer):
    """Scores the change of tiles with an exported graph, see :class:`.scorer.Scorer`.

    Everything around the network is done as :class:`.torch_scorer.TorchScorer` does it: views,
    resampling, temperature.

    Attributes:
        graph: In its runtime; normalisation and sigmoid are part of it.

    Args:
        graph: See above.
        card: What is known of the network.
        test_time: Test-time augmentation, instead of the one in the card.
        kind: The kind of change to score, of those in the card; None: the first one.
        source: What it came from, such as the path of its file, for messages.

    Raises:
        CheckpointError: If the card is of another network than the graph.
        ConfigError: If there is no such test-time augmentation, it needs tiles of another size than
            the graph takes, or the model does not know the kind of change.
    """

    def __init__(
        self,
        graph: Graph,
        card: ModelCard,
        *,
        test_time: TestTime | None = None,
        kind: str | None = None,
        source: str | None = None,
    ) -> None:
        super().__init__(card, test_time=test_time, kind=kind, source=source)
        self.graph = graph
        check_card(card, graph.facts, name=source or "the graph")
        if self._only_size is not None and any(view.scale != 1.0 for view in self._views):
            raise ConfigError(
                f"{source or 'the graph'} takes tiles of one size only, and test-time augmentation "
                f"{self.test_time} shrinks them; choose flips, turns or none (`test_time`), or use "
                "the model file that it was exported from"
            )

    @property
    def runtime(self) -> str:
        """What computes the network."""
        return self.graph.runtime

    @property
    def weights_sha256(self) -> str:
        """Checksum of the graph with its weights."""
        return self.graph.facts.sha256

    @property
    def in_channels(self) -> int:
        """Channels of an image."""
        return self.graph.facts.channels // 2

    @property
    def network_stride(self) -> int:
        """What height and width of what the network sees must be multiples of, in pixels."""
        return self.graph.facts.stride

    @property
    def fixed_tile(self) -> bool:
        """Whether the graph takes tiles of one size, since results depend on it."""
        return self.graph.facts.fixed_tile

    @property
    def only_tile_px(self) -> int | None:
        """Side of the only tile that is scored, in pixels of the images; None: any is."""
        if self._only_size is None:
            return None
        return self._only_size[0] if self.zoom == 1.0 else self.card.tile_px

    def score(self, before: Sequence[Image], after: Sequence[Image]) -> NDArray[np.float32]:
        """Score a batch of tiles, (B, h, w), see :meth:`.scorer.Scorer.score`."""
        at_once = self._tiles_at_once(len(before))
        parts = [
            self._score_batch(before[start : start + at_once], after[start : start + at_once])
            for start in range(0, len(before), at_once)
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _score_batch(self, before: Sequence[Image], after: Sequence[Image]) -> NDArray[np.float32]:
        height, width, channels = before[0].shape
        images = np.empty((len(before), 2 * channels, height, width), np.float32)
        # Straight to their places: channels that lie side by side take long to move.
        for image, first, second in zip(images, before, after, strict=True):
            image[:channels] = first.transpose(2, 0, 1)
            image[channels:] = second.transpose(2, 0, 1)
        size = (height, width)
        if self.zoom != 1.0:
            images = zoom_images(images, self.zoom, multiple=self._multiple)
        total = self._score_view(self._views[0], images)
        for view in self._views[1:]:
            total = total + self._score_view(view, images)
        score = total / np.float32(len(self._views))
        if self.zoom != 1.0:
            score = unzoom_scores(score, self.zoom, size=size)
        if self._temperature is not None and self._is_tempered:
            score = tempered(score, self._temperature)
        return score

    def _score_view(self, view: TileView, images: NDArray[np.float32]) -> NDArray[np.float32]:
        shown = np.ascontiguousarray(view.apply(images, multiple=self.network_stride))
        seen = (shown.shape[-2], shown.shape[-1])
        if self._only_size not in (None, seen):
            raise ConfigError(
                f"{self.source or 'the graph'} takes tiles of {_words(self._only_size)} px only, "
                f"got {_words(seen)}; remove `tile_px`, or use the model file that it was exported "
                "from, which takes other sizes"
            )
        scores = self.graph.run(shown)[:, self._index]
        return view.invert(scores, (images.shape[-2], images.shape[-1]))

    @property
    def _only_size(self) -> Size | None:
        height, width = self.graph.facts.height, self.graph.facts.width
        return None if height is None or width is None else (height, width)


def check_card(card: ModelCard, facts: GraphFacts, *, name: str) -> None:
    """Refuse a card that is of another network than the graph beside it.

    Args:
        card: What the file says.
        facts: What its graph takes and gives.
        name: Of the file, for the message.

    Raises:
        CheckpointError: If channels, kinds of change or the tile differ.
    """
    bands, kinds = len(card.normalisation.mean_before), len(card.kinds) or 1
    tile_px = -(-card.tile_px // facts.stride) * facts.stride
    fault = None
    if facts.channels != 2 * bands:
        fault = (
            f"speaks of {bands} bands of each date, {2 * bands} together, and its graph takes "
            f"{facts.channels} channels"
        )
    elif facts.kinds != kinds:
        fault = f"names {kinds} kinds of change, and its graph scores {facts.kinds}"
    elif facts.fixed_tile and (facts.height, facts.width) != (tile_px, tile_px):
        fault = (
            f"speaks of tiles of {tile_px} px, and its graph takes "
            f"{facts.height or 'any'} x {facts.width or 'any'}"
        )
    if fault is not None:
        raise CheckpointError(
            f"{name}: its model card {fault}; the card is of another network: export the model "
            "file again (`changedet export`)"
        )


def tempered(score: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """Divide the logits of scores by a temperature (Guo et al. 2017); 0 and 1 stay what they are.

    Args:
        score: In [0, 1], any shape.
        temperature: Above 0.
    """
    score = np.clip(score, 0.0, 1.0)
    with np.errstate(divide="ignore", over="ignore"):
        logit = np.log(score) - np.log1p(-score)
        cooled: NDArray[np.float32] = np.exp(-logit / np.float32(temperature))
    return np.reciprocal(1 + cooled)


def _words(size: Size | None) -> str:
    return "any" if size is None else f"{size[0]} x {size[1]}"
