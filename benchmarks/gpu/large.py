"""The large recipe on CLCD: as many epochs as fit, its model in int8, its figures on val."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gpu.commands import CommandError, Training, run, settings
from gpu.job import Job, read_json, write_json
from gpu.pace import pace_of
from gpu.recipes import LARGE, count_pairs, train_words
from gpu.schedule import Length, length_that_fits

#: An epoch costs a checkpoint and idle workers at its ends, so that one is made of many crops.
_CROPS_PER_PAIR = 20
_VALIDATIONS = 4
#: Seconds for the model's export and evaluation behind the training.
_AFTERWARDS_S = 45.0
#: The benchmark of accuracy needs no GPU; it is run where so many seconds are left.
_ACCURACY_S = 75.0
_PRECISIONS = ("int8", "float16")
#: F1 that int8 may cost before float16 is handed on in its place.
_WORTH = 0.002


def main(job: Job) -> None:
    """Train, export, judge."""
    # Read again where it goes on: the length is settled once, or the schedule would change.
    results: dict[str, Any] = read_json(job.folder.with_suffix(".json")) or {}
    if "length" not in results:
        pace = pace_of(job, "large")[LARGE.name]
        length = length_that_fits(
            pace,
            job.left_s - _AFTERWARDS_S,
            pairs=count_pairs(job),
            crops_per_pair=_CROPS_PER_PAIR,
            validations=_VALIDATIONS,
        )
        results |= {"pace": asdict(pace), "length": length._asdict()}
        job.save(results)
    _train(job, results)
    # Both at once: most of their time is the start of programs.
    with ThreadPoolExecutor(len(_PRECISIONS)) as pool:
        list(pool.map(lambda precision: _export(job, results, precision), _PRECISIONS))
    _choose(job, results)
    if "accuracy" not in results and job.left_s > _ACCURACY_S:
        out = job.folder / "accuracy"
        chosen = _target(job, results["shipped"])
        words = ["benchmark", "accuracy", str(chosen), "--data", job.data, "--split", "val"]
        words += ["--threshold-split", "val", "--no-floors", "--out", str(out), "--overwrite"]
        run([*words, "--device", job.device], log=job.folder / "accuracy.log", deadline=_end(job))
        results["accuracy"] = read_json(out / "accuracy.json")
        job.save(results)


def _train(job: Job, results: dict[str, Any]) -> None:
    if not results.get("train", {"was_stopped": True})["was_stopped"]:
        return
    # What was stopped by its deadline goes on, and what was made of it is made again.
    for name in (*_PRECISIONS, "accuracy"):
        results.pop(name, None)
        _target(job, name).unlink(missing_ok=True)
    length = Length(**results["length"])
    words = train_words(
        job, LARGE, beside=1, epochs=length.epochs, crops_per_pair=length.crops_per_pair
    )
    # A validation costs as much as many batches; the last epoch always has one.
    every = max(1, -(-length.epochs // _VALIDATIONS))
    words += settings(f"training.validate_every_epochs={every}")
    log = job.folder / "train.log"
    training = Training(job.folder / "run", words, log=log)
    training.wait(job.deadline - 0.5 * _AFTERWARDS_S)
    results["train"] = {
        "command": ["changedet", "train", *words],
        "seconds": round(training.seconds, 1),
        "was_stopped": training.was_stopped,
        "crops": length.epochs * length.crops_per_pair * count_pairs(job),
        "validations": _csv(job.folder / "run" / "logs" / "validation.csv"),
    }
    job.save(results)


def _export(job: Job, results: dict[str, Any], precision: str) -> None:
    """Store the weights smaller, choose the threshold for them, and judge them on val."""
    if precision in results:
        return
    model = job.folder / "run" / "best.safetensors"
    target = _target(job, precision)
    log = job.folder / f"{precision}.log"
    data = ["--data", job.data, "--split", "val", "--device", job.device, "--overwrite"]
    if not target.is_file():
        run(
            ["calibrate", str(model), str(target), "--precision", precision, *data],
            log=log,
            deadline=_end(job),
        )
    if precision == "int8":
        # The plan looks there for what is to be handed on, in pieces; before its figures, since
        # those can be had elsewhere, too.
        write_json(job.folder / "ship.json", [target.name])
    out = job.folder / f"evaluate_{precision}"
    run(
        ["evaluate", str(target), "--out", str(out), "--panels", "0", *data],
        log=log,
        deadline=_end(job),
    )
    results[precision] = {
        "bytes": target.stat().st_size,
        "metrics": read_json(out / "metrics.json"),
    }
    job.save(results)


def _target(job: Job, precision: str) -> Path:
    return job.folder / f"large_{precision}.safetensors"


def _choose(job: Job, results: dict[str, Any]) -> None:
    """Hand on float16, twice the size, only where it is really better."""
    loss = _f1(results["float16"]["metrics"]) - _f1(results["int8"]["metrics"])
    results["int8_costs_f1"] = loss
    results["shipped"] = "float16" if loss > _WORTH else "int8"
    job.save(results)
    write_json(job.folder / "ship.json", [_target(job, results["shipped"]).name])


def _f1(metrics: dict[str, Any]) -> float:
    """F1 at the stored threshold."""
    fixed = metrics.get("fixed_threshold") or metrics["honest"]
    return float(fixed["f1"])


def _end(job: Job) -> float:
    # What is late by a little is worth more than nothing; the plan itself ends it for good.
    return max(job.deadline, time.time() + 15.0)


def _csv(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        raise CommandError("the training ended before its first validation")
    header, *rows = [line.split(",") for line in path.read_text(encoding="utf-8").splitlines()]
    return [dict(zip(header, row, strict=False)) for row in rows]
