"""What is kept of each run, so that an ablation can be resumed and reported at any time."""

import csv
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from pydantic import Field

from changedet.ablation.estimates import FloatArray
from changedet.ablation.resources import Resources, read_resources
from changedet.ablation.scores import Evaluation, Protocol, SplitScore
from changedet.errors import ResultsError
from changedet.storage.results import PlainJson, Record, Results
from changedet.storage.text import read_text

Status = Literal["begun", "finished", "failed"]
RECORD = "record.json"
JUDGEMENT = "judgement.json"
RESOURCES = "resources.json"
TRAINING = "training"
PICTURES = "heatmaps"
LOG = "log.txt"
#: Increased when evaluation changes its figures, so that older runs are evaluated again.
JUDGEMENT_FORMAT = 2
#: Names of the protocols in earlier versions.
FORMER_PROTOCOLS: Mapping[str, Protocol] = {
    "seed": "best_threshold",
    "honest": "fixed_threshold",
}
_LOSS_TERMS = ("position", "channel", "fused")


class RunState(Record):
    """How one run of a row stands.

    Attributes:
        row: Name of the row.
        seed: Its seed.
        status: ``begun``, ``finished`` once it is trained, or ``failed``.
        settings: Hash of all that decides the trained model, see :func:`settings_hash`.
        command: The training as a command.
        reason: Why it failed, or could not be evaluated.
        software: What it was computed with, see :func:`changedet.evaluation.environment`.
        device: Where it was computed.
        finished: When, in UTC.
        judged: Hash of what it was evaluated on; null: it was not.
    """

    row: str
    seed: int
    status: Status
    settings: str
    command: str
    reason: str | None = None
    software: PlainJson | None = None
    device: str | None = None
    finished: str | None = None
    judged: str | None = None


class RunRecord(RunState, Results):
    """How one run of an ablation stands."""

    kind: Literal["ablation_run"] = "ablation_run"


class Judgement(Results):
    """The evaluation of a trained model, or an untrained baseline.

    Attributes:
        title: Name for tables.
        scores: Figures by protocol.
        held_out: The same on the validation split of each held-out set of a mixture.
        parameters: Trained values; null for an untrained baseline.
        gflop: 10^9 operations for a 256 x 256 pair, all views of test-time augmentation together;
            null for an untrained baseline.
        heat_map_middle: Score that the middle colour of the heat maps stands for: the source's own
            threshold; null: 0.5.
    """

    INDENT: ClassVar[int | None] = None

    kind: Literal["ablation_judgement"] = "ablation_judgement"
    title: str
    scores: dict[Protocol, SplitScore]
    held_out: dict[str, dict[Protocol, SplitScore]] = Field(default_factory=dict)
    parameters: int | None = None
    gflop: float | None = None
    heat_map_middle: float | None = None

    def score(self, evaluation: Evaluation) -> SplitScore | None:
        """Give the figures of one evaluation; None if it was not evaluated so."""
        name = evaluation.held_out
        scores = self.scores if name is None else self.held_out.get(name, {})
        return scores.get(evaluation.protocol)

    @classmethod
    def upgrade(cls, content: dict[str, Any]) -> dict[str, Any]:
        """Take protocols and figures of before there was a schema version by their present names.

        ``{"seed": {"protocol": "seed", "blotches": ...}}`` becomes
        ``{"best_threshold": {"protocol": "best_threshold", "false_positive_objects": ...}}``.
        """
        scores = {}
        for former, score in content["scores"].items():
            protocol = FORMER_PROTOCOLS.get(former, former)
            score["false_positive_objects"] = score.pop("blotches")
            scores[protocol] = {**score, "protocol": protocol}
        return super().upgrade({**content, "scores": scores})


class BestPosition(NamedTuple):
    """Where in a training its best validation was: epoch, and batches of it that were done."""

    epoch: int
    batch: int


@dataclass(frozen=True, eq=False)
class RunLogs:
    """What the logs of a training say.

    Attributes:
        epochs: Epochs that were begun.
        max_f1: Max-F1 of each validation, (V,).
        roc_auc: ROC-AUC of each validation, (V,).
        loss_terms: Values of each loss term by row of the log; terms that were not computed are
            missing.
        best: Where the first validation with the best max-F1 was; None without any.
    """

    epochs: int
    max_f1: FloatArray
    roc_auc: FloatArray
    loss_terms: Mapping[str, Sequence[float]]
    best: BestPosition | None = None


def settings_hash(settings: Mapping[str, Any]) -> str:
    """Hash what decides a run's result: its settings, its data, its budget."""
    content = json.dumps(settings, sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def write_record(folder: Path, record: RunRecord) -> None:
    """Write how a run stands to its folder.

    Raises:
        StorageError: If it cannot be written.
    """
    record.write(folder / RECORD)


def read_record(folder: Path) -> RunRecord | None:
    """Read how a run stands; None if it was never begun.

    Raises:
        ResultsError: If the file is damaged.
    """
    path = folder / RECORD
    return RunRecord.read(path) if path.is_file() else None


def write_judgement(folder: Path, judgement: Judgement) -> None:
    """Write an evaluation.

    Raises:
        StorageError: If it cannot be written.
    """
    judgement.write(folder / JUDGEMENT)


def read_judgement(folder: Path) -> Judgement:
    """Read an evaluation.

    Raises:
        ResultsError: If there is no such file, or it is damaged.
    """
    return Judgement.read(folder / JUDGEMENT)


def read_run_resources(folder: Path) -> Resources:
    """Read what a run's training took, see :func:`read_resources`."""
    return read_resources(folder / RESOURCES)


def read_logs(folder: Path) -> RunLogs:
    """Read the logs of a run's training.

    Raises:
        StorageError: If they are missing or damaged.
    """
    logs = folder / TRAINING / "logs"
    train, validation = (_read_rows(logs / f"{name}.csv") for name in ("train", "validation"))
    try:
        return _logs_of(train, validation)
    except (ValueError, LookupError, TypeError, OverflowError) as error:
        raise ResultsError(
            f"{logs} holds damaged logs ({error!r:.160}); run the row again"
        ) from error


def _logs_of(train: list[dict[str, str]], validation: list[dict[str, str]]) -> RunLogs:
    terms = {
        term: [float(row[f"loss_{term}"]) for row in train if row.get(f"loss_{term}")]
        for term in _LOSS_TERMS
    }
    # Of equal ones the first, whose model was kept.
    best = max(validation, key=lambda row: float(row["max_f1"]), default=None)
    return RunLogs(
        epochs=max((int(row["epoch"]) for row in train), default=0),
        best=None if best is None else BestPosition(int(best["epoch"]), int(best["batch"])),
        max_f1=_column(validation, "max_f1"),
        roc_auc=_column(validation, "roc_auc"),
        loss_terms={term: values for term, values in terms.items() if len(values) == len(train)},
    )


def _column(rows: Sequence[Mapping[str, str]], name: str) -> FloatArray:
    return np.array([float(row[name]) for row in rows], dtype=np.float64)


def _read_rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        raise ResultsError(f"{path} cannot be read: there is no such file; run the row again")
    try:
        return list(csv.DictReader(io.StringIO(read_text(path, error=ResultsError), newline="")))
    except csv.Error as error:
        raise ResultsError(f"{path} is damaged ({error}); run the row again") from error
