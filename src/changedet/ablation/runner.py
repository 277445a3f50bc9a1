"""Run an ablation: unfinished runs, baselines, and the report."""

import shutil
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from changedet.ablation.findings import ClaimResult
from changedet.ablation.plan import (
    RUNS,
    AblationPlan,
    AblationRequest,
    PlannedRun,
    make_plan,
)
from changedet.ablation.process import StepProcesses
from changedet.ablation.report import REPORT_FILES, write_report
from changedet.ablation.request import check_folder
from changedet.ablation.results import (
    BASELINES,
    FORMER_BASELINES,
    SETTINGS,
    AblationPlanRecord,
    AblationResults,
    collect_results,
    read_marker,
    run_folders,
)
from changedet.ablation.run_state import (
    JUDGEMENT,
    LOG,
    PICTURES,
    RESOURCES,
    TRAINING,
    RunRecord,
    Status,
    read_judgement,
    read_record,
    read_run_resources,
    write_record,
)
from changedet.ablation.table import dump_table
from changedet.baselines.names import BASELINE_PREFIX, list_baselines
from changedet.errors import ConfigError, ResultsError, StorageError
from changedet.evaluation.environment import software_versions
from changedet.inference.devices import resolve_device
from changedet.storage.atomic import write_text
from changedet.storage.lock import only_run
from changedet.storage.markers import ABLATION
from changedet.storage.output_folder import content_of, remove_entries
from changedet.training.config import dump_config
from changedet.training.dataset_statistics import TrainingRecord

Say = Callable[[str], None]
_ENTRIES = (RUNS, BASELINES, FORMER_BASELINES, *REPORT_FILES, ABLATION)


class AblationOutcome(NamedTuple):
    """How an ablation ended.

    Attributes:
        results: What was found.
        problems: What went wrong.
        stopped_by: The signal that stopped it, if one did.
        claims: The claims of the table with their verdicts.
    """

    results: AblationResults
    problems: tuple[str, ...]
    stopped_by: int | None
    claims: tuple[ClaimResult, ...] = ()


def run_ablation(request: AblationRequest, *, say: Say = lambda message: None) -> AblationOutcome:
    """Train and evaluate every row with every seed, then report.

    A row that cannot be run or fails is recorded with its reason, and the others continue. After a
    stop or a kill, ``mode="resume"`` keeps finished runs and resumes interrupted ones.

    Args:
        request: What to run, on what, where to.
        say: Gets sentences for the user.

    Raises:
        ConfigError: If the table or an option is wrong, or ``out`` holds something else or is
            written to by another run.
        DataError: If the data cannot be used.
        TrainingError: If nothing could be evaluated on the validation split.
        StorageError: If results cannot be written.
    """
    resolve_device(request.device)
    with only_run(request.out):
        return _run(request, say)


def _run(request: AblationRequest, say: Say) -> AblationOutcome:
    plan = make_plan(request, say=say)
    _prepare_folder(request, plan)
    for sentence in (*plan.notes, *plan.problems):
        say(sentence)
    for row, fault in {run.row.name: run.fault for run in plan.runs if run.fault}.items():
        say(f"row {row} cannot be run: {fault}; continuing with the other rows")
    _write_marker(request, plan)
    processes = StepProcesses()
    with processes.listening():
        work = _Work(request, plan, processes, say=say)
        work.judge_again()
        for number, run in enumerate(plan.runs, start=1):
            if processes.stopped_by is None:
                work.run(run, f"[{number}/{len(plan.runs)}] {run.row.name}, seed {run.seed}")
        if request.baselines == "all" and processes.stopped_by is None:
            work.judge_baselines()
    return _report(request.out, stopped_by=processes.stopped_by)


def report_ablation(out: str | Path) -> AblationOutcome:
    """Write the report of an ablation again from what its runs left behind.

    Raises:
        ConfigError: If ``out`` holds no ablation.
        StorageError: If the report cannot be written, or a result is damaged.
    """
    return _report(Path(out), stopped_by=None)


