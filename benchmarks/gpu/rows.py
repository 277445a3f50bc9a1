"""The five rows of the DASNet-V2 document on CLCD, all at once: a batch of 4 leaves a card idle.

Each row gets the whole budget and a fifth of the machine, which is far more training than a fifth
of the budget on the whole machine. The recipes keep their batch sizes; their learning-rate tables
are compressed to the epochs that fit.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from gpu.commands import CommandError, Training, run
from gpu.job import Job, Table, read_json
from gpu.pace import pace_of
from gpu.recipes import ROWS, Recipe, count_pairs, rows_of, train_words
from gpu.schedule import Length, Pace, compress_table, length_that_fits

#: Crops of 256 px that an image of 512 px is cut into.
_CROPS_PER_PAIR = 4
_VALIDATIONS = 2
#: Seconds for the evaluation behind a training, five at once.
_AFTERWARDS_S = 45.0


def main(job: Job) -> None:
    """Train and judge all rows, each in a thread that waits for its commands."""
    table = Table(job)
    recipes = rows_of(job)
    is_settled = all("length" in table.rows.get(recipe.name, {}) for recipe in recipes)
    paces = {} if is_settled else pace_of(job, "rows")
    with ThreadPoolExecutor(len(recipes)) as pool:
        faults = list(
            pool.map(lambda recipe: _row(job, recipe, paces.get(recipe.name), table=table), recipes)
        )
    failed = [fault for fault in faults if fault is not None]
    if failed:
        raise CommandError("; ".join(failed))


def _row(job: Job, recipe: Recipe, pace: Pace | None, *, table: Table) -> str | None:
    try:
        row = table.add(recipe.name, document_max_f=recipe.document, fault=None)
        if "length" not in row and pace is not None:
            row = table.add(recipe.name, **_lengthen(job, recipe, pace))
        if row.get("train", {"was_stopped": True})["was_stopped"]:
            row = table.add(recipe.name, train=_train(job, recipe, row))
        if "metrics" not in row:
            table.add(recipe.name, metrics=_judge(job, recipe))
    except (CommandError, OSError) as error:
        table.add(recipe.name, fault=str(error))
        return f"{recipe.name}: {error}"
    return None


def _lengthen(job: Job, recipe: Recipe, pace: Pace) -> dict[str, Any]:
    length = length_that_fits(
        pace,
        job.left_s - _AFTERWARDS_S,
        pairs=count_pairs(job),
        crops_per_pair=_CROPS_PER_PAIR,
        validations=_VALIDATIONS,
    )
    steps = compress_table(recipe.steps, epochs=length.epochs, full=recipe.steps[-1][0])
    return {"length": length._asdict(), "steps": steps}


def _train(job: Job, recipe: Recipe, row: dict[str, Any]) -> dict[str, Any]:
    length = Length(**row["length"])
    every = max(1, -(-length.epochs // _VALIDATIONS))
    steps = ", ".join(f"[{end}, {rate:.1e}]" for end, rate in row["steps"])
    words = train_words(
        job,
        recipe,
        beside=len(ROWS),
        epochs=length.epochs,
        crops_per_pair=length.crops_per_pair,
        others=(f"schedule.steps=[{steps}]", f"training.validate_every_epochs={every}"),
    )
    training = Training(
        job.folder / recipe.name, words, log=job.folder / f"{recipe.name}.log", threads=2
    )
    training.wait(job.deadline - 0.6 * _AFTERWARDS_S)
    return {
        "command": ["changedet", "train", *words],
        "seconds": round(training.seconds, 1),
        "was_stopped": training.was_stopped,
        "crops": length.epochs * length.crops_per_pair * count_pairs(job),
    }


def _judge(job: Job, recipe: Recipe) -> Any:  # noqa: ANN401 - JSON is anything
    """Judge by both protocols: the fixed threshold comes from the training images."""
    out = job.folder / f"evaluate_{recipe.name}"
    words = ["evaluate", str(job.folder / recipe.name / "best.safetensors"), "--data", job.data]
    words += ["--split", "val", "--threshold-split", "train", "--mode", "grid", "--panels", "0"]
    words += ["--batch-size", "32", "--device", job.device, "--out", str(out), "--overwrite"]
    run(words, log=job.folder / f"{recipe.name}.log", deadline=job.deadline + 5.0, threads=2)
    return read_json(out / "metrics.json")
