"""Choose a model file's threshold again, for the very weights and views that will be used."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from changedet._version import __version__
from changedet.card import (
    FORMAT_VERSION,
    ModelCard,
    calibration_key,
    checked_name,
    read_precision,
)
from changedet.data.file_names import find_mixture
from changedet.data.scene_notice import announce_scenes
from changedet.errors import ConfigError
from changedet.evaluation.as_stored import LabelledSet, count_as_stored
from changedet.evaluation.calibration_request import CalibrationRequest as CalibrationRequest
from changedet.evaluation.leakage import refuse_training_split, with_selection_blocks
from changedet.evaluation.model_data import bands_for, open_split
from changedet.inference.devices import resolve_device
from changedet.inference.memory import keep_freed_memory
from changedet.inference.provenance import kind_note
from changedet.kinds import KindOfChange
from changedet.metrics.calibration import (
    at_temperature,
    fit_temperature,
    measure_calibration,
    recalibrated,
)
from changedet.metrics.confusion import Confusion, confusion_at
from changedet.metrics.curve import average_precision
from changedet.metrics.histogram import ScoreHistogram
from changedet.metrics.protocol import SELECTION_SET_NOTE, choose_threshold
from changedet.model_search import find_model
from changedet.models.base import ChangeModel
from changedet.models.model_file import load_model, save_model
from changedet.models.options import gives_probabilities
from changedet.selection import Selection
from changedet.storage.output_folder import check_result_file
from changedet.types import Progress, TestTime


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
        errors: Expected calibration error of the scores before and after; None if they are no
            probabilities.
        temperature: What the new file divides logits by; None: nothing.
    """

    out: Path
    card: ModelCard
    images: int
    before: Operation
    after: Operation
    size_bytes: int
    errors: tuple[float, float] | None = None
    temperature: float | None = None


def calibrate_model(
    request: CalibrationRequest,
    *,
    say: Callable[[str], None] = lambda message: None,
    progress: Progress | None = None,
) -> CalibrationReport:
    """Choose the threshold on a split and write it into a new model file, the rest unchanged.

    The split is scored with the weights as they will be stored (rounded first) and with the
    test-time augmentation that the new file will name. The threshold is that of
    :func:`changedet.metrics.protocol.choose_threshold`. A temperature moves scores and threshold
    alike, so that the same pixels count as changed.

    Args:
        request: What to calibrate, and how.
        say: Gets sentences for the user.
        progress: Called after each pair.

    Raises:
        ConfigError: If ``out`` exists and may not be replaced, a setting is wrong, the model was
            trained on the split, or a temperature is asked for and its scores are distances.
        DataError: If the data set, a pair or a label cannot be used, or nothing has changed in it.
        CheckpointError: If the model file cannot be used.
        StorageError: If the file cannot be written.
    """
    out = checked_name(request.out)
    check_result_file(out, existing=request.existing)
    if find_mixture(request.data) is not None:
        raise ConfigError(
            f"{request.data} is a mixture of data sets; use calibrate_on_mixture() for it"
        )
    keep_freed_memory(str(resolve_device(request.device)))
    request = replace(request, model=find_model(request.model))
    model, stored = load_model(request.model)
    # What is chosen is for this kind of change; the other kinds keep what they have.
    card = stored.for_kind(request.kind)
    announce_scenes(request.data, say)
    fits = _fits_temperature(request, stored)
    split = open_split(
        request.model,
        card,
        data=request.data,
        split=request.split,
        benchmark=request.benchmark,
        bands=bands_for(card, request.bands, request.bands_after),
        declared={"ignore_value": request.ignore_value, "changed_values": request.changed_values},
    )
    refuse_training_split(card, split.index, split=request.split, model=request.model)
    for sentence in (*split.notes, *_on_kinds(request, card)):
        say(sentence)
    precision = read_precision(request.model)
    own = LabelledSet(split.pairs, split.encoding, request.kind, request.gsd_m)
    (old, new), *_ = count_as_stored(request, model, card, sets=[own], say=say, progress=progress)
    threshold = choose_threshold(new)
    old_f1 = None if card.threshold is None else confusion_at(old, card.threshold).f1
    test_time = request.test_time or card.test_time
    confusion = confusion_at(new, threshold)
    before = Operation(card.threshold, card.test_time, precision, old_f1)
    temperature = _temperature_of(stored, request.kind)
    if fits:
        # What was counted is at the old temperature; dividing once more keeps the order of scores.
        further = fit_temperature([new])
        temperature = (temperature or 1.0) * further
        threshold = at_temperature(threshold, further)
        new = recalibrated(new, further)
        stored = _named(stored, model).with_temperature(request.kind, temperature)
    errors = _calibration_errors(card, old, new)
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
        metrics={
            **card.metrics,
            name: _figures(request, new, confusion, errors=errors),
        },
        blocks=with_selection_blocks(card.blocks, split.index, split.pairs),
        package_version=__version__,
        format_version=FORMAT_VERSION,
    )
    save_model(out, model, chosen, precision=request.precision)
    return CalibrationReport(
        out, chosen, images, before, after, out.stat().st_size, errors, temperature
    )


def _temperature_of(card: ModelCard, kind: str | None) -> float | None:
    return card.kinds[card.kind_index(kind)].temperature if card.kinds else None


def _fits_temperature(request: CalibrationRequest, card: ModelCard) -> bool:
    """Settle whether a temperature is fitted.

    Raises:
        ConfigError: If it is asked for, but the scores of the model are no probabilities.
    """
    if request.temperature is None:
        return _temperature_of(card, request.kind) is not None
    if request.temperature and not gives_probabilities(card.architecture, card.options):
        raise ConfigError(
            f"the scores of {request.model} are distances, which no temperature makes "
            "probabilities; remove `temperature`, or train a network that classifies"
        )
    return request.temperature


def _named(card: ModelCard, model: ChangeModel) -> ModelCard:
    """Name the one kind of change of a card that names none, so that it can have a temperature."""
    if card.kinds:
        return card
    only = KindOfChange(model.kinds[0], card.threshold, card.threshold_selection)
    return replace(card, kinds=(only,))


def _calibration_errors(
    card: ModelCard, old: ScoreHistogram, new: ScoreHistogram
) -> tuple[float, float] | None:
    """Give the expected calibration errors before and after, if scores are probabilities."""
    if not gives_probabilities(card.architecture, card.options):
        return None
    before, after = (measure_calibration(hist).expected_calibration_error for hist in (old, new))
    return before, after


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


def _figures(
    request: CalibrationRequest,
    histogram: ScoreHistogram,
    confusion: Confusion,
    *,
    errors: tuple[float, float] | None,
) -> dict[str, Any]:
    known = {} if errors is None else {"expected_calibration_error": errors[1]}
    return {
        "split": request.split,
        "images": histogram.images,
        "mode": request.mode,
        "precision_of_weights": request.precision,
        **{name: getattr(confusion, name) for name in ("f1", "iou", "precision", "recall")},
        "average_precision": average_precision(histogram),
        **known,
        "note": SELECTION_SET_NOTE,
    }
