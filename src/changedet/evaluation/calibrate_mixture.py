"""Choose temperature and threshold of every kind of change again, on the sets of a mixture."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from changedet._version import __version__
from changedet.card import (
    FORMAT_VERSION,
    ModelCard,
    calibration_key,
    checked_name,
    read_card,
)
from changedet.data.file_names import find_mixture
from changedet.data.index import PairIndex, index_pairs
from changedet.data.mixture import Mixture
from changedet.data.mixture_file import check_beside
from changedet.data.scene_notice import announce_scenes
from changedet.errors import ConfigError, DataError
from changedet.evaluation.as_stored import Counts, LabelledSet, count_as_stored
from changedet.evaluation.calibration_request import CalibrationRequest
from changedet.evaluation.leakage import (
    other_bands_note,
    refuse_training_split,
    with_selection_blocks,
)
from changedet.evaluation.mixture_sets import ChosenSets, sets_for, with_split
from changedet.evaluation.model_data import bands_for, check_pixel_type
from changedet.inference.devices import resolve_device
from changedet.inference.memory import keep_freed_memory
from changedet.kinds import ANY, KindOfChange
from changedet.metrics.calibration import at_temperature, measure_calibration, recalibrated
from changedet.metrics.confusion import confusion_at
from changedet.metrics.curve import average_precision, max_f1
from changedet.metrics.protocol import SELECTION_SET_NOTE, choose_shared_threshold
from changedet.metrics.shared_kind import settle_kind
from changedet.model_search import find_model
from changedet.models.model_file import load_model, save_model
from changedet.models.options import gives_probabilities
from changedet.selection import Selection
from changedet.storage.output_folder import check_result_file
from changedet.types import Progress, TestTime


@dataclass(frozen=True)
class CalibratedSet:
    """What a new model file finds on one data set of a mixture, which chose with others.

    Attributes:
        kind: Kind of change that was looked for; None: the model names none.
        images: Number of pairs.
        f1_before: F1 of the file as it was, at its threshold; NaN without one or without change.
        f1: F1 at the new threshold of the kind; NaN without change, as are the next three.
        precision: Precision at that threshold.
        recall: Recall at that threshold.
        best_f1: F1 at the best threshold of the set alone.
        average_precision: Area under the precision-recall curve.
        expected_calibration_error: How far the new scores are from probabilities of change; NaN
            for models whose scores are none.
    """

    kind: str | None
    images: int
    f1_before: float
    f1: float
    precision: float
    recall: float
    best_f1: float
    average_precision: float
    expected_calibration_error: float


@dataclass(frozen=True)
class MixtureCalibrationReport:
    """What a calibration on a mixture chose.

    Attributes:
        out: The file that was written.
        card: Its model card.
        kinds: The kinds of change that were calibrated; one that is called ``any`` where the model
            names none.
        sets: The data sets that chose, by name.
        size_bytes: Size of the written file.
    """

    out: Path
    card: ModelCard
    kinds: tuple[KindOfChange, ...]
    sets: Mapping[str, CalibratedSet]
    size_bytes: int

    def mean_f1(self, kind: str) -> float:
        """Mean F1 over the sets of a kind that show change."""
        return _mean_f1(self.sets, kind)


def calibrate_on_mixture(
    request: CalibrationRequest,
    *,
    say: Callable[[str], None] = lambda message: None,
    progress: Progress | None = None,
) -> MixtureCalibrationReport:
    """Settle temperature and threshold of each kind of change that the sets of a mixture label.

    It is what a training on the mixture does after each epoch, for the weights as they will be
    stored (rounded first) and for the test-time augmentation that the new file will name: each set
    is scored with its own kind and ground sample distance; the temperature is that of
    :func:`changedet.metrics.calibration.fit_temperature` over the sets of a kind, and the threshold
    the one with the best mean F1 over them. Kinds that no set labels keep theirs. A model that
    names no kinds gets one threshold for all sets and no temperature.

    Args:
        request: What to calibrate, and how; ``kind`` calibrates only this one.
        say: Gets sentences for the user.
        progress: Called after each pair.

    Raises:
        ConfigError: If ``out`` exists and may not be replaced, a setting is wrong, the model knows
            no kind of the mixture, or it was trained on the split.
        DataError: If the mixture, a pair or a label cannot be used, or nothing has changed in it.
        CheckpointError: If the model file cannot be used.
        StorageError: If the file cannot be written.
    """
    out = checked_name(request.out)
    check_result_file(out, existing=request.existing)
    mixture = find_mixture(request.data)
    if mixture is None:
        raise ConfigError(f"{request.data} is no mixture of data sets; use calibrate_model()")
    check_beside(mixture, request)
    request = replace(request, model=find_model(request.model))
    # At best this is told before the labels of all sets are read.
    read_card(request.model).for_kind(request.kind)
    keep_freed_memory(str(resolve_device(request.device)))
    model, card = load_model(request.model)
    announce_scenes(mixture, say)
    opened = _open(request, card, channels=model.in_channels, mixture=mixture)
    for sentence in opened.notes:
        say(sentence)
    counted = dict(
        zip(
            opened.chosen.kinds,
            count_as_stored(
                request,
                model,
                _at_temperature_1(card),
                sets=opened.sets,
                say=say,
                progress=progress,
            ),
            strict=True,
        )
    )
    settled = _settle(card, opened.chosen, counted, say=say)
    for sentence in _on_others(request, card, settled):
        say(sentence)
    sets = {
        name: _judge(card, kind, settled=settled[kind or ANY], counted=counted[name])
        for name, kind in opened.chosen.kinds.items()
        if (kind or ANY) in settled
    }
    new = _new_card(request, card, opened.index.name, settled=settled, sets=sets)
    chose = [pair for one in opened.sets for pair in one.pairs]
    new = replace(new, blocks=with_selection_blocks(card.blocks, opened.index, chose))
    save_model(out, model, new, precision=request.precision)
    return MixtureCalibrationReport(out, new, tuple(settled.values()), sets, out.stat().st_size)


@dataclass(frozen=True)
class _Opened:
    index: PairIndex
    chosen: ChosenSets
    sets: list[LabelledSet]
    notes: Sequence[str]


def _open(request: CalibrationRequest, card: ModelCard, *, channels: int, mixture: Path) -> _Opened:
    index = index_pairs(
        mixture, channels=channels, bands=bands_for(card, request.bands, request.bands_after)
    )
    check_pixel_type(request.model, card.pixel_type, index, data=mixture)
    members = {one.name: one for one in _mixture_of(index).sets}
    chosen = sets_for(
        card,
        {name: one.kind for name, one in members.items()},
        model=request.model,
        mixture=mixture,
        kind=request.kind,
    )
    chosen = with_split(chosen, index, split=request.split)
    for judged in (index, *(index.data_sets[name] for name in chosen.kinds)):
        refuse_training_split(card, judged, split=request.split, model=request.model)
    sets = [
        LabelledSet(
            index.data_sets[name].split(request.split),
            members[name].encoding,
            kind,
            members[name].stated_gsd_m,
            name,
        )
        for name, kind in chosen.kinds.items()
    ]
    notes = (*index.notes, *other_bands_note(card, index), *chosen.notes)
    return _Opened(index, chosen, sets, notes)


def _mixture_of(index: PairIndex) -> Mixture:
    if index.mixture is None:
        raise ConfigError(f"{index.root} is no mixture of data sets")
    return index.mixture


def _at_temperature_1(card: ModelCard) -> ModelCard:
    """Give the card with which scores are those of the network, at thresholds for these."""
    kinds = tuple(
        replace(
            kind,
            temperature=None,
            threshold=None
            if kind.threshold is None
            else at_temperature(kind.threshold, 1 / (kind.temperature or 1.0)),
        )
        for kind in card.kinds
    )
    return replace(card, kinds=kinds)


def _settle(
    card: ModelCard,
    chosen: ChosenSets,
    counted: Mapping[str, Counts],
    *,
    say: Callable[[str], None],
) -> dict[str, KindOfChange]:
    """Settle the kinds that the sets label, in the order of the network's outputs."""
    if not card.kinds:
        threshold = choose_shared_threshold([counts.after for counts in counted.values()])
        return {ANY: KindOfChange(ANY, threshold)}
    settled: dict[str, KindOfChange] = {}
    for kind in card.kinds:
        named = [name for name, looked_for in chosen.kinds.items() if looked_for == kind.name]
        of_kind = [counted[name].after for name in named]
        found = settle_kind(kind.name, of_kind)
        if found.threshold is not None:
            settled[kind.name] = found
        elif of_kind:
            say(f"warning: no pixel of the sets of kind {kind.name} is labelled changed: left out")
    if not settled:
        raise DataError(
            "no pixel of any data set is labelled changed, so no threshold can be chosen; use "
            "images with changes or set a threshold"
        )
    return settled


