"""What the server answers to each question, as plain data: no HTTP here."""

from __future__ import annotations

import json
import math
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import shapely
from PIL import Image

from changedet.predict.summary import ImagePairSummary, SceneSummary
from changedet.raster.geo_grid import Window
from changedet.raster.lonlat import crs_name
from changedet.view.bodies import BodyError
from changedet.view.candidates import MOST_TRACED_PX, trace_candidates
from changedet.view.geometry import lonlat_mesh, lonlat_of, pixel_areas
from changedet.view.pictures import (
    Address,
    Stretch,
    encode,
    encode_tile,
    pixels_of,
    tile_window,
    whole_steps,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from changedet.view.candidates import Order
    from changedet.view.collection import OpenItem
    from changedet.view.geometry import Box
    from changedet.view.handles import Handles
    from changedet.view.item import Item
    from changedet.view.layers import Layer
    from changedet.view.verdicts import Changes, LookedAt, Row

#: Bands whose values are told.
_MOST_BANDS: Final = 32
# 8 bit, and layers without values of their own, are shown as they are.
_PLAIN: Final = Stretch(0.0, 255.0)


class TooLargeError(Exception):
    """More was asked for than is computed at once."""


def describe_item(
    number: str, opened: OpenItem, handles: Handles, *, wording: Callable[[str], str]
) -> dict[str, Any]:
    """Say all that a page needs to know of a result, messages in the user's words."""
    item, summary = opened.item, opened.item.summary
    grid = item.grid
    middle = pixel_areas(grid, [Window(grid.height // 2, grid.width // 2, 1, 1)])
    area = None if middle is None else float(middle[0])
    problems = opened.problems(handles)
    return {
        "id": number,
        "name": item.name,
        "kind": item.kind,
        "width": grid.width,
        "height": grid.height,
        "max_zoom": item.max_zoom,
        "crs": _crs(item),
        "pixel_size_m": None if area is None else math.sqrt(area),
        "pixel_area_m2": area,
        "lonlat": lonlat_mesh(grid),
        "threshold": item.threshold,
        "score_steps": item.steps,
        "min_area_px": item.min_area_px,
        "area_unit": "px" if area is None else "m2",
        "before": PurePath(item.files["before"]).name,
        "after": PurePath(item.files["after"]).name,
        "model": item.model_name,
        "change_kind": summary.change_kind,
        **_scene_facts(summary),
        "missing": list(problems),
        "problems": [f"{layer}: {wording(text)}" for layer, text in problems.items()],
        "remarks": [
            {"severity": one.severity, "topic": one.topic, "text": wording(one.text)}
            for one in summary.remarks
        ],
        "writable": opened.store is not None and opened.store_problem is None,
        "read_only_reason": opened.store_problem,
    }


def _scene_facts(summary: SceneSummary | ImagePairSummary) -> dict[str, Any]:
    """Say what is known of scenes only."""
    if not isinstance(summary, SceneSummary):
        return dict.fromkeys(("transform", "created", "pixels", "polygons"))
    return {
        "transform": list(summary.grid.transform),
        "created": summary.created,
        "pixels": summary.pixels.model_dump(),
        "polygons": summary.polygons.count,
    }


def _crs(item: Item) -> str | None:
    if item.grid.crs is None or not isinstance(item.summary, SceneSummary):
        return None
    return item.summary.grid.crs_code or crs_name(item.grid.crs)


def make_tile(
    opened: OpenItem, layer: Layer, address: Address, *, handles: Handles
) -> bytes | None:
    """Draw a tile.

    Returns:
        PNG or WebP; None if nothing of the result lies in it.

    Raises:
        ImageError: If the layer cannot be read.
    """
    place = tile_window(opened.item, address)
    if place is None:
        return None
    stretch = opened.stretch(layer, handles) if layer in ("before", "after") else _PLAIN
    part = handles.get(opened.item, layer).read(*place)
    return encode_tile(layer, pixels_of(layer, part, stretch))


def make_thumbnail(
    opened: OpenItem, layer: Layer, box: Box | None, *, size: int, handles: Handles
) -> bytes:
    """Draw a part of a layer in a picture of ``size`` pixels at most.

    Raises:
        BodyError: If the box shows nothing of the result.
        ImageError: If the layer cannot be read.
    """
    window = opened.item.grid.window if box is None else window_of(box, opened.item)
    step = max(1, max(window.shape) // size)
    place = whole_steps(window, min(step, *window.shape)) or (window, 1)
    stretch = opened.stretch(layer, handles) if layer in ("before", "after") else _PLAIN
    part = handles.get(opened.item, layer).read(*place)
    pixels = pixels_of(layer, part, stretch)
    if layer == "score":
        # Codes are not to be looked at: grey.
        codes = part.values[0].astype(np.float32) * (255.0 / opened.item.steps)
        pixels[:, :, :3] = codes.astype(np.uint8)[:, :, np.newaxis]
    picture = Image.fromarray(pixels)
    picture.thumbnail((size, size), Image.Resampling.BOX)
    return encode(picture, lossless=False)


def window_of(box: Box, item: Item) -> Window:
    """Give the whole pixels of the result that a box touches.

    Raises:
        BodyError: If it touches none.
    """
    left, top, right, bottom = box
    if not all(map(math.isfinite, box)):
        raise BodyError("a box has four numbers: left, top, right, bottom")
    first = max(0, math.floor(left)), max(0, math.floor(top))
    last = min(item.grid.width, math.ceil(right)), min(item.grid.height, math.ceil(bottom))
    if last[0] <= first[0] or last[1] <= first[1]:
        raise BodyError("the box shows nothing of the result")
    return Window(first[1], first[0], last[1] - first[1], last[0] - first[0])


def values_at(opened: OpenItem, x: float, y: float, *, handles: Handles) -> dict[str, Any]:
    """Say what all layers hold at a place, in pixels.

    Raises:
        BodyError: If it lies beside the result.
    """
    item = opened.item
    pixel = window_of((x, y, math.floor(x) + 1, math.floor(y) + 1), item)
    found: dict[str, Any] = {"column": pixel.left, "row": pixel.top}
    problems = opened.problems(handles)
    dates: tuple[Layer, Layer] = ("before", "after")
    for layer in dates:
        found[layer] = None
        if layer not in problems:
            part = handles.get(item, layer).read(pixel, 1)
            if part.valid[0, 0]:
                found[layer] = part.values[:_MOST_BANDS, 0, 0].tolist()
    scores = handles.get(item, "score").read(pixel, 1)
    is_known = bool(scores.valid[0, 0])
    score = int(scores.values[0, 0, 0]) / item.steps if is_known else None
    found["score"] = score
    found["changed"] = None if score is None else score >= float(np.float32(item.threshold))
    has_place = isinstance(item.summary, SceneSummary)
    at = item.grid.transform @ (x, y)
    found["xy"] = list(at) if has_place else None
    found["lonlat"] = lonlat_of(item.grid, *at)
    return found


def list_candidates(
    opened: OpenItem,
    handles: Handles,
    *,
    order: Order,
    offset: int,
    limit: int,
    box: Box | None,
    threshold: float | None,
) -> str:
    """List polygons as JSON: of the result, or in a window at another threshold.

    Raises:
        BodyError: If a threshold comes without a window.
        TooLargeError: If the window is too large to trace polygons in it.
        DataError: If polygons or scores cannot be read.
    """
    item = opened.item
    if threshold is None:
        found = opened.candidates(handles)
        places = found.where(box)
    else:
        if box is None:
            raise BodyError("polygons at another threshold are traced in a window; give one")
        window = window_of(box, item)
        if window.height * window.width > MOST_TRACED_PX:
            raise TooLargeError(
                f"the window has {window.height * window.width:,} pixels, and polygons are traced "
                f"in {MOST_TRACED_PX:,} at most; zoom in"
            )
        scores = handles.get(item, "score")
        found = trace_candidates(item, scores, window, threshold=threshold)
        places = found.where(None)
    chosen = found.ordered(places, order)[offset : offset + limit]
    facts = {
        "total": len(places),
        "truncated": offset + len(chosen) < len(places),
        "threshold": item.threshold if threshold is None else threshold,
    }
    return f'{json.dumps(facts)[:-1]}, "candidates": [{", ".join(found.to_json(chosen))}]}}'


def describe_row(row: Row) -> dict[str, Any]:
    """Give a verdict as the browser gets it."""
    new = row.new
    return {
        "uid": row.uid,
        "verdict": new.verdict,
        "geometry": json.loads(shapely.to_geojson(new.polygon)),
        "result_id": new.result_id,
        "note": new.note,
        "who": new.who,
        "when": row.when,
        "window": None if new.window is None else list(new.window),
        "area_px": row.area_px,
        "area_m2": row.area_m2,
        "mean_score": new.mean_score,
        "max_score": new.max_score,
        "threshold": new.threshold,
        "revision": row.revision,
    }


def describe_window(window: LookedAt) -> dict[str, Any]:
    """Give a window that was looked at as the browser gets it."""
    return {
        "uid": window.uid,
        "window": list(window.window),
        "who": window.who,
        "when": window.when,
        "revision": window.revision,
    }


def describe_review(opened: OpenItem, changes: Changes, *, handles: Handles) -> dict[str, Any]:
    """Give a review, or what has changed in it, as the browser gets it."""
    return {
        "revision": changes.revision,
        "verdicts": [describe_row(row) for row in changes.rows],
        "deleted": [{"uid": uid, "revision": revision} for uid, revision in changes.deleted],
        "windows": [describe_window(window) for window in changes.windows],
        "statistics": opened.counts(handles).describe(),
        "writable": opened.store is not None and opened.store_problem is None,
        "read_only_reason": opened.store_problem,
    }
