"""How fast the trainings of the other parts are here: a short rehearsal of each, same commands.

It needs no weights, so it also tells early whether the trainings run at all.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gpu.commands import Training, settings
from gpu.job import Job, read_json, results_path
from gpu.recipes import LARGE, ROWS, Recipe, train_words
from gpu.schedule import Pace

#: Crops of each pair in the epoch that is timed.
_CROPS_PER_PAIR = {"large": 5, "rows": 2}


def main(job: Job) -> None:
    """Measure both."""
    results: dict[str, Any] = {}
    for kind in ("large", "rows"):
        results[kind] = _measure(job, kind)
        job.save(results)


def pace_of(job: Job, kind: str) -> dict[str, Pace]:
    """Look the paces up, or measure them where no part did so before.

    Args:
        job: What the part is told.
        kind: ``large`` or ``rows``.

    Returns:
        The pace of each recipe by its name; those of ``rows`` all run at once.
    """
    known = read_json(results_path(Path(job.work), "pace")) or {}
    measured = known[kind] if kind in known else _measure(job, kind)
    return {name: Pace(**values) for name, values in measured.items()}


def _measure(job: Job, kind: str) -> dict[str, dict[str, float]]:
    recipes: Sequence[Recipe] = (LARGE,) if kind == "large" else ROWS
    folder = Path(job.work) / "pace"

    def measure(recipe: Recipe) -> Pace:
        words = train_words(
            job,
            recipe,
            beside=len(recipes),
            epochs=1,
            crops_per_pair=1 if job.is_rehearsal else _CROPS_PER_PAIR[kind],
        )
        words += settings("model.encoder_weights=none", "training.log_every=5")
        if job.is_rehearsal:
            words += settings("training.log_every=1")
        training = Training(folder / recipe.name, words, log=folder / f"{recipe.name}.log")
        training.wait(job.deadline)
        return training.pace(recipe.batch_size)

    with ThreadPoolExecutor(len(recipes)) as pool:
        paces = list(pool.map(measure, recipes))
    return {recipe.name: asdict(pace) for recipe, pace in zip(recipes, paces, strict=True)}