def _on_others(
    request: CalibrationRequest, card: ModelCard, settled: Mapping[str, KindOfChange]
) -> list[str]:
    """Say which kinds of change keep their thresholds, or have none."""
    others = [kind for kind in card.kinds if kind.name not in settled]
    kept = [kind.name for kind in others if kind.threshold is not None]
    without = [kind.name for kind in others if kind.threshold is None]
    notes = []
    if kept:
        notes.append(
            f"kept as they are: temperature and threshold of {', '.join(kept)}, which were chosen "
            "for the former weights and views"
        )
    if without:
        notes.append(
            f"warning: {', '.join(without)} change has no threshold; calibrate it on a data set "
            "that labels it"
        )
    test_time = request.test_time or card.test_time
    if kept and test_time != card.test_time:
        notes[0] = f"warning: {notes[0]} (test-time augmentation {card.test_time}, now {test_time})"
    return notes


def _judge(
    card: ModelCard, kind: str | None, *, settled: KindOfChange, counted: Counts
) -> CalibratedSet:
    """Judge a set at the threshold of its kind, and at the former one."""
    former = _at_temperature_1(card).for_kind(kind).threshold
    new = counted.after
    if settled.temperature is not None:
        new = recalibrated(new, settled.temperature)
    confusion = confusion_at(new, settled.threshold or 0.0)
    is_telling = bool(new.changed.any())
    is_probability = gives_probabilities(card.architecture, card.options)
    return CalibratedSet(
        kind=kind,
        images=new.images,
        f1_before=confusion_at(counted.before, former).f1
        if is_telling and former is not None
        else math.nan,
        f1=confusion.f1 if is_telling else math.nan,
        precision=confusion.precision if is_telling else math.nan,
        recall=confusion.recall if is_telling else math.nan,
        best_f1=max_f1(new).f1,
        average_precision=average_precision(new),
        expected_calibration_error=measure_calibration(new).expected_calibration_error
        if is_probability
        else math.nan,
    )


