"""Evaluate a model file on a data set: both protocols, figures a pair, curve and panels."""

import csv
import io
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from changedet._atomic import write_text
from changedet._result_folder import Existing, check_result_folder, result_folder
from changedet._version import __version__
from changedet.data.index import PairIndex, index_pairs
from changedet.data.labelled import LabelledPair
from changedet.data.labels import LabelEncoding, LabelScan, scan_labels
from changedet.data.pairs import DecodedPair, read_pair
from changedet.data.scenes.manifest import READING_SCENES, find_manifest
from changedet.engine.evaluate import Mode, evaluate_pairs, overlap_of
from changedet.errors import ConfigError, DataError
from changedet.experiment.plots import write_precision_recall_curve
from changedet.experiment.prediction import Progress
from changedet.experiment.seen_before import (
    find_seen,
    optimism_note,
    other_bands_note,
)
from changedet.experiment.showcase import choose_pairs, write_panels
from changedet.inference.detector import Detector, checked_threshold, load
from changedet.inference.loading import load_ahead, room_for
from changedet.inference.provenance import GIVEN_BY_HAND, model_facts
from changedet.inference.tiling import score_pairs
from changedet.metrics.confusion import Confusion, per_image
from changedet.metrics.histogram import ScoreHistogram
from changedet.metrics.json_values import to_json_value
from changedet.metrics.protocol import (
    HonestResult,
    SeedResult,
    honest_protocol,
    seed_protocol,
)
from changedet.models.model_file import ModelCard

#: The file that tells a finished evaluation.
METRICS = "metrics.json"
#: What the seed's protocol is worth, said wherever its figures are.
SEED_NOTE = "optimistic: its threshold is chosen on this very set"
_NO_THRESHOLD = (
    "the model holds no threshold, so there is none to apply unchanged; choose one on a validation "
    "split (the seed protocol's there) and give it with --threshold"
)
_CSV_SHARES = ("changed_share", "detected_share")
_CSV_FIGURES = ("f1", "iou", "precision", "recall")


@dataclass(frozen=True)
class EvaluationRequest:
    """What to evaluate, and how.

    Attributes:
        model: Model file.
        data: Folder of the data set, or manifest of scenes.
        out: Folder for the results.
        split: Name of the split to report.
        benchmark: Name of a known benchmark; None: the layout is found out.
        mode: ``whole``: overlapping tiles that fade into each other; ``grid``: side by side.
        threshold: Score in [0, 1] to use instead of the model's own.
        batch_size: Tiles that go through the model at once.
        device: As for :func:`changedet.inference.detector.resolve_device`.
        panels: Number of pairs to show as pictures.
        ignore_value: Label value that counts neither as changed nor as unchanged.
        changed_values: Label values that mean changed, where the labels do not say it themselves.
        existing: Whether the results of an earlier evaluation in ``out`` may be replaced.
    """

    model: Path
    data: Path
    out: Path
    split: str = "test"
    benchmark: str | None = None
    mode: Mode = "whole"
    threshold: float | None = None
    batch_size: int = 8
    device: str = "auto"
    panels: int = 12
    ignore_value: int | None = None
    changed_values: tuple[int, ...] | None = None
    existing: Existing = "refuse"


@dataclass(frozen=True)
class EvaluationReport:
    """What an evaluation found.

    Attributes:
        images: Number of pairs.
        seed: The seed's protocol: the best threshold of this very set.
        honest: The honest protocol; None if there is no threshold to apply.
        threshold_source: Who chose the honest threshold.
        reason: Why there is no honest result.
        pictures_threshold: Score from which pixels count as changed in the panels and per image.
        content: All of it as it stands in ``metrics.json``.
    """

    images: int
    seed: SeedResult
    honest: HonestResult | None
    threshold_source: str | None
    reason: str | None
    pictures_threshold: float
    content: dict[str, Any]


