"""What to predict on a scene, and what came of it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from changedet.raster.cog import MaskCounts
from changedet.raster.pair import Coverage
from changedet.raster.shift import ShiftEstimate
from changedet.storage.output_folder import Existing
from changedet.types import TestTime
from changedet.vector.files import PolygonOptions, PolygonSummary

Resampling = Literal["nearest", "bilinear", "cubic"]
Coregister = Literal["off", "global"]


@dataclass(frozen=True)
class SceneRequest:
    """Two rasters, a model, and how they are to be treated.

    Attributes:
        before: Raster of the first date: a path, an http(s):// or s3:// address.
        after: Raster of the second date; it is brought onto the grid of ``before``.
        model: Model file.
        out: Folder for the results.
        threshold: Score in [0, 1] to use instead of the model's own.
        test_time: Turned, mirrored or coarser views of a tile to average; None: as stored
            with the model.
        device: As for :func:`changedet.inference.detector.resolve_device`.
        batch_size: Tiles that go through the model at once; None: by tile and device.
        tile_px: Height and width of a tile; None: what suits the model.
        overlap_px: Pixels that neighbouring tiles share; None: a quarter of the tile.
        bands: Band numbers, from 1, in the model's order; None: all that hold no mask.
        bands_after: The same for the second date, where it differs.
        stretch: Values that become 0 and 255, for models trained on 8 bit; ``auto`` measures them.
        resampling: How ``after`` is brought onto the grid.
        coregister: ``global`` corrects the shift that was measured between the dates.
        region: Area of interest: ``xmin,ymin,xmax,ymax``, or a file of polygons.
        region_crs: CRS of the four numbers; None: that of ``before``.
        polygons: Format and clean-up of the polygons.
        existing: Whether the results of an earlier run in ``out`` may be replaced.
    """

    before: str
    after: str
    model: Path
    out: Path
    threshold: float | None = None
    test_time: TestTime | None = None
    device: str = "auto"
    batch_size: int | None = None
    tile_px: int | None = None
    overlap_px: int | None = None
    bands: tuple[int, ...] | None = None
    bands_after: tuple[int, ...] | None = None
    stretch: tuple[float, float] | Literal["auto"] | None = None
    resampling: Resampling = "bilinear"
    coregister: Coregister = "off"
    region: str | None = None
    region_crs: str | None = None
    polygons: PolygonOptions = field(default_factory=PolygonOptions)
    existing: Existing = "refuse"


@dataclass(frozen=True)
class SceneReport:
    """What a prediction on a scene found.

    Attributes:
        out: Folder of the results.
        threshold: Score from which on a pixel counts as changed.
        threshold_source: Who chose it.
        counts: Pixels changed, unchanged and without data.
        coverage: Share of each raster that both have in common.
        shift: Residual shift between the dates; None if it could not be measured.
        polygons: What is in the polygon file.
        seconds: Time that reading, scoring and writing the scores took.
        mpx_per_s: Scene pixels scored a second in that time, in millions.
        peak_memory_mb: Largest resident memory of the process so far, in 10^6 bytes, if known.
        content: All of it as it stands in ``summary.json``.
    """

    out: Path
    threshold: float
    threshold_source: str
    counts: MaskCounts
    coverage: Coverage
    shift: ShiftEstimate | None
    polygons: PolygonSummary
    seconds: float
    mpx_per_s: float
    peak_memory_mb: float | None
    content: dict[str, Any]
