"""Recall over the size of the changes, a line for each method."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from changedet.metrics.objects import SIZE_CLASSES
from changedet.storage.atomic import write_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from changedet.evaluation.benchmark.results import MethodResult

_INK = "#1c1e24"
_FAINT = "#9aa0ab"
_MODELS = ("#1f6feb", "#d9480f", "#2b8a3e", "#9c36b5", "#0b7285", "#a61e4d")
_MARKERS = "osD^vP"
# Methods at the same size lie side by side, so that their intervals can be told apart.
_SPREAD = 0.36


def write_size_recall_chart(path: Path, methods: Sequence[MethodResult]) -> None:
    """Draw the share of objects found by size class, with intervals, one panel a view.

    Untrained methods are grey and dashed. A class without an object has no point.

    Args:
        path: A .png file.
        methods: At least one, all with the same views.

    Raises:
        StorageError: If the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    views = [view.view for view in methods[0].views]
    figure = Figure(figsize=(6.4 * len(views), 5.4), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(views), sharey=True, squeeze=False)[0]
    for number, (axes, view) in enumerate(zip(panels, views, strict=True)):
        axes.set_title(view.title, color=_INK, loc="left", fontsize=12, parse_math=False)
        axes.set_xticks(range(len(SIZE_CLASSES)), [size.text for size in SIZE_CLASSES])
        axes.set(xlim=(-0.5, len(SIZE_CLASSES) - 0.5), ylim=(0.0, 1.02))
        axes.set_xlabel("Size of the labelled object in pixels")
        axes.grid(axis="y", color=_FAINT, lw=0.5, alpha=0.5)
        axes.spines[["top", "right"]].set_visible(False)
        _draw_methods(axes, methods, number)
    panels[0].set_ylabel("Share of objects found (half of their pixels)")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    write_bytes(path, buffer.getvalue())


def _draw_methods(axes: Axes, methods: Sequence[MethodResult], number: int) -> None:
    offsets = np.linspace(-_SPREAD / 2, _SPREAD / 2, len(methods)) if len(methods) > 1 else [0.0]
    models = 0
    for entry, offset in zip(methods, offsets, strict=True):
        is_model = entry.method.source.kind == "model"
        style = models if is_model else len(methods) - 1
        models += is_model
        by_size = entry.views[number].objects.by_size
        recall = np.array([size.recall for size in by_size])
        ends = np.array([size.interval for size in by_size]).T
        # An interval need not hold its figure: that of few images is far from even.
        errors = np.nan_to_num(np.maximum(0.0, [recall - ends[0], ends[1] - recall]))
        axes.errorbar(
            np.arange(len(by_size)) + offset,
            recall,
            yerr=errors,
            color=_MODELS[style % len(_MODELS)] if is_model else _FAINT,
            marker=_MARKERS[style % len(_MARKERS)] if is_model else ".",
            ls="-" if is_model else "--",
            lw=2.0 if is_model else 1.2,
            ms=6,
            elinewidth=1.0,
            capsize=2,
            label=_escaped(entry.method.title),
        )


def _escaped(title: str) -> str:
    # matplotlib takes $...$ for formulas and leaves out labels that begin with an underscore.
    return (" " + title if title.startswith("_") else title).replace("$", r"\$")
