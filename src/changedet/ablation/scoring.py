"""Judge one source of scores for an ablation: counts of each image, and heat maps of a few."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from changedet.ablation.estimates import (
    BLOTCHES,
    CONTRAST,
    F1,
    Counts,
    Estimate,
    Figure,
    FloatArray,
    Sums,
    estimate_figure,
)
from changedet.ablation.heat_maps import (
    BLOTCH_COLUMNS,
    MOMENT_COLUMNS,
    BlotchCounter,
    score_moments,
)
from changedet.data.index import index_pairs
from changedet.data.labelled import DecodedPair, LabelledPair
from changedet.data.labels.scan import LabelEncoding
from changedet.errors import DataError
from changedet.inference.counting import OnScore, ScoredPair
from changedet.inference.score_source import ScoreSource
from changedet.metrics.confusion import confusion_at, counts_at
from changedet.metrics.curve import average_precision, max_f1, roc_auc
from changedet.metrics.histogram import PAPER_THRESHOLDS, ScoreHistogram
from changedet.metrics.protocol import SELECTION_SET_NOTE, choose_threshold
from changedet.rendering.display import as_rgb
from changedet.rendering.pictures import Pixels, heatmap, label_picture, write_png
from changedet.storage.json_values import to_json_value
from changedet.types import Mode

Protocol = Literal["seed", "honest"]
#: What of a source is estimated over images.
Measure = Literal["f1", "blotches", "contrast"]
#: Those that say how clean the heat maps are.
HEAT_MAP_MEASURES: tuple[Literal["blotches", "contrast"], ...] = ("blotches", "contrast")
FIGURES: dict[Measure, Figure] = {"f1": F1, "blotches": BLOTCHES, "contrast": CONTRAST}
#: Columns of :func:`changedet.metrics.confusion.counts_at` that F1 needs.
_F1_COLUMNS = 3
_PICTURE_PX = 256


@dataclass(frozen=True, eq=False)
class SplitScore:
    """Figures of a source under one protocol.

    Attributes:
        protocol: ``seed``: the best of 96 thresholds on these very images; ``honest``: a threshold
            that other images chose.
        split: The split that is judged.
        threshold: Score from which on a pixel counts as changed; NaN: there is none.
        counts: Hits, false alarms and misses of every image, (N, 3).
        blotches: Blotches at the source's own threshold, and 1, of every image, (N, 2), see
            :class:`BlotchCounter`; without a row if it has no threshold.
        moments: Sums over the scores of both classes of every image, (N, 6), see
            :func:`score_moments`.
        precision: Precision, NaN where undefined.
        recall: Recall, NaN where undefined.
        average_precision: Area under the precision-recall curve, NaN where undefined.
        roc_auc: Area under the ROC curve, NaN where undefined.
        note: What a reader must know.
    """

    protocol: Protocol
    split: str
    threshold: float
    counts: Counts
    blotches: Counts
    moments: FloatArray
    precision: float
    recall: float
    average_precision: float
    roc_auc: float
    note: str | None

    def sums(self, measure: Measure) -> Sums:
        """Sums of every image that a measure is computed from, (N, K)."""
        by_measure: dict[Measure, Sums] = {
            "f1": self.counts,
            "blotches": self.blotches,
            "contrast": self.moments,
        }
        return by_measure[measure]

    def estimate(self, measure: Measure = "f1") -> Estimate:
        """Estimate a measure with its bootstrap interval over images."""
        return estimate_figure([self.sums(measure)], FIGURES[measure])

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON types, undefined figures as null."""
        estimate = self.estimate()
        return {
            **{name: to_json_value(value) for name, value in vars(self).items()},
            "images": len(self.counts),
            "f1": to_json_value(estimate.mean),
            "interval": to_json_value([estimate.low, estimate.high]),
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "SplitScore":
        """Rebuild from :meth:`to_dict`."""
        numbers = ("threshold", "precision", "recall", "average_precision", "roc_auc")
        return cls(
            protocol=fields["protocol"],
            split=fields["split"],
            counts=np.array(fields["counts"], dtype=np.int64).reshape(-1, _F1_COLUMNS),
            blotches=np.array(fields["blotches"], dtype=np.int64).reshape(-1, BLOTCH_COLUMNS),
            moments=np.array(fields["moments"], dtype=np.float64).reshape(-1, MOMENT_COLUMNS),
            note=fields["note"],
            **{name: np.nan if fields[name] is None else fields[name] for name in numbers},
        )


@dataclass(frozen=True)
class JudgedSplits:
    """Which splits judge, how, and which pairs are shown.

    Attributes:
        data: Folder of the data set, or manifest of scenes.
        benchmark: Name of a known benchmark; None: the layout is found out.
        val_split: Split of the seed protocol; it chooses the honest threshold.
        test_split: Split of the honest protocol; None: there is none, or nothing has changed in it.
        shown: Names of the validation pairs whose heat maps are drawn.
        mode: How large images are tiled.
    """

    data: Path
    benchmark: str | None
    val_split: str
    test_split: str | None
    shown: tuple[str, ...]
    mode: Mode = "whole"


def judge_source(
    source: ScoreSource, splits: JudgedSplits, *, encoding: LabelEncoding, folder: Path
) -> dict[Protocol, SplitScore]:
    """Judge a source by both protocols and draw its heat maps.

    The honest threshold is the one that :func:`choose_threshold` takes from the validation split,
    for models and floors alike.

    Args:
        source: A model or a floor.
        splits: What to judge on.
        encoding: What the labels' values mean.
        folder: Gets ``01_score.png`` and so on, and beside each what the pair shows.

    Returns:
        The figures by protocol; ``honest`` is missing where there is no split for it.

    Raises:
        DataError: If a pair cannot be read, a split is missing or holds no changed pixel.
        StorageError: If a picture cannot be written.
    """
    index = index_pairs(
        splits.data, benchmark=splits.benchmark, channels=source.detector.in_channels
    )
    pairs = index.split(splits.val_split)

    def draw(scored: ScoredPair) -> None:
        name = pairs[scored.number].name
        if name in splits.shown:
            place = folder / f"{splits.shown.index(name) + 1:02d}"
            _write_pictures(place, scored.pair, scored.score)

    val, blotches = _count(source, pairs, encoding, mode=splits.mode, draw=draw)
    scores: dict[Protocol, SplitScore] = {
        "seed": _score(
            val,
            blotches,
            max_f1(val, PAPER_THRESHOLDS).threshold,
            protocol="seed",
            split=splits.val_split,
            note=f"{SELECTION_SET_NOTE}: the threshold is chosen on these very images",
        )
    }
    if splits.test_split is not None:
        test, blotches = _count(source, index.split(splits.test_split), encoding, mode=splits.mode)
        scores["honest"] = _score(
            test,
            blotches,
            choose_threshold(val),
            protocol="honest",
            split=splits.test_split,
            note=None,
        )
    return scores


def choose_shown(
    pairs: Sequence[LabelledPair], changed: Sequence[float], *, count: int
) -> list[str]:
    """Choose the pairs whose heat maps are drawn, by their labels alone.

    Args:
        pairs: The validation split.
        changed: Share of changed pixels of each.
        count: How many to choose at most.

    Returns:
        Names, from little change to much; pairs without change only where there are no others.
    """
    ranked = sorted(range(len(pairs)), key=lambda number: (changed[number], pairs[number].name))
    with_change = [number for number in ranked if changed[number] > 0.0] or ranked
    wanted = min(count, len(with_change))
    # The middle of each of so many equal parts of the ranking.
    middles = [(2 * part + 1) * len(with_change) // (2 * wanted) for part in range(wanted)]
    return [pairs[with_change[middle]].name for middle in middles]


def _count(
    source: ScoreSource,
    pairs: Sequence[LabelledPair],
    encoding: LabelEncoding,
    *,
    mode: Mode,
    draw: OnScore | None = None,
) -> tuple[ScoreHistogram, Counts]:
    counter = BlotchCounter(source.detector.threshold)

    def observe(scored: ScoredPair) -> None:
        counter.add(scored)
        if draw is not None:
            draw(scored)

    histogram = source.count(
        source.reader(encoding).read_ahead(pairs),
        mode=mode,
        on_score=observe,
    )
    if not histogram.changed.any():
        raise DataError(
            "no pixel of the split is labelled changed, so F1 is undefined; choose another split"
        )
    return histogram, counter.compute()


def _score(
    hist: ScoreHistogram,
    blotches: Counts,
    threshold: float,
    *,
    protocol: Protocol,
    split: str,
    note: str | None,
) -> SplitScore:
    pooled = confusion_at(hist, threshold)
    return SplitScore(
        protocol=protocol,
        split=split,
        threshold=threshold,
        counts=counts_at(hist, threshold)[:, :_F1_COLUMNS],
        blotches=blotches,
        moments=score_moments(hist),
        precision=pooled.precision,
        recall=pooled.recall,
        average_precision=average_precision(hist),
        roc_auc=roc_auc(hist),
        note=note,
    )


def _write_pictures(place: Path, pair: DecodedPair, score: NDArray[np.float32]) -> None:
    """Write a pair and its heat map, small enough for a page of many."""
    pictures = {
        "before": as_rgb(pair.before),
        "after": as_rgb(pair.after),
        "label": label_picture(pair.label),
        "score": heatmap(score),
    }
    for kind, picture in pictures.items():
        write_png(place.with_name(f"{place.name}_{kind}.png"), _shrunk(picture))


def _shrunk(picture: Pixels) -> Pixels:
    image = Image.fromarray(picture)
    image.thumbnail((_PICTURE_PX, _PICTURE_PX), Image.Resampling.BOX)
    return np.asarray(image)
