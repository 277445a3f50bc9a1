"""How fast the trainings of the other parts are here: a short rehearsal, same commands.

It needs no weights, so it also shows early whether the trainings run at all.
"""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gpu.commands import CommandError, Training, settings
from gpu.job import Job, read_json, results_path
from gpu.recipes import LARGE, Recipe, batch_size, rows_of, train_words
from gpu.schedule import Pace

#: Taken where nothing could be measured: better a short training than none.
_SLOW = Pace(start_s=15.0, crops_per_s=60.0, end_s=10.0)
#: Crops of each pair in the epoch that is timed.
_CROPS_PER_PAIR = {"large": 5, "rows": 2}


def main(job: Job) -> None:
    """Measure both."""
    results: dict[str, Any] = {}
    for kind in ("large", "rows"):
        results[kind] = _measure(job, kind, share=0.5 if kind == "large" else 1.0)
        job.save(results)
    faults = [
        f"{name}: {found['fault']}"
        for measured in results.values()
        for name, found in measured.items()
        if "fault" in found
    ]
    if faults:
        raise CommandError("; ".join(faults))


def pace_of(job: Job, kind: str) -> dict[str, Pace]:
    """Look the paces up, or measure them where no part did so before.

    Args:
        job: What the part is told.
        kind: ``large`` or ``rows``.

    Returns:
        The pace of each recipe by its name; those of ``rows`` all run at once.
    """
    known = read_json(results_path(Path(job.work), "pace")) or {}
    measured = known[kind] if kind in known else _measure(job, kind, share=0.35)
    paces = {}
    for name, found in measured.items():
        if "fault" in found:
            print(f"{name}: no pace, a slow one is taken: {found['fault']}", flush=True)
        paces[name] = _SLOW if "fault" in found else Pace(**found)
    return paces


def _measure(job: Job, kind: str, *, share: float) -> dict[str, dict[str, Any]]:
    """Measure in at most a share of the time that is left."""
    deadline = time.time() + share * job.left_s
    recipes: Sequence[Recipe] = (LARGE,) if kind == "large" else rows_of(job)
    folder = Path(job.work) / "pace"

    def measure(recipe: Recipe) -> dict[str, Any]:
        words = train_words(
            job,
            recipe,
            beside=len(recipes),
            epochs=1,
            crops_per_pair=_CROPS_PER_PAIR[kind],
        )
        words += settings("model.encoder_weights=none", "training.log_every=5")
        if job.is_rehearsal:
            words += settings("training.log_every=1")
        training = Training(folder / recipe.name, words, log=folder / f"{recipe.name}.log")
        try:
            training.wait(deadline)
            return asdict(training.pace(batch_size(job, recipe)))
        except CommandError as error:
            return {"fault": str(error)}

    with ThreadPoolExecutor(len(recipes)) as pool:
        found = list(pool.map(measure, recipes))
    return {recipe.name: pace for recipe, pace in zip(recipes, found, strict=True)}
