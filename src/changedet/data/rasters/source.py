"""Labelled rasters as pairs: every block reads its own windows, in whatever process it is."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from changedet.data.labelled import BothDates, DecodedPair, Inspection
from changedet.data.labels.encoding import count_meanings
from changedet.data.rasters.labels import decode, layer_kind, open_labels, open_polygons
from changedet.errors import ConfigError
from changedet.raster.geo_grid import Window
from changedet.raster.label_layer import LabelPixels
from changedet.raster.nodata import fill_gaps
from changedet.raster.open import is_remote
from changedet.raster.pair import PairOptions, PairPixels, RasterPair
from changedet.types import IGNORED

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from changedet.data.labels.encoding import LabelEncoding
    from changedet.data.labels.masks import MaskHistogram
    from changedet.data.pixel_sums import Pixels, Sums
    from changedet.data.rasters.labels import LayerKind
    from changedet.data.rasters.manifest import RasterEntry
    from changedet.raster.geo_grid import GeoGrid
    from changedet.raster.label_layer import LabelLayer
    from changedet.raster.pixel_rules import PixelRules
    from changedet.types import Normalisation, PixelType

# Each open scene holds one handle per raster and thread; more scenes than this take turns.
_OPEN_SCENES = 32
# So that threads which want the same scene do not all open it.
_OPENING = threading.Lock()


class RasterPixels(NamedTuple):
    """A window of a labelled raster.

    Attributes:
        before: (h, w, C), uint8 or float32.
        after: The same shape.
        valid: Where both dates hold an image, (h, w).
        labels: Stored label values, (h, w).
        counted: Where the label counts: image, label and area are there, (h, w).
    """

    before: Pixels
    after: Pixels
    valid: npt.NDArray[np.bool_]
    labels: npt.NDArray[Any]
    counted: npt.NDArray[np.bool_]

    def crop(self, window: Window) -> RasterPixels:
        """Cut a part out, in pixels of this window."""
        seen = np.s_[window.top : window.bottom, window.left : window.right]
        return RasterPixels(*(array[seen] for array in self))


@dataclass(frozen=True)
class LabelledRaster:
    """How to open a labelled raster; small, hashable and safe to send to another process.

    Attributes:
        entry: Where its files lie.
        channels: Bands that are read.
        pixel_type: Kind of the stored values.
        bands: Numbers of the bands of ``before`` and of ``after``.
        grid: The common area of both dates.
        rules: How the pixels of each date are read, found out once; None: by each that opens it.
    """

    entry: RasterEntry
    channels: int
    pixel_type: PixelType
    bands: tuple[tuple[int, ...], tuple[int, ...]]
    grid: GeoGrid
    rules: tuple[PixelRules, PixelRules] | None = None

    @property
    def kind(self) -> LayerKind:
        """Whether the labels are polygons or a raster."""
        return layer_kind(self.entry.labels)

    @property
    def is_remote(self) -> bool:
        """Whether a raster is read over the network."""
        return is_remote(self.entry.before) or is_remote(self.entry.after)

    def read(self, window: Window) -> RasterPixels:
        """Read a window of the grid; any thread or process may.

        Raises:
            DataError: If a file cannot be opened or read.
        """
        return self._open().read(window)

    def read_labels(self, window: Window) -> LabelPixels:
        """Read the labels alone; known is what lies in the area, with or without an image.

        Raises:
            DataError: If a file cannot be opened or read.
        """
        return self._open().read_labels(window)

    def _open(self) -> _OpenScene:
        with _OPENING:
            return _opened(self, os.getpid())


def open_rasters(
    entry: RasterEntry,
    *,
    channels: int,
    pixel_type: PixelType,
    bands: tuple[tuple[int, ...], tuple[int, ...]],
    rules: tuple[PixelRules, PixelRules] | None = None,
) -> RasterPair:
    """Open the rasters of both dates."""
    return RasterPair(
        entry.before,
        entry.after,
        PairOptions(
            channels=channels,
            pixel_type=pixel_type,
            bands=bands[0],
            bands_after=bands[1],
            rules=rules,
        ),
    )


class _OpenScene:
    """The open files of a labelled raster in one process."""

    def __init__(self, scene: LabelledRaster) -> None:
        self._pair = open_rasters(
            scene.entry,
            channels=scene.channels,
            pixel_type=scene.pixel_type,
            bands=scene.bands,
            rules=scene.rules,
        )
        self._labels: LabelLayer = open_labels(
            scene.entry.labels, scene.grid, layer=scene.entry.labels_layer
        )
        area = scene.entry.area
        self._area = None if area is None else open_polygons(area, scene.grid)

    def read(self, window: Window) -> RasterPixels:
        before, after, valid = self._pair.read(window)
        labels, known = self.read_labels(window)
        return RasterPixels(before, after, valid, labels, known & valid)

    def read_labels(self, window: Window) -> LabelPixels:
        labels, known = self._labels.read(window)
        if self._area is not None:
            known = known & (self._area.read(window).values == 1)
        return LabelPixels(labels, known)


# By process: a worker must not share the file positions of the handles it inherits. A scene that
# falls out of the cache is closed when the last thread that reads it lets go of it.
@lru_cache(maxsize=_OPEN_SCENES)
def _opened(scene: LabelledRaster, process: int) -> _OpenScene:
    return _OpenScene(scene)


@dataclass(frozen=True)
class RasterBlock:
    """A rectangle of a labelled raster that acts as one labelled pair.

    Attributes:
        name: LabelledRaster and place, unique in the data set.
        scene: The scene.
        window: The rectangle, in pixels of the scene's grid.
        mask: Values of its counted label pixels.
        sums: Statistics of the valid pixels of before and after.
    """

    name: str
    scene: LabelledRaster
    window: Window
    mask: MaskHistogram = field(compare=False, repr=False)
    sums: tuple[Sums, Sums] = field(compare=False, repr=False)

    @property
    def source(self) -> str:
        """Files and place, for messages."""
        entry, place = self.scene.entry, self.window
        return (
            f"{entry.before} {entry.after} {entry.labels} "
            f"(rows {place.top} to {place.bottom - 1}, columns {place.left} to {place.right - 1})"
        )

    @property
    def is_labelled(self) -> bool:
        """A labelled raster always has labels."""
        return True

    @property
    def is_remote(self) -> bool:
        """Whether it is read over the network."""
        return self.scene.is_remote

    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.window.shape

    def samples(self, crop_px: int, *, encoding: LabelEncoding) -> int:
        """As many crops per epoch as fit into the block's labelled area."""
        count = count_meanings(self.mask, encoding)
        return max(1, round((count.changed + count.unchanged) / crop_px**2))

    def open(
        self, *, encoding: LabelEncoding, channels: int, fill: Normalisation | None = None
    ) -> BlockView:
        """Make the block readable; files are opened when the first window is read.

        Raises:
            ConfigError: If the scenes are read with another number of bands.
        """
        self._check_channels(channels)
        return BlockView(self, encoding, fill)

    def inspect_label(self) -> MaskHistogram:
        """Give the label values that were counted when the scene was cut."""
        return self.mask

    def sum_pixels(self, *, channels: int) -> tuple[Sums, Sums]:
        """Give the statistics that were measured when the scene was cut.

        Raises:
            ConfigError: If the scenes are read with another number of bands.
        """
        self._check_channels(channels)
        return self.sums

    def read_images(self, windows: Sequence[Window], *, channels: int) -> list[BothDates]:
        """Read windows of the block.

        Raises:
            ConfigError: If the scenes are read with another number of bands.
            DataError: If a file cannot be read.
        """
        self._check_channels(channels)
        place = self.window
        read = (self.scene.read(window.moved(place.top, place.left)) for window in windows)
        return [BothDates(pixels.before, pixels.after, pixels.valid) for pixels in read]

    def inspect(self, *, channels: int) -> Inspection:
        """Return what was found when the raster was cut; faults were reported then."""
        sizes = dict.fromkeys(("before", "after", "label"), self.window.shape)
        sums = dict(zip(("before", "after"), self.sum_pixels(channels=channels), strict=True))
        return Inspection((), sizes, sums, {}, self.mask)

    def _check_channels(self, channels: int) -> None:
        if channels != self.scene.channels:
            raise ConfigError(
                f"the scenes are read with {self.scene.channels} bands, but {channels} are "
                "requested; index them with that many"
            )


