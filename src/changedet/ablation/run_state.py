"""What is kept of each run, so that an ablation can be resumed and reported at any time."""

import csv
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from changedet.ablation.estimates import FloatArray
from changedet.ablation.resources import Resources, read_resources
from changedet.ablation.scoring import Protocol, SplitScore
from changedet.errors import StorageError
from changedet.storage.atomic import write_text

Status = Literal["begun", "finished", "failed"]
RECORD = "record.json"
JUDGEMENT = "judgement.json"
RESOURCES = "resources.json"
TRAINING = "training"
PICTURES = "heatmaps"
LOG = "log.txt"
#: Counted up when judging gives other figures than before, so that older ones are judged again.
JUDGEMENT_FORMAT = 2
_LOSS_TERMS = ("position", "channel", "fused")


@dataclass(frozen=True)
class RunRecord:
    """How one run of a row stands.

    Attributes:
        row: Name of the row.
        seed: Its seed.
        status: ``begun``, ``finished`` once it is trained, or ``failed``.
        settings: Hash of all that decides the trained model, see :func:`settings_hash`.
        command: The training as a command.
        reason: Why it failed, or could not be judged.
        software: What it was computed with, see :func:`changedet.evaluation.environment`.
        device: Where it was computed.
        finished: When, in UTC.
        judged: Hash of what it was judged on; None: it was not.
    """

    row: str
    seed: int
    status: Status
    settings: str
    command: str
    reason: str | None = None
    software: Mapping[str, Any] | None = None
    device: str | None = None
    finished: str | None = None
    judged: str | None = None


@dataclass(frozen=True, eq=False)
class Judgement:
    """What judging a trained model, or a floor, gave.

    Attributes:
        title: Name for tables.
        scores: Figures by protocol.
        parameters: Trained values; None for a floor.
        gflop: 10^9 operations for a 256 x 256 pair, all views of test-time augmentation together;
            None for a floor.
    """

    title: str
    scores: Mapping[Protocol, SplitScore]
    parameters: int | None = None
    gflop: float | None = None


@dataclass(frozen=True, eq=False)
class RunLogs:
    """What the logs of a training say.

    Attributes:
        epochs: Epochs that were begun.
        max_f1: Max-F1 of each validation, (V,).
        roc_auc: ROC-AUC of each validation, (V,).
        loss_terms: Values of each loss term by row of the log; terms that were not computed are
            missing.
    """

    epochs: int
    max_f1: FloatArray
    roc_auc: FloatArray
    loss_terms: Mapping[str, Sequence[float]]


def settings_hash(settings: Mapping[str, Any]) -> str:
    """Hash what decides a run's result: its settings, its data, its budget."""
    content = json.dumps(settings, sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def write_record(folder: Path, record: RunRecord) -> None:
    """Write how a run stands to its folder.

    Raises:
        StorageError: If it cannot be written.
    """
    write_text(folder / RECORD, json.dumps(asdict(record), indent=2) + "\n")


def read_record(folder: Path) -> RunRecord | None:
    """Read how a run stands; None if it was never begun.

    Raises:
        StorageError: If the file is damaged.
    """
    path = folder / RECORD
    return RunRecord(**_read_json(path)) if path.is_file() else None


def write_judgement(folder: Path, judgement: Judgement) -> None:
    """Write what judging gave.

    Raises:
        StorageError: If it cannot be written.
    """
    scores = {name: score.to_dict() for name, score in judgement.scores.items()}
    content = {**vars(judgement), "scores": scores}
    write_text(folder / JUDGEMENT, json.dumps(content) + "\n")


def read_judgement(folder: Path) -> Judgement:
    """Read what judging gave.

    Raises:
        StorageError: If there is no such file, or it is damaged.
    """
    path = folder / JUDGEMENT
    content = _read_json(path)
    try:
        scores = {name: SplitScore.from_dict(score) for name, score in content["scores"].items()}
        return Judgement(**{**content, "scores": scores})
    except (KeyError, TypeError, ValueError) as error:
        raise StorageError(
            f"{path} does not hold what it should ({error!r}); remove it and run again"
        ) from error


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
    terms = {
        term: [float(row[f"loss_{term}"]) for row in train if row.get(f"loss_{term}")]
        for term in _LOSS_TERMS
    }
    return RunLogs(
        epochs=max((int(row["epoch"]) for row in train), default=0),
        max_f1=_column(validation, "max_f1"),
        roc_auc=_column(validation, "roc_auc"),
        loss_terms={term: values for term, values in terms.items() if len(values) == len(train)},
    )


def _column(rows: Sequence[Mapping[str, str]], name: str) -> FloatArray:
    return np.array([float(row[name]) for row in rows], dtype=np.float64)


def _read_rows(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}; run the row again") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StorageError(f"{path} cannot be read ({error}); remove it and run again") from error
    return content
