"""Everything that the runs of an ablation left behind, by row, and what they say to the claims."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from changedet.ablation.estimates import (
    Estimate,
    Sums,
    estimate_correlation,
    estimate_figure,
    loss_spread,
)
from changedet.ablation.plan import RUNS
from changedet.ablation.resources import Resources
from changedet.ablation.run_state import (
    Judgement,
    RunLogs,
    RunRecord,
    read_judgement,
    read_logs,
    read_record,
    read_run_resources,
)
from changedet.ablation.scores import FIGURES, PROTOCOLS, Evaluation, Measure, Protocol, SplitScore
from changedet.ablation.scoring import JudgedSplits
from changedet.ablation.table import AblationTable, Row, parse_table
from changedet.errors import ConfigError, StorageError
from changedet.storage.markers import ABLATION
from changedet.storage.results import Results
from changedet.training.config import ExperimentConfig, load_config

SETTINGS = "settings.yaml"
BASELINES = "baselines"
#: Where baselines were in earlier versions.
FORMER_BASELINES = "floors"
_JUDGED_OTHERWISE = (
    'evaluated on other pairs than the rest of the ablation; run it again with `mode="resume"`'
)


class AblationPlanRecord(Results):
    """What an ablation is made of; also the file that tells one.

    Attributes:
        table: The table, as YAML.
        commands: Commands that made it, several if it was resumed.
        splits: What the runs are evaluated on.
        choosing: Hash of what trains and chooses the models.
        judged: Hash of the evaluation data.
        minutes: Budget of each run; null: none.
        notes: What a reader must know of the data.
        problems: What is wrong with the data, though runs are possible.
        asked: Rows that were asked for; null: all.
    """

    kind: Literal["ablation_plan"] = "ablation_plan"
    table: str
    commands: tuple[str, ...] = ()
    splits: JudgedSplits
    choosing: str | None = None
    judged: str | None = None
    minutes: float | None = None
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    asked: tuple[str, ...] | None = None


@dataclass(frozen=True, eq=False)
class RunResult:
    """A run that was trained and evaluated."""

    folder: Path
    record: RunRecord
    config: ExperimentConfig
    judgement: Judgement
    resources: Resources
    logs: RunLogs

    @property
    def loss_spread(self) -> float:
        """How far the loss terms lie apart, see :func:`loss_spread`; NaN with one term."""
        return loss_spread(self.logs.loss_terms)


@dataclass(frozen=True, eq=False)
class RowResult:
    """A row of the table with its runs.

    Attributes:
        row: The row.
        runs: Its evaluated runs, by seed.
        open: Its other runs: begun, or failed.
    """

    row: Row
    runs: tuple[RunResult, ...]
    open: tuple[RunRecord, ...]

    def scores(self, evaluation: Evaluation) -> list[SplitScore]:
        """Give the figures of its runs that were evaluated so."""
        scores = (run.judgement.score(evaluation) for run in self.runs)
        return [score for score in scores if score is not None]

    def sums(self, evaluation: Evaluation, measure: Measure = "f1") -> list[Sums]:
        """Give what a measure is computed from, one per run that was evaluated so."""
        sums = [score.sums(measure) for score in self.scores(evaluation)]
        return [each for each in sums if len(each)]

    def estimate(
        self, protocol: Protocol, measure: Measure = "f1", *, held_out: str | None = None
    ) -> Estimate | None:
        """Estimate a measure over its seeds; None if no run was evaluated so.

        Args:
            protocol: At which threshold.
            measure: The measure.
            held_out: A held-out set; None: the split of the protocol.
        """
        sums = self.sums(Evaluation(protocol, held_out), measure)
        return estimate_figure(sums, FIGURES[measure]) if sums else None

    def correlation(self) -> Estimate:
        """Rank correlation of max-F and AUC over the validations of its runs."""
        return estimate_correlation([(run.logs.max_f1, run.logs.roc_auc) for run in self.runs])

    def loss_spread(self) -> float:
        """Mean over its runs of how far the loss terms lie apart; NaN with one term."""
        return mean([run.loss_spread for run in self.runs])

    def absence(self) -> str:
        """Why there is no evaluated run of it."""
        failed = next((record for record in self.open if record.reason), None)
        if failed is not None:
            return f"row {self.row.name} failed: {failed.reason}"
        return f"row {self.row.name} was {'not finished' if self.open else 'not run'}"


@dataclass(frozen=True, eq=False)
class BaselineResult:
    """An untrained baseline.

    Attributes:
        name: Its name in the registry.
        folder: Where its results are.
        judgement: Its figures; None if it failed.
        reason: Why it failed.
    """

    name: str
    folder: Path
    judgement: Judgement | None
    reason: str | None


@dataclass(frozen=True, eq=False)
class AblationResults:
    """An ablation as it stands.

    Attributes:
        table: The table.
        rows: All of its rows, also those without a run.
        baselines: The baselines.
        command: The command that made it, or several, one per line, if it was resumed.
        val_split: Split that chooses models and thresholds.
        test_split: Split that is evaluated at a fixed threshold, if there is one.
        data: Folder of the data set.
        shown: Pairs whose heat maps are shown.
        notes: What a reader must know of the data.
        problems: What went wrong.
        asked: Names of the rows that were asked for; None: all.
        held_out: Sets of a mixture that no row is trained on, on which all are evaluated.
    """

    table: AblationTable
    rows: tuple[RowResult, ...]
    baselines: tuple[BaselineResult, ...]
    command: str
    val_split: str
    test_split: str | None
    data: str
    shown: tuple[str, ...]
    notes: tuple[str, ...]
    problems: tuple[str, ...]
    asked: tuple[str, ...] | None = None
    held_out: tuple[str, ...] = ()

    @property
    def asked_rows(self) -> tuple[RowResult, ...]:
        """The rows that were asked for, or have been begun all the same."""
        return tuple(
            row
            for row in self.rows
            if self.asked is None or row.row.name in self.asked or row.runs or row.open
        )

    @property
    def protocols(self) -> tuple[Protocol, ...]:
        """Protocols that there are figures of, on the splits that are not held out."""
        if self.test_split is None:
            return ("best_threshold",)
        return ("best_threshold", "fixed_threshold")

    @property
    def evaluations(self) -> tuple[Evaluation, ...]:
        """All that there are figures of: the protocols, then both for each held-out set."""
        return (
            *map(Evaluation, self.protocols),
            *(Evaluation(each, name) for name in self.held_out for each in PROTOCOLS),
        )

    def row(self, name: str) -> RowResult:
        """Find the row of a name that is in the table."""
        return next(row for row in self.rows if row.row.name == name)


def collect_results(out: Path) -> AblationResults:
    """Read everything that the runs in a folder left behind.

    Raises:
        ConfigError: If it holds no ablation.
        StorageError: If a result is damaged.
    """
    stored = read_marker(out)
    table = parse_table(stored.table, origin=str(out / ABLATION))
    judged = stored.judged
    rows = tuple(_collect_row(out, row, judged=judged) for row in table.rows)
    problems = [
        f"row {record.row}, seed {record.seed}: {record.reason}"
        for row in rows
        for record in row.open
        if record.status == "failed"
    ]
    return AblationResults(
        table=table,
        rows=rows,
        baselines=_collect_baselines(out, judged=judged),
        command="\n".join(stored.commands),
        val_split=stored.splits.val_split,
        test_split=stored.splits.test_split,
        data=str(stored.splits.data),
        shown=stored.splits.shown,
        notes=stored.notes,
        problems=(*stored.problems, *problems),
        asked=stored.asked,
        held_out=stored.splits.held_out,
    )


def mean(values: Sequence[float]) -> float:
    """Mean of the values that are numbers; NaN where there is none."""
    numbers = [value for value in values if not math.isnan(value)]
    return sum(numbers) / len(numbers) if numbers else math.nan


def read_marker(out: Path) -> AblationPlanRecord:
    """Read what an ablation is made of.

    Raises:
        ConfigError: If the folder holds no ablation.
        ResultsError: If the file is damaged.
    """
    path = out / ABLATION
    if not path.is_file():
        raise ConfigError(f"{out} contains no ablation (no {ABLATION}); give the folder of one")
    return AblationPlanRecord.read(path)


def _collect_row(out: Path, row: Row, *, judged: str | None) -> RowResult:
    runs: list[RunResult] = []
    unfinished: list[RunRecord] = []
    for folder in run_folders(out, row.name):
        record = read_record(folder)
        if record is None:
            continue
        if record.status != "finished":
            unfinished.append(record)
            continue
        if record.judged != judged:
            # Figures and heat maps of other pairs must not be mixed with these.
            reason = record.reason or _JUDGED_OTHERWISE
            unfinished.append(record.model_copy(update={"status": "failed", "reason": reason}))
            continue
        try:
            runs.append(_read_run(folder, record))
        except (ConfigError, StorageError) as error:
            # One damaged run must not hide the others.
            reason = f"its results are damaged: {error}"
            unfinished.append(record.model_copy(update={"status": "failed", "reason": reason}))
    return RowResult(row=row, runs=tuple(runs), open=tuple(unfinished))


def run_folders(out: Path, row: str) -> list[Path]:
    """Folders of the runs of a row, by seed."""
    folders = (out / RUNS / row).glob("seed_*")
    return sorted(folders, key=lambda folder: int(folder.name[len("seed_") :]))


def _read_run(folder: Path, record: RunRecord) -> RunResult:
    return RunResult(
        folder=folder,
        record=record,
        config=load_config(folder / SETTINGS),
        judgement=read_judgement(folder),
        resources=read_run_resources(folder),
        logs=read_logs(folder),
    )


def _collect_baselines(out: Path, *, judged: str | None) -> tuple[BaselineResult, ...]:
    baselines = []
    folder = out / BASELINES
    for place in sorted((folder if folder.is_dir() else out / FORMER_BASELINES).glob("*")):
        record = read_record(place)
        if record is None:
            continue
        judgement, reason = None, record.reason
        if record.status == "finished" and record.judged != judged:
            reason = _JUDGED_OTHERWISE
        elif record.status == "finished":
            try:
                judgement = read_judgement(place)
            except StorageError as error:
                reason = f"its results are damaged: {error}"
        baselines.append(BaselineResult(place.name, place, judgement, reason))
    return tuple(baselines)
