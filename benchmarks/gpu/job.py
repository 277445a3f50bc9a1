"""What a part gets to know, and where it writes."""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from typing import Any


@dataclass(frozen=True)
class Job:
    """What a part is told.

    Attributes:
        part: Its name.
        data: Folder of CLCD.
        work: Folder for all that it makes; nothing of it is fetched by itself.
        deadline: Time of ``time.time()`` at which it should have ended.
        weights: ImageNet weights of a ResNet-50; None: random ones.
        material: Folder with the first weights of the part ``cropland``; None: random ones.
        teachers: Model files that teach its students.
        device: As for ``changedet --device``.
        seed: Seed of the trainings.
        is_rehearsal: Whether tiny networks take the place of the real ones.
    """

    part: str
    data: str
    work: str
    deadline: float
    weights: str | None = None
    material: str | None = None
    teachers: tuple[str, ...] = ()
    device: str = "auto"
    seed: int = 0
    is_rehearsal: bool = False

    @property
    def folder(self) -> Path:
        """Folder of the part."""
        return Path(self.work) / self.part

    @property
    def left_s(self) -> float:
        """Seconds until the deadline."""
        return self.deadline - time.time()

    @property
    def encoder_settings(self) -> list[str]:
        """Settings of the encoder, ``section.key=value``."""
        if self.is_rehearsal:
            return ["model.encoder=test_efficientnet", "model.encoder_weights=none"]
        return [f"model.encoder_weights={self.weights or 'none'}"]

    def to_json(self) -> str:
        """The job as a word of a command."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Job":
        """Read what :meth:`to_json` wrote."""
        values = json.loads(text)
        return cls(**{**values, "teachers": tuple(values.get("teachers", ()))})

    def save(self, results: dict[str, Any]) -> None:
        """Write what is known so far, as plain JSON types; the plan hands it on at once."""
        write_json(results_path(Path(self.work), self.part), results)


class Table:
    """Results of a part by row, written with every change; rows may be added by several threads.

    Args:
        job: What the part is told; what it found before it was interrupted is read again.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._lock = Lock()
        self.rows: dict[str, Any] = read_json(results_path(Path(job.work), job.part)) or {}

    def add(self, name: str, **values: object) -> dict[str, Any]:
        """Add values to a row and return it."""
        with self._lock:
            row: dict[str, Any] = self.rows.setdefault(name, {})
            row |= values
            self._job.save(self.rows)
            return row


def results_path(work: Path, part: str) -> Path:
    """File of a part's results."""
    return work / f"{part}.json"


def write_json(path: Path, content: object) -> None:
    """Write a file that is whole at any moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.part")
    partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    partial.replace(path)


def read_json(path: Path) -> Any:  # noqa: ANN401 - JSON is anything
    """Read a file of :func:`write_json`; None if there is none."""
    if not path.is_file():
        return None
    return json.loads(path.read_text(encoding="utf-8"))
