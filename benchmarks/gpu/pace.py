"""How fast the trainings of the other parts are here: a short rehearsal, same commands.

It needs no weights, so it also shows early whether the trainings run at all.
"""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

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
    trials = {
        recipe.name: Trial(
            [
                *train_words(
                    job,
                    recipe,
                    beside=len(recipes),
                    epochs=1,
                    crops_per_pair=_CROPS_PER_PAIR[kind],
                ),
                *settings("model.encoder_weights=none"),
            ],
            batch_size(job, recipe),
        )
        for recipe in recipes
    }
    return measure_together(trials, job=job, deadline=deadline)


class Trial(NamedTuple):
    """A training of one epoch: its arguments, and crops of a batch."""

    words: Sequence[str]
    batch_size: int


def measure_together(
    trials: Mapping[str, Trial], *, job: Job, deadline: float
) -> dict[str, dict[str, Any]]:
    """Measure the pace of trainings that share the machine.

    Args:
        trials: By name.
        job: What the part is told.
        deadline: ``time.time()`` at which they are stopped.

    Returns:
        Fields of a :class:`Pace` by name, or the ``fault`` of one that failed.
    """
    folder = Path(job.work) / "pace"
    often = settings(f"training.log_every={1 if job.is_rehearsal else 5}")

    def measure(name: str) -> dict[str, Any]:
        trial = trials[name]
        log = folder / f"{name}.log"
        training = Training(folder / name, [*trial.words, *often], log=log, threads=2)
        try:
            training.wait(deadline)
            return asdict(training.pace(trial.batch_size))
        except CommandError as error:
            return {"fault": str(error)}

    with ThreadPoolExecutor(len(trials)) as pool:
        return dict(zip(trials, pool.map(measure, trials), strict=True))
