"""The small networks of the cropland parts: what they start from, what they differ in, training.

All of them run at the same time: a step of such a network leaves most of a large card idle.
"""

import math
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from gpu.commands import CommandError, Training, settings
from gpu.job import Job, Table
from gpu.pace import Trial, measure_together
from gpu.recipes import count_pairs
from gpu.schedule import MARGIN, Pace

#: Crops of 360 pairs that make an epoch are so many each; what an epoch costs at its ends is small.
CROPS_PER_PAIR = 20
#: bfloat16 costs launches, which one batch of 8 does not pay for (`pyramid_small` in README).
BATCH_SIZE = 24
#: Validations: halfway, so that there is something where time runs out, and at the end.
_VALIDATIONS = 2
#: So many that in the second half, which is timed, nearly all images were decoded before: each
#: reader keeps its own, and two of them read for a student.
_PACE_CROPS_PER_PAIR = 8
#: Where nothing could be measured.
_SLOW = Pace(start_s=25.0, crops_per_s=120.0, end_s=12.0)
#: A rehearsal has one epoch of so many crops of each pair, or few more.
_REHEARSED_CROPS_PER_PAIR = 2
#: Trainings that share a card slow down as readers and validations meet.
_CROWD = 1.08

#: Variation of colours and places beyond the recipe's turns, zooms and pasted pieces.
STRONG = (
    "augmentation.brightness=0.2",
    "augmentation.contrast=0.2",
    "augmentation.saturation=0.2",
    "augmentation.hue=0.02",
    "augmentation.shift_px=1.0",
    "augmentation.paste=0.5",
)
_CARD = (
    "data.gsd_m=[0.5, 2]",
    "data.change_kind=cropland change",
    "data.region=Guangdong, China",
)
_TINY = (
    "model.encoder=test_efficientnet",
    "model.encoder_weights=none",
    "model.decoder_width=16",
    "loss.level_weights=null",
    "data.crop_px=64",
    "data.tile_px=64",
    "data.test_time=none",
)


@dataclass(frozen=True)
class Student:
    """A small network to train.

    Attributes:
        name: Of its run.
        encoder: ``lite0`` or ``lite2``.
        start: ``imagenet``: the encoder's weights; ``mixture``: all weights of a network of the
            same shape that was trained on other kinds of change.
        teacher_weight: Share of the loss that the teachers have; 0: none.
        changes: Further settings.
        split: What it is trained on.
        seed: Added to that of the plan.
    """

    name: str
    encoder: Literal["lite0", "lite2"] = "lite0"
    start: Literal["imagenet", "mixture"] = "imagenet"
    teacher_weight: float = 0.0
    changes: tuple[str, ...] = ()
    split: str = "train"
    seed: int = 0


def train_words(job: Job, student: Student, *, beside: int, epochs: int, crops: int) -> list[str]:
    """Make the arguments of ``changedet train``, all but the folder of the run.

    Args:
        job: What the part is told.
        student: What to train.
        beside: Trainings that run at the same time.
        epochs: Length.
        crops: Crops of an epoch, about.
    """
    pairs = count_pairs(job) + (count_pairs(job, "val") if "val" in student.split else 0)
    items = [
        "model.kinds=[cropland]",
        f"model.encoder=tf_efficientnet_{student.encoder}",
        f"model.encoder_weights={_weights(job, student)}",
        f"data.train_split={student.split}",
        f"data.crops_per_pair={max(1, round(crops / pairs))}",
        f"data.workers={_workers(beside, is_rehearsal=job.is_rehearsal)}",
        "data.cache=memory",
        *_CARD,
        f"training.seed={job.seed + student.seed}",
        f"training.epochs={epochs}",
        f"training.batch_size={2 if job.is_rehearsal else BATCH_SIZE}",
        "training.keep_best=1",
        "training.checkpoint_every=1000000",
        "training.validate_every=1000000",
        f"training.validate_every_epochs={max(1, math.ceil(epochs / _VALIDATIONS))}",
        "training.heatmap_every=1000",
    ]
    if student.teacher_weight and job.teachers:
        items.append(f"teacher.models=[{', '.join(job.teachers)}]")
        items.append(f"teacher.weight={student.teacher_weight}")
    items += student.changes
    words = ["pyramid_small", "--data", job.data, "--device", job.device]
    init = _init(job, student)
    if init is not None:
        words += ["--init", str(init)]
    return [*words, *settings(*items, *(_TINY if job.is_rehearsal else ()))]


