"""Objects instead of pixels: which changes are found as a whole, and how that depends on size.

An object is a group of changed pixels that touch at a side or a corner. A predicted object is
right if it and a labelled one have at least half of their union in common (IoU >= 0.5).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import ndimage

from changedet.errors import ConfigError, DataError
from changedet.metrics.bootstrap import quantile_interval
from changedet.metrics.confusion import ratio
from changedet.metrics.histogram import image_rows
from changedet.types import IGNORED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from changedet.metrics.histogram import CountArray, FloatArray

#: Upper ends of the size classes of labelled objects, in pixels; the last class has none.
SIZE_EDGES_PX = (64, 256, 1024, 4096)
#: Share of its pixels from which on a labelled object counts as found.
FOUND_SHARE = 0.5
#: Intersection over union from which on two objects are the same.
MATCH_IOU = 0.5

_TOUCHING = np.ones((3, 3), dtype=np.int8)
_FIGURES = ("precision", "recall", "f1")


class SizeClass(NamedTuple):
    """Labelled objects of at least ``from_px`` and less than ``to_px`` pixels (None: no end)."""

    from_px: int
    to_px: int | None

    @property
    def text(self) -> str:
        """The class in words, in pixels."""
        if self.to_px is None:
            return f">= {self.from_px}"
        return f"{self.from_px}-{self.to_px - 1}" if self.from_px else f"< {self.to_px}"

    def area_m2(self, gsd_m: float) -> tuple[float, float | None]:
        """Give both ends in square metres for pixels of this side on the ground."""
        pixel_m2 = gsd_m**2
        return self.from_px * pixel_m2, None if self.to_px is None else self.to_px * pixel_m2


#: The classes of labelled objects, small to large.
SIZE_CLASSES: tuple[SizeClass, ...] = tuple(
    SizeClass(low, high)
    for low, high in zip((0, *SIZE_EDGES_PX), (*SIZE_EDGES_PX, None), strict=True)
)


@dataclass(frozen=True, eq=False)
class ObjectCounts:
    """Objects of N images.

    Attributes:
        matched: Predicted objects that are a labelled one (IoU >= 0.5), (N,).
        predicted: Predicted objects, (N,).
        labelled: Labelled objects by size class, (N, 5).
        found: Those of them with at least half of their pixels predicted, (N, 5).
    """

    matched: CountArray
    predicted: CountArray
    labelled: CountArray
    found: CountArray

    @property
    def images(self) -> int:
        """Number of images counted."""
        return int(self.matched.shape[0])

    def subset(self, indices: Sequence[int]) -> ObjectCounts:
        """Keep the rows of some images, in the order asked for.

        Raises:
            DataError: If there is no such row.
        """
        rows = image_rows(indices, self.images)
        return replace(
            self,
            matched=self.matched[rows],
            predicted=self.predicted[rows],
            labelled=self.labelled[rows],
            found=self.found[rows],
        )


class ObjectCounter:
    """Count the objects of image after image; nothing but the counts is kept."""

    def __init__(self) -> None:
        self._rows: list[tuple[int, int, CountArray, CountArray]] = []

    def add(self, is_changed: NDArray[np.bool_], label: NDArray[np.uint8]) -> None:
        """Add one image.

        Ignored pixels belong to no object, predicted or labelled.

        Two objects match if their IoU is at least 0.5. No object matches twice, so there is no tie
        to break: above 0.5 each holds more than half of the other, and two that share exactly half
        of a third would together be all of it, hence touch and be one object.

        Args:
            is_changed: The prediction, (H, W).
            label: Decoded label, (H, W), 0 unchanged, 1 changed, 255 ignored.

        Raises:
            DataError: If the shapes differ.
        """
        if is_changed.ndim != 2 or is_changed.shape != label.shape:
            raise DataError(
                "prediction and label must both be (H, W), "
                f"got {is_changed.shape} and {label.shape}"
            )
        labels, labelled = ndimage.label(label == 1, structure=_TOUCHING)
        predictions, predicted = ndimage.label(is_changed & (label != IGNORED), structure=_TOUCHING)
        sizes = np.bincount(labels.ravel(), minlength=labelled + 1)[1:]
        predicted_sizes = np.bincount(predictions.ravel(), minlength=predicted + 1)[1:]
        is_both = (labels > 0) & (predictions > 0)
        places = (labels[is_both] - 1).astype(np.int64) * predicted + predictions[is_both] - 1
        meetings, common = np.unique(places, return_counts=True)
        of_label, of_prediction = np.divmod(meetings, max(1, predicted))
        union = sizes[of_label] + predicted_sizes[of_prediction] - common
        covered = np.bincount(of_label, weights=common, minlength=labelled)
        size_class = np.searchsorted(SIZE_EDGES_PX, sizes, side="right")
        is_found = covered >= FOUND_SHARE * sizes
        self._rows.append(
            (
                int((common >= MATCH_IOU * union).sum()),
                predicted,
                np.bincount(size_class, minlength=len(SIZE_CLASSES)),
                np.bincount(size_class[is_found], minlength=len(SIZE_CLASSES)),
            )
        )

    def compute(self) -> ObjectCounts:
        """Return all counts so far, rows in the order of the images; counting may go on."""
        matched, predicted, labelled, found = (
            zip(*self._rows, strict=True) if self._rows else 4 * [()]
        )
        classes = len(SIZE_CLASSES)
        return ObjectCounts(
            matched=np.array(matched, dtype=np.int64),
            predicted=np.array(predicted, dtype=np.int64),
            labelled=np.array(labelled, dtype=np.int64).reshape(-1, classes),
            found=np.array(found, dtype=np.int64).reshape(-1, classes),
        )


def count_false_positive_objects(is_changed: NDArray[np.bool_], label: NDArray[np.uint8]) -> int:
    """Count the predicted objects of one image without a single pixel that is labelled changed.

    Ignored pixels belong to no object.

    Args:
        is_changed: The prediction, (H, W).
        label: Decoded label, (H, W), 0 unchanged, 1 changed, 255 ignored.
    """
    objects, number = ndimage.label(is_changed & (label != IGNORED), structure=_TOUCHING)
    hit = np.unique(objects[label == 1])
    return int(number - np.count_nonzero(hit))


@dataclass(frozen=True)
class SizeRecall:
    """How many labelled objects of one size are found.

    Attributes:
        size: The class.
        objects: Labelled objects of it.
        found: Those with at least half of their pixels predicted.
        recall: Their share; NaN without an object.
        interval: Bootstrap interval over images, (low, high).
    """

    size: SizeClass
    objects: int
    found: int
    recall: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class ObjectResult:
    """Figures over the pooled objects of all images; NaN where undefined.

    Attributes:
        f1: Harmonic mean of precision and recall; undefined without any object.
        precision: Share of the predicted objects that are a labelled one.
        recall: Share of the labelled objects that are a predicted one.
        intervals: Bootstrap interval over images, (low, high), for each of the three.
        level: Share of the bootstrap inside an interval.
        matched: Objects that are both.
        predicted: Predicted objects.
        labelled: Labelled objects.
        by_size: Found objects by size, small to large.
        images: Number of images.
    """

    f1: float
    precision: float
    recall: float
    intervals: dict[str, tuple[float, float]]
    level: float
    matched: int
    predicted: int
    labelled: int
    by_size: tuple[SizeRecall, ...]
    images: int


def object_result(
    counts: ObjectCounts, *, resamples: int = 1000, seed: int = 0, level: float = 0.95
) -> ObjectResult:
    """Pool the objects of all images, with intervals by drawing whole images (spec 5).

    Args:
        counts: Objects of the images.
        resamples: Draws of the bootstrap.
        seed: Seed of the bootstrap; the same seed gives the same intervals.
        level: Share of the bootstrap inside an interval, in (0, 1).

    Raises:
        ConfigError: If ``resamples`` is not positive or ``level`` is outside (0, 1).
        DataError: If no image was counted.
    """
    if resamples < 1 or not 0.0 < level < 1.0:
        raise ConfigError(
            f"resamples must be positive and level in (0, 1), got {resamples} and {level}"
        )
    if not counts.images:
        raise DataError("no image was counted; is the list of pairs empty?")
    columns = np.column_stack(
        [counts.matched, counts.predicted, counts.labelled, counts.found]
    ).astype(np.float64)
    pooled = columns.sum(axis=0, keepdims=True)
    draws = np.random.default_rng(seed).multinomial(
        counts.images, np.full(counts.images, 1.0 / counts.images), size=resamples
    )
    figures = _figures(pooled)[:, 0]
    # A single image says nothing of how much images differ.
    drawn = _figures(draws.astype(np.float64) @ columns) if counts.images > 1 else None
    intervals = [
        (math.nan, math.nan) if drawn is None else quantile_interval(drawn[row], level)
        for row in range(len(figures))
    ]
    named = dict(zip(_FIGURES, figures.tolist(), strict=False))
    return ObjectResult(
        **named,
        intervals=dict(zip(_FIGURES, intervals, strict=False)),
        level=level,
        matched=int(counts.matched.sum()),
        predicted=int(counts.predicted.sum()),
        labelled=int(counts.labelled.sum()),
        by_size=tuple(
            SizeRecall(size, int(objects), int(found), float(recall), interval)
            for size, objects, found, recall, interval in zip(
                SIZE_CLASSES,
                counts.labelled.sum(axis=0),
                counts.found.sum(axis=0),
                figures[len(_FIGURES) :],
                intervals[len(_FIGURES) :],
                strict=True,
            )
        ),
        images=counts.images,
    )


def _figures(pooled: FloatArray) -> FloatArray:
    """Turn rows of counts into precision, recall, F1 and the recall of each size, (8, rows)."""
    classes = len(SIZE_CLASSES)
    matched, predicted = pooled[:, 0], pooled[:, 1]
    by_size, found = pooled[:, 2 : 2 + classes].T, pooled[:, 2 + classes :].T
    labelled = by_size.sum(axis=0)
    return np.stack(
        [
            ratio(matched, predicted),
            ratio(matched, labelled),
            ratio(2.0 * matched, predicted + labelled),
            *(ratio(part, whole) for part, whole in zip(found, by_size, strict=True)),
        ]
    )