def evaluate_model(
    request: EvaluationRequest,
    *,
    say: Callable[[str], None] = lambda message: None,
    progress: Progress | None = None,
) -> EvaluationReport:
    """Evaluate a model file on a split of any labelled data set (spec 5).

    Writes ``metrics.json``, ``per_image.csv``, ``precision_recall.png`` and ``panels/`` to
    ``request.out``, which appears when everything is done.

    Args:
        request: What to evaluate, and how.
        say: Gets sentences for the user.
        progress: Called after each pair.

    Raises:
        ConfigError: If a setting is wrong or ``out`` is not free.
        DataError: If the data set, a pair or a label cannot be used.
        CheckpointError: If the model file cannot be used.
        StorageError: If the results cannot be written.
    """
    _check_request(request)
    detector = load(request.model, device=request.device)
    if find_manifest(request.data) is not None:
        say(READING_SCENES)
    index = index_pairs(request.data, benchmark=request.benchmark, channels=detector.in_channels)
    _check_pixel_type(request, index, detector.card)
    pairs = _labelled(request, index, channels=detector.in_channels)
    scan = _scan(request, index, detector.card)
    encoding = scan.encoding
    for sentence in (
        *index.notes,
        *other_bands_note(detector.card, index),
        f"labels: {encoding.describe()}",
        *scan.notes,
    ):
        say(sentence)
    started = time.monotonic()
    histogram = _count(request, detector, pairs, encoding=encoding, progress=progress)
    seconds = time.monotonic() - started
    report = _judge(request, detector, index, histogram=histogram)
    report.content["data"]["label"] = encoding.to_dict()
    report.content["seconds"] = round(seconds, 3)
    with result_folder(request.out, marker=METRICS, existing=request.existing) as folder:
        counts = per_image(histogram, report.pictures_threshold)
        _write_per_image(folder / "per_image.csv", pairs, counts)
        write_precision_recall_curve(
            folder / "precision_recall.png",
            histogram,
            title=f"{index.name}, split {request.split}",
            threshold=None if report.honest is None else report.honest.threshold,
        )
        write_panels(
            folder / "panels",
            choose_pairs(counts, request.panels),
            pairs=pairs,
            read=lambda pair: _read(detector, pair, encoding),
            score=lambda pair: _score(detector, pair, request.mode),
            threshold=report.pictures_threshold,
        )
        write_text(folder / METRICS, json.dumps(report.content, indent=2) + "\n")
    return report


def _check_request(request: EvaluationRequest) -> None:
    check_result_folder(request.out, marker=METRICS, existing=request.existing)
    if request.threshold is not None:
        checked_threshold(request.threshold)
    if request.panels < 0:
        raise ConfigError(f"--panels must be at least 0, got {request.panels}")


def _check_pixel_type(request: EvaluationRequest, index: PairIndex, card: ModelCard) -> None:
    if index.pixel_type != card.pixel_type:
        raise ConfigError(
            f"{request.model} was trained on {card.pixel_type} values, {request.data} holds "
            f"{index.pixel_type}; use data of the same kind, or a model that was trained on it"
        )


def _labelled(
    request: EvaluationRequest, index: PairIndex, *, channels: int
) -> tuple[LabelledPair, ...]:
    split = request.split
    if split not in index.splits:
        everything = index_pairs(
            request.data, benchmark=request.benchmark, labelled=False, channels=channels
        )
        if split in everything.splits:
            raise DataError(
                f"split {split!r} of {request.data} has no labels, which evaluation compares with; "
                "add them, or use `changedet predict`, which needs none"
            )
    return index.split(split)


def _scan(request: EvaluationRequest, index: PairIndex, card: ModelCard) -> LabelScan:
    """Decide from all masks of the data set, helped by what was declared when training on it."""
    declared = card.label if card.label is not None and card.data_name == index.name else {}
    ignore_value, changed_values = request.ignore_value, request.changed_values
    if ignore_value is None:
        ignore_value = declared.get("ignore_value")
    if changed_values is None and declared.get("kind") == "declared":
        changed_values = tuple(declared["changed"])
    return scan_labels(index.pairs, ignore_value=ignore_value, changed_values=changed_values)


def _count(
    request: EvaluationRequest,
    detector: Detector,
    pairs: Sequence[LabelledPair],
    *,
    encoding: LabelEncoding,
    progress: Progress | None,
) -> ScoreHistogram:
    def read(pair: LabelledPair) -> DecodedPair:
        return _read(detector, pair, encoding)

    def count_up(number: int, _: Tensor) -> None:
        if progress is not None:
            progress(number + 1, len(pairs))

    threshold = _threshold(request, detector)
    return evaluate_pairs(
        detector.model,
        load_ahead(read, pairs, ahead=room_for(pairs[0].size())),
        normalisation=detector.card.normalisation,
        tile_px=detector.tile_px,
        device=detector.device,
        batch_size=request.batch_size,
        mode=request.mode,
        extra_thresholds=() if threshold is None else (threshold,),
        observer=count_up,
    )


