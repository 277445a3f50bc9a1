"""Evaluate one source of scores for an ablation: counts of each image, and heat maps of a few."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
from PIL import Image
from pydantic import computed_field

from changedet.ablation.estimates import (
    CONTRAST,
    F1,
    FALSE_POSITIVE_OBJECTS,
    Counts,
    Estimate,
    Figure,
    FloatArray,
    Sums,
    estimate_figure,
)
from changedet.ablation.heat_maps import (
    FALSE_POSITIVE_COLUMNS,
    MOMENT_COLUMNS,
    FalsePositiveCounter,
    score_moments,
)
from changedet.data.index import BandChoice, index_pairs
from changedet.data.labelled import LabelledPair
from changedet.data.labels.scan import LabelEncoding
from changedet.errors import DataError
from changedet.inference.counting import OnScore, ScoredPair
from changedet.inference.score_source import ScoreSource
from changedet.metrics.confusion import confusion_at, counts_at
from changedet.metrics.curve import average_precision, max_f1, roc_auc
from changedet.metrics.histogram import PAPER_THRESHOLDS, ScoreHistogram
from changedet.metrics.protocol import SELECTION_SET_NOTE, choose_threshold
from changedet.rendering.display import as_rgb
from changedet.rendering.heatmap import heatmap
from changedet.rendering.pictures import label_picture, write_png
from changedet.rendering.tiles import Pixels
from changedet.storage.results import Figure as Number
from changedet.storage.results import Record, Rows
from changedet.types import Mode

#: Figures at the best of 96 thresholds on the reported images, or at one that others chose.
Protocol = Literal["best_threshold", "fixed_threshold"]
PROTOCOLS: tuple[Protocol, ...] = ("best_threshold", "fixed_threshold")


class Evaluation(NamedTuple):
    """Where a source is evaluated, and how.

    Attributes:
        protocol: At which threshold.
        held_out: Name of the held-out set of a mixture; None: the split of the protocol.
    """

    protocol: Protocol
    held_out: str | None = None

    @property
    def column(self) -> str:
        """What the names of its columns begin with."""
        return (
            self.protocol if self.held_out is None else f"held_out_{self.held_out}_{self.protocol}"
        )

    def __str__(self) -> str:
        name = self.protocol.replace("_", " ")
        return name if self.held_out is None else f"{name}, held-out set {self.held_out}"


#: What of a source is estimated over images.
Measure = Literal["f1", "false_positive_objects", "contrast"]
#: Those that say how clean the heat maps are.
HEAT_MAP_MEASURES: tuple[Literal["false_positive_objects", "contrast"], ...] = (
    "false_positive_objects",
    "contrast",
)
FIGURES: dict[Measure, Figure] = {
    "f1": F1,
    "false_positive_objects": FALSE_POSITIVE_OBJECTS,
    "contrast": CONTRAST,
}
#: Columns of :func:`changedet.metrics.confusion.counts_at` that F1 needs.
_F1_COLUMNS = 3
_PICTURE_PX = 256


class SplitScore(Record):
    """Figures of a source under one protocol.

    Attributes:
        protocol: ``best_threshold``: the best of 96 thresholds on these very images;
            ``fixed_threshold``: a threshold that other images chose.
        split: The split that is evaluated.
        threshold: Score from which on a pixel counts as changed; undefined: there is none.
        counts: True positives, false positives and false negatives of every image, (N, 3).
        false_positive_objects: False-positive objects at the source's own threshold, and 1, of
            every image, (N, 2), see :class:`FalsePositiveCounter`; without a row if it has no
            threshold.
        moments: Sums over the scores of both classes of every image, (N, 6), see
            :func:`score_moments`.
        precision: Precision, where defined.
        recall: Recall, where defined.
        average_precision: Area under the precision-recall curve, where defined.
        roc_auc: Area under the ROC curve, where defined.
        note: What a reader must know.
    """

    protocol: Protocol
    split: str
    threshold: Number
    counts: Annotated[Counts, Rows(_F1_COLUMNS, np.int64)]
    false_positive_objects: Annotated[Counts, Rows(FALSE_POSITIVE_COLUMNS, np.int64)]
    moments: Annotated[FloatArray, Rows(MOMENT_COLUMNS, np.float64)]
    precision: Number
    recall: Number
    average_precision: Number
    roc_auc: Number
    note: str | None

    @computed_field  # type: ignore[prop-decorator]
    @property
    def images(self) -> int:
        """Number of images."""
        return len(self.counts)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def f1(self) -> Number:
        """F1 of all images together."""
        return F1.pooled(self.counts)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def interval(self) -> tuple[Number, Number]:
        """Bootstrap interval of F1 over images."""
        estimate = self.estimate()
        return estimate.low, estimate.high

    def sums(self, measure: Measure) -> Sums:
        """Sums of every image that a measure is computed from, (N, K)."""
        by_measure: dict[Measure, Sums] = {
            "f1": self.counts,
            "false_positive_objects": self.false_positive_objects,
            "contrast": self.moments,
        }
        return by_measure[measure]

    def estimate(self, measure: Measure = "f1") -> Estimate:
        """Estimate a measure with its bootstrap interval over images."""
        return estimate_figure([self.sums(measure)], FIGURES[measure])


@dataclass(frozen=True)
class JudgedSplits:
    """Which splits are evaluated, how, and which pairs are shown.

    Attributes:
        data: Folder of the data set, or manifest of scenes.
        benchmark: Name of a known benchmark; None: the layout is found out.
        val_split: Split that chooses models and thresholds; figures on it are optimistic.
        test_split: Split that is evaluated at a fixed threshold; None: there is none, or nothing
            has changed in it.
        shown: Names of the validation pairs whose heat maps are drawn.
        mode: How large images are tiled.
        bands: Bands that are read of rasters; None: the images are pictures.
        bands_after: Those of the second date where they differ.
        held_out: Sets of a mixture that no row is trained on; their validation splits are evaluated
            one by one.
    """

    data: Path
    benchmark: str | None
    val_split: str
    test_split: str | None
    shown: tuple[str, ...]
    mode: Mode = "whole"
    bands: tuple[int, ...] | None = None
    bands_after: tuple[int, ...] | None = None
    held_out: tuple[str, ...] = ()


def judge_source(
    source: ScoreSource, splits: JudgedSplits, *, encoding: LabelEncoding, folder: Path
) -> dict[Protocol, SplitScore]:
    """Evaluate a source by both protocols and draw its heat maps.

    The fixed threshold is the one that :func:`choose_threshold` takes from the validation split,
    for models and baselines alike.

    Args:
        source: A model or an untrained baseline.
        splits: What to evaluate on.
        encoding: What the labels' values mean.
        folder: Gets ``01_score.png`` and so on, and beside each what the pair shows.

    Returns:
        The figures by protocol; ``fixed_threshold`` is missing where there is no split for it.

    Raises:
        DataError: If a pair cannot be read, a split is missing or holds no changed pixel.
        StorageError: If a picture cannot be written.
    """
    index = index_pairs(
        splits.data,
        benchmark=splits.benchmark,
        channels=source.detector.in_channels,
        bands=_bands(source, splits),
    )
    pairs = index.split(splits.val_split)

    def draw(scored: ScoredPair) -> None:
        name = pairs[scored.number].name
        if name in splits.shown:
            place = folder / f"{splits.shown.index(name) + 1:02d}"
            _write_pictures(place, scored, threshold=source.detector.threshold)

    val, false_positives = _count(source, pairs, encoding, mode=splits.mode, draw=draw)
    scores: dict[Protocol, SplitScore] = {
        "best_threshold": _score(
            val,
            false_positives,
            max_f1(val, PAPER_THRESHOLDS).threshold,
            protocol="best_threshold",
            split=splits.val_split,
            note=f"{SELECTION_SET_NOTE}: the threshold is chosen on these same images",
        )
    }
    if splits.test_split is not None:
        test, false_positives = _count(
            source, index.split(splits.test_split), encoding, mode=splits.mode
        )
        scores["fixed_threshold"] = _score(
            test,
            false_positives,
            choose_threshold(val),
            protocol="fixed_threshold",
            split=splits.test_split,
            note=None,
        )
    return scores


def _bands(source: ScoreSource, splits: JudgedSplits) -> BandChoice:
    """Read the bands that a model was trained on; a baseline gets those of the first row."""
    card = source.card
    if card is not None and card.source_bands is not None:
        return BandChoice(card.source_bands, card.source_bands_after, origin="trained")
    bands, bands_after = (
        None if numbers is None else tuple(numbers)
        for numbers in (splits.bands, splits.bands_after)
    )
    return BandChoice(bands, bands_after, origin="trained")


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
    counter = FalsePositiveCounter(source.detector.threshold)

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
    false_positives: Counts,
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
        false_positive_objects=false_positives,
        moments=score_moments(hist),
        precision=pooled.precision,
        recall=pooled.recall,
        average_precision=average_precision(hist),
        roc_auc=roc_auc(hist),
        note=note,
    )


def _write_pictures(place: Path, scored: ScoredPair, *, threshold: float | None) -> None:
    """Write a pair and its heat map, small enough for a page of many."""
    pictures = {
        "before": as_rgb(scored.pair.before),
        "after": as_rgb(scored.pair.after),
        "label": label_picture(scored.pair.label),
        "score": heatmap(scored.score, threshold=threshold),
    }
    for kind, picture in pictures.items():
        write_png(place.with_name(f"{place.name}_{kind}.png"), _shrunk(picture))


def _shrunk(picture: Pixels) -> Pixels:
    image = Image.fromarray(picture)
    image.thumbnail((_PICTURE_PX, _PICTURE_PX), Image.Resampling.BOX)
    return np.asarray(image)
