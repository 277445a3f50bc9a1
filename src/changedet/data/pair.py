"""A labelled pair of image files."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from changedet.data.images import image_size, read_image
from changedet.data.labelled import DecodedPair, Inspection
from changedet.data.labels.masks import MaskHistogram, inspect_mask
from changedet.data.labels.scan import read_label
from changedet.data.pixel_sums import PixelSums
from changedet.errors import DataError, ImageError

if TYPE_CHECKING:
    from changedet.data.labels.encoding import LabelEncoding
    from changedet.types import Normalisation

_DATES = ("before", "after")


class PairPaths(NamedTuple):
    """Files of one pair; ``name`` is unique within its split."""

    name: str
    before: Path
    after: Path
    label: Path | None

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
        return image_size(self.before)

    def samples(self, crop_px: int, *, encoding: LabelEncoding) -> int:
        """One crop of each pair per epoch, as in the public code."""
        return 1

    def open(
        self, *, encoding: LabelEncoding, channels: int, fill: Normalisation | None = None
    ) -> DecodedPair:
        """Read the three files and see that they cover the same pixels; there are no gaps to fill.

        Raises:
            DataError: If there is no label, or a size differs; the files and sizes are named.
            ImageError: If a file cannot be read as asked.
        """
        if self.label is None:
            raise DataError(f"pair {self.name!r} has no label; training and evaluation need one")
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
        return inspect_mask(self.require_label())

    def sum_pixels(self, *, channels: int) -> tuple[PixelSums, PixelSums]:
        """Sum up every pixel of both images.

        Raises:
            ImageError: If a file cannot be read as asked.
        """
        return (
            PixelSums.of(read_image(self.before, channels=channels)),
            PixelSums.of(read_image(self.after, channels=channels)),
        )

    def inspect(self, *, channels: int) -> Inspection:
        """Read every file once; what cannot be read is a fault."""
        faults: list[str] = []
        sizes: dict[str, tuple[int, int]] = {}
        sums: dict[str, PixelSums] = {}
        digests: dict[str, bytes] = {}
        for date, path in zip(_DATES, (self.before, self.after), strict=True):
            try:
                image = read_image(path, channels=channels)
            except ImageError as error:
                faults.append(str(error))
                continue
            sizes[date] = image.shape[0], image.shape[1]
            sums[date] = PixelSums.of(image)
            digests[date] = hashlib.blake2b(path.read_bytes(), digest_size=16).digest()
        mask = None
        if self.label is not None:
            try:
                mask = inspect_mask(self.label)
                sizes["label"] = mask.height, mask.width
            except ImageError as error:
                faults.append(str(error))
        return Inspection(tuple(faults), sizes, sums, digests, mask)
