"""Chart of what scenes of several sizes take: CPU time by stage, and memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from changedet.palette import FAINT_LINE, INK, LINES, to_hex
from changedet.rendering.figures import blank_figure, write_figure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


class GrowthPoint(NamedTuple):
    """A scene of one size.

    Attributes:
        side_px: Height and width.
        cpu_s: CPU seconds of each stage.
        peak_memory_mb: Largest memory, in 10^6 bytes; None if not known.
    """

    side_px: int
    cpu_s: Mapping[str, float]
    peak_memory_mb: float | None


def write_growth_chart(path: Path, points: Sequence[GrowthPoint], *, title: str) -> None:
    """Draw CPU seconds for a million pixels, by stage, and memory, both over the size of the scene.

    Args:
        path: A .png, .jpg or .jpeg file.
        points: At least one, small to large, with the same stages.
        title: Line above the plot.

    Raises:
        ConfigError: If the file has another ending.
        StorageError: If the file cannot be written.
    """
    figure = blank_figure(width=6.4, height=6.4, dpi=120)
    cost, memory = figure.subplots(2, 1, gridspec_kw={"height_ratios": (2, 1)})
    cost.set_title(title, color=to_hex(INK), loc="left", fontsize=12, parse_math=False)
    places = range(len(points))
    below = [0.0] * len(points)
    for number, stage in enumerate(points[0].cpu_s):
        heights = [point.cpu_s[stage] / (point.side_px**2 / 1e6) for point in points]
        colour = to_hex(LINES[number]) if number < len(LINES) else to_hex(FAINT_LINE)
        cost.bar(places, heights, bottom=below, width=0.6, color=colour, label=stage)
        below = [low + height for low, height in zip(below, heights, strict=True)]
    cost.set_ylabel("CPU seconds for a million pixels")
    cost.legend(frameon=False, fontsize=8, ncols=4, loc="upper right")
    cost.set_ylim(0, 1.3 * max(below))
    known = [(place, point.peak_memory_mb) for place, point in zip(places, points, strict=True)]
    drawn = [(place, peak) for place, peak in known if peak is not None]
    memory.plot(
        [place for place, _ in drawn], [peak for _, peak in drawn], marker="o", color=to_hex(INK)
    )
    memory.set(ylabel="peak memory in MB", ylim=(0, None), xlim=cost.get_xlim())
    memory.set_xlabel("Height and width of the scene in pixels")
    for axes in (cost, memory):
        axes.set_xticks(places, [str(point.side_px) for point in points])
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color=to_hex(FAINT_LINE), lw=0.5, alpha=0.5)
        axes.set_axisbelow(True)
    write_figure(path, figure)
