"""One result of a prediction that is looked at: what is known of it, and its layers."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from affine import Affine

from changedet.data.file_names import MASK, SCORE
from changedet.errors import DataError, ImageError, ResultsError
from changedet.predict.summary import (
    SUMMARY,
    BaselineFacts,
    ImagePairSummary,
    RasterFacts,
    SceneSummary,
)
from changedet.raster.geo_grid import GeoGrid, Window
from changedet.raster.info import RasterInfo
from changedet.raster.pixel_rules import PixelRules
from changedet.raster.read_plan import ReadPlan, plan_reading
from changedet.raster.shown import ShownDate
from changedet.storage.results import read_content
from changedet.vector.area import DEFAULT_AREA_PX
from changedet.view.layers import (
    PICTURE_STEPS,
    SCENE_STEPS,
    DateLayer,
    LayerReader,
    MaskLayer,
    PictureLayer,
    ScoreLayer,
)
from changedet.view.places import find_input, signature

if TYPE_CHECKING:
    from changedet.view.layers import Layer

Summary: TypeAlias = SceneSummary | ImagePairSummary
Kind: TypeAlias = Literal["scene", "image_pair"]
#: A tile has so many pixels along each side.
TILE_PX: Final = 256
# Grids whose pixels differ by less lie on each other.
_SAME_PX: Final = 0.01


@dataclass(frozen=True)
class Item:
    """A result as it was found when it was opened.

    Attributes:
        name: For people.
        folder: Where it lies.
        kind: Of two rasters, or of two images.
        summary: All that is known of it.
        grid: Its pixels; coordinates are pixels where it has no place.
        files: Where each layer is read from; None: it cannot be found.
        steps: Codes of scores from 0 to 1.
        polygons: Its polygon file; None: it has none.
        min_area_px: Smaller polygons were left out, in pixels.
    """

    name: str
    folder: Path
    kind: Kind
    summary: Summary
    grid: GeoGrid
    files: dict[Layer, str] = field(compare=False)
    steps: int
    polygons: Path | None
    min_area_px: float

    @property
    def threshold(self) -> float:
        """Score from which on a pixel counted as changed."""
        return self.summary.threshold.score

    @property
    def max_zoom(self) -> int:
        """Zoom at which a pixel of a tile is a pixel of the result."""
        longest = max(self.grid.shape)
        return max(0, math.ceil(math.log2(longest / TILE_PX)))

    @property
    def model_name(self) -> str:
        """File of the model, or name of the baseline."""
        model = self.summary.model
        if isinstance(model, BaselineFacts):
            return f"baseline:{model.baseline}"
        return model.file or model.architecture

    @property
    def identity(self) -> str:
        """Tell results apart: the same for one that was made again in just the same way."""
        facts: dict[str, Any] = {
            "grid": [self.grid.crs, [*self.grid.transform[:6]], *self.grid.shape],
            "threshold": self.threshold,
            "model": self.summary.model.model_dump(mode="json"),
        }
        if isinstance(self.summary, SceneSummary):
            facts["pixels"] = self.summary.pixels.model_dump(mode="json")
            facts["polygons"] = self.summary.polygons.model_dump(mode="json")
        else:
            facts["changed_share"] = self.summary.changed_share
            facts["name"] = self.summary.name
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def signature(self, layer: Layer) -> str:
        """Say which state of its file a layer shows now.

        Raises:
            ImageError: If the file is gone.
        """
        return signature(self.files[layer], is_input=layer in ("before", "after"))

    def open_layer(self, layer: Layer) -> LayerReader:
        """Open a layer for one thread.

        Raises:
            ImageError: If it is missing, damaged, or not the file of this result.
        """
        path = Path(self.files[layer])
        shape = self.grid.shape
        if isinstance(self.summary, ImagePairSummary):
            if layer == "score":
                return PictureLayer.open_score(
                    path, shape=shape, mask=Path(self.files["mask"]), threshold=self.threshold
                )
            if layer == "mask":
                return PictureLayer.open_mask(path, shape=shape)
            return PictureLayer.open_date(path, shape=shape)
        if layer == "score":
            return ScoreLayer(path, shape=shape)
        if layer == "mask":
            return MaskLayer(path, shape=shape)
        rules = self.summary.pixel_rules or (PixelRules(), PixelRules())
        plan = _reading_plan(self.summary, self.grid, self.files)
        return DateLayer(ShownDate(plan, layer, rules=rules[layer == "after"]))


def read_item(folder: Path, *, name: str, moved: dict[Layer, str] | None = None) -> Item:
    """Read what is known of a result.

    Args:
        folder: With its ``summary.json``.
        name: What people call it.
        moved: Where inputs lie now that are no longer where they were.

    Raises:
        ResultsError: If the summary is missing, damaged, or of another kind.
        DataError: If the result has no scores.
    """
    content = read_content(folder / SUMMARY)
    kind = content.get("kind") or ("scene" if "grid" in content else "image_pair")
    if kind not in ("scene", "image_pair"):
        raise ResultsError(
            f"{folder / SUMMARY} contains results of the kind {kind!r}; what can be looked at are "
            "results of changedet predict"
        )
    reader: type[Summary] = SceneSummary if kind == "scene" else ImagePairSummary
    summary = reader.from_content(content, path=folder / SUMMARY)
    item = (
        _scene(summary, folder, name)
        if isinstance(summary, SceneSummary)
        else _image_pair(summary, folder, name)
    )
    item.files.update(moved or {})
    if not Path(item.files["score"]).is_file():
        raise DataError(
            f"{item.files['score']}: no such file; the result has lost its scores, put the file "
            "back or predict again"
        )
    return item


def _scene(summary: SceneSummary, folder: Path, name: str) -> Item:
    facts = summary.grid
    grid = GeoGrid(facts.crs, Affine(*facts.transform), facts.height, facts.width)
    limit = summary.polygons.min_area
    smallest = DEFAULT_AREA_PX
    if limit is not None and limit.unit == "px":
        smallest = limit.value
    elif limit is not None:
        smallest = limit.value / max((facts.gsd_m or 1.0) ** 2, 1e-12)
    return Item(
        name=name,
        folder=folder,
        kind="scene",
        summary=summary,
        grid=grid,
        files={
            "before": find_input(summary.inputs.before.location, folder),
            "after": find_input(summary.inputs.after.location, folder),
            "score": str(folder / SCORE),
            "mask": str(folder / MASK),
        },
        steps=SCENE_STEPS,
        polygons=folder / Path(summary.polygons.file).name,
        min_area_px=smallest,
    )


def _image_pair(summary: ImagePairSummary, folder: Path, name: str) -> Item:
    return Item(
        name=name,
        folder=folder,
        kind="image_pair",
        summary=summary,
        grid=GeoGrid(None, Affine.identity(), summary.height, summary.width),
        files={
            "before": find_input(summary.before, folder),
            "after": find_input(summary.after, folder),
            "score": str(folder / "score.png"),
            "mask": str(folder / "mask.png"),
        },
        steps=PICTURE_STEPS,
        polygons=None,
        min_area_px=DEFAULT_AREA_PX,
    )


def _reading_plan(summary: SceneSummary, grid: GeoGrid, files: dict[Layer, str]) -> ReadPlan:
    """Lay both rasters over each other as the prediction did; neither need be there."""
    before = _info(summary.inputs.before, files["before"])
    after = _info(summary.inputs.after, files["after"])
    column, row = ~before.transform @ (grid.transform.c, grid.transform.f)
    left, top = round(column), round(row)
    if max(abs(left - column), abs(top - row)) > _SAME_PX:
        raise ImageError(f"{before.name}: does not lie on the pixels of the result; predict again")
    shift = summary.shift if summary.shift_corrected else None
    return plan_reading(
        before,
        after,
        Window(top, left, *grid.shape),
        resampling=summary.request.get("resampling", "bilinear"),
        shift_px=(0.0, 0.0) if shift is None else (shift.down_px, shift.right_px),
    )


def _info(facts: RasterFacts, location: str) -> RasterInfo:
    known = {name: getattr(facts, name) for name in type(facts).model_fields}
    return RasterInfo(**{**known, "location": location, "transform": Affine(*facts.transform)})
