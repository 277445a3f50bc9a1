"""The recipes that are trained, and how: what both the trial and the real training share."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gpu.commands import settings
from gpu.job import Job

_TABLE_V2 = ((20, 1e-4), (40, 5e-5), (60, 1e-5), (70, 5e-6), (80, 1e-6))


@dataclass(frozen=True)
class Recipe:
    """A recipe of the package and what the plan must know of it.

    Attributes:
        name: Name of the recipe.
        batch_size: Pairs of a batch.
        steps: Its learning rates, (last epoch, rate); empty: a cosine, which follows the epochs.
        document: Max-F in the DASNet-V2 document, in percent of CDD's validation list.
    """

    name: str
    batch_size: int
    steps: tuple[tuple[int, float], ...] = ()
    document: float | None = None


LARGE = Recipe("pyramid_large", 16)
#: The five rows of the table in the DASNet-V2 document.
ROWS = (
    Recipe("dasnet", 12, ((40, 1e-4), (60, 1e-5)), 0.92994),
    Recipe("dasnet_v2_l2", 4, _TABLE_V2, 0.95663),
    Recipe("dasnet_v2_cosine", 4, ((20, 1e-4), (40, 5e-5), (60, 1e-5), (70, 5e-6)), 0.9601),
    Recipe("dasnet_v2_l2_fused_only", 4, _TABLE_V2, 0.9546),
    Recipe("dasnet_v2_l2_no_attention", 4, _TABLE_V2, 0.9543),
)
_PYRAMID_TINY = (
    "model.decoder_width=16",
    "model.drop_path=0",
    "loss.level_weights=null",
    "data.crop_px=64",
    "data.tile_px=64",
)
_DASNET_TINY = ("model.head_width=16", "data.crop_px=64")


def rows_of(job: Job) -> tuple[Recipe, ...]:
    """The rows to train; a rehearsal on a few processors takes the first and the last."""
    return (ROWS[0], ROWS[-1]) if job.is_rehearsal else ROWS


def batch_size(job: Job, recipe: Recipe) -> int:
    """Pairs of a batch."""
    return 2 if job.is_rehearsal else recipe.batch_size


def train_words(
    job: Job,
    recipe: Recipe,
    *,
    beside: int,
    epochs: int,
    crops_per_pair: int,
    others: Sequence[str] = (),
) -> list[str]:
    """Make the arguments of ``changedet train``, all but the folder of the run.

    Args:
        job: What the part is told.
        recipe: What to train.
        beside: Trainings that run at the same time and share the processors.
        epochs: Length in epochs.
        crops_per_pair: Crops of each pair that make an epoch.
        others: Further settings.
    """
    words = [recipe.name, "--data", str(Path(job.data).resolve()), "--device", job.device]
    items = [
        *job.encoder_settings,
        f"training.seed={job.seed}",
        f"training.epochs={epochs}",
        f"training.batch_size={batch_size(job, recipe)}",
        f"data.crops_per_pair={crops_per_pair}",
        "data.cache=memory",
        f"data.workers={workers(beside, is_rehearsal=job.is_rehearsal)}",
        # Each is a file of the size of the model.
        "training.keep_best=1",
        "training.checkpoint_every=1000000",
        "training.validate_every=1000000",
        "training.heatmap_every=1000",
    ]
    if recipe in ROWS:
        # As in the document: squares of 256 px, each evaluated without its surroundings.
        items.append("data.evaluation=grid")
    if job.is_rehearsal:
        items += _DASNET_TINY if recipe in ROWS else _PYRAMID_TINY
    return [*words, *settings(*items, *others)]


def workers(beside: int, *, is_rehearsal: bool) -> int:
    """Processes that read images for each of so many trainings; one processor is left to each."""
    if is_rehearsal:
        return 1
    return max(1, min(12, (os.cpu_count() or 1) // beside - 1))


def count_pairs(job: Job, split: str = "train") -> int:
    """Pairs of a split."""
    return sum(1 for _ in (Path(job.data) / split / "label").iterdir())