def _read(detector: Detector, pair: LabelledPair, encoding: LabelEncoding) -> DecodedPair:
    """Read a pair as prediction would show it to the model."""
    return read_pair(
        pair,
        encoding=encoding,
        channels=detector.in_channels,
        fill=detector.card.normalisation,
    )


def _threshold(request: EvaluationRequest, detector: Detector) -> float | None:
    return detector.threshold if request.threshold is None else request.threshold


def _judge(
    request: EvaluationRequest,
    detector: Detector,
    index: PairIndex,
    *,
    histogram: ScoreHistogram,
) -> EvaluationReport:
    seed = seed_protocol(histogram)
    threshold = _threshold(request, detector)
    seen = find_seen(detector.card, index, split=request.split)
    honest: HonestResult | None = None
    reason: str | None = _NO_THRESHOLD
    source = GIVEN_BY_HAND if request.threshold is not None else detector.card.threshold_source
    if threshold is not None:
        by_hand = request.threshold is not None
        note = optimism_note(detector.card, index, split=request.split, seen=seen, by_hand=by_hand)
        honest, reason = honest_protocol(histogram, threshold, note=note), None
    for_pictures = _first_number(threshold, seed.threshold)
    content: dict[str, Any] = {
        "version": __version__,
        "model": model_facts(request.model, detector.card),
        "data": {
            "name": index.name,
            "root": str(request.data),
            "layout": index.layout,
            "benchmark": request.benchmark,
        },
        "split": request.split,
        "images": histogram.images,
        "mode": request.mode,
        "tile_px": detector.tile_px,
        "seed": {
            **seed.to_dict(),
            "note": "; ".join([SEED_NOTE, *(seen.in_training if seen else ())]),
        },
        "seen_blocks": seen and seen._asdict(),
        "honest": honest and {**honest.to_dict(), "threshold_source": source},
        "reason": reason,
        "average_precision": to_json_value(seed.average_precision),
        "roc_auc": to_json_value(seed.roc_auc),
        "pictures_threshold": for_pictures,
        "device": str(detector.device),
    }
    return EvaluationReport(
        images=histogram.images,
        seed=seed,
        honest=honest,
        threshold_source=None if honest is None else source,
        reason=reason,
        pictures_threshold=for_pictures,
        content=content,
    )


def _first_number(*candidates: float | None) -> float:
    """Pick the threshold for panels and per-image figures: the honest one, or else the seed's."""
    numbers = [value for value in candidates if value is not None and not math.isnan(value)]
    # Without any changed pixel no threshold is better than another; take the middle of the scale.
    return numbers[0] if numbers else 0.5


def _write_per_image(
    path: Path, pairs: Sequence[LabelledPair], counts: Sequence[Confusion]
) -> None:
    """Write one row a pair; a share or figure that is undefined stays empty."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["name", *_CSV_SHARES, *Confusion._fields, *_CSV_FIGURES])
    for pair, count in zip(pairs, counts, strict=True):
        pixels = sum(count) or math.nan
        shares = [(count.tp + count.fn) / pixels, (count.tp + count.fp) / pixels]
        figures = [getattr(count, figure) for figure in _CSV_FIGURES]
        shown = ["" if math.isnan(value) else f"{value:.6f}" for value in (*shares, *figures)]
        writer.writerow([pair.name, *shown[:2], *count, *shown[2:]])
    write_text(path, table.getvalue())


def _score(detector: Detector, pair: DecodedPair, mode: Mode) -> NDArray[np.float32]:
    score = next(
        score_pairs(
            detector.model,
            [(pair.before, pair.after)],
            normalisation=detector.card.normalisation,
            tile_px=detector.tile_px,
            overlap_px=overlap_of(mode, detector.tile_px),
            batch_size=1,
            device=detector.device,
        )
    )
    return score.cpu().numpy()
