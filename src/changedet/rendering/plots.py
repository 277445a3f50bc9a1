"""Curves as picture files; matplotlib draws without a display and without global state."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from changedet.errors import ConfigError
from changedet.metrics.confusion import confusion_at
from changedet.metrics.curve import average_precision, max_f1, precision_recall
from changedet.metrics.histogram import ScoreHistogram
from changedet.storage.atomic import write_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FORMATS = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg"}
_INK = "#1c1e24"
_FAINT = "#9aa0ab"
_CURVE = "#1f6feb"
_MARK = "#d9480f"


def write_precision_recall_curve(
    path: Path, hist: ScoreHistogram, *, title: str, threshold: float | None = None
) -> None:
    """Draw precision over recall of the pooled pixels, with the best F1 and lines of equal F1.

    Without a changed pixel there is no curve; the file is written all the same and says so.

    Args:
        path: A .png, .jpg or .jpeg file (the seed asks for .jpg, spec 4).
        hist: Counts of the images.
        title: Line above the plot.
        threshold: A score among the histogram's edges whose point is marked besides.

    Raises:
        ConfigError: If the file has another ending, or the threshold is not an edge.
        StorageError: If the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    picture_format = _FORMATS.get(path.suffix.lower())
    if picture_format is None:
        raise ConfigError(f"a plot is a file in {', '.join(_FORMATS)}, got {path.name!r}")
    figure = Figure(figsize=(6.4, 5.6), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
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
    buffer = io.BytesIO()
    figure.savefig(buffer, format=picture_format)
    write_bytes(path, buffer.getvalue())


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
    curve = precision_recall(hist)
    best = max_f1(hist)
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
