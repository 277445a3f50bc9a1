"""What changed between two images, in memory: scores, mask, pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from changedet.errors import ConfigError, StorageError
from changedet.rendering.display import as_rgb
from changedet.rendering.heatmap import heatmap
from changedet.rendering.pictures import (
    encode_png,
    overlay,
    panel,
    write_png,
    write_score_png,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from changedet.inference.scorer import Image


@dataclass(frozen=True, eq=False, repr=False)
class Prediction:
    """What changed between two images.

    A notebook shows it as a picture: both images, the score, and the detected change.

    Attributes:
        score: Change score of each pixel, (H, W), float32 in [0, 1] (half the distance, spec 5).
        threshold: Score from which on a pixel counts as changed, if one is known.
        before: The earlier image, (H, W, C), if it was kept.
        after: The later image, (H, W, C), if it was kept.
    """

    score: NDArray[np.float32]
    threshold: float | None = None
    before: Image | None = None
    after: Image | None = None

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Where the score reaches the threshold, (H, W).

        Raises:
            ConfigError: If neither the model nor the caller gave a threshold.
        """
        if self.threshold is None:
            raise ConfigError(
                "the model file has no threshold, so there is no mask; set `threshold`; "
                "`changedet calibrate` chooses one on a validation split"
            )
        return self.score >= np.float32(self.threshold)

    @property
    def changed_share(self) -> float:
        """Share of the pixels that have changed, in [0, 1].

        Raises:
            ConfigError: If there is no threshold.
        """
        return float(self.mask.mean())

    def heatmap(self) -> NDArray[np.uint8]:
        """Colour the scores, (H, W, 3), see :func:`changedet.rendering.heatmap.heatmap`."""
        return heatmap(self.score, threshold=self.threshold)

    def overlay(self) -> NDArray[np.uint8]:
        """Tint and outline what has changed on the later image, (H, W, 3).

        Raises:
            ConfigError: If there is no threshold, or the later image was not kept.
        """
        if self.after is None:
            raise ConfigError(
                "this prediction was made without its images, so there is nothing to draw on; "
                "give Prediction the image (after=), or use the heat map"
            )
        return overlay(as_rgb(self.after), self.mask)

    def save(self, folder: str | Path) -> Path:
        """Write the scores, the mask and the pictures, as ``changedet predict`` does.

        ``score.png`` (16 bit: score = value / 65535), ``heatmap.png`` to look at, with a threshold
        also ``mask.png`` (0 and 255), with the later image ``overlay.png``. Earlier files of these
        names are replaced.

        Args:
            folder: Made if it is not there.

        Returns:
            The folder.

        Raises:
            StorageError: If a file cannot be written.
        """
        folder = Path(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(
                f"cannot write to {folder}: {error.strerror or error}; choose another folder"
            ) from error
        write_score_png(folder / "score.png", self.score)
        write_png(folder / "heatmap.png", self.heatmap())
        if self.threshold is not None:
            write_png(folder / "mask.png", self.mask)
            if self.after is not None:
                write_png(folder / "overlay.png", self.overlay())
        return folder

    def __repr__(self) -> str:
        """Say size and finding in one line."""
        height, width = self.score.shape
        found = f"scores up to {self.score.max():.3f}, no threshold"
        if self.threshold is not None:
            share = 100 * self.changed_share
            found = f"{share:.2f} % changed at threshold {self.threshold:.4g}"
        return f"Prediction({width}x{height} px, {found})"

    def _repr_png_(self) -> bytes:
        """Give notebooks a picture."""
        if self.threshold is None or self.before is None or self.after is None:
            return encode_png(self.heatmap())
        images = as_rgb(self.before), as_rgb(self.after)
        strip = panel(*images, score=self.score, mask=self.mask, threshold=self.threshold)
        return encode_png(strip)
