"""What ``summary.json`` of a prediction holds: on images and on a scene."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import ConfigDict

from changedet.data.appearance import DomainDistance
from changedet.inference.working_gsd import GsdMatch
from changedet.raster.align import Coverage
from changedet.raster.pixel_rules import PixelRules
from changedet.raster.remark import Remark
from changedet.raster.shift_estimate import ShiftEstimate
from changedet.storage.markers import SUMMARY as SUMMARY
from changedet.storage.results import Figure, NumberOrNone, PlainJson, Record, Results, to_plain
from changedet.types import TestTime


class ModelFacts(Record):
    """Which trained model scored.

    Attributes:
        file: Name of its file; null if it came from none.
        sha256: Checksum of that file.
        architecture: Name of the network.
        options: What the network was built from.
        data: What it was trained on, if that is known.
    """

    file: str | None
    sha256: str | None
    architecture: str
    options: PlainJson
    data: str | None


class BaselineFacts(Record):
    """Which untrained method scored; further keys are its options and what it measured.

    Attributes:
        baseline: Its name.
    """

    model_config = ConfigDict(extra="allow")

    baseline: str


def scorer_facts(metadata: Mapping[str, Any]) -> ModelFacts | BaselineFacts:
    """Take what a detector says of what scores, as it is written.

    Args:
        metadata: As :func:`changedet.inference.provenance.model_metadata` tells it.
    """
    return (BaselineFacts if "baseline" in metadata else ModelFacts)(**to_plain(metadata))


class Threshold(Record):
    """From which score on a pixel counts as changed.

    Attributes:
        score: As a score, in [0, 1].
        distance: The same as a distance, in [0, 2].
        source: Who chose it.
    """

    score: float
    distance: float
    source: str


class _PictureRun(Results):
    """What all summaries of predictions on images hold.

    Attributes:
        version: Version of changedet that wrote the file.
        model: What scored.
        threshold: What was applied.
        device: Where it was computed.
        tile_px: Height and width of a tile.
        test_time: Views of a tile that were averaged.
        remarks: What the user was told.
        heatmap: Which scores the colours of ``heatmap.png`` stand for; null: from 0 to 1.
        change_kind: Kind of change that was looked for; null where the model names none.
        gsd: Ground sample distance of the images, and how they were resampled for the model.
        domain_distance: How far the pair, or all pairs together, are from what the model was
            trained on, by their looks; null if the model file does not say what that looked like.
        runtime: What computed the network: torch, onnx or openvino; null if there is none.
    """

    version: str
    model: ModelFacts | BaselineFacts
    threshold: Threshold
    device: str
    tile_px: int
    test_time: TestTime
    remarks: tuple[Remark, ...] = ()
    heatmap: str | None = None
    change_kind: str | None = None
    gsd: GsdMatch | None = None
    domain_distance: DomainDistance | None = None
    runtime: str | None = None


class PictureFacts(Record):
    """What was found in one pair of images.

    Attributes:
        name: Stem of the files.
        before: Image of the first date.
        after: Image of the second date.
        width: In pixels.
        height: In pixels.
        changed_share: Share of the pixels that have changed, in [0, 1].
    """

    name: str
    before: str
    after: str
    width: int
    height: int
    changed_share: float


class ImagePairSummary(PictureFacts, _PictureRun):
    """A prediction on one pair of images."""

    kind: Literal["image_pair"] = "image_pair"


class ImagesSummary(_PictureRun):
    """A prediction on two folders of images; each pair also has its own summary.

    Attributes:
        images: Number of pairs.
        pairs: What was found in each, by name.
    """

    kind: Literal["images"] = "images"
    images: int
    pairs: tuple[PictureFacts, ...]


class RasterFacts(Record):
    """One raster as it was found.

    Attributes:
        location: Path or address, without user, password and query.
        driver: GDAL's name of the format.
        height: In pixels.
        width: In pixels.
        crs: Coordinate reference system as WKT, if there is one.
        transform: From (column, row) to coordinates: x = a column + b row + c,
            y = d column + e row + f.
        gsd_m: Ground sample distance in metres, if it is known.
        dtype: Type of the stored values.
        bands: Bands that were read, numbered from 1.
        band_count: Bands of the file.
        nodata: Value that marks missing pixels; null for NaN, too.
        size_bytes: Size of the file, if it is known.
        changed_at: Another value means that the content may be another one.
        acquired: When the image was acquired, ISO 8601 in UTC, if the file says so.
        pages: Images that the file holds, of which one was read.
    """

    location: str
    driver: str
    height: int
    width: int
    crs: str | None
    transform: tuple[float, float, float, float, float, float]
    gsd_m: float | None
    dtype: str
    bands: tuple[int, ...]
    band_count: int
    nodata: NumberOrNone
    size_bytes: int | None
    changed_at: str | None
    acquired: str | None
    pages: int = 1


class Inputs(Record):
    """The two rasters."""

    before: RasterFacts
    after: RasterFacts


class GridFacts(Record):
    """The grid of the change map.

    Attributes:
        crs: Coordinate reference system as WKT, if there is one.
        crs_code: The same as a code such as EPSG:32633, if it has one.
        transform: From (column, row) to coordinates: x = a column + b row + c,
            y = d column + e row + f.
        height: In pixels.
        width: In pixels.
        gsd_m: Ground sample distance in metres, if it is known.
    """

    crs: str | None
    crs_code: str | None
    transform: tuple[float, float, float, float, float, float]
    height: int
    width: int
    gsd_m: float | None


class TileEffectFacts(Record):
    """What tiles of another size than the training's change.

    Attributes:
        trained_px: Tile size of the training.
        used_px: Tile size that was used.
        mean_difference: Mean absolute difference of the scores, in [0, 1].
        flipped_share: Share of pixels that are changed with one size and not with the other.
    """

    trained_px: int
    used_px: int
    mean_difference: Figure
    flipped_share: Figure


class TileFacts(Record):
    """How the scene was cut into tiles.

    Attributes:
        tile_px: Height and width of a tile.
        overlap_px: Pixels that neighbouring tiles share.
        batch_size: Tiles that went through the model at once.
        count: Tiles of the scene.
        scored: Tiles that were scored.
        empty: Tiles that were skipped because none of their pixels is needed.
        resumed: Tiles that an earlier, interrupted run had done.
        effect_of_size: What the size of the tiles changed, where it is not that of the training.
    """

    tile_px: int
    overlap_px: int
    batch_size: int
    count: int
    scored: int
    empty: int
    resumed: int
    effect_of_size: TileEffectFacts | None


class PixelCounts(Record):
    """Pixels of the mask by value, and all of them."""

    changed: int
    unchanged: int
    nodata: int
    all: int


class AreaFacts(Record):
    """An area to which others are compared.

    Attributes:
        value: The area, in ``unit``.
        unit: What was measured: m2 on the ellipsoid, or pixels.
        area_m2: The same area in the middle of the scene; null without CRS.
    """

    value: float
    unit: Literal["m2", "px"]
    area_m2: float | None


class PolygonFacts(Record):
    """What is in the polygon file.

    Attributes:
        file: Its name.
        count: Number of polygons.
        area_m2: Their area, as written; null without CRS.
        dropped: Number of polygons that were too small.
        tiny: Number of polygons that were written and have fewer than 5 pixels.
        min_area: Smaller polygons were dropped.
        fill_holes: Holes up to this area were filled.
        unsimplified: Number of polygons whose outlines were too entangled to be simplified.
    """

    file: str
    count: int
    area_m2: float | None
    dropped: int
    tiny: int
    min_area: AreaFacts | None = None
    fill_holes: AreaFacts | None = None
    unsimplified: int = 0


class Speed(Record):
    """How long reading and scoring took, and millions of scene pixels a second meanwhile."""

    seconds: float
    mpx_per_s: float


class SceneSummary(Results):
    """A prediction on a scene.

    Attributes:
        version: Version of changedet that wrote the file.
        created: When, ISO 8601 in UTC.
        model: What scored.
        threshold: What was applied.
        inputs: The two rasters.
        request: What was asked for and decides the results.
        grid: The grid of the change map.
        coverage: Share of each raster that both have in common.
        area_of_interest_sha256: Checksum of the area of interest, if there was one.
        shift: Shift that was measured between the dates; null if it could not be.
        shift_corrected: Whether it was corrected.
        shift_remaining: Shift that was measured with the correction; null where none was tried, or
            it could not be measured.
        stretch: Values that became 0 and 255 in each date, if any did.
        pixel_rules: How the values of each date were read, besides what the file declares.
        tiles: How the scene was cut.
        pixels: Pixels of the mask by value.
        nodata_share: Share of the pixels without data in both dates, in [0, 1].
        changed_share: Share of the other pixels that have changed; null if there are none.
        polygons: What is in the polygon file.
        device: Where it was computed.
        speed: How long it took.
        peak_memory_mb: Largest resident memory of the process, in 10^6 bytes, if it is known.
        notes: Messages that the user got.
        remarks: The same with what each is about, and whether it is a warning.
        change_kind: Kind of change that was looked for; null where the model names none.
        gsd: Ground sample distance of the rasters, and how they were resampled for the model.
        domain_distance: How far the pair is from what the model was trained on, by its looks; null
            if the model file does not say what that looked like.
        runtime: What computed the network: torch, onnx or openvino; null if there is none.
    """

    kind: Literal["scene"] = "scene"
    version: str
    created: str
    model: ModelFacts | BaselineFacts
    threshold: Threshold
    inputs: Inputs
    request: PlainJson
    grid: GridFacts
    coverage: Coverage
    area_of_interest_sha256: str | None
    shift: ShiftEstimate | None
    shift_corrected: bool
    shift_remaining: ShiftEstimate | None = None
    stretch: tuple[tuple[float, float] | None, ...] | None
    tiles: TileFacts
    pixels: PixelCounts
    nodata_share: float
    changed_share: float | None
    polygons: PolygonFacts
    device: str
    speed: Speed
    peak_memory_mb: float | None
    notes: tuple[str, ...]
    remarks: tuple[Remark, ...] = ()
    pixel_rules: tuple[PixelRules, PixelRules] | None = None
    change_kind: str | None = None
    gsd: GsdMatch | None = None
    domain_distance: DomainDistance | None = None
    runtime: str | None = None
