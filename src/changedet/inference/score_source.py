"""A model file or a baseline under evaluation, with the name that it has in reports."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from changedet.data.reading import PairReader
from changedet.inference.baseline_scorer import BaselineMethod
from changedet.inference.counting import count_scores
from changedet.inference.memory import keep_freed_memory
from changedet.inference.tiling import WHOLE_PX, overlap_of, score_pairs

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from changedet.card import ModelCard
    from changedet.data.labelled import DecodedPair
    from changedet.data.labels.encoding import LabelEncoding
    from changedet.inference.counting import OnScore
    from changedet.inference.detector import Detector
    from changedet.metrics.histogram import ScoreHistogram
    from changedet.types import Mode, Normalisation, PixelType


@dataclass(frozen=True, eq=False)
class ScoreSource:
    """A detector with the name under which it is evaluated.

    Attributes:
        spec: What it was opened with: the path of a model file, or ``baseline:NAME``.
        title: Name for tables.
        kind: Whether it was trained.
        detector: Scores pairs.
        metadata: Identifies it for a report, as plain JSON types.
    """

    spec: str
    title: str
    kind: Literal["model", "baseline"]
    detector: Detector
    metadata: dict[str, Any] = field(repr=False)

    @property
    def card(self) -> ModelCard | None:
        """What the model file says; None for a baseline, which has seen no image."""
        return self.detector.card if self.kind == "model" else None

    @property
    def pixel_type(self) -> PixelType | None:
        """Kind of the stored values it takes; None: any."""
        return None if self.card is None else self.card.pixel_type

    @property
    def fill(self) -> Normalisation | None:
        """Statistics whose means stand where a date holds no image; None: zeros."""
        return None if self.card is None else self.card.normalisation

    def reader(self, encoding: LabelEncoding) -> PairReader:
        """Read labelled pairs as prediction would show them."""
        return PairReader(encoding, self.detector.in_channels, self.fill)

    def score(self, pair: DecodedPair, *, mode: Mode = "whole") -> NDArray[np.float32]:
        """Score one pair, (H, W), float32 in [0, 1]."""
        scorer = self.detector.scorer
        tile_px = self._tile_px(mode, None)
        scored = score_pairs(
            scorer,
            [pair],
            images=lambda pair: (pair.before, pair.after),
            tile_px=tile_px,
            overlap_px=overlap_of(mode, tile_px),
            batch_size=1,
        )
        return scorer.to_host(next(scored)[1])

    def count(
        self,
        pairs: Iterable[DecodedPair],
        *,
        mode: Mode = "whole",
        tile_px: int | None = None,
        batch_size: int = 8,
        extra_thresholds: Sequence[float] = (),
        on_score: OnScore | None = None,
    ) -> ScoreHistogram:
        """Count labelled pairs by their scores, see :func:`.counting.count_scores`."""
        return count_scores(
            self.detector.scorer,
            pairs,
            mode=mode,
            tile_px=self._tile_px(mode, tile_px),
            batch_size=batch_size,
            extra_thresholds=extra_thresholds,
            on_score=on_score,
        )

    def _tile_px(self, mode: Mode, tile_px: int | None) -> int:
        """Baselines look at a whole image at once, since they measure each image by itself."""
        if self.kind == "baseline" and mode == "whole":
            return WHOLE_PX
        return self.detector.tile_px if tile_px is None else tile_px


def source_of(detector: Detector) -> ScoreSource:
    """Name what a detector was opened with: a model after its file, a baseline after its method.

    Args:
        detector: As :func:`changedet.inference.opening.open_detector` opens it.
    """
    keep_freed_memory(detector.device_name)
    if isinstance(detector.scorer, BaselineMethod):
        title = detector.scorer.baseline.title
        # Under the former key "floor" for one more version.
        names = {"floor": detector.metadata["baseline"], "title": title}
        metadata = {**detector.metadata, **names}
        return ScoreSource(detector.card.architecture, title, "baseline", detector, metadata)
    path = detector.path or Path(detector.card.architecture)
    return ScoreSource(str(path), path.name, "model", detector, detector.metadata)
