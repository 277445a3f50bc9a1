"""The interface of everything that scores tiles: PyTorch, baselines, other runtimes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, runtime_checkable

import numpy as np

from changedet.errors import CheckpointError, DataError
from changedet.raster.tile_plan import MainMemory, Memory, Resident

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from changedet.card import ModelCard
    from changedet.raster.geo_grid import Window
    from changedet.raster.pair import PairPixels
    from changedet.types import TestTime

#: Stored pixel values, (H, W, C): mostly uint8, else float32.
Image: TypeAlias = "NDArray[Any]"


#: Height and width of the tile on which a scorer is tried, at least.
_TRIED_PX: Final = 64


class Scorer(Memory, Protocol):
    """Scores the change of tiles, and says what a caller must know to cut them.

    It is called by one thread at a time. Nothing here knows PyTorch: scores are NumPy arrays, or
    :data:`Resident` where a caller asks for them to stay where they were computed, which keeps
    blending and counting on a GPU.
    """

    @property
    def card(self) -> ModelCard:
        """What is known of it: normalisation, kind of values, tile size, threshold, provenance."""

    @property
    def in_channels(self) -> int:
        """Channels of an image."""

    @property
    def stride(self) -> int:
        """What height and width of a tile must be multiples of, in pixels."""

    @property
    def fixed_tile(self) -> bool:
        """Whether only tiles of ``card.tile_px`` are scored as in training (spec 1.2)."""

    @property
    def device_name(self) -> str:
        """Kind of device that computes: ``cpu``, ``cuda``, ``mps``."""

    @property
    def test_time(self) -> TestTime:
        """Rotated, mirrored or coarser views of a tile whose scores are averaged."""

    def score(self, before: Sequence[Image], after: Sequence[Image]) -> NDArray[np.float32]:
        """Score a batch of tiles.

        Args:
            before: B tiles, (h, w, C), stored values, all of one size that is a multiple of
                ``stride``.
            after: The same places at the second date.

        Returns:
            Scores, (B, h, w), float32 in [0, 1].
        """

    def score_resident(self, before: Sequence[Image], after: Sequence[Image]) -> Resident:
        """Score a batch of tiles like :meth:`score` and leave the result where it was computed."""

    def to_host(self, scores: Resident) -> NDArray[np.float32]:
        """Bring scores to main memory."""


def checked_scores(scores: Resident, scorer: Scorer) -> Resident:
    """Let scores through that are numbers, of which a threshold can say something.

    A score that is none would count as unchanged, and in a scene as missing data. A scorer that
    scores values like those of its training is sound: then the pixels are to blame.

    Args:
        scores: Of a batch of tiles, as the scorer gave them.
        scorer: Who gave them.

    Raises:
        CheckpointError: If one is NaN or infinite, and the scorer gives such scores for ordinary
            values, too.
        DataError: If it does so for these values only, or has no weights that could be the reason.
    """
    # NaN and infinity spread to the range; this is one number to fetch from a device.
    if math.isfinite(float(scores.max() - scores.min())):
        return scores
    architecture = scorer.card.architecture
    fault = "scores that are not finite numbers (NaN or infinite)"
    if architecture.startswith("baseline:"):
        raise DataError(
            f"{architecture} gives {fault} on these pixel values; check them with gdalinfo -stats, "
            "or choose other bands (`bands`)"
        )
    name = getattr(scorer, "source", None) or f"the model ({architecture})"
    if _scores_ordinary_values(scorer):
        raise DataError(
            f"{name} gives {fault} on these pixel values, which are far beyond those it was "
            "trained on: check them with gdalinfo -stats, and say what marks missing pixels "
            "(`nodata`) or choose other bands (`bands`)"
        )
    raise CheckpointError(
        f"{name} gives {fault}: its weights are damaged, or its training diverged; use another "
        "model"
    )


def _scores_ordinary_values(scorer: Scorer) -> bool:
    """Tell whether a scorer works on values like those it was trained on, by trying it."""
    tile_px, stride = scorer.card.tile_px, scorer.stride
    side = tile_px if scorer.fixed_tile else max(1, -(-_TRIED_PX // stride)) * stride
    normalisation = scorer.card.normalisation
    noise = np.random.default_rng(0).standard_normal((2, side, side, scorer.in_channels))
    statistics = (
        (normalisation.mean_before, normalisation.std_before),
        (normalisation.mean_after, normalisation.std_after),
    )
    before, after = (
        (np.array(mean) + np.array(std) * one).astype(np.float32)
        for (mean, std), one in zip(statistics, noise, strict=True)
    )
    scores = scorer.score([before], [after])
    return bool(np.isfinite(scores).all())


class HostScorer(MainMemory):
    """The part of :class:`Scorer` that is the same for all that computes in main memory."""

    @property
    def device_name(self) -> str:
        """Main memory belongs to the CPU."""
        return "cpu"

    def score(self, before: Sequence[Image], after: Sequence[Image]) -> NDArray[np.float32]:
        """Score a batch of tiles, see :meth:`Scorer.score`."""
        raise NotImplementedError

    def score_resident(
        self, before: Sequence[Image], after: Sequence[Image]
    ) -> NDArray[np.float32]:
        """Score a batch of tiles."""
        return self.score(before, after)

    def to_host(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give the scores themselves."""
        return scores


@runtime_checkable
class KnownByWeights(Protocol):
    """A scorer that can tell its weights from those of another one with the same card."""

    @property
    def weights_sha256(self) -> str:
        """Checksum of the weights."""


@runtime_checkable
class Zooming(Protocol):
    """A scorer whose network finds kinds of change, and can be shown images shrunk or enlarged."""

    kind: str | None
    zoom: float

    def for_kind(self, kind: str | None) -> Scorer:
        """Give a scorer of another kind of change, with the same network."""

    def zoomed(self, zoom: float) -> Scorer:
        """Give a scorer with the same network that sees the images in another size."""


class FittedScorer(Scorer, Protocol):
    """Scores tiles of the scene that was measured for it."""

    @property
    def measured(self) -> Mapping[str, Any]:
        """What was measured, for reports, as plain JSON types."""


@runtime_checkable
class SceneFitted(Protocol):
    """A method without training that measures each scene before it can score tiles of it."""

    def fit(
        self,
        read: Callable[[Window], PairPixels],
        windows: Sequence[Window],
        *,
        say: Callable[[str], None] = ...,
    ) -> FittedScorer:
        """Measure a scene and give what scores its tiles.

        Args:
            read: Gives both dates of a window of the scene, with the pixels that hold data.
            windows: Windows that cover all that will be scored, each small enough for memory.
            say: Gets sentences for the user, such as which share of the pixels was measured.

        Raises:
            DataError: If no pixel has data in both dates, or nothing can be measured.
        """
