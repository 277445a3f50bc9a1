"""Students for cropland, each twice: on train, to be judged on val, and on train and val.

The twin on train alone says how good the recipe is on images that it has not seen, and gives the
threshold; the one on both is for release. What is chosen on val afterwards (which students make up
the ensemble, its threshold) is chosen with the twins.
"""

import json
import tarfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

from safetensors import safe_open

from gpu.commands import CommandError, run
from gpu.cropland_trial import Choice, choice_of, last_validation
from gpu.job import Job, Table, write_json
from gpu.students import STRONG, Student, train_all

#: Seconds for exports and ensembles behind the trainings.
_AFTERWARDS_S = 65.0
_VIEWS = "coarse_few"
_MEMBERS = "members.tar"
#: Regularisation of the recipe as it once was: no better alone, but it errs elsewhere.
_DECAY = (
    "optimizer.name=adamw",
    "optimizer.weight_decay=5.0e-2",
    "schedule.warmup_epochs=1",
    "model.drop_path=0.2",
    "training.clip_norm=5",
)


def students_of(choice: Choice, *, has_mixture: bool) -> tuple[Student, ...]:
    """Three networks that differ in encoder, start, regularisation and seed.

    Args:
        choice: What all of them are trained with.
        has_mixture: Whether there are weights of other kinds of change.
    """
    usual = STRONG if choice.is_strong else ()
    weight = choice.teacher_weight

    def on_lite0(name: str, *changes: str, from_mixture: bool, seed: int) -> Student:
        student = Student(name, teacher_weight=weight, changes=(*usual, *changes), seed=seed)
        if not (from_mixture and has_mixture and choice.start == "mixture"):
            return student
        # Lower, since all of its weights are good already.
        changes = (*student.changes, "optimizer.lr=7.0e-4")
        return replace(student, name=f"{name}_mixture", start="mixture", changes=changes)

    return (
        on_lite0("lite0", from_mixture=True, seed=1),
        Student("lite2", encoder="lite2", teacher_weight=weight, changes=usual, seed=2),
        on_lite0("lite0_decay", *_DECAY, from_mixture=choice.starts_all, seed=3),
    )


def twins(students: Sequence[Student]) -> tuple[Student, ...]:
    """All on train, then all on train and val, which have other seeds."""
    return (
        *(replace(student, name=f"{student.name}_train") for student in students),
        *(
            replace(student, name=f"{student.name}_all", split="train+val", seed=student.seed + 10)
            for student in students
        ),
    )


def main(job: Job) -> None:
    """Train, export, judge the ensembles."""
    table = Table(job)
    has_mixture = job.is_rehearsal or (
        job.material is not None and (Path(job.material) / "init.safetensors").is_file()
    )
    students = students_of(choice_of(job), has_mixture=has_mixture)
    # On a few processors each start of a program takes long.
    students = students[:2] if job.is_rehearsal else students
    until = job.deadline - 0.8 * _AFTERWARDS_S * (0.3 if job.is_rehearsal else 1.0)
    fault = None
    try:
        train_all(job, twins(students), table, until=until, afterwards_s=_AFTERWARDS_S)
    except CommandError as error:
        # One that failed must not cost what the others learnt.
        fault = error
    trained = [
        student
        for student in students
        if all(
            (job.folder / f"{student.name}_{kind}" / "best.safetensors").is_file()
            for kind in ("train", "all")
        )
    ]
    with ThreadPoolExecutor(max(1, len(trained))) as pool:
        list(pool.map(lambda student: _export(job, student, table), trained))
    _pack(job, trained)
    if len(trained) > 1:
        _join(job, trained, table)
    if fault is not None:
        raise fault
    if len(trained) < len(students):
        raise CommandError("the time was up before all students had a validation")


def _export(job: Job, student: Student, table: Table) -> None:
    """Store both twins in int8; val chooses the threshold of the one that has not seen it."""
    own, final = (_model(job, f"{student.name}_{kind}") for kind in ("train", "all"))
    log = job.folder / f"{student.name}.log"
    trained = [_best(job, f"{student.name}_{kind}") for kind in ("train", "all")]
    if not _is_made_of(own, trained[0]):
        _calibrate(job, trained[0], own, log=log)
    table.add(f"{student.name}_train", **last_validation(trained[0].parent))
    table.add(f"{student.name}_train", int8=_figures(own))
    if not _is_made_of(final, trained[1], own):
        words = ["calibrate", str(trained[1]), str(final)]
        words += ["--threshold-of", str(own), "--precision", "int8", "--overwrite"]
        run(words, log=log, deadline=_end(job), threads=2)


def _join(job: Job, students: Sequence[Student], table: Table) -> None:
    """Judge every ensemble of twins on train, all at once; the members are at hand anyway."""
    names = [student.name for student in students]
    teams = [team for size in range(2, len(names) + 1) for team in combinations(names, size)]
    with ThreadPoolExecutor(len(teams)) as pool:
        list(pool.map(lambda team: _judge(job, team, table), teams))


def _judge(job: Job, team: Sequence[str], table: Table) -> None:
    name = "+".join(team)
    target = _model(job, f"ensemble_{name}")
    log = job.folder / f"ensemble_{name}.log"
    members = [_model(job, f"{member}_train") for member in team]
    if not _is_made_of(target, *members):
        plain = job.folder / f"plain_{name}.safetensors"
        words = ["ensemble", *map(str, members), "--out", str(plain), "--overwrite"]
        run(words, log=log, deadline=_end(job), threads=2)
        _calibrate(job, plain, target, log=log)
    table.add(name, int8=_figures(target))


def _calibrate(job: Job, model: Path, target: Path, *, log: Path) -> None:
    words = ["calibrate", str(model), str(target), "--data", job.data, "--split", "val"]
    words += ["--precision", "int8", "--test-time", _views(job), "--device", job.device]
    run([*words, "--overwrite"], log=log, deadline=_end(job), threads=2)


def _figures(model: Path) -> dict[str, Any]:
    """F1 and average precision on val that the calibration noted in the model's card."""
    with safe_open(model, framework="np") as file:
        card = json.loads(file.metadata()["changedet"])
    figures: dict[str, Any] = card["metrics"]["calibration"]
    return {**figures, "threshold": card["threshold"], "bytes": model.stat().st_size}


def _pack(job: Job, students: Sequence[Student]) -> None:
    """Hand all students on in one archive: files that come back are few."""
    with tarfile.open(job.folder / f"{_MEMBERS}.part", "w") as tar:
        for student in students:
            for kind in ("train", "all"):
                path = _model(job, f"{student.name}_{kind}")
                tar.add(path, arcname=path.name)
    (job.folder / f"{_MEMBERS}.part").replace(job.folder / _MEMBERS)
    write_json(job.folder / "ship.json", [_MEMBERS])


def _is_made_of(target: Path, *sources: Path) -> bool:
    """Whether a file is there, and younger than those it is made of: a run may have gone on."""
    return target.is_file() and all(
        target.stat().st_mtime >= source.stat().st_mtime for source in sources
    )


def _best(job: Job, name: str) -> Path:
    return job.folder / name / "best.safetensors"


def _model(job: Job, name: str) -> Path:
    return job.folder / f"{name}.safetensors"


def _views(job: Job) -> str:
    return "none" if job.is_rehearsal else _VIEWS


def _end(job: Job) -> float:
    return max(job.deadline, time.time() + 20.0)
