"""How good the candidates are, as far as they were judged."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from changedet.view.verdicts import Row

# Of the normal distribution, for an interval of 95 %.
_Z: Final = 1.959963984540054


@dataclass(frozen=True)
class ReviewCounts:
    """What was said of the polygons of one or several results.

    Attributes:
        polygons: Polygons of the results.
        reviewed: Those of them with a verdict.
        accepted: Of these, change with the outline of the result.
        edited: Of these, change with another outline.
        rejected: Of these, no change.
        drawn: Changes that the result does not have, drawn or traced at another threshold.
    """

    polygons: int = 0
    reviewed: int = 0
    accepted: int = 0
    edited: int = 0
    rejected: int = 0
    drawn: int = 0

    def __add__(self, other: ReviewCounts) -> ReviewCounts:
        """Count two results together."""
        return ReviewCounts(
            **{name: value + getattr(other, name) for name, value in asdict(self).items()}
        )

    def describe(self) -> dict[str, Any]:
        """Give counts, precision so far, and what follows for all polygons."""
        correct = self.accepted + self.edited
        low, high = wilson_interval(correct, self.reviewed)
        share = correct / self.reviewed if self.reviewed else None
        rest = self.polygons - self.reviewed
        # What was judged is known; the rest is taken to be like it.
        expected = [
            None if value is None else round(correct + rest * value) for value in (share, low, high)
        ]
        return {
            **asdict(self),
            "precision": share,
            "low": low,
            "high": high,
            "expected_correct": expected[0],
            "expected_low": expected[1],
            "expected_high": expected[2],
        }


def count_verdicts(rows: Iterable[Row], *, polygons: int) -> ReviewCounts:
    """Count verdicts.

    Args:
        rows: All of a result.
        polygons: Number of polygons of the result.
    """
    judged: Counter[str] = Counter()
    drawn = 0
    for row in rows:
        if row.new.result_id is not None:
            judged[row.new.verdict] += 1
        elif row.new.verdict != "rejected":
            drawn += 1
    return ReviewCounts(
        polygons=polygons,
        reviewed=judged.total(),
        accepted=judged["accepted"],
        edited=judged["edited"],
        rejected=judged["rejected"],
        drawn=drawn,
    )


def wilson_interval(successes: int, trials: int) -> tuple[float, float] | tuple[None, None]:
    """Give the interval of a share with 95 % confidence (E. B. Wilson, JASA 22, 1927, 209-212).

    Returns:
        Its ends, in [0, 1]; None where nothing was tried.
    """
    if trials == 0:
        return None, None
    share = successes / trials
    scale = 1.0 + _Z**2 / trials
    middle = (share + _Z**2 / (2 * trials)) / scale
    half = _Z * math.sqrt(share * (1 - share) / trials + _Z**2 / (4 * trials**2)) / scale
    return max(0.0, middle - half), min(1.0, middle + half)
