# SPDX-License-Identifier: GPL-2.0-or-later
"""What the command has written, in the order in which a map shows it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

_STYLES = Path(__file__).parent / "styles"


class Product(NamedTuple):
    """A result that becomes a layer.

    Attributes:
        output: Name of the algorithm's output.
        path: The file.
        title: What it is called in the list of layers.
        style: How QGIS draws it: the file beside it, or one of ours where there is none.
        is_shown: Whether it is drawn at first; the mask would hide the image below it.
    """

    output: str
    path: Path
    title: str
    style: Path
    is_shown: bool


class Results(NamedTuple):
    """The layers, the uppermost first, and figures of a run.

    Attributes:
        products: See above.
        changed_percent: Share of the pixels with data that changed; None: there were none.
        polygons: How many there are; None: pictures have none.
    """

    products: tuple[Product, ...]
    changed_percent: float | None
    polygons: int | None


def read_results(out: Path, *, model: str) -> Results:
    """Look at a folder of results.

    Args:
        out: The folder that the command has filled.
        model: Name or file of the model, for the titles of the layers.

    Raises:
        OSError: If there are none.
        ValueError: If they are of an unknown form.
    """
    summary: dict[str, Any] = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    outlines = summary.get("polygons") or {}
    is_picture = summary["kind"] == "image_pair"
    suffix = "png" if is_picture else "tif"
    name = Path(model.replace("\\", "/")).stem if ":" not in model[2:] else model
    kind = summary.get("change_kind")
    about = f"{name}, {kind}" if kind else name
    products = []
    if "file" in outlines:
        path = out / outlines["file"]
        products.append(
            Product("POLYGONS", path, f"Changes ({about})", out / "polygons.qml", is_shown=True)
        )
    for output, stem, title in (("MASK", "mask", "Mask"), ("SCORE", "score", "Scores")):
        style = _STYLES / f"{stem}_picture.qml" if is_picture else out / f"{stem}.qml"
        products.append(
            Product(
                output,
                out / f"{stem}.{suffix}",
                f"{title} ({about})",
                style,
                is_shown=output == "SCORE",
            )
        )
    share = summary["changed_share"]
    percent = None if share is None else 100 * float(share)
    return Results(tuple(products), percent, outlines.get("count"))