@dataclass(frozen=True)
class BlockView:
    """A block that is read window by window."""

    block: RasterBlock
    encoding: LabelEncoding
    fill: Normalisation | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.block.window.shape

    def read(self, window: Window) -> DecodedPair:
        """Read a window that lies inside the block, and nothing else.

        Raises:
            DataError: If it cannot be read, or a label value is not in the encoding.
        """
        scene = self.block.scene
        pixels = scene.read(self._placed(window))
        label = decode(pixels.labels, pixels.counted, kind=scene.kind, encoding=self.encoding)
        if self.fill is not None:
            fill_gaps(PairPixels(pixels.before, pixels.after, pixels.valid), self.fill)
        return DecodedPair(pixels.before, pixels.after, label)

    def read_labelled(self, window: Window) -> DecodedPair | None:
        """Read a window if a pixel of it is labelled; if not, mostly without reading the images.

        Raises:
            DataError: As :meth:`read`.
        """
        if not self._may_be_labelled(window):
            return None
        pair = self.read(window)
        return pair if (pair.label != IGNORED).any() else None

    def _may_be_labelled(self, window: Window) -> bool:
        """Look at the label alone, which is cheap; whether there is an image stays open."""
        ignored = self.encoding.ignore_value
        if not self.block.mask.ignored and ignored not in self.block.mask.counts:
            return True
        labels, known = self.block.scene.read_labels(self._placed(window))
        if self.block.scene.kind == "raster" and ignored is not None:
            known = known & (labels != ignored)
        return bool(known.any())

    def _placed(self, window: Window) -> Window:
        place = self.block.window
        return window.moved(place.top, place.left)