def _report(out: Path, *, stopped_by: int | None) -> AblationOutcome:
    results = collect_results(out)
    claims = write_report(out, results)
    return AblationOutcome(results, results.problems, stopped_by, tuple(claims))


class _Work:
    """The steps of an ablation, each in a separate process."""

    def __init__(
        self,
        request: AblationRequest,
        plan: AblationPlan,
        processes: StepProcesses,
        *,
        say: Say,
    ) -> None:
        self.request = request
        self.plan = plan
        self.processes = processes
        self.say = say
        self.device = str(resolve_device(request.device))
        self.software = software_versions()

    def run(self, run: PlannedRun, title: str) -> None:
        """Bring one run to its end, or record why it has none."""
        found = read_record(run.folder)
        if found is not None and found.status == "finished":
            self.say(f"{title}: {found.reason or 'done before'}")
            return
        record = self._record(run.row.name, run.settings, seed=run.seed, command=run.command)
        if run.config is None:
            _end(run.folder, record.model_copy(update={"status": "failed", "reason": run.fault}))
            return
        if found is None or found.settings != run.settings:
            shutil.rmtree(run.folder, ignore_errors=True)
        write_text(run.folder / SETTINGS, dump_config(run.config))
        write_record(run.folder, record)
        reason = self._train(run, title)
        if self.processes.stopped_by is not None:
            return
        if reason is not None:
            _end(run.folder, record.model_copy(update={"status": "failed", "reason": reason}))
            self.say(f"{title}: {reason}")
            return
        self._judge_run(run.folder, record, title)

    def judge_again(self) -> None:
        """Evaluate trained runs that were not, or on other pairs; planned now or before."""
        rows = [row.name for row in self.plan.table.rows]
        for folder in [folder for row in rows for folder in run_folders(self.request.out, row)]:
            record = read_record(folder)
            if self.processes.stopped_by is not None:
                return
            if record is None or record.status != "finished":
                continue
            if record.judged != self.plan.judged or not _has_judgement(folder):
                title = f"{record.row}, seed {record.seed}"
                self.say(f"{title}: evaluating again")
                self._judge_run(folder, record, title)

    def judge_baselines(self) -> None:
        """Evaluate the baselines on the same splits."""
        for name in list_baselines():
            folder = self.request.out / BASELINES / name
            found = read_record(folder)
            is_done = found is not None and found.judged == self.plan.judged
            if self.processes.stopped_by is not None:
                return
            if is_done and _has_judgement(folder):
                continue
            self.say(f"evaluating the untrained method {name}")
            source = f"{BASELINE_PREFIX}{name}"
            reason = self._judge(folder, source, label=self.plan.label, channels=self.plan.channels)
            if self.processes.stopped_by is None:
                status: Status = "finished" if reason is None else "failed"
                record = self._record(source, "", seed=0, command="")
                judged = self.plan.judged if reason is None else None
                end = {"status": status, "reason": reason, "judged": judged}
                _end(folder, record.model_copy(update=end))
                if reason is not None:
                    self.say(f"untrained method {name} not evaluated: {reason}")

    def _train(self, run: PlannedRun, title: str) -> str | None:
        """Train, or resume training; say why it failed."""
        training = run.folder / TRAINING
        has_ended = read_run_resources(run.folder).state != "begun"
        if has_ended and (training / "best.safetensors").is_file():
            return None
        can_resume = (training / "checkpoints" / "last.safetensors").is_file()
        if not can_resume:
            remove_entries(run.folder, (TRAINING, RESOURCES))
        self.say(f"{title}: {'resuming' if can_resume else 'training'}; log: {run.folder / LOG}")
        reason = self.processes.run(
            "train",
            {
                "folder": str(run.folder),
                "settings": str(run.folder / SETTINGS),
                "data": str(self.request.data),
                "device": self.device,
                "minutes": self.request.minutes,
                "mode": "resume" if can_resume else "new",
            },
            log=run.folder / LOG,
        )
        has_validated = (training / "best.safetensors").is_file()
        if reason is None and not has_validated:
            return (
                "the budget ended before the first validation; raise `minutes`, or validate "
                "earlier with `training.validate_every=N` (both apply to every row, so start "
                'again in another folder or with `mode="overwrite"`)'
            )
        return reason

    def _judge_run(self, folder: Path, record: RunRecord, title: str) -> None:
        """Evaluate a trained run; one that cannot be evaluated stays trained, with the reason."""
        training = folder / TRAINING
        try:
            label = TrainingRecord.read(training / "run.json").label.to_dict()
        except ResultsError as error:
            reason: str | None = f"its training is damaged ({error}); remove {folder}"
        else:
            model = str(training / "best.safetensors")
            reason = self._judge(folder, model, label=label, channels=None)
        if self.processes.stopped_by is None:
            judged = self.plan.judged if reason is None else None
            end = {"status": "finished", "reason": reason, "judged": judged}
            _end(folder, record.model_copy(update=end))
            self.say(f"{title}: {reason or 'done'}")

    def _judge(
        self, folder: Path, source: str, *, label: dict[str, Any], channels: int | None
    ) -> str | None:
        remove_entries(folder, (PICTURES, JUDGEMENT))
        splits = {**asdict(self.plan.splits), "data": str(self.plan.splits.data)}
        job = {
            "folder": str(folder),
            "source": source,
            "device": self.device,
            "label": label,
            "splits": splits,
            "channels": channels,
        }
        return self.processes.run("judge", job, log=folder / LOG)

    def _record(self, row: str, settings: str, *, seed: int, command: str) -> RunRecord:
        return RunRecord(
            row=row,
            seed=seed,
            status="begun",
            settings=settings,
            command=command,
            software=self.software,
            device=self.device,
        )


