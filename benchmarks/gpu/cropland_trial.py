"""What helps a small network on CLCD's val: one ingredient more from student to student.

Each has the same number of crops and the same seed. Val chooses among them, so its figures are
optimistic; two seeds of one recipe differ by a point of F1, so only what costs much is left out.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from gpu.commands import CommandError
from gpu.job import Job, Table, read_json, results_path
from gpu.students import STRONG, Student, train_all

_AFTERWARDS_S = 8.0
#: AP by which an ingredient must be worse to be left out, or better where it is not the habit.
_MARGIN = 0.005
#: From where on the weights of other kinds of change are worth more than variety among students.
_MUCH = 0.01

TRIALS = (
    Student("plain"),
    Student("taught", teacher_weight=0.5),
    Student("strong", teacher_weight=0.5, changes=STRONG),
    Student("mixture", teacher_weight=0.5, changes=STRONG, start="mixture"),
    Student("teacher_most", teacher_weight=0.9, changes=STRONG, start="mixture"),
)


@dataclass(frozen=True)
class Choice:
    """What students are trained with.

    Attributes:
        teacher_weight: Share of the loss that the teachers have.
        is_strong: Whether colours and places are varied more than in the recipe.
        start: What the first on Lite0 starts from.
        starts_all: Whether the others on Lite0 start from it, too.
    """

    teacher_weight: float = 0.5
    is_strong: bool = True
    start: Literal["imagenet", "mixture"] = "mixture"
    starts_all: bool = False


def main(job: Job) -> None:
    """Train all of them, then read what their last validations found."""
    table = Table(job)
    # On a few processors each start of a program takes long.
    trials = (TRIALS[0], TRIALS[-1]) if job.is_rehearsal else TRIALS
    students = [trial for trial in trials if _is_possible(job, trial)]
    until = job.deadline - 0.5 * _AFTERWARDS_S
    fault = None
    try:
        train_all(job, students, table, until=until, afterwards_s=_AFTERWARDS_S)
    except CommandError as error:
        # What the others found still counts.
        fault = error
    for student in students:
        table.add(student.name, **last_validation(job.folder / student.name))
    table.add("choice", **asdict(choose(table.rows)))
    if fault is not None:
        raise fault
    if not any("average_precision" in row for row in table.rows.values()):
        raise CommandError("the time was up before any student had a validation")


def choose(rows: Mapping[str, Any]) -> Choice:
    """Keep an ingredient unless it costs average precision; take more of the teacher if it gains.

    Args:
        rows: Results of the part; what is missing or was stopped early decides nothing.
    """
    precision = {
        name: float(row["average_precision"])
        for name, row in rows.items()
        if "average_precision" in row and not row.get("train", {}).get("was_stopped", False)
    }

    def gain(of: str, over: str) -> float | None:
        found = of in precision and over in precision
        return precision[of] - precision[over] if found else None

    choice = Choice()
    strong, start = gain("strong", "taught"), gain("mixture", "strong")
    teacher, more = gain("taught", "plain"), gain("teacher_most", "mixture")
    if strong is not None and strong < -_MARGIN:
        choice = replace(choice, is_strong=False)
    if start is not None and start < -_MARGIN:
        choice = replace(choice, start="imagenet")
    if start is not None and start > _MUCH:
        choice = replace(choice, starts_all=True)
    if teacher is not None and teacher < -_MARGIN:
        choice = replace(choice, teacher_weight=0.0)
    elif more is not None and more > _MARGIN:
        choice = replace(choice, teacher_weight=0.9)
    return choice


def choice_of(job: Job) -> Choice:
    """What the trial chose where there was one."""
    rows = read_json(results_path(Path(job.work), "cropland_trial")) or {}
    return Choice(**rows["choice"]) if "choice" in rows else Choice()


def last_validation(run: Path) -> dict[str, float]:
    """Figures of the last validation of a run; empty if there was none."""
    path = run / "logs" / "validation.csv"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    if len(lines) < 2:
        return {}
    row = dict(zip(lines[0].split(","), lines[-1].split(","), strict=True))
    return {name: float(row[name]) for name in ("max_f1", "average_precision")}


def _is_possible(job: Job, student: Student) -> bool:
    """Whether there is what it starts from."""
    if student.start == "imagenet" or job.is_rehearsal:
        return True
    return job.material is not None and (Path(job.material) / "init.safetensors").is_file()
