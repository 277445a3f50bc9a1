"""What the accuracy benchmark found, and the same as JSON."""

from dataclasses import dataclass
from typing import Any

from changedet.evaluation.benchmark.methods import Method
from changedet.evaluation.benchmark.repeats import Repeats
from changedet.evaluation.benchmark.request import View
from changedet.metrics.objects import ObjectResult
from changedet.metrics.protocol import FixedThresholdMetrics
from changedet.storage.json_values import to_json_value


@dataclass(frozen=True)
class Remainder:
    """Figures without the images that repeat training images.

    Attributes:
        images: Images that remain.
        f1: F1 of their pixels, NaN where undefined.
        interval: Its bootstrap interval over images.
        object_f1: F1 of their objects, NaN where undefined.
        object_interval: Its bootstrap interval over images.
    """

    images: int
    f1: float
    interval: tuple[float, float]
    object_f1: float
    object_interval: tuple[float, float]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types, undefined figures as null."""
        return {name: to_json_value(value) for name, value in vars(self).items()}


@dataclass(frozen=True)
class ViewResult:
    """Figures of one method that saw the images in one way.

    Attributes:
        view: The way.
        tile_px: Height and width of its tiles.
        threshold_source: Who chose the threshold.
        pixels: Figures of pixels.
        objects: Figures of objects.
        remainder: Figures without near-duplicates; None where no training split is known, or no
            image remains.
    """

    view: View
    tile_px: int
    threshold_source: str
    pixels: FixedThresholdMetrics
    objects: ObjectResult
    remainder: Remainder | None

    def to_dict(self, *, gsd_m: float | None) -> dict[str, Any]:
        """Return plain JSON types, undefined figures as null."""
        return {
            "view": self.view.name,
            "mode": self.view.mode,
            "tile_px": self.tile_px,
            "threshold": self.pixels.threshold,
            "threshold_source": self.threshold_source,
            "note": self.pixels.note,
            "pixels": self.pixels.to_dict(),
            "objects": self.objects.to_dict(gsd_m=gsd_m),
            "without_near_duplicates": None if self.remainder is None else self.remainder.to_dict(),
        }


@dataclass(frozen=True)
class MethodResult:
    """Figures of one method.

    Attributes:
        method: What was judged.
        note: What must be said of all of its figures: why they are optimistic, if they are.
        views: One entry for each way of showing the images.
    """

    method: Method
    note: str | None
    views: tuple[ViewResult, ...]

    def to_dict(self, *, gsd_m: float | None) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            **self.method.to_dict(),
            "note": self.note,
            "views": [view.to_dict(gsd_m=gsd_m) for view in self.views],
        }


@dataclass(frozen=True)
class AccuracyReport:
    """What the benchmark found.

    Attributes:
        data: Name, place, layout and labels of the data set, and its splits.
        images: Images of the reported split.
        gsd_m: Side of a pixel on the ground in metres, if it is known.
        methods: One entry for each method, in the order in which they were judged.
        left_out: Sentences about untrained methods that could not be used.
        repeats: Near-duplicates between the splits.
        origin: Command, commit, device, seed, versions and time.
        seconds: How long all of it took.
    """

    data: dict[str, Any]
    images: int
    gsd_m: float | None
    methods: tuple[MethodResult, ...]
    left_out: tuple[str, ...]
    repeats: Repeats
    origin: dict[str, Any]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as plain JSON types, undefined figures as null."""
        return {
            "data": self.data,
            "images": self.images,
            "gsd_m": self.gsd_m,
            "methods": [entry.to_dict(gsd_m=self.gsd_m) for entry in self.methods],
            "left_out": list(self.left_out),
            "near_duplicates": self.repeats.to_dict(),
            "origin": self.origin,
            "seconds": round(self.seconds, 3),
        }
