"""Evaluate a model or a baseline on every data set of a mixture by itself."""

import math
from collections.abc import Callable
from dataclasses import replace

from changedet._version import __version__
from changedet.data.file_names import find_mixture
from changedet.data.labels.scan import scan_labels
from changedet.data.mixture import MixtureSet
from changedet.data.mixture_file import check_beside
from changedet.data.pair_index import PairIndex
from changedet.data.scene_notice import announce_scenes
from changedet.data.seen import data_settings
from changedet.errors import ConfigError
from changedet.evaluation.earlier import earlier_results
from changedet.evaluation.evaluate import Judged, index_for, judge_split, open_source
from changedet.evaluation.files import Evaluated
from changedet.evaluation.mixture_results import (
    EvaluatedMixture,
    MixtureEvaluationResults,
    SetResult,
)
from changedet.evaluation.mixture_sets import sets_for, with_split
from changedet.evaluation.model_data import at_working_gsd, check_pixel_type
from changedet.evaluation.request import EvaluationRequest, check_request
from changedet.inference.score_source import ScoreSource
from changedet.metrics.curve import max_f1
from changedet.rendering.plots import charts_note
from changedet.storage.markers import METRICS
from changedet.storage.output_folder import claimed, result_folder
from changedet.types import Progress

_WITH_INTERVAL = ("f1", "precision", "recall")


def evaluate_mixture(
    request: EvaluationRequest,
    *,
    say: Callable[[str], None] = lambda message: None,
    progress: Progress | None = None,
) -> MixtureEvaluationResults:
    """Evaluate a model or an untrained baseline on each data set of a mixture.

    Each set is evaluated by itself, as by :func:`changedet.evaluation.evaluate.evaluate_model`: for
    the kind of change that it labels and at the ground sample distance that the mixture states.
    Sets of a kind that the model does not know, and those without the split, are left out; for a
    model that names no kinds, and for a baseline, no set is. Writes ``metrics.json`` to
    ``request.out``, and the full results of each set into a folder of its name.

    Args:
        request: What to evaluate, and how; ``data`` is the mixture. A threshold that is chosen on
            ``threshold_split`` is chosen for each set on its own.
        say: Gets sentences for the user.
        progress: Called after each pair.

    Returns:
        The figures of all sets, as they stand in ``metrics.json``.

    Raises:
        ConfigError: If a setting is wrong, the mixture states it, ``out`` is not free, or the model
            knows none of the mixture's kinds of change.
        DataError: If the mixture, a pair or a label cannot be used, or no set has the split.
        CheckpointError: If the model file cannot be used.
        StorageError: If the results cannot be written.
    """
    check_request(request)
    mixture = find_mixture(request.data)
    if mixture is None:
        raise ConfigError(f"{request.data} is no mixture of data sets; use evaluate_model()")
    check_beside(mixture, request, also=("kind",))
    with claimed(request.out, marker=METRICS, existing=request.existing):
        source = open_source(request)
        announce_scenes(mixture, say)
        index = index_for(request, source)
        check_pixel_type(request.model, source.pixel_type, index, data=mixture)
        judged = _judged_sets(request, source, index, say=say)
        total = sum(one.to_score for one in judged.values())
        retired = earlier_results(request.out)
        with result_folder(request.out, marker=METRICS, retire=retired) as folder:
            sets: dict[str, Evaluated] = {}
            done = 0
            for name, one in judged.items():
                sets[name] = judge_split(one, progress=_from(done, total, progress))
                done += one.to_score
                own = folder / name
                own.mkdir()
                sets[name].write(own)
            results = _summed_up(request, source, index, sets=sets)
            results.write(folder / METRICS)
    return results


