"""Choose a model file's threshold again, for the very weights and views that will be used."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from changedet._version import __version__
from changedet.card import (
    FORMAT_VERSION,
    ModelCard,
    calibration_key,
    checked_name,
    read_precision,
)
from changedet.data.index import PairIndex, index_pairs
from changedet.data.labelled import LabelledPair
from changedet.data.labels.scan import LabelEncoding
from changedet.data.rasters.manifest import READING_SCENES, find_manifest
from changedet.data.rasters.provenance import add_validation, record_blocks
from changedet.data.seen import splits_trained_on, training_data
from changedet.errors import ConfigError
from changedet.evaluation.leakage import find_seen, other_bands_note
from changedet.evaluation.model_data import (
    at_working_gsd,
    bands_for,
    check_pixel_type,
    scan_labels_as_trained,
)
from changedet.inference.counting import ScoredPair
from changedet.inference.detector import Detector
from changedet.inference.devices import resolve_device
from changedet.inference.memory import keep_freed_memory
from changedet.inference.provenance import kind_note
from changedet.inference.score_source import source_of
from changedet.inference.torch_scorer import TorchScorer
from changedet.metrics.confusion import Confusion, confusion_at
from changedet.metrics.curve import average_precision
from changedet.metrics.histogram import ScoreHistogram
from changedet.metrics.protocol import SELECTION_SET_NOTE, choose_threshold
from changedet.model_search import find_model
from changedet.models.base import ChangeModel
from changedet.models.model_file import load_model, rounded_tensors, save_model
from changedet.selection import Selection
from changedet.storage.output_folder import Existing, check_result_file
from changedet.storage.paths import PathFields
from changedet.types import Mode, Precision, Progress, TestTime


@dataclass(frozen=True)
class CalibrationRequest(PathFields):
    """Which model file to calibrate on what, and how it is to be used and stored.

    Attributes:
        model: Model file, folder of a training run, or name of a model.
        out: Model file to write.
        data: Folder of the data set, or manifest of scenes.
        split: Name of the split that chooses the threshold.
        benchmark: Name of a known benchmark; None: the layout is found out.
        mode: ``whole``: overlapping, blended tiles; ``grid``: side by side.
        test_time: Test-time augmentation; None: the one stored with the model.
        kind: Kind of change whose threshold is chosen, of those that the model tells apart; the
            others keep theirs. None: the first one.
        gsd_m: Side of a pixel on the ground in metres, for a model that states at which ones it
            works; None: what the georeference of the images says.
        precision: Type of the weights in ``out``; the scores are those of the rounded weights.
        batch_size: Tiles that go through the model at once.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        ignore_value: Label value whose pixels are ignored.
        changed_values: Label values that mean changed, where the labels do not say it themselves.
        bands: Bands of rasters, from 1, in the model's order; None: those of the training.
        bands_after: Those of the second date where they differ.
        existing: Whether an existing file ``out``, which may be ``model``, may be replaced.
    """

    model: Path
    out: Path
    data: Path
    split: str = "val"
    benchmark: str | None = None
    mode: Mode = "whole"
    test_time: TestTime | None = None
    kind: str | None = None
    gsd_m: float | None = None
    precision: Precision = "float32"
    batch_size: int = 8
    device: str = "auto"
    ignore_value: int | None = None
    changed_values: tuple[int, ...] | None = None
    bands: tuple[int, ...] | None = None
    bands_after: tuple[int, ...] | None = None
    existing: Existing = "refuse"


class Operation(NamedTuple):
    """How a model file is used, and what that gives on the images that chose the threshold.

    Attributes:
        threshold: Score in [0, 1] from which on a pixel counts as changed, if there is one.
        test_time: Views whose scores are averaged.
        precision: Type of the stored weights.
        f1: F1 of the change class at that threshold; None without one.
    """

    threshold: float | None
    test_time: TestTime
    precision: str
    f1: float | None


@dataclass(frozen=True)
class CalibrationReport:
    """What a calibration chose.

    Attributes:
        out: The file that was written.
        card: Its model card.
        images: Number of pairs that chose.
        before: The file as it was, on these pairs.
        after: The new file on the same pairs: optimistic, since they chose its threshold.
        size_bytes: Size of the written file.
    """

    out: Path
    card: ModelCard
    images: int
    before: Operation
    after: Operation
    size_bytes: int


def calibrate_model(
    request: CalibrationRequest,
    *,
    say: Callable[[str], None] = lambda message: None,
    progress: Progress | None = None,
) -> CalibrationReport:
    """Choose the threshold on a split and write it into a new model file, the rest unchanged.

    The split is scored with the weights as they will be stored (rounded first) and with the
    test-time augmentation that the new file will name. The threshold is that of
    :func:`changedet.metrics.protocol.choose_threshold`.

    Args:
        request: What to calibrate, and how.
        say: Gets sentences for the user.
        progress: Called after each pair.

    Raises:
        ConfigError: If ``out`` exists and may not be replaced, a setting is wrong, or the model was
            trained on the split.
        DataError: If the data set, a pair or a label cannot be used, or nothing has changed in it.
        CheckpointError: If the model file cannot be used.
        StorageError: If the file cannot be written.
    """
    out = checked_name(request.out)
    check_result_file(out, existing=request.existing)
    keep_freed_memory(str(resolve_device(request.device)))
    request = replace(request, model=find_model(request.model))
    model, stored = load_model(request.model)
    # What is chosen is for this kind of change; the other kinds keep what they have.
    card = stored.for_kind(request.kind)
    if find_manifest(request.data) is not None:
        say(READING_SCENES)
    split = _open_split(request, card, channels=model.in_channels)
    for sentence in (*split.notes, *_on_kinds(request, card)):
        say(sentence)
    precision = read_precision(request.model)
    old, new = _count_both(request, model, card, split=split, say=say, progress=progress)
    threshold = choose_threshold(new)
    old_f1 = None if card.threshold is None else confusion_at(old, card.threshold).f1
    before = Operation(card.threshold, card.test_time, precision, old_f1)
    test_time = request.test_time or card.test_time
    confusion = confusion_at(new, threshold)
    after = Operation(threshold, test_time, request.precision, confusion.f1)
    images = len(split.pairs)
    selection = Selection(
        "calibration",
        data=split.index.name,
        split=request.split,
        images=images,
        mode=request.mode,
        test_time=test_time,
        precision=request.precision,
    )
    name = calibration_key(card, card.kind_index(request.kind))
    chosen = replace(
        stored.with_threshold(request.kind, threshold, selection),
        test_time=test_time,
        metrics={**card.metrics, name: _figures(request, new, confusion)},
        blocks=_with_selection_blocks(card.blocks, split),
        package_version=__version__,
        format_version=FORMAT_VERSION,
    )
    save_model(out, model, chosen, precision=request.precision)
    return CalibrationReport(out, chosen, images, before, after, out.stat().st_size)


def _on_kinds(request: CalibrationRequest, card: ModelCard) -> Iterator[str]:
    """Say which kind of change is calibrated, and what does not fit the others any more."""
    first = card.kinds[0].name if card.kinds else None
    note = kind_note(card, first, given=request.kind)
    if note is not None:
        yield note
    chosen = card.kind_index(request.kind)
    others = [
        kind.name
        for index, kind in enumerate(card.kinds)
        if index != chosen and kind.threshold is not None
    ]
    test_time = request.test_time or card.test_time
    if others and test_time != card.test_time:
        yield (
            f"warning: the thresholds of {', '.join(others)} were chosen for test-time "
            f"augmentation {card.test_time}, and the new file names {test_time} for all kinds of "
            "change; calibrate each of them (`kind`)"
        )


@dataclass(frozen=True)
class _Split:
    """The labelled pairs that choose, and how to read them."""

    index: PairIndex
    pairs: Sequence[LabelledPair]
    encoding: LabelEncoding
    notes: tuple[str, ...]


def _open_split(request: CalibrationRequest, card: ModelCard, *, channels: int) -> _Split:
    index = index_pairs(
        request.data,
        benchmark=request.benchmark,
        channels=channels,
        bands=bands_for(card, request.bands, request.bands_after),
    )
    check_pixel_type(request.model, card.pixel_type, index, data=request.data)
    pairs = index.split(request.split)
    _refuse_training_split(request, card, index)
    scan = scan_labels_as_trained(
        index, [card], ignore_value=request.ignore_value, changed_values=request.changed_values
    )
    notes = (
        *index.notes,
        *other_bands_note(card, index),
        f"labels: {scan.encoding.describe()}",
        *scan.notes,
    )
    return _Split(index, pairs, scan.encoding, notes)


def _refuse_training_split(request: CalibrationRequest, card: ModelCard, index: PairIndex) -> None:
    """On images that a network was trained on its scores are better than they will ever be."""
    seen = find_seen(card, index, split=request.split)
    if seen is not None:
        trained, chose = seen.trained_on > 0, seen.chosen_on == seen.blocks
    else:
        training = splits_trained_on(card, index.name)
        trained = request.split in training
        # A run on several splits that validates on one of them chooses nothing there.
        chose = (
            training_data(card, index.name).get("val_split") == request.split and len(training) == 1
        )
    if trained and not chose:
        raise ConfigError(
            f"{request.model} was trained on split {request.split!r} of {index.name}, where its "
            "scores are better than elsewhere, so a threshold from there would be too high or too "
            "low; use its validation split (`split`) or another data set (`data`)"
        )


def _count_both(
    request: CalibrationRequest,
    model: ChangeModel,
    card: ModelCard,
    *,
    split: _Split,
    say: Callable[[str], None],
    progress: Progress | None,
) -> tuple[ScoreHistogram, ScoreHistogram]:
    """Count with the original file, then with the new one; ``model`` is changed into the latter."""
    test_time = request.test_time or card.test_time
    rounded = rounded_tensors(model, precision=request.precision)
    weights = model.state_dict()
    is_same = test_time == card.test_time and all(
        torch.equal(weights[name], value.to(weights[name])) for name, value in rounded.items()
    )
    passes = 1 if is_same or card.threshold is None else 2
    done = 0

    def count_up(_: ScoredPair) -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, passes * len(split.pairs))

    def count(test_time: TestTime, say: Callable[[str], None]) -> ScoreHistogram:
        scorer = TorchScorer(
            model,
            card,
            device=request.device,
            test_time=test_time,
            kind=request.kind,
            source=str(request.model),
        )
        source = source_of(Detector(scorer, path=request.model))
        source, _ = at_working_gsd(source, split.pairs, given=request.gsd_m, say=say)
        return source.count(
            source.reader(split.encoding).read_ahead(split.pairs),
            mode=request.mode,
            batch_size=request.batch_size,
            on_score=count_up,
        )

    old = count(card.test_time, lambda message: None) if passes > 1 else None
    model.load_state_dict(rounded)
    new = count(test_time, say)
    return new if old is None else old, new


def _figures(
    request: CalibrationRequest, histogram: ScoreHistogram, confusion: Confusion
) -> dict[str, Any]:
    return {
        "split": request.split,
        "images": histogram.images,
        "mode": request.mode,
        "precision_of_weights": request.precision,
        **{name: getattr(confusion, name) for name in ("f1", "iou", "precision", "recall")},
        "average_precision": average_precision(histogram),
        "note": SELECTION_SET_NOTE,
    }


def _with_selection_blocks(
    stored: Mapping[str, Any] | None, split: _Split
) -> dict[str, Any] | None:
    """Add the blocks that choose now to those that the model has met, so that it is known."""
    if split.index.scenes is None:
        return None if stored is None else dict(stored)
    chosen = record_blocks([], split.pairs, gap_px=split.index.scenes.gap_px)
    if stored is None:
        return chosen
    return add_validation(stored, chosen)
