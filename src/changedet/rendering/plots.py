"""Curves and charts; matplotlib draws them without a display and without global state."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

import numpy as np

from changedet._optional import MATPLOTLIB
from changedet.errors import MissingExtraError
from changedet.metrics.confusion import confusion_at
from changedet.metrics.curve import average_precision, max_f1, precision_recall
from changedet.metrics.histogram import GRID_THRESHOLDS, PAPER_THRESHOLDS, ScoreHistogram
from changedet.palette import FAINT_LINE, INK, LINES, to_hex
from changedet.rendering.figures import blank_figure, check_format, write_figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from changedet.metrics.calibration import Calibration
    from changedet.metrics.objects import SizeClass

_INK, _FAINT = to_hex(INK), to_hex(FAINT_LINE)
_LINES = tuple(to_hex(colour) for colour in LINES)
_CURVE, _MARK = _LINES[:2]
_MARKERS = "osD^vP"
# Methods at the same size lie side by side, so that their intervals can be told apart.
_SPREAD = 0.36


class RecallBySize(Protocol):
    """Share of the labelled objects of one size that are found, counted or read from a file."""

    @property
    def size(self) -> SizeClass:
        """The size."""

    @property
    def recall(self) -> float:
        """The share, NaN without an object."""

    @property
    def interval(self) -> tuple[float, float]:
        """Its interval, (low, high)."""


class SizeLine(NamedTuple):
    """Recall of one method by the size of the objects.

    Attributes:
        title: Its name in the legend.
        kind: Baselines are grey and dashed.
        by_size: One entry for each class of sizes, small to large.
    """

    title: str
    kind: Literal["model", "baseline"]
    by_size: Sequence[RecallBySize]


class SizePanel(NamedTuple):
    """One of the plots that lie side by side.

    Attributes:
        title: Line above it.
        lines: The methods, in the same order in every panel.
    """

    title: str
    lines: Sequence[SizeLine]


class GsdLine(NamedTuple):
    """F1 of a model over the ground sample distance of the images.

    Attributes:
        title: Its name in the legend.
        lengths_m: Ground sample distances in metres, the smallest first.
        f1: F1 at each, NaN where undefined.
        intervals: Its interval at each, (low, high).
    """

    title: str
    lengths_m: Sequence[float]
    f1: Sequence[float]
    intervals: Sequence[tuple[float, float]]


def write_precision_recall_curve(
    path: Path, hist: ScoreHistogram, *, title: str, threshold: float | None = None
) -> None:
    """Draw :func:`precision_recall_figure` into a file.

    Args:
        path: A .png, .jpg or .jpeg file (spec 4 asks for .jpg).
        hist: Counts of the images.
        title: Line above the plot.
        threshold: A score among the histogram's edges whose point is also marked.

    Raises:
        ConfigError: If the file has another ending, or the threshold is not an edge.
        StorageError: If the file cannot be written.
    """
    check_format(path)
    write_figure(path, precision_recall_figure(hist, title=title, threshold=threshold))


def precision_recall_figure(
    hist: ScoreHistogram, *, title: str, threshold: float | None = None
) -> Figure:
    """Draw precision over recall of the pooled pixels, with the best F1 and lines of equal F1.

    Best F1 and average precision are those of
    :func:`changedet.metrics.protocol.best_threshold_metrics`.

    Without a changed pixel there is no curve, and the figure says so.

    Args:
        hist: Counts of the images.
        title: Line above the plot.
        threshold: A score among the histogram's edges whose point is also marked.

    Raises:
        ConfigError: If the threshold is not an edge.
    """
    figure = blank_figure(width=6.4, height=5.6, dpi=120)
    axes = figure.add_subplot()
    axes.set_title(title, color=_INK, loc="left", fontsize=12, parse_math=False)
    axes.set(xlim=(0.0, 1.0), ylim=(0.0, 1.02), aspect="equal")
    axes.set_xlabel("Recall: share of the changed pixels that are found")
    axes.set_ylabel("Precision: share of the found pixels that have changed")
    axes.spines[["top", "right"]].set_visible(False)
    _draw_equal_f1(axes)
    if hist.changed.any():
        _draw_curve(axes, hist, threshold=threshold)
    else:
        ground = {"facecolor": "white", "edgecolor": "none"}
        text = "no changed pixel, no curve"
        axes.text(0.5, 0.5, text, ha="center", color=_MARK, fontsize=12, bbox=ground)
    return figure


def write_reliability_diagram(path: Path, calibration: Calibration, *, title: str) -> None:
    """Draw :func:`reliability_figure` into a file.

    Args:
        path: A .png, .jpg or .jpeg file.
        calibration: Scores and shares of change in each bin.
        title: Line above the plot.

    Raises:
        ConfigError: If the file has another ending.
        StorageError: If the file cannot be written.
    """
    check_format(path)
    write_figure(path, reliability_figure(calibration, title=title))


def reliability_figure(calibration: Calibration, *, title: str) -> Figure:
    """Draw the share of change over the mean score of each bin, and the pixels in it below.

    Scores that are probabilities lie on the diagonal (Guo et al., ICML 2017). A bin without a pixel
    has no point.

    Args:
        calibration: Scores and shares of change in each bin.
        title: Line above the plot.
    """
    figure = blank_figure(width=6.4, height=7.2, dpi=120)
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    axes.set_title(title, color=_INK, loc="left", fontsize=12, parse_math=False)
    axes.set(xlim=(0.0, 1.0), ylim=(0.0, 1.02))
    axes.set_ylabel("Share of these pixels that has changed")
    axes.plot(
        [0, 1], [0, 1], color=_FAINT, lw=0.7, ls=(0, (4, 4)), label="scores that are probabilities"
    )
    filled = [one for one in calibration.bins if one.pixels]
    error = calibration.expected_calibration_error
    axes.plot(
        [one.mean_score for one in filled],
        [one.changed_share for one in filled],
        "o-",
        color=_CURVE,
        lw=2.0,
        ms=6,
        label=f"expected calibration error {error:.4f}" if filled else "no pixel",
    )
    axes.legend(loc="upper left", frameon=False, fontsize=9)
    below.bar(
        [one.low for one in filled],
        [one.pixels for one in filled],
        width=1.0 / len(calibration.bins),
        align="edge",
        color=_FAINT,
        edgecolor="white",
    )
    # Most pixels lie in the first bin.
    below.set_yscale("log")
    below.set_xlabel("Mean score of the pixels in a bin")
    below.set_ylabel("Pixels")
    for one in (axes, below):
        one.spines[["top", "right"]].set_visible(False)
    return figure


def write_gsd_chart(
    path: Path,
    lines: Sequence[GsdLine],
    *,
    title: str,
    working_m: tuple[float, float] | None = None,
) -> None:
    """Draw F1 over the ground sample distance of the images.

    Args:
        path: A .png, .jpg or .jpeg file.
        lines: At least one.
        title: Line above the plot.
        working_m: Range at which the model works, in metres, which is shaded.

    Raises:
        ConfigError: If the file has another ending.
        StorageError: If the file cannot be written.
    """
    check_format(path)
    figure = blank_figure(width=6.4, height=4.8, dpi=120)
    axes = figure.add_subplot()
    axes.set_title(title, color=_INK, loc="left", fontsize=12, parse_math=False)
    axes.set(ylim=(0.0, 1.02), xscale="log")
    axes.set_xticks(lines[0].lengths_m, [f"{length:.2g}" for length in lines[0].lengths_m])
    axes.minorticks_off()
    axes.set_xlabel("Ground sample distance of the images in m")
    axes.set_ylabel("F1")
    axes.grid(axis="y", color=_FAINT, lw=0.5, alpha=0.5)
    axes.spines[["top", "right"]].set_visible(False)
    if working_m is not None:
        axes.axvspan(*working_m, color=_FAINT, alpha=0.15, lw=0, label="the model works here")
    for line, colour, marker in zip(lines, _LINES, _MARKERS, strict=False):
        low, high = np.array(line.intervals).T
        axes.fill_between(line.lengths_m, low, high, color=colour, alpha=0.12, lw=0)
        axes.plot(
            line.lengths_m, line.f1, color=colour, marker=marker, ms=5, lw=2.0, label=line.title
        )
    axes.legend(loc="lower left", frameon=False, fontsize=9)
    write_figure(path, figure)


def write_size_recall_chart(path: Path, panels: Sequence[SizePanel]) -> None:
    """Draw :func:`size_recall_figure` into a file.

    Args:
        path: A .png, .jpg or .jpeg file.
        panels: At least one, each with at least one line.

    Raises:
        ConfigError: If the file has another ending.
        StorageError: If the file cannot be written.
    """
    check_format(path)
    write_figure(path, size_recall_figure(panels))


def size_recall_figure(panels: Sequence[SizePanel]) -> Figure:
    """Draw the share of objects found by size class, with intervals, a line for each method.

    A class without an object has no point.

    Args:
        panels: At least one, each with at least one line.
    """
    figure = blank_figure(width=6.4 * len(panels), height=5.4, dpi=110)
    all_axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, panel in zip(all_axes, panels, strict=True):
        sizes = [entry.size.text for entry in panel.lines[0].by_size]
        axes.set_title(panel.title, color=_INK, loc="left", fontsize=12, parse_math=False)
        axes.set_xticks(range(len(sizes)), sizes)
        axes.set(xlim=(-0.5, len(sizes) - 0.5), ylim=(0.0, 1.02))
        axes.set_xlabel("Size of the labelled object in pixels")
        axes.grid(axis="y", color=_FAINT, lw=0.5, alpha=0.5)
        axes.spines[["top", "right"]].set_visible(False)
        _draw_size_lines(axes, panel.lines)
    all_axes[0].set_ylabel("Share of objects found (half of their pixels)")
    handles, labels = all_axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure


def charts_note() -> str | None:
    """Say that charts have to be left out, and what brings them; None: they can be drawn."""
    try:
        MATPLOTLIB.check()
    except MissingExtraError as error:
        return f"charts are left out: {error}"
    return None


def _draw_equal_f1(axes: Axes) -> None:
    for f1 in (0.2, 0.4, 0.6, 0.8, 0.9):
        recall = np.linspace(f1 / (2.0 - f1), 1.0, 100)
        axes.plot(recall, f1 * recall / (2.0 * recall - f1), color=_FAINT, lw=0.7, ls=(0, (4, 4)))
        at_edge = f1 / (2.0 - f1)
        axes.annotate(
            f"F1 {f1}",
            xy=(1.0, at_edge),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            annotation_clip=False,
            color=_FAINT,
            fontsize=8,
        )


def _draw_curve(axes: Axes, hist: ScoreHistogram, *, threshold: float | None) -> None:
    # The best F1 is that of the figures, over the papers' thresholds, so it lies on the curve.
    curve = precision_recall(hist, sorted({*GRID_THRESHOLDS, *PAPER_THRESHOLDS}))
    best = max_f1(hist, PAPER_THRESHOLDS)
    axes.plot(
        curve.recall,
        curve.precision,
        color=_CURVE,
        lw=2.0,
        label=f"average precision {average_precision(hist):.4f}",
    )
    axes.plot(
        best.recall,
        best.precision,
        "o",
        color=_MARK,
        ms=11,
        fillstyle="none",
        mew=2,
        label=f"best F1 {best.f1:.4f} at threshold {best.threshold:.3f}",
    )
    if threshold is not None:
        used = confusion_at(hist, threshold)
        axes.plot(
            used.recall,
            used.precision,
            "D",
            color=_INK,
            ms=5,
            label=f"F1 {used.f1:.4f} at the chosen threshold {threshold:.3f}",
        )
    axes.legend(loc="lower left", frameon=True, framealpha=0.95, edgecolor="none", fontsize=9)


def _draw_size_lines(axes: Axes, lines: Sequence[SizeLine]) -> None:
    offsets = np.linspace(-_SPREAD / 2, _SPREAD / 2, len(lines)) if len(lines) > 1 else [0.0]
    models = 0
    for line, offset in zip(lines, offsets, strict=True):
        is_model = line.kind == "model"
        recall = np.array([entry.recall for entry in line.by_size])
        low, high = np.array([entry.interval for entry in line.by_size]).T
        # An interval need not hold its figure: that of few images is far from even.
        errors = np.nan_to_num(np.maximum(0.0, [recall - low, high - recall]))
        axes.errorbar(
            np.arange(len(recall)) + offset,
            recall,
            yerr=errors,
            color=_LINES[models % len(_LINES)] if is_model else _FAINT,
            marker=_MARKERS[models % len(_MARKERS)] if is_model else ".",
            ls="-" if is_model else "--",
            lw=2.0 if is_model else 1.2,
            ms=6,
            elinewidth=1.0,
            capsize=2,
            label=_escaped(line.title),
        )
        models += is_model


def _escaped(title: str) -> str:
    # matplotlib takes $...$ for formulas and leaves out labels that begin with an underscore.
    return (" " + title if title.startswith("_") else title).replace("$", r"\$")