def train_all(
    job: Job, students: Sequence[Student], table: Table, *, until: float, afterwards_s: float
) -> None:
    """Settle one length for all, measured, then train them at the same time.

    Args:
        job: What the part is told.
        students: What to train.
        table: Gets a row for each.
        until: ``time.time()`` at which they are stopped.
        afterwards_s: Seconds to leave before that, beyond what was measured.

    Raises:
        CommandError: If one fails; the others still come to their end.
    """
    if any("epochs" not in table.rows.get(student.name, {}) for student in students):
        paces = _paces(job, students)
        epochs = _epochs(job, list(paces.values()), seconds=job.left_s - afterwards_s)
        for student in students:
            pace = asdict(paces[student.name])
            table.add(student.name, student=asdict(student), pace=pace, epochs=epochs)
    with ThreadPoolExecutor(len(students)) as pool:
        faults = list(
            pool.map(
                lambda student: _train(job, student, table, beside=len(students), until=until),
                students,
            )
        )
    failed = [fault for fault in faults if fault is not None]
    if failed:
        raise CommandError("; ".join(failed))


def _train(job: Job, student: Student, table: Table, *, beside: int, until: float) -> str | None:
    row = table.rows[student.name]
    if not row.get("train", {"was_stopped": True})["was_stopped"]:
        return None
    crops = crops_of_epoch(job)
    words = train_words(job, student, beside=beside, epochs=row["epochs"], crops=crops)
    log = job.folder / f"{student.name}.log"
    training = Training(job.folder / student.name, words, log=log, threads=2)
    try:
        training.wait(until)
    except CommandError as error:
        table.add(student.name, fault=str(error))
        return f"{student.name}: {error}"
    table.add(
        student.name,
        fault=None,
        train={
            "command": ["changedet", "train", *words],
            "seconds": round(training.seconds, 1),
            "was_stopped": training.was_stopped,
            "crops": row["epochs"] * crops,
        },
    )
    return None


def crops_of_epoch(job: Job) -> int:
    """Crops of an epoch, the same whether a student trains on val, too, or not."""
    each = _REHEARSED_CROPS_PER_PAIR if job.is_rehearsal else CROPS_PER_PAIR
    return each * count_pairs(job)


def _paces(job: Job, students: Sequence[Student]) -> Mapping[str, Pace]:
    """Measure all of them at once."""
    each = _REHEARSED_CROPS_PER_PAIR if job.is_rehearsal else _PACE_CROPS_PER_PAIR
    crops = each * count_pairs(job)
    trials = {
        f"{job.part}_{student.name}": Trial(
            train_words(job, student, beside=len(students), epochs=1, crops=crops),
            2 if job.is_rehearsal else BATCH_SIZE,
        )
        for student in students
    }
    found = measure_together(trials, job=job, deadline=job.deadline - 0.75 * job.left_s)
    paces = {}
    for student, measured in zip(students, found.values(), strict=True):
        if "fault" in measured:
            print(f"{student.name}: a slow pace is taken: {measured['fault']}", flush=True)
        paces[student.name] = _SLOW if "fault" in measured else Pace(**measured)
    return paces


def _epochs(job: Job, paces: Sequence[Pace], *, seconds: float) -> int:
    """Epochs that all of them end in time, the slowest included.

    Args:
        job: What the part is told.
        paces: Of each.
        seconds: From the commands to their ends.
    """
    crops = crops_of_epoch(job)

    def fit(pace: Pace) -> float:
        rest = seconds - MARGIN * (pace.start_s + _VALIDATIONS * pace.end_s)
        return rest * pace.crops_per_s / (MARGIN * _CROWD * crops)

    # They are as long as one another, and who ends early leaves its share to the others.
    most = 2 if job.is_rehearsal else 10_000
    return min(most, max(1, math.floor(sum(map(fit, paces)) / len(paces))))


def _weights(job: Job, student: Student) -> str:
    if job.material is None or student.start == "mixture":
        return "none"
    return str(Path(job.material) / f"{student.encoder}.safetensors")


def _init(job: Job, student: Student) -> Path | None:
    if job.material is None or job.is_rehearsal or student.start != "mixture":
        return None
    return Path(job.material) / "init.safetensors"


def _workers(beside: int, *, is_rehearsal: bool) -> int:
    """Processes that read images for each training; a training itself keeps half a core busy."""
    if is_rehearsal:
        return 0
    return max(1, round((os.cpu_count() or 1) / beside - 0.6))
