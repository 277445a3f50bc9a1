"""What an ablation will do: settings of every run, splits to evaluate on, faults."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from changedet.ablation.request import SEED as _SEED
from changedet.ablation.request import AblationRequest as AblationRequest
from changedet.ablation.request import check_request
from changedet.ablation.run_state import JUDGEMENT_FORMAT, settings_hash
from changedet.ablation.scoring import JudgedSplits, choose_shown, split_held_out
from changedet.ablation.table import (
    AblationTable,
    Row,
    load_table,
    recipe_of,
    row_config,
    row_overrides,
)
from changedet.data.index import BandChoice, PairIndex, index_pairs
from changedet.data.labelled import LabelledPair
from changedet.data.labels.scan import LabelScan, scan_labels
from changedet.data.mixture import member_of
from changedet.data.scene_notice import announce_scenes
from changedet.data.tools.leaks import describe_leaks, find_leaks
from changedet.errors import ConfigError, DataError, MissingExtraError, TrainingError
from changedet.training.build import index_data, with_channels, with_kinds
from changedet.training.config import ExperimentConfig, check_overrides, tile_px
from changedet.training.model_config import former_settings
from changedet.training.packages import check_packages
from changedet.training.schedule import build_schedule

_TEST_SPLIT = "test"
# Settings that earlier releases did not have, and that change nothing where they are not set.
_LATER_SETTINGS = (
    *("source_bands", "source_bands_after", "bands", "bands_after"),
    *("held_out", "working_gsd_m"),
    "sensor",
)
RUNS = "runs"


@dataclass(frozen=True)
class PlannedRun:
    """One row with one seed.

    Attributes:
        row: The row.
        seed: The seed.
        folder: Where all of the run goes.
        command: How to train it by itself, as the request describes it; empty: not described.
        settings: Hash of what decides the result.
        config: The settings; None if they are faulty.
        fault: What is wrong with them.
    """

    row: Row
    seed: int
    folder: Path
    command: str
    settings: str
    config: ExperimentConfig | None
    fault: str | None = None


@dataclass(frozen=True)
class AblationPlan:
    """All that is settled before the first run.

    Attributes:
        table: The table.
        runs: Every run, seed by seed, so that early on there is one of each row.
        splits: What the runs are evaluated on.
        choosing: Hash of what trains and chooses the models, down to the names of the pairs.
        judged: Hash of the evaluation data, down to the names of the pairs.
        label: What the labels' values mean, for the baselines.
        channels: Channels of the images, for the baselines.
        notes: Sentences for the user and the report.
        problems: What is wrong with the data, though runs are possible.
    """

    table: AblationTable
    runs: tuple[PlannedRun, ...]
    splits: JudgedSplits
    choosing: str
    judged: str
    label: dict[str, Any]
    channels: int
    notes: tuple[str, ...]
    problems: tuple[str, ...]


def make_plan(request: AblationRequest, *, say: Callable[[str], None]) -> AblationPlan:
    """Settle every run and look at the data once; nothing is written.

    Raises:
        ConfigError: If the table, an option or all of the rows are wrong.
        DataError: If the data cannot be used.
        TrainingError: If the validation split has no changed pixel, so nothing can be evaluated.
    """
    check_request(request)
    table = load_table(request.table)
    rows = table.rows if request.rows is None else tuple(table.row(name) for name in request.rows)
    runs = tuple(
        _plan_run(request, table, row, seed=seed) for seed in request.seeds for row in rows
    )
    if all(run.config is None for run in runs):
        raise ConfigError(f"no row can be run; the first problem: {runs[0].fault}")
    first = _first_config(request, table)
    announce_scenes(request.data, say)
    index, first = index_data(request.data, first)
    runs = tuple(_settled(run, index) for run in runs)
    val = index.split(first.data.val_split)
    scan = scan_labels(
        index.pairs,
        ignore_value=first.data.ignore_value,
        changed_values=first.data.changed_values,
    )
    if scan.share_of(val) == 0.0:
        raise TrainingError(
            f"the split {first.data.val_split!r} of {request.data} has no changed pixel, so no row "
            "can be evaluated; put pairs with changes into it, or choose another split with "
            "`data.val_split=NAME`"
        )
    test, notes, problems = _settle_test_split(request, index, scan, first=first)
    held_out = _held_out_pairs(request, index, first=first)
    notes += _leaks(index, scan, first=first, test_split=test, held_out=held_out)
    if not 0.0 < scan.share_of(index.split(first.data.train_split)) < 1.0:
        notes.append(
            f"WARNING: the labels of the split {first.data.train_split!r} have only one class, so "
            "no row can learn the other; check them ('changedet data check')"
        )
    shares = [scan.share_of([pair]) for pair in val]
    splits = JudgedSplits(
        data=request.data.resolve(),
        benchmark=first.data.benchmark,
        val_split=first.data.val_split,
        test_split=test,
        shown=tuple(choose_shown(val, shares, count=request.shown)),
        mode=first.data.evaluation,
        bands=index.bands,
        bands_after=index.bands_after,
        held_out=first.data.held_out,
    )
    label = scan.encoding.to_dict()
    return AblationPlan(
        table=table,
        runs=tuple(_same_judges(run, first) for run in runs),
        splits=splits,
        choosing=_hash_choosers(index, splits),
        judged=_hash_judges(index, splits, label, held_out=held_out),
        label=label,
        channels=first.model.in_channels,
        notes=(*index.notes, *notes),
        problems=tuple(problems),
    )


def _plan_run(request: AblationRequest, table: AblationTable, row: Row, *, seed: int) -> PlannedRun:
    last = [f"{_SEED}={seed}"]
    if request.epochs is not None:
        last.append(f"training.epochs={request.epochs}")
    folder = request.out / RUNS / row.name / f"seed_{seed}"
    try:
        if _SEED in row.changes:
            raise ConfigError(f"`{_SEED}` is the same for all rows; remove it and set `seeds`")
        config = row_config(table, row, overrides=request.overrides, last=last)
        check_overrides(config, request.overrides)
        build_schedule(config)
        tile_px(config)
        check_packages(config)
    except (ConfigError, MissingExtraError) as error:
        return PlannedRun(row, seed, folder, "", "", config=None, fault=str(error))
    command = ""
    if request.describe_training is not None:
        changes = (*request.overrides, *row_overrides(row), *last)
        command = request.describe_training(recipe_of(table, row), changes)
    tree = config.model_dump(mode="json")
    # Of no effect on the model, and unknown to ablations of earlier versions.
    for name in ("max_heatmaps", "sync_batch_norm"):
        del tree["training"][name]
    if config.training.select_by == "mean":
        del tree["training"]["select_by"]
    if not config.teacher.models:
        del tree["teacher"]
    decisive = {
        "config": {
            **tree,
            "data": _without_defaults(tree["data"]),
            "augmentation": _without_defaults(tree["augmentation"]),
            "model": former_settings(config.model),
        },
        "data": str(request.data.resolve()),
        "minutes": request.minutes,
    }
    return PlannedRun(
        row=row,
        seed=seed,
        folder=folder,
        command=command,
        settings=settings_hash(decisive),
        config=config,
    )


def _first_config(request: AblationRequest, table: AblationTable) -> ExperimentConfig:
    """Settings of the table's first valid row, which decide how all rows are evaluated."""
    seed = request.seeds[0]
    configs = (_plan_run(request, table, row, seed=seed).config for row in table.rows)
    return next(config for config in configs if config is not None)