def _judged_sets(
    request: EvaluationRequest,
    source: ScoreSource,
    index: PairIndex,
    *,
    say: Callable[[str], None],
) -> dict[str, Judged]:
    """Settle what is looked for in each set, and say it."""
    members = _members(index)
    chosen = sets_for(
        source.card,
        {name: one.kind for name, one in members.items()},
        model=request.model,
        mixture=index.root,
    )
    for split in (request.split, request.threshold_split):
        chosen = chosen if split is None else with_split(chosen, index, split=split)
    for sentence in (*index.notes, *chosen.notes, charts_note()):
        if sentence is not None:
            say(sentence)
    judged: dict[str, Judged] = {}
    for name, kind in chosen.kinds.items():

        def say_of(message: str, name: str = name) -> None:
            say(f"{name}: {message}")

        judged[name] = _judged(
            replace(request, kind=kind, gsd_m=members[name].stated_gsd_m),
            source,
            index,
            member=members[name],
            say=say_of,
        )
        for sentence in judged[name].notes():
            say_of(sentence)
    return judged


def _judged(
    request: EvaluationRequest,
    source: ScoreSource,
    index: PairIndex,
    *,
    member: MixtureSet,
    say: Callable[[str], None],
) -> Judged:
    """Prepare one set: its own pairs, kind of change and ground sample distance."""
    own = index.data_sets[member.name]
    wanted = (request.split, request.threshold_split)
    splits = {split: own.split(split) for split in wanted if split is not None}
    own = replace(own, splits=splits)
    if request.kind is not None:
        source = replace(source, detector=source.detector.for_kind(request.kind))
    source, gsd = at_working_gsd(source, splits[request.split], given=request.gsd_m, say=say)
    # The pairs decode their labels themselves, and say which of their pixels have changed.
    scan = replace(scan_labels(own.pairs), encoding=member.encoding, notes=())
    # A model that was trained on the mixture knows its images under that name, unless this set was
    # held out.
    held_out = () if source.card is None else data_settings(source.card).get("held_out", ())
    names = () if member.name in held_out else (index.name,)
    return Judged(replace(request, data=own.root), source, own, gsd=gsd, scan=scan, names=names)


def _members(index: PairIndex) -> dict[str, MixtureSet]:
    sets = () if index.mixture is None else index.mixture.sets
    return {one.name: one for one in sets}


def _from(done: int, total: int, progress: Progress | None) -> Progress | None:
    """Count the pairs of one set on from those of the sets before."""
    return None if progress is None else lambda own, _: progress(done + own, total)


def _summed_up(
    request: EvaluationRequest,
    source: ScoreSource,
    index: PairIndex,
    *,
    sets: dict[str, Evaluated],
) -> MixtureEvaluationResults:
    members = _members(index)
    found = {name: _in_short(one, members[name]) for name, one in sets.items()}
    scores = {name: one.f1 for name, one in found.items() if not math.isnan(one.f1)}
    worst = min(scores, key=lambda name: scores[name], default=None)
    return MixtureEvaluationResults(
        version=__version__,
        model=source.metadata,
        data=EvaluatedMixture(name=index.name, root=str(index.root)),
        split=request.split,
        threshold_split=request.threshold_split,
        images=sum(one.images for one in found.values()),
        mode=request.mode,
        test_time=source.detector.test_time,
        sets=found,
        left_out=tuple(name for name in members if name not in found),
        mean_f1=sum(scores.values()) / len(scores) if scores else math.nan,
        worst_f1=math.nan if worst is None else scores[worst],
        worst_set=worst,
        device=source.detector.device_name,
        seconds=round(sum(one.results.seconds for one in sets.values()), 3),
    )


def _in_short(evaluated: Evaluated, member: MixtureSet) -> SetResult:
    results = evaluated.results
    fixed, calibration = results.fixed_threshold, results.calibration
    figures = {name: getattr(fixed, name) if fixed else math.nan for name in _WITH_INTERVAL}
    return SetResult(
        change_kind=results.change_kind,
        labelled_kind=member.kind,
        gsd_m=results.gsd.gsd_m if results.gsd else None,
        images=results.images,
        threshold=fixed.threshold if fixed else None,
        threshold_source=fixed.threshold_source if fixed else None,
        **figures,
        intervals={name: fixed.intervals[name] for name in _WITH_INTERVAL} if fixed else {},
        level=fixed.level if fixed else None,
        best_f1=max_f1(evaluated.histogram).f1,
        average_precision=results.average_precision,
        expected_calibration_error=calibration.expected_calibration_error
        if calibration
        else math.nan,
        note=fixed.note if fixed else None,
    )