def _new_card(
    request: CalibrationRequest,
    card: ModelCard,
    data_name: str,
    *,
    settled: Mapping[str, KindOfChange],
    sets: Mapping[str, CalibratedSet],
) -> ModelCard:
    test_time: TestTime = request.test_time or card.test_time
    metrics = dict(card.metrics)
    for name, found in settled.items():
        own = {key: one for key, one in sets.items() if (one.kind or ANY) == name}
        selection = Selection(
            "calibration",
            data=data_name,
            split=request.split,
            images=sum(one.images for one in own.values()),
            mode=request.mode,
            test_time=test_time,
            precision=request.precision,
        )
        kind = name if card.kinds else None
        card = card.with_threshold(kind, found.threshold, selection)
        if kind is not None:
            card = card.with_temperature(kind, found.temperature)
        metrics[calibration_key(card, card.kind_index(kind))] = {
            "split": request.split,
            "images": selection.images,
            "mode": request.mode,
            "precision_of_weights": request.precision,
            "f1": _mean_f1(own, name),
            "sets": {key: _figures(one) for key, one in own.items()},
            "note": f"{SELECTION_SET_NOTE}; f1 is the mean over the sets",
        }
    return replace(
        card,
        test_time=test_time,
        metrics=metrics,
        package_version=__version__,
        format_version=FORMAT_VERSION,
    )


def _mean_f1(sets: Mapping[str, CalibratedSet], kind: str) -> float:
    scores = [one.f1 for one in sets.values() if (one.kind or ANY) == kind]
    telling = [score for score in scores if not math.isnan(score)]
    return sum(telling) / len(telling) if telling else math.nan


def _figures(one: CalibratedSet) -> dict[str, Any]:
    return {name: value for name, value in asdict(one).items() if name != "f1_before"}