def _same_judges(run: PlannedRun, first: ExperimentConfig) -> PlannedRun:
    """Refuse a row that would choose its model on other pairs than the first row."""
    if run.config is None:
        return run
    for key in (
        "benchmark",
        "val_split",
        "evaluation",
        "ignore_value",
        "changed_values",
        "held_out",
    ):
        own, others = getattr(run.config.data, key), getattr(first.data, key)
        if own != others:
            fault = (
                f"data.{key} is {own!r} here but {others!r} in the first row; all rows must be "
                "evaluated in the same way"
            )
            return PlannedRun(
                run.row, run.seed, run.folder, run.command, run.settings, config=None, fault=fault
            )
    return run


def _settle_test_split(
    request: AblationRequest, index: PairIndex, scan: LabelScan, *, first: ExperimentConfig
) -> tuple[str | None, list[str], list[str]]:
    """Find the split to evaluate at a fixed threshold, notes about it, and faults."""
    val_split, train_split = first.data.val_split, first.data.train_split
    name = request.test_split or _TEST_SPLIT
    if request.test_split is None and name not in index.splits:
        return None, [_no_test_split(f"the data set has no split {name!r}", val_split)], []
    if request.test_split is None and name == val_split:
        return (
            None,
            [_no_test_split(f"no split other than {name!r} is named to evaluate", val_split)],
            [],
        )
    if name == val_split:
        raise ConfigError(
            f"`test_split={name}` is the split that chooses models and thresholds; choose another"
        )
    if name == train_split:
        raise ConfigError(
            f"`test_split={name}` is the split that rows are trained on, so it cannot test them; "
            "choose another"
        )
    if scan.share_of(index.split(name)) == 0.0:
        problem = (
            f"the split {name!r} has no changed pixel, so F1 is undefined there; put pairs with "
            "changes into it, or choose another one with `test_split`"
        )
        return None, [], [problem]
    return name, [], []


