"""The table with the figures of every single pair."""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

from changedet.data.labelled import LabelledPair
from changedet.metrics.confusion import Confusion
from changedet.storage.atomic import write_text
from changedet.storage.text import plain_cell

_SHARES = ("changed_share", "detected_share")
_FIGURES = ("f1", "iou", "precision", "recall")


def write_per_image(path: Path, pairs: Sequence[LabelledPair], counts: Sequence[Confusion]) -> None:
    """Write one row per pair: name, shares, pixel counts and figures.

    A share or figure that is undefined stays empty. A name that a spreadsheet would take for a
    formula begins with an apostrophe.

    Args:
        path: Of the CSV file.
        pairs: The pairs.
        counts: The confusion of each.

    Raises:
        StorageError: If it cannot be written.
    """
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["name", *_SHARES, *Confusion._fields, *_FIGURES])
    for pair, count in zip(pairs, counts, strict=True):
        pixels = sum(count) or math.nan
        shares = [(count.tp + count.fn) / pixels, (count.tp + count.fp) / pixels]
        figures = [getattr(count, figure) for figure in _FIGURES]
        shown = ["" if math.isnan(value) else f"{value:.6f}" for value in (*shares, *figures)]
        writer.writerow([plain_cell(pair.name), *shown[:2], *count, *shown[2:]])
    write_text(path, table.getvalue())
