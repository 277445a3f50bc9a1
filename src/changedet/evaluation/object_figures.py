"""Figures of objects, as they stand in result files."""

from changedet.metrics.objects import ObjectResult, SizeClass
from changedet.storage.results import Figure, Record


class SizeFigures(Record):
    """How many labelled objects of one size are found.

    Attributes:
        from_px: Least number of pixels.
        to_px: First number of pixels that is too large; null: there is no end.
        area_m2: Both in square metres, where the size of a pixel is known.
        objects: Labelled objects of that size.
        found: Those with at least half of their pixels predicted.
        recall: Their share; null without an object.
        interval: Its bootstrap interval over images.
    """

    from_px: int
    to_px: int | None
    area_m2: tuple[float, float | None] | None
    objects: int
    found: int
    recall: Figure
    interval: tuple[Figure, Figure]

    @property
    def size(self) -> SizeClass:
        """The class of sizes."""
        return SizeClass(self.from_px, self.to_px)


class ObjectFigures(Record):
    """Figures over the pooled objects of all images; null where undefined.

    Attributes:
        f1: Harmonic mean of precision and recall.
        precision: Share of the predicted objects that are a labelled one.
        recall: Share of the labelled objects that are a predicted one.
        intervals: Bootstrap interval over images for each of the three.
        level: Share of the bootstrap inside an interval.
        matched: Objects that are both.
        predicted: Predicted objects.
        labelled: Labelled objects.
        by_size: Found objects by size, small to large.
        images: Number of images.
    """

    f1: Figure
    precision: Figure
    recall: Figure
    intervals: dict[str, tuple[Figure, Figure]]
    level: float
    matched: int
    predicted: int
    labelled: int
    by_size: tuple[SizeFigures, ...]
    images: int


def object_figures(result: ObjectResult, *, gsd_m: float | None) -> ObjectFigures:
    """Take figures of objects as they are written; sizes in square metres where they are known.

    Args:
        result: The figures.
        gsd_m: Side of a pixel on the ground in metres.
    """
    by_size = tuple(
        SizeFigures(
            from_px=entry.size.from_px,
            to_px=entry.size.to_px,
            area_m2=None if gsd_m is None else entry.size.area_m2(gsd_m),
            objects=entry.objects,
            found=entry.found,
            recall=entry.recall,
            interval=entry.interval,
        )
        for entry in result.by_size
    )
    return ObjectFigures(**{**vars(result), "by_size": by_size})
