"""Blocks of a page that a reader can move: a threshold, and the later image over the earlier one.

Without scripts and on paper they are figures and pictures like all others.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from changedet.errors import DataError
from changedet.metrics.confusion import Confusion
from changedet.palette import FALSE_ALARM_COLOUR, HIT_COLOUR, MISS_COLOUR, OVERLAY_COLOUR, to_hex
from changedet.rendering.charts import Axis, Chart, Line

#: Colours on an image, by what they mean.
OUTCOME_COLOURS = {
    "hit": to_hex(HIT_COLOUR),
    "miss": to_hex(MISS_COLOUR),
    "false alarm": to_hex(FALSE_ALARM_COLOUR),
    "change": to_hex(OVERLAY_COLOUR),
}
# Points of a histogram: more could not be told apart.
_SHOWN_BINS = 64


@dataclass(frozen=True)
class ScoreTable:
    """Pixels of both classes by their score, all images together.

    Attributes:
        score_from: Lower end of each bin, rising from 0 to 1.
        unchanged: Pixels labelled unchanged in each bin.
        changed: Pixels labelled changed in each bin.

    Raises:
        DataError: If the three differ in length, or there is no bin.
    """

    score_from: Sequence[float]
    unchanged: Sequence[int]
    changed: Sequence[int]

    def __post_init__(self) -> None:
        lengths = {len(self.score_from), len(self.unchanged), len(self.changed)}
        if len(lengths) != 1 or lengths == {0}:
            raise DataError(f"a table of scores has columns of one length, got {sorted(lengths)}")

    def detected(self) -> list[tuple[int, int]]:
        """Count unchanged and changed pixels with a score in each bin or above it."""
        return list(
            zip(_sums_from(self.unchanged), _sums_from(self.changed), strict=True),
        )


@dataclass(frozen=True)
class ThresholdExplorer:
    """A slider for the threshold, with the figures that follow from it.

    Attributes:
        name: By which galleries of the page follow it: letters, digits and hyphens.
        table: The scores.
        start: Threshold that is shown first.
        start_note: Where that comes from.
    """

    name: str
    table: ScoreTable
    start: float
    start_note: str = ""

    @property
    def first(self) -> int:
        """Bin of the threshold that is shown first: the lowest one that reaches it."""
        reached = (
            place for place, low in enumerate(self.table.score_from) if low >= self.start - 1e-9
        )
        return next(reached, len(self.table.score_from) - 1)

    @functools.cached_property
    def confusion(self) -> dict[str, int]:
        """Pixels at that threshold: hits, false alarms, misses, correctly unchanged."""
        false, hits = self.table.detected()[self.first]
        return {
            "tp": hits,
            "fp": false,
            "fn": sum(self.table.changed) - hits,
            "tn": sum(self.table.unchanged) - false,
        }

    @property
    def figures(self) -> dict[str, float | None]:
        """Precision, recall, F1 and IoU at that threshold; None where undefined."""
        counts = Confusion(**self.confusion)
        values = {name: getattr(counts, name) for name in ("precision", "recall", "f1", "iou")}
        return {name: None if math.isnan(value) else value for name, value in values.items()}

    def curve(self) -> Chart:
        """Draw precision over recall, with a mark that follows the slider."""
        return Chart(
            "Precision over recall",
            Axis("recall", 0, 1),
            Axis("precision", 0, 1),
            [Line("", precision_recall_points(self.table))],
            marker="curve",
        )

    def histogram(self) -> Chart:
        """Draw how many pixels of each class have which score, with a mark that follows."""
        width = max(1, len(self.table.score_from) // _SHOWN_BINS)
        lines = []
        for name, counts in (("changed", self.table.changed), ("unchanged", self.table.unchanged)):
            merged = [sum(counts[at : at + width]) for at in range(0, len(counts), width)]
            points = list(zip(self.table.score_from[::width], merged, strict=True))
            lines.append(Line(name, [(x, float(y)) for x, y in points], style="steps"))
        return Chart(
            "Pixels by score",
            Axis("score", 0, 1),
            Axis("pixels", scale="log"),
            lines,
            marker="histogram",
        )


@dataclass(frozen=True)
class Example:
    """A pair of images with what was found in it.

    Attributes:
        title: What it is.
        before: Picture of the earlier date.
        after: Picture of the later date, of the same size.
        label: Grey picture: 0 unchanged, 255 changed, 128 ignored.
        score: Grey picture: 255 times the score.
    """

    title: str
    before: Path
    after: Path
    label: Path | None = None
    score: Path | None = None


@dataclass(frozen=True)
class Gallery:
    """Pairs of images, of which the later one is drawn over the earlier one by hand.

    Attributes:
        items: The pairs.
        explorer: Name of the explorer whose threshold the masks follow; without it, they keep
            ``threshold``.
        threshold: Score from which a pixel counts as changed.
    """

    items: Sequence[Example]
    explorer: str = ""
    threshold: float = 0.5

    @property
    def colours(self) -> dict[str, str]:
        """What the colours on its images mean."""
        if not any(item.score for item in self.items):
            return {}
        names = ("hit", "miss", "false alarm") if self.has_labels else ("change",)
        return {name: OUTCOME_COLOURS[name] for name in names}

    @property
    def has_labels(self) -> bool:
        """Whether it is known what has changed."""
        return any(item.label for item in self.items)


def precision_recall_points(table: ScoreTable) -> list[tuple[float, float]]:
    """Give (recall, precision) from the highest threshold to the lowest one that detects."""
    changed = sum(table.changed)
    if not changed:
        return []
    points = [
        (hits / changed, hits / (hits + false)) for false, hits in table.detected() if hits + false
    ]
    # Equal points, where no pixel has such a score, need not be drawn twice.
    return [point for point, _ in itertools.groupby(reversed(points))]


@functools.cache
def script() -> str:
    """Read the script that moves these blocks."""
    folder = resources.files("changedet.rendering") / "templates"
    return (folder / "page.js").read_text(encoding="utf-8")


def _sums_from(counts: Sequence[int]) -> list[int]:
    return list(itertools.accumulate(reversed(counts)))[::-1]
