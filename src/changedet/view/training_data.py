"""Training data from reviews: what was accepted, rejected, drawn and looked at, as scenes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import shapely
import yaml

from changedet.data.file_names import REVIEW, SCENES
from changedet.data.rasters.blocks import cut, inset
from changedet.errors import DataError
from changedet.predict.summary import SceneSummary
from changedet.storage.atomic import write_bytes, write_text
from changedet.storage.output_folder import Existing, claimed, result_folder
from changedet.storage.secrets import without_secrets
from changedet.vector.review_file import polygon_package
from changedet.view.bodies import CHANGE
from changedet.view.collection import Collection, absolute_location
from changedet.view.geometry import box_polygon, from_pixels

if TYPE_CHECKING:
    from changedet.raster.geo_grid import GeoGrid
    from changedet.view.candidates import Candidates
    from changedet.view.item import Item
    from changedet.view.verdicts import Changes

#: Name of the manifest, see ``docs/data.md``.
MANIFEST: Final = SCENES
# Blocks that are assigned to splits: a reviewed area is small and has many of them. Where change
# lies in too few blocks of a size to train and to validate, smaller ones are tried.
_BLOCKS_PX: Final = (256, 128, 64)
# Validation blocks are inset by a part of their side.
_GAP: Final = 1 / 16
_SHARES: Final = {"train": 0.75, "val": 0.25}


@dataclass(frozen=True)
class ReviewLabels:
    """What a review says of the ground, in pixels.

    Attributes:
        change: Polygons that are change, (N,).
        area: Polygons where the labels are complete, (M,): outside of ``change``, nothing has
            changed there.
        rejected: Number of polygons that were rejected.
    """

    change: list[shapely.Geometry]
    area: list[shapely.Geometry]
    rejected: int


@dataclass(frozen=True)
class ReviewedScene:
    """A result with verdicts.

    Attributes:
        name: Of the scene in the data set, and of its files.
        item: The result.
        labels: What follows from its verdicts.
    """

    name: str
    item: Item
    labels: ReviewLabels

    @property
    def bands(self) -> tuple[tuple[int, ...] | None, tuple[int, ...] | None]:
        """Bands of both dates that the model has seen; None: those of pictures."""
        summary = self.item.summary
        if not isinstance(summary, SceneSummary):
            return None, None
        return summary.inputs.before.bands, summary.inputs.after.bands


@dataclass(frozen=True)
class TrainingData:
    """What was written.

    Attributes:
        folder: The data set.
        scenes: Number of results with verdicts.
        change: Polygons that are change.
        rejected: Polygons that are not.
    """

    folder: Path
    scenes: int
    change: int
    rejected: int

    def __str__(self) -> str:
        """Say in a few words what there is to learn from."""
        return (
            f"{self.scenes} scene{'' if self.scenes == 1 else 's'}: {self.change} "
            f"polygon{'' if self.change == 1 else 's'} of change, {self.rejected} rejected"
        )


def review_labels(changes: Changes, candidates: Candidates) -> ReviewLabels:
    """Turn verdicts into labels.

    Change is what was accepted, edited or drawn. Nothing has changed where a polygon was rejected,
    and in the rest of what was looked at. Polygons of the result without a verdict, and what nobody
    looked at, are left out.

    Args:
        changes: All that the review holds.
        candidates: Polygons of the result.
    """
    rows = changes.rows
    change = [row.new.polygon for row in rows if row.new.verdict in CHANGE]
    rejected = [row.new.polygon for row in rows if row.new.verdict == "rejected"]
    judged = {row.new.result_id for row in rows}
    is_open = np.array([number not in judged for number in candidates.ids.tolist()], dtype=bool)
    seen = [row.new.window for row in rows if row.new.window is not None]
    seen += [window.window for window in changes.windows]
    looked = shapely.union_all([box_polygon(box) for box in seen])
    known = shapely.difference(looked, shapely.union_all(candidates.geometry[is_open]))
    area = shapely.union_all([known, *change, *rejected])
    parts = shapely.get_parts(area).tolist()
    whole = [part for part in parts if part.geom_type == "Polygon" and part.area > 0]
    return ReviewLabels(change, whole, len(rejected))


def write_training_data(
    results: Sequence[Path],
    out: Path,
    *,
    existing: Existing = "refuse",
    say: Callable[[str], None] = lambda message: None,
) -> TrainingData:
    """Write the verdicts on results as a data set of scenes.

    Args:
        results: Results with a ``review.gpkg``, or folders of them; those without are skipped. The
            file itself may be named as well.
        out: Folder for ``scenes.yaml`` and the labels.
        existing: What to do if there is such a data set: ``refuse``, ``replace``.
        say: Gets sentences for the user.

    Raises:
        ConfigError: If ``out`` is not free.
        DataError: If there are no verdicts, a review cannot be used, or the results were made from
            different bands.
        StorageError: If the folder cannot be written.
    """
    with claimed(out, marker=MANIFEST, existing=existing):
        scenes = read_reviews(results, say=say)
        with result_folder(out, marker=MANIFEST) as folder:
            write_scenes(scenes, folder, block_px=block_size(scenes) or _BLOCKS_PX[0])
    return described(scenes, out)


def described(scenes: Sequence[ReviewedScene], folder: Path) -> TrainingData:
    """Count what is written into a folder."""
    change = sum(len(scene.labels.change) for scene in scenes)
    rejected = sum(scene.labels.rejected for scene in scenes)
    return TrainingData(folder, len(scenes), change, rejected)


def read_reviews(
    results: Sequence[Path], *, say: Callable[[str], None] = lambda message: None
) -> list[ReviewedScene]:
    """Turn the verdicts on results into labels; nothing is written.

    Args:
        results: As for :func:`write_training_data`.
        say: Gets sentences for the user.

    Raises:
        DataError: As :func:`write_training_data`.
    """
    scenes: list[ReviewedScene] = []
    names: Counter[str] = Counter()
    for item, labels in _reviewed(results, say):
        for layer in ("before", "after"):
            try:
                item.signature(layer)
            except DataError as error:
                raise DataError(
                    f"{item.name}: training needs both dates, and "
                    f"{without_secrets(item.files[layer])} cannot be read; put the file back"
                ) from error
        stem = re.sub(r"[^\w.-]+", "_", item.name) or "scene"
        names[stem] += 1
        name = stem if names[stem] == 1 else f"{stem}_{names[stem]}"
        scenes.append(ReviewedScene(name, item, labels))
    if not scenes:
        raise DataError(
            f"no verdicts in {', '.join(map(str, results))}; review results first: changedet "
            "view RESULT"
        )
    if len({scene.bands for scene in scenes}) > 1:
        raise DataError(
            "the results were made from different bands, and a data set has the same ones in "
            "all scenes; write one data set for each"
        )
    return scenes


def block_size(scenes: Sequence[ReviewedScene]) -> int | None:
    """Choose the largest blocks of which two show change: one to train and one to validate on.

    Returns:
        Side of the blocks in pixels; None: the change lies too close together.
    """
    for block_px in _BLOCKS_PX:
        if sum(_changed_blocks(scene, block_px) for scene in scenes) >= len(_SHARES):
            return block_px
    return None


def _changed_blocks(scene: ReviewedScene, block_px: int) -> int:
    """Count the blocks that show change also when they are inset, as for validation."""
    tree = shapely.STRtree(scene.labels.change)
    blocks = cut(scene.item.grid.shape, block_px)
    cores = [inset(window, round(block_px * _GAP)) for window in blocks]
    boxes = [box_polygon((c.left, c.top, c.right, c.bottom)) for c in cores if c is not None]
    return len(np.unique(tree.query(boxes, predicate="intersects")[0]))


def write_scenes(scenes: Sequence[ReviewedScene], folder: Path, *, block_px: int) -> None:
    """Write the labels of scenes, and the manifest that lists them.

    Args:
        scenes: At least one, all of the same bands.
        folder: To write to.
        block_px: Side of the blocks that are assigned to splits.

    Raises:
        StorageError: If a file cannot be written.
    """
    rule = {"block_px": block_px, "gap_px": round(block_px * _GAP), "shares": _SHARES}
    tree: dict[str, Any] = {
        "scenes": [_write_scene(scene, folder) for scene in scenes],
        "split": rule,
    }
    before, after = scenes[0].bands
    if before is not None:
        tree["bands"] = list(before)
    if after is not None and after != before:
        tree["bands_after"] = list(after)
    write_text(folder / MANIFEST, yaml.safe_dump(tree, sort_keys=False, allow_unicode=True))


def _reviewed(
    results: Sequence[Path], say: Callable[[str], None]
) -> list[tuple[Item, ReviewLabels]]:
    found = []
    for result in results:
        collection = Collection(result)
        try:
            for number, place in enumerate(collection.places):
                if not (place.folder / REVIEW).exists():
                    continue
                opened = collection.get(str(number))
                if opened.store is None:
                    raise DataError(opened.store_problem or f"{place.folder}: has no review")
                changes = opened.store.changes()
                labels = review_labels(changes, opened.candidates(collection.handles))
                if labels.area:
                    found.append((opened.item, labels))
                else:
                    say(f"{place.name}: no verdicts, skipped")
        finally:
            collection.close()
    return found


def _write_scene(scene: ReviewedScene, folder: Path) -> dict[str, Any]:
    """Write the labels of a scene, and give its entry in the manifest."""
    item, labels = scene.item, scene.labels
    _write_layer(folder / f"{scene.name}_area.gpkg", labels.area, item.grid)
    _write_layer(folder / f"{scene.name}_change.gpkg", labels.change, item.grid)
    entry = {
        "name": scene.name,
        "before": absolute_location(item.files["before"]),
        "after": absolute_location(item.files["after"]),
        "labels": f"{scene.name}_change.gpkg",
        "area": f"{scene.name}_area.gpkg",
    }
    return entry if labels.change else {**entry, "unchanged": True}


def _write_layer(path: Path, polygons: list[shapely.Geometry], grid: GeoGrid) -> None:
    shapes = np.empty(len(polygons), dtype=object)
    shapes[:] = polygons
    numbers: list[object] = list(range(1, len(polygons) + 1))
    write_bytes(path, polygon_package(from_pixels(shapes, grid), {"id": numbers}, crs=grid.crs))