def _held_out_pairs(
    request: AblationRequest, index: PairIndex, *, first: ExperimentConfig
) -> dict[str, list[LabelledPair]]:
    """Give the validation pairs of each held-out set.

    Raises:
        DataError: If one has none, or none with a changed pixel.
        ConfigError: If one labels a kind of change that no other set teaches.
    """
    if not first.data.held_out or index.mixture is None:
        return {}
    everything = index_pairs(
        request.data, channels=index.channels, bands=BandChoice(index.bands, index.bands_after)
    )
    _, held_out = split_held_out(everything.split(first.data.val_split), first.data.held_out)
    for name, pairs in held_out.items():
        member = member_of(pairs[0])
        if member is not None and member.kind not in [one.kind for one in index.mixture.sets]:
            raise ConfigError(
                f"the held-out set {name!r} labels the kind of change {member.kind!r}, which no "
                "other set teaches; hold out another set (`data.held_out`)"
            )
        if scan_labels(pairs).changed_share == 0.0:
            raise DataError(
                f"the held-out set {name!r} has no changed pixel in the split "
                f"{first.data.val_split!r}, so F1 is undefined there; hold out another set "
                "(`data.held_out`)"
            )
    return held_out


def _leaks(
    index: PairIndex,
    scan: LabelScan,
    *,
    first: ExperimentConfig,
    test_split: str | None,
    held_out: Mapping[str, Sequence[LabelledPair]],
) -> list[str]:
    """Say which pairs that rows are evaluated on are training pairs, too, as far as that is cheap.

    Whether rows are compared on pairs that they have seen decides what their claims are worth.
    """
    judged = [first.data.val_split, *([] if test_split is None else [test_split])]
    splits: dict[str, Sequence[LabelledPair]] = {
        name: index.split(name) for name in (first.data.train_split, *judged)
    }
    splits |= {f"held-out set {name}": pairs for name, pairs in held_out.items()}
    leaks = find_leaks(
        splits,
        train_split=first.data.train_split,
        encoding=scan.encoding,
        channels=first.model.in_channels,
    )
    del splits[first.data.train_split]
    pairs = {name: len(own) for name, own in splits.items()}
    return [f"WARNING: {sentence}" for sentence in describe_leaks(leaks, pairs=pairs)]


def _no_test_split(reason: str, val_split: str) -> str:
    return (
        f"WARNING: {reason}, so every figure is from the split "
        f"{val_split!r} that also chose the models and the thresholds: selection set, optimistic"
    )


def _hash_choosers(index: PairIndex, splits: JudgedSplits) -> str:
    """Hash the pairs that rows are trained on and models chosen by: all but those of the test."""
    tests = {_TEST_SPLIT, splits.test_split} - {splits.val_split}
    return settings_hash(
        {
            "data": splits.data,
            "benchmark": splits.benchmark,
            "val_split": splits.val_split,
            "mode": splits.mode,
            "pairs": {
                name: [pair.name for pair in pairs]
                for name, pairs in index.splits.items()
                if name not in tests
            },
        }
    )


def _hash_judges(
    index: PairIndex,
    splits: JudgedSplits,
    label: dict[str, Any],
    *,
    held_out: Mapping[str, Sequence[LabelledPair]],
) -> str:
    """Hash what a source is evaluated on, so that it is evaluated again when that has changed."""
    names = [splits.val_split, *([] if splits.test_split is None else [splits.test_split])]
    return settings_hash(
        {
            **_without_defaults(asdict(splits)),
            "label": label,
            "pairs": {
                **{name: [pair.name for pair in index.split(name)] for name in names},
                **{
                    f"held out: {name}": [pair.name for pair in own]
                    for name, own in held_out.items()
                },
            },
            "format": JUDGEMENT_FORMAT,
        }
    )


def _settled(run: PlannedRun, index: PairIndex) -> PlannedRun:
    """Settle what follows from the data, as training does: the settings are written in full."""
    if run.config is None:
        return run
    try:
        config = with_kinds(with_channels(run.config, index.channels), index)
    except ConfigError as error:
        return replace(run, config=None, fault=str(error))
    return replace(run, config=config)


def _without_defaults(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out settings that earlier releases did not have, so that their runs still match."""
    return {key: value for key, value in settings.items() if value or key not in _LATER_SETTINGS}