def _has_judgement(folder: Path) -> bool:
    try:
        read_judgement(folder)
    except StorageError:
        return False
    return True


def _end(folder: Path, record: RunRecord) -> None:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    write_record(folder, record.model_copy(update={"finished": now}))


def _prepare_folder(request: AblationRequest, plan: AblationPlan) -> None:
    out = request.out
    check_folder(out, mode=request.mode)
    if not content_of(out):
        return
    if request.mode == "overwrite":
        remove_entries(out, _ENTRIES)
        return
    before = read_marker(out)
    if (out / FORMER_BASELINES).is_dir() and not (out / BASELINES).exists():
        (out / FORMER_BASELINES).rename(out / BASELINES)
    if before.choosing != plan.choosing:
        raise ConfigError(
            f"the rows in {out} were trained on, or their models chosen by, other pairs (data set, "
            "splits, or pairs added or removed); choose another folder, or use "
            '`mode="overwrite"`'
        )
    for run in plan.runs:
        record = read_record(run.folder)
        is_other = record is not None and record.settings != run.settings
        if record is not None and is_other and record.status != "failed":
            raise ConfigError(
                f"row {run.row.name}, seed {run.seed} in {out} was made with other settings, data "
                'or budget; use the same again, choose another folder, or use `mode="overwrite"`'
            )


def _write_marker(request: AblationRequest, plan: AblationPlan) -> None:
    is_begun = request.mode == "resume" and (request.out / ABLATION).is_file()
    before = read_marker(request.out) if is_begun else None
    commands = () if before is None else before.commands
    asked = request.rows
    if asked is not None and before is not None:
        asked = None if before.asked is None else tuple({*before.asked, *asked})
    AblationPlanRecord(
        table=dump_table(plan.table),
        commands=(*commands, *({request.command} - {"", *commands})),
        splits=plan.splits,
        choosing=plan.choosing,
        judged=plan.judged,
        minutes=request.minutes,
        notes=plan.notes,
        problems=plan.problems,
        asked=None if asked is None else tuple(sorted(asked)),
    ).write(request.out / ABLATION)
