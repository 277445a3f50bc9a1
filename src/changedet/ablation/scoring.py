"""Evaluate one source of scores for an ablation: counts of each image, and heat maps of a few."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from changedet.ablation.estimates import Counts
from changedet.ablation.heat_maps import FalsePositiveCounter, score_moments
from changedet.ablation.scores import F1_COLUMNS, Protocol, SplitScore
from changedet.data.index import BandChoice, index_pairs
from changedet.data.labelled import LabelledPair
from changedet.data.labels.scan import LabelEncoding
from changedet.data.mixture import by_set, member_of, set_name
from changedet.domain import shared_gsd, zoom_to
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
from changedet.types import Mode

_PICTURE_PX = 256


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


class JudgedScores(NamedTuple):
    """Figures of a source.

    Attributes:
        scores: By protocol; ``fixed_threshold`` is missing where there is no split for it.
        held_out: Both protocols for each held-out set.
    """

    scores: dict[Protocol, SplitScore]
    held_out: dict[str, dict[Protocol, SplitScore]]


def split_held_out(
    pairs: Sequence[LabelledPair], names: Sequence[str]
) -> tuple[list[LabelledPair], dict[str, list[LabelledPair]]]:
    """Part the pairs of held-out sets of a mixture from the others.

    Args:
        pairs: Pairs of one split.
        names: The held-out sets.

    Returns:
        The other pairs, and those of each held-out set by its name.

    Raises:
        DataError: If a held-out set has no pair in the split.
    """
    held_out: dict[str, list[LabelledPair]] = {name: [] for name in names}
    others: list[LabelledPair] = []
    for pair in pairs:
        held_out.get(set_name(pair), others).append(pair)
    for name, own in held_out.items():
        if not own:
            raise DataError(
                f"the held-out set {name!r} has no pair in the validation split, so nothing can be "
                "evaluated on it; add some, or hold out another set (`data.held_out`)"
            )
    return others, held_out


def judge_source(
    source: ScoreSource, splits: JudgedSplits, *, encoding: LabelEncoding, folder: Path
) -> JudgedScores:
    """Evaluate a source by both protocols, also on held-out sets, and draw its heat maps.

    The fixed threshold is the one that :func:`choose_threshold` takes from the validation split,
    for models and baselines alike. On a held-out set a model that knows several kinds of change
    has that of the set's kind, as its file states it.

    Args:
        source: A model or an untrained baseline.
        splits: What to evaluate on.
        encoding: What the labels' values mean.
        folder: Gets ``01_score.png`` and so on, and beside each what the pair shows.

    Returns:
        The figures.

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
    pairs, held_out = split_held_out(index.split(splits.val_split), splits.held_out)

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
            source,
            [
                pair
                for pair in index.split(splits.test_split)
                if set_name(pair) not in splits.held_out
            ],
            encoding,
            mode=splits.mode,
        )
        scores["fixed_threshold"] = _score(
            test,
            false_positives,
            choose_threshold(val),
            protocol="fixed_threshold",
            split=splits.test_split,
            note=None,
        )
    return JudgedScores(
        scores,
        {
            name: _judge_held_out(source, own, encoding, splits=splits, fixed=choose_threshold(val))
            for name, own in held_out.items()
        },
    )


def _judge_held_out(
    source: ScoreSource,
    pairs: Sequence[LabelledPair],
    encoding: LabelEncoding,
    *,
    splits: JudgedSplits,
    fixed: float,
) -> dict[Protocol, SplitScore]:
    seeing = _seeing(source, pairs[0])
    stored = seeing.detector.threshold
    fixed = fixed if seeing.card is None or stored is None else stored
    counted, false_positives = _count(source, pairs, encoding, mode=splits.mode, thresholds=[fixed])
    thresholds: dict[Protocol, float] = {
        # The 96 of the papers may lie too far apart for what a network has not seen.
        "best_threshold": max_f1(counted).threshold,
        "fixed_threshold": fixed,
    }
    return {
        protocol: _score(
            counted,
            false_positives,
            threshold,
            protocol=protocol,
            split=splits.val_split,
            note=None,
        )
        for protocol, threshold in thresholds.items()
    }


def _seeing(source: ScoreSource, pair: LabelledPair) -> ScoreSource:
    """Let a model look at a pair: for the kind of change of its set, at the GSD of its data set."""
    member, card = member_of(pair), source.card
    if card is None:
        return source
    detector = source.detector
    if member is None:
        # Rows are trained on the data set that they are judged on.
        known = None if card.domain is None else card.domain.gsd_m
        gsd_m = None if known is None else shared_gsd(known)
    else:
        gsd_m = member.gsd_m
        detector = detector.for_kind(member.kind) if card.kinds else detector
    return replace(source, detector=detector.zoomed(zoom_to(card.working_gsd_m, gsd_m)))


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
    thresholds: Sequence[float] = (),
) -> tuple[ScoreHistogram, Counts]:
    histograms: list[ScoreHistogram] = []
    objects: list[Counts] = []
    for places in by_set(pairs).values() or [range(len(pairs))]:
        seeing = _seeing(source, pairs[places[0]])
        counter = FalsePositiveCounter(seeing.detector.threshold)

        def observe(
            scored: ScoredPair,
            counter: FalsePositiveCounter = counter,
            places: Sequence[int] = places,
        ) -> None:
            counter.add(scored)
            if draw is not None:
                draw(replace(scored, number=places[scored.number]))

        histograms.append(
            seeing.count(
                seeing.reader(encoding).read_ahead([pairs[place] for place in places]),
                mode=mode,
                extra_thresholds=thresholds,
                on_score=observe,
            )
        )
        objects.append(counter.compute())
    histogram = reduce(ScoreHistogram.merge, histograms)
    if not histogram.changed.any():
        raise DataError(
            "no pixel of the split is labelled changed, so F1 is undefined; choose another split"
        )
    return histogram, np.concatenate(objects)


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
        counts=counts_at(hist, threshold)[:, :F1_COLUMNS],
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
