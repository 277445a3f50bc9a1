"""What to predict on a scene, and the result."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypeAlias

from changedet.baselines.names import is_baseline
from changedet.choices import nearest
from changedet.errors import ConfigError
from changedet.inference.detector import Detector
from changedet.inference.opening import open_detector
from changedet.raster.bands import count_common_bands
from changedet.raster.cog import MaskCounts
from changedet.raster.pair import Coverage
from changedet.raster.pixel_rules import Alpha, NoData
from changedet.raster.remark import Remark
from changedet.raster.shift_estimate import ShiftEstimate
from changedet.storage.output_folder import Existing
from changedet.storage.paths import PathFields
from changedet.types import Arithmetic, Runtime, TestTime
from changedet.vector.files import PolygonOptions, PolygonSummary

_SPOKEN = {
    "before": "the raster before",
    "after": "the raster after",
    "content_before": "the content of the raster before",
    "content_after": "the content of the raster after",
    "grid": "the common area",
    "version": "the version of changedet",
    "values": "which values count as missing, or their units",
}

#: A field of :class:`SceneRequest` given by name.
Option: TypeAlias = Any
Resampling = Literal["nearest", "bilinear", "cubic"]
Coregister = Literal["off", "global"]


@dataclass(frozen=True)
class SceneRequest(PathFields):
    """Two rasters, a model, and how they are to be treated.

    Attributes:
        before: Raster of the first date: a path, an http(s):// or s3:// address.
        after: Raster of the second date; it is brought onto the grid of ``before``.
        model: Model file, or ``baseline:NAME`` for an untrained baseline that measures the scene;
            None where a detector is given instead.
        out: Folder for the results.
        threshold: Score in [0, 1] to use instead of the model's own.
        test_time: Test-time augmentation; None: the one stored with the model.
        kind: Kind of change to find, of those that the model tells apart; None: its first one, or
            that of the detector.
        gsd_m: Side of a pixel of ``before`` on the ground in metres; None: what its CRS says. Where
            the model states at which ones it works, the rasters are resampled for it.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        runtime: What computes an exported model (``.onnx``): ``onnx``, ``openvino``; ``auto`` is
            the fastest one that is installed. ``torch`` computes other model files.
        precision: In what an exported model is computed: ``float32``, ``bf16`` (OpenVINO, where the
            CPU has it), or ``int8``, which asks for a file in 8 bits.
        encoder: Encoder of ``baseline:deep_difference``; None: the package's.
        encoder_weights: Its weights; None: those of the package.
        batch_size: Tiles that go through the model at once; None: by tile and device.
        tile_px: Height and width of a tile; None: what suits the model.
        overlap_px: Pixels that neighbouring tiles share; None: a quarter of the tile.
        bands: Band numbers, from 1, in the model's order; None: all that hold no mask.
        bands_after: The same for the second date, where it differs.
        stretch: Values that become 0 and 255, for models trained on 8 bit; ``auto`` measures them.
        nodata: What marks missing pixels besides what the files declare: a value in both dates,
            ``none``, or ``auto``, what a sample of the values shows to be certain.
        alpha: Whether an alpha band tells which pixels hold data: ``mask``, ``ignore``, or
            ``auto``, if it looks like one.
        resampling: How ``after`` is brought onto the grid.
        coregister: ``global`` corrects the shift that was measured between the dates.
        region: Area of interest: ``xmin,ymin,xmax,ymax``, or a file of polygons.
        region_crs: CRS of the four numbers; None: that of ``before``.
        polygons: Format and clean-up of the polygons.
        existing: What to do if ``out`` already holds results: ``refuse``, ``replace``.
    """

    before: str
    after: str
    model: str | Path | None
    out: Path
    threshold: float | None = None
    test_time: TestTime | None = None
    kind: str | None = None
    gsd_m: float | None = None
    device: str = "auto"
    runtime: Runtime = "auto"
    precision: Arithmetic = "float32"
    encoder: str | None = None
    encoder_weights: str | None = None
    batch_size: int | None = None
    tile_px: int | None = None
    overlap_px: int | None = None
    bands: tuple[int, ...] | None = None
    bands_after: tuple[int, ...] | None = None
    stretch: tuple[float, float] | Literal["auto"] | None = None
    nodata: NoData = "auto"
    alpha: Alpha = "auto"
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
        remarks: What the user was told; :func:`changedet.predict.remarks.warnings_of` gives the
            warnings.
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
    remarks: tuple[Remark, ...]
    content: dict[str, Any]


def make_request(
    before: str | Path,
    after: str | Path | None,
    *,
    out: str | Path,
    model: str | Path | None = None,
    **options: Option,
) -> SceneRequest:
    """Make a request from arguments by name.

    Args:
        before: Raster of the first date.
        after: Raster of the second date.
        out: Folder for the results.
        model: Model file; None where a detector is given instead.
        options: The other fields of :class:`SceneRequest`.

    Raises:
        ConfigError: If there is no such field, or no second date.
    """
    if after is None:
        raise ConfigError("a prediction needs two rasters, before and after; got one")
    unknown = sorted(options.keys() - {field.name for field in fields(SceneRequest)})
    if unknown:
        names = [field.name for field in fields(SceneRequest)]
        raise ConfigError(f"unknown setting {unknown[0]!r}; {nearest(unknown[0], names)}")
    return SceneRequest(str(before), str(after), model, Path(out), **options)


def spoken(name: str) -> str:
    """Name for the user what decides a result: settings in backticks, the rest in words.

    Args:
        name: A field of :class:`SceneRequest`, dotted where it is one of the polygons' options;
            or another part of a job's fingerprint.
    """
    return _SPOKEN.get(name, f"`{name}`")


def load_detector(request: SceneRequest) -> Detector:
    """Open the model of a request, once for as many scenes as it is used for.

    Raises:
        ConfigError: If the request names no model, the device is absent, there is no such
            test-time augmentation, the model does not know the kind of change, or the dates have
            different numbers of bands for a baseline.
        CheckpointError: If the model file cannot be used.
    """
    if request.model is None:
        raise ConfigError("neither a model nor a detector is given; give one of them")
    channels = None
    if is_baseline(request.model):
        bands = request.bands or request.bands_after
        channels = len(bands) if bands else count_common_bands(request.before, request.after)
    return open_detector(
        request.model,
        device=request.device,
        test_time=request.test_time,
        kind=request.kind,
        channels=channels,
        encoder=request.encoder,
        encoder_weights=request.encoder_weights,
        runtime=request.runtime,
        precision=request.precision,
    )
