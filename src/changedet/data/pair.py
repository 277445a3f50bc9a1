"""A labelled pair of image files: pictures, or rasters such as GeoTIFF tiles."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from changedet.data.images import (
    content_digest,
    image_orientation,
    image_size,
    is_raster,
    read_image,
)
from changedet.data.labelled import BothDates, DecodedPair, Inspection
from changedet.data.labels.masks import MaskHistogram, inspect_mask
from changedet.data.labels.scan import read_label
from changedet.data.pixel_sums import PixelSums
from changedet.data.tile_reading import TileFiles, TileReading
from changedet.errors import ConfigError, DataError, ImageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from changedet.data.labelled import PairView
    from changedet.data.labels.encoding import LabelEncoding
    from changedet.data.pixel_sums import Sums
    from changedet.raster.geo_grid import Window
    from changedet.types import Normalisation

_DATES = ("before", "after")


class PairPaths(NamedTuple):
    """Files of one pair; ``name`` is unique within its split.

    ``reading`` says how they are read if an image is a raster; None: all are pictures.
    """

    name: str
    before: Path
    after: Path
    label: Path | None
    reading: TileReading | None = None

    @property
    def source(self) -> str:
        """The files, for messages."""
        return f"{self.before} {self.after} {self.label}"

    @property
    def is_labelled(self) -> bool:
        """Whether there is a label."""
        return self.label is not None

    @property
    def is_remote(self) -> bool:
        """Files are local."""
        return False

    def require_label(self) -> Path:
        """Path of the label of a pair that must have one.

        Raises:
            DataError: If it has none.
        """
        if self.label is None:
            raise DataError(f"pair {self.name} has no label ({self.before}); add a mask")
        return self.label

    def size(self) -> tuple[int, int]:
        """Read height and width of the first date from its header.

        Raises:
            ImageError: If the file is missing or damaged.
        """
        if self.reading is not None and is_raster(self.before):
            from changedet.raster.open import raster_shape

            return raster_shape(str(self.before))
        return image_size(self.before)

    def samples(self, crop_px: int, *, encoding: LabelEncoding) -> int:
        """One crop of each pair per epoch, as in the public code."""
        return 1

    def open(
        self, *, encoding: LabelEncoding, channels: int, fill: Normalisation | None = None
    ) -> PairView:
        """Read the three files and see that they cover the same pixels.

        Only rasters have gaps, which are filled, and a place, which must be the same.

        Raises:
            DataError: If there is no label, or a size differs; the files and sizes are named.
            ImageError: If a file cannot be read as asked.
        """
        if self.label is None:
            raise DataError(f"pair {self.name!r} has no label; training and evaluation need one")
        if self.reading is not None:
            from changedet.data.rasters.tiles import open_tiles

            return open_tiles(self._tiles(channels), encoding=encoding, fill=fill)
        before = read_image(self.before, channels=channels)
        after = read_image(self.after, channels=channels)
        label = read_label(self.label, encoding)
        for path, image in ((self.after, after), (self.label, label)):
            if image.shape[:2] != before.shape[:2]:
                raise DataError(
                    f"{path} is {image.shape[1]}x{image.shape[0]} pixels, but {self.before} is "
                    f"{before.shape[1]}x{before.shape[0]} (width x height); before, after and "
                    "label must have the same size"
                )
        return DecodedPair(before, after, label)

    def inspect_label(self) -> MaskHistogram:
        """Read the mask and count its values.

        Raises:
            DataError: If there is none, or it cannot be read.
        """
        if self.reading is not None and self.reading.has_gaps:
            from changedet.data.rasters.tiles import has_image

            tiles = self._tiles(self.reading.channels)
            return inspect_mask(self.require_label(), has_image=has_image(tiles))
        return inspect_mask(self.require_label())

    def sum_pixels(self, *, channels: int) -> tuple[Sums, Sums]:
        """Sum up every pixel of both images that holds data.

        Raises:
            ImageError: If a file cannot be read as asked.
        """
        before, after, valid = self._images(channels)
        if valid is not None:
            from changedet.data.rasters.tiles import sum_of

            return sum_of(before, valid), sum_of(after, valid)
        return PixelSums.of(before), PixelSums.of(after)

    def read_images(self, windows: Sequence[Window], *, channels: int) -> list[BothDates]:
        """Read both files and cut windows out.

        Raises:
            DataError: If the sizes of the two differ.
            ImageError: If a file cannot be read as asked.
        """
        images = self._images(channels)
        if images.before.shape != images.after.shape:
            raise DataError(
                f"{self.before} and {self.after} have different sizes; the images of a pair must "
                "have the same"
            )
        return [images.read(window) for window in windows]

    def _images(self, channels: int) -> BothDates:
        if self.reading is not None:
            from changedet.data.rasters.tiles import read_both

            first, second = read_both(self._tiles(channels))
            return BothDates(first.values, second.values, first.valid & second.valid)
        before, after = (read_image(path, channels=channels) for path in (self.before, self.after))
        return BothDates(before, after)

    def inspect(self, *, channels: int) -> Inspection:
        """Read every file once; what cannot be read is a fault."""
        if self.reading is not None:
            from changedet.data.rasters.tile_inspection import inspect_tiles

            return inspect_tiles(self._tiles(channels))
        faults: list[str] = []
        sizes: dict[str, tuple[int, int]] = {}
        sums: dict[str, PixelSums] = {}
        digests: dict[str, bytes] = {}
        orientations = dict.fromkeys(_DATES, 1)
        for date, path in zip(_DATES, (self.before, self.after), strict=True):
            try:
                image = read_image(path, channels=channels)
            except ImageError as error:
                faults.append(str(error))
                continue
            sizes[date] = image.shape[0], image.shape[1]
            sums[date] = PixelSums.of(image)
            orientations[date] = image_orientation(path)
            digests[date] = content_digest(path)
        mask = None
        if self.label is not None:
            try:
                mask = inspect_mask(self.label)
                sizes["label"] = mask.height, mask.width
            except ImageError as error:
                faults.append(str(error))
        turned = orientations["before"], orientations["after"]
        return Inspection(tuple(faults), sizes, sums, digests, mask, orientations=turned)

    def _tiles(self, channels: int) -> TileFiles:
        reading = self.reading
        if reading is None or channels != reading.channels:
            raise ConfigError(
                f"the images are read with {reading.channels if reading else 3} bands, but "
                f"{channels} are requested; index them with that many"
            )
        return TileFiles(self.before, self.after, self.label, reading)
