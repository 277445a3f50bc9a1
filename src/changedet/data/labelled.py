"""What a labelled pair is, wherever it lies: three files, or a block of a labelled raster."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from changedet.data.labels.encoding import LabelEncoding
    from changedet.data.labels.masks import MaskHistogram
    from changedet.data.pixel_sums import Pixels, Sums
    from changedet.raster.geo_grid import Window
    from changedet.types import Normalisation


class BothDates(NamedTuple):
    """Both images of a pair, or a window of them, without the label.

    Attributes:
        before: Stored values, (h, w, C).
        after: The same at the later date.
        valid: (h, w), where both dates hold an image; None: everywhere.
    """

    before: Pixels
    after: Pixels
    valid: npt.NDArray[np.bool_] | None = None

    def read(self, window: Window) -> BothDates:
        """Cut a window out; the arrays are views."""
        seen = np.s_[window.top : window.bottom, window.left : window.right]
        valid = None if self.valid is None else self.valid[seen]
        return BothDates(self.before[seen], self.after[seen], valid)


class DecodedPair(NamedTuple):
    """A pair as it is stored: (H, W, C), (H, W, C) and the decoded label (H, W)."""

    before: Pixels
    after: Pixels
    label: npt.NDArray[np.uint8]

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.label.shape[0], self.label.shape[1]

    def read(self, window: Window) -> DecodedPair:
        """Cut a window out; the arrays are views."""
        seen = np.s_[window.top : window.bottom, window.left : window.right]
        return DecodedPair(self.before[seen], self.after[seen], self.label[seen])

    def read_labelled(self, window: Window) -> DecodedPair:
        """Cut a window out: a pair in memory counts for what it is."""
        return self.read(window)


class PairView(Protocol):
    """A pair that is open for reading: in memory already, or read window by window."""

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""

    def read(self, window: Window) -> DecodedPair:
        """Read a window that lies inside the pair.

        Raises:
            DataError: If it cannot be read, or the label does not follow the encoding.
        """

    def read_labelled(self, window: Window) -> DecodedPair | None:
        """Read a window to train on; None if nothing can be learnt there, as no pixel is labelled.

        Raises:
            DataError: As :meth:`read`.
        """


class Inspection(NamedTuple):
    """One pair: what could be read of it, and what could not.

    ``sizes`` holds (height, width), ``sums`` the pixel statistics and ``digests`` a hash of the
    content of each part that could be read: ``before``, ``after`` and (sizes only) ``label``.
    ``orientations`` are the EXIF orientations of pictures, 1 for upright.
    """

    faults: tuple[str, ...]
    sizes: Mapping[str, tuple[int, int]]
    sums: Mapping[str, Sums]
    digests: Mapping[str, bytes]
    mask: MaskHistogram | None
    orientations: tuple[int, int] = (1, 1)


class LabelledPair(Protocol):
    """Two images of one place and what changed between them, to train or to evaluate on."""

    @property
    def name(self) -> str:
        """Unique within the split."""

    @property
    def source(self) -> str:
        """Where it lies, for messages."""

    @property
    def is_labelled(self) -> bool:
        """Whether there is a label."""

    @property
    def is_remote(self) -> bool:
        """Whether it is read over the network."""

    def size(self) -> tuple[int, int]:
        """Tell height and width in pixels, without reading pixels."""

    def samples(self, crop_px: int, *, encoding: LabelEncoding) -> int:
        """Tell how many crops per epoch are taken from this pair, at least 1."""

    def open(
        self, *, encoding: LabelEncoding, channels: int, fill: Normalisation | None = None
    ) -> PairView:
        """Open the pair for reading.

        Args:
            encoding: What the label's values mean.
            channels: Channels that the images must have.
            fill: Statistics of the model, whose means stand where a date holds no image, as in
                prediction. None: zeros.

        Raises:
            DataError: If it has no label, or its parts do not fit each other or ``channels``.
        """

    def inspect_label(self) -> MaskHistogram:
        """Count the stored values of the label."""

    def sum_pixels(self, *, channels: int) -> tuple[Sums, Sums]:
        """Sum up the pixels of before and after that hold an image."""

    def read_images(self, windows: Sequence[Window], *, channels: int) -> list[BothDates]:
        """Read windows of both images that lie inside the pair, without the label.

        Raises:
            ImageError: If an image cannot be read as asked.
        """

    def inspect(self, *, channels: int) -> Inspection:
        """Look at everything and collect faults instead of stopping at the first."""


def read_pair(
    pair: LabelledPair,
    *,
    encoding: LabelEncoding,
    channels: int = 3,
    fill: Normalisation | None = None,
) -> DecodedPair:
    """Read all of a labelled pair.

    Args:
        pair: The pair.
        encoding: What the label's values mean.
        channels: Channels that the images must have.
        fill: Statistics of the model that is to see it, as for :meth:`LabelledPair.open`.

    Raises:
        DataError: If the pair has no label, or its parts do not fit each other.
        ImageError: If a file cannot be read as asked.
    """
    from changedet.raster.geo_grid import Window

    view = pair.open(encoding=encoding, channels=channels, fill=fill)
    return view.read(Window(0, 0, *view.shape))
