"""What ``accuracy.json`` of the accuracy benchmark holds."""

from typing import Any, Literal

from changedet.evaluation.benchmark.repeats import Repeats
from changedet.evaluation.benchmark.request import VIEWS
from changedet.evaluation.benchmark.splits import BenchmarkedData
from changedet.evaluation.cost import Cost
from changedet.evaluation.object_figures import ObjectFigures
from changedet.inference.working_gsd import GsdMatch
from changedet.metrics.protocol import FixedThresholdMetrics
from changedet.storage.results import Figure, PlainJson, Record, Results
from changedet.types import Mode, TestTime


class Remainder(Record):
    """Figures without the images that repeat training images.

    Attributes:
        images: Images that remain.
        f1: F1 of their pixels; null where undefined.
        interval: Its bootstrap interval over images.
        object_f1: F1 of their objects; null where undefined.
        object_interval: Its bootstrap interval over images.
    """

    images: int
    f1: Figure
    interval: tuple[Figure, Figure]
    object_f1: Figure
    object_interval: tuple[Figure, Figure]


class ViewResult(Record):
    """Figures of one method that saw the images in one way.

    Attributes:
        view: Short name of the way.
        title: The same for readers.
        mode: How images larger than a tile were cut.
        tile_px: Height and width of a tile.
        threshold: Score from which on a pixel counts as changed.
        threshold_source: Who chose it.
        note: What a reader must know.
        pixels: Figures of pixels.
        objects: Figures of objects.
        without_near_duplicates: Figures without images that repeat training images; null where no
            training split is known, or no image remains.
    """

    view: str
    title: str
    mode: Mode
    tile_px: int
    threshold: float
    threshold_source: str
    note: str | None
    pixels: FixedThresholdMetrics
    objects: ObjectFigures
    without_near_duplicates: Remainder | None


class MethodResult(Record):
    """Figures of one method.

    Attributes:
        title: Name for tables, different for every method.
        spec: What it was opened with.
        kind: Whether it is a trained model or an untrained baseline.
        test_time: Views of a tile that were averaged.
        facts: What identifies it: file, checksum, architecture, training data; or a baseline's
            options.
        cost: Parameters and operations of a network; null for an untrained baseline.
        file_mb: Size of the model file in 10^6 bytes; null for an untrained baseline.
        note: Applies to all of its figures: why they are optimistic, if they are.
        views: One entry for each way of showing the images.
        change_kind: Kind of change that was looked for; null where the method names none.
        gsd: Ground sample distance of the images, and how they were resampled for a model.
    """

    title: str
    spec: str
    kind: str
    test_time: TestTime
    facts: PlainJson
    cost: Cost | None
    file_mb: float | None
    note: str | None
    views: tuple[ViewResult, ...]
    change_kind: str | None = None
    gsd: GsdMatch | None = None


class Origin(Record):
    """How the figures came about.

    Attributes:
        command: The command line; null if it was called from Python.
        device: Where it was computed.
        seed: Seed of the bootstrap.
        resamples: Draws of the bootstrap.
        time: When, ISO 8601 in UTC.
        software: Versions of what computed it.
    """

    command: str | None
    device: str
    seed: int
    resamples: int
    time: str
    software: PlainJson


class AccuracyResults(Results):
    """Models and baselines, evaluated alike on one split.

    Attributes:
        data: The data set and its splits.
        images: Images of the reported split.
        gsd_m: Side of a pixel on the ground in metres, if it was given.
        methods: One entry for each method, in the order in which they were evaluated.
        left_out: Sentences about baselines that could not be used.
        near_duplicates: Near-duplicates between the splits.
        origin: How the figures came about.
        seconds: How long all of it took.
    """

    kind: Literal["accuracy"] = "accuracy"
    data: BenchmarkedData
    images: int
    gsd_m: float | None
    methods: tuple[MethodResult, ...]
    left_out: tuple[str, ...]
    near_duplicates: Repeats
    origin: Origin
    seconds: float

    @classmethod
    def upgrade(cls, content: dict[str, Any]) -> dict[str, Any]:
        """Add fields that files without a schema version did not need."""
        titles = {view.name: view.title for view in VIEWS}
        for method in content["methods"]:
            for view in method["views"]:
                view["title"] = titles.get(view["view"], view["view"])
        content["near_duplicates"]["images"] = content["images"]
        return super().upgrade(content)
