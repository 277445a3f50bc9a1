"""What fits into a budget: plain arithmetic, no clock, no files."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

#: A time that was measured is taken for a little more: machines are noisy.
MARGIN = 1.05


@dataclass(frozen=True)
class Part:
    """A part of the plan.

    Attributes:
        name: How it is asked for.
        least_s: Seconds under which it leaves nothing that is worth having.
        most_s: Seconds that it is given at most.
        is_usual: Whether it runs where no parts are named; others need more than CLCD.
    """

    name: str
    least_s: float
    most_s: float
    is_usual: bool = True


#: In order of worth; a rehearsal takes a tenth of the times.
PARTS = (
    Part("large", 90.0, 345.0),
    Part("rows", 120.0, 600.0),
    Part("cuda_tests", 20.0, 150.0),
    Part("speed", 40.0, 150.0),
    Part("published", 40.0, 120.0),
    Part("memory", 20.0, 75.0),
    Part("pace", 45.0, 100.0),
    Part("compile", 60.0, 150.0),
    Part("cropland_trial", 90.0, 240.0, is_usual=False),
    Part("cropland", 240.0, 560.0, is_usual=False),
)


def part_named(name: str) -> Part:
    """Find a part.

    Raises:
        ValueError: If there is none of that name.
    """
    for part in PARTS:
        if part.name == name:
            return part
    raise ValueError(f"there is no part {name!r}; parts: {', '.join(p.name for p in PARTS)}")


def fits(left_s: float, part: Part) -> bool:
    """Tell whether a part is worth beginning with so many seconds left."""
    return left_s >= part.least_s


def share_of(left_s: float, part: Part) -> float:
    """Seconds that a part gets of what is left."""
    return min(left_s, part.most_s)


@dataclass(frozen=True)
class Pace:
    """How fast a training is on this machine.

    Attributes:
        start_s: From the command to the first batch.
        crops_per_s: Crops trained on a second, without what comes between epochs.
        end_s: A validation, the exports and the checkpoint at its end, and leaving.
    """

    start_s: float
    crops_per_s: float
    end_s: float


class Length(NamedTuple):
    """Length of a training: epochs of so many crops of each pair."""

    epochs: int
    crops_per_pair: int


def length_that_fits(
    pace: Pace, seconds: float, *, pairs: int, crops_per_pair: int, validations: int
) -> Length:
    """Choose the length of a training so that it ends in time, its validations included.

    Args:
        pace: What was measured.
        seconds: What there is from the command to its end.
        pairs: Pairs of images in the training split.
        crops_per_pair: About so many crops of each pair make an epoch; fewer where not even one
            such epoch fits.
        validations: So many, the last one included.
    """
    rest = seconds - MARGIN * (pace.start_s + validations * pace.end_s)
    passes = max(1, math.floor(rest * pace.crops_per_s / MARGIN / pairs))
    epochs = max(1, round(passes / crops_per_pair))
    return Length(epochs, max(1, passes // epochs))


def compress_table(
    steps: Sequence[tuple[int, float]], *, epochs: int, full: int
) -> list[tuple[int, float]]:
    """Compress a table of learning rates by epoch to fewer epochs.

    Each epoch has the rate that the table has at the middle of its share of the training.

    Args:
        steps: (last epoch, rate), as the recipe has it.
        epochs: How many there are now.
        full: How many the recipe has.
    """
    table: list[tuple[int, float]] = []
    for epoch in range(1, epochs + 1):
        middle = (epoch - 0.5) * full / epochs
        rate = next(rate for last, rate in steps if middle <= last)
        if table and table[-1][1] == rate:
            table.pop()
        table.append((epoch, rate))
    return table
