"""Baselines by name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from changedet.baselines.change_vector import change_vector_magnitude
from changedet.baselines.difference import mean_absolute_difference
from changedet.baselines.ir_mad import MAX_ITERATIONS, ir_mad_chi_square
from changedet.baselines.names import CVA, DEEP_DIFFERENCE, DIFFERENCE, IR_MAD, check_baseline
from changedet.baselines.otsu import otsu_score
from changedet.baselines.scene import Magnitude, Read, Say, SceneFit, fit_pointwise, fit_windowed
from changedet.baselines.standardise import standardise
from changedet.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch
    from numpy.typing import NDArray

    from changedet.raster.geo_grid import Window

#: Methods that look at each pixel by itself, so that a list of pixels, (1, N, C), will do.
_MAGNITUDES: dict[str, tuple[str, Magnitude]] = {
    DIFFERENCE: ("image difference", mean_absolute_difference),
    CVA: ("change vector analysis", change_vector_magnitude),
    IR_MAD: ("IR-MAD", ir_mad_chi_square),
}


class Baseline(Protocol):
    """A method of change detection that needs no training.

    ``in_channels`` is None where it takes any number; ``options`` are what else it was made with,
    for reports.
    """

    @property
    def name(self) -> str:
        """Name in the registry."""

    @property
    def title(self) -> str:
        """Name for tables."""

    @property
    def in_channels(self) -> int | None:
        """Channels of an image; None: any number."""

    @property
    def options(self) -> Mapping[str, str]:
        """What else it was made with."""

    def score(self, before: NDArray[Any], after: NDArray[Any]) -> NDArray[np.float32]:
        """Score how much each pixel has changed.

        Args:
            before: Stored values of any type, (H, W, C).
            after: The same shape.

        Returns:
            Scores, (H, W), in [0, 1]; Otsu's threshold of this very image lies at 0.5. They are 0
            where nothing differs, and where a value is no number.

        Raises:
            DataError: If the images do not fit each other or the method.
        """

    def fit_scene(
        self,
        read: Read,
        windows: Sequence[Window],
        *,
        say: Say,
        max_iterations: int = MAX_ITERATIONS,
    ) -> SceneFit:
        """Measure a scene that is too large for memory, so that windows of it can be scored.

        A scene of one window gets the scores of :meth:`score`, but for IR-MAD: there its magnitude
        is chi-square, here its root, whose threshold a few extreme pixels do not move.

        Args:
            read: Gives stored values of both dates in a window.
            windows: Windows that cover the scene once.
            say: Gets what was measured.
            max_iterations: Of IR-MAD.

        Raises:
            DataError: If no pixel has data in both dates, or nothing can be measured.
        """


def create_baseline(
    name: str,
    *,
    channels: int = 3,
    encoder: str | None = None,
    encoder_weights: str | None = None,
    device: torch.device | str = "cpu",
) -> Baseline:
    """Make an untrained baseline ready.

    Args:
        name: One of :func:`changedet.baselines.names.list_baselines`.
        channels: Channels of the images, for the method that has an encoder.
        encoder: timm's name of the encoder of ``deep_difference``; None:
            ``tf_efficientnet_lite0``.
        encoder_weights: Its weights: ``package``, ``hub``, ``none`` (random) or a weights file;
            None: ``package``.
        device: Where the encoder computes.

    Raises:
        ConfigError: If there is no such method or encoder, or the method has no encoder.
        CheckpointError: If the encoder's weights cannot be had.
        MissingExtraError: If ``package`` is not installed.
    """
    check_baseline(name, encoder=encoder, encoder_weights=encoder_weights)
    if name == DEEP_DIFFERENCE:
        # PyTorch and timm are for this method only.
        from changedet.baselines.deep_features import DeepFeatures
        from changedet.models.weight_packages import PACKAGE, PACKAGE_ENCODER

        names = {
            "encoder": encoder or PACKAGE_ENCODER,
            "encoder_weights": encoder_weights or PACKAGE,
        }
        deep = DeepFeatures(
            encoder=names["encoder"],
            weights=names["encoder_weights"],
            channels=channels,
            device=device,
        )
        title = f"deep feature difference ({names['encoder']}, untrained on change)"
        return _MagnitudeBaseline(name, title, deep.magnitude, in_channels=channels, options=names)
    return _MagnitudeBaseline(name, *_MAGNITUDES[name])


@dataclass(frozen=True)
class _MagnitudeBaseline:
    """Standardise both dates, measure how much each pixel differs, let Otsu split the pixels."""

    name: str
    title: str
    magnitude: Magnitude
    in_channels: int | None = None
    options: Mapping[str, str] = field(default_factory=dict)

    def score(self, before: NDArray[Any], after: NDArray[Any]) -> NDArray[np.float32]:
        """Score how much each pixel has changed, see :class:`Baseline`."""
        wanted = self.in_channels
        if before.shape != after.shape or before.ndim != 3 or not before.size:
            raise DataError(
                "the two images must have the same shape (height, width, channels), got "
                f"{before.shape} and {after.shape}; cut or resample one of them"
            )
        if wanted is not None and before.shape[2] != wanted:
            raise DataError(
                f"baseline {self.name!r} was made for {wanted} channel(s), the images have "
                f"{before.shape[2]}; set `channels={before.shape[2]}`"
            )
        pair = standardise(before, after)
        if self.name not in _MAGNITUDES or pair.known.all():
            return otsu_score(self.magnitude(pair.before, pair.after), pair.known)
        # Pixels without numbers agree perfectly in both dates and would decide what agreement is.
        magnitude = np.zeros(pair.known.shape, np.float32)
        known = (date[pair.known][None] for date in (pair.before, pair.after))
        magnitude[pair.known] = self.magnitude(*known)[0]
        return otsu_score(magnitude, pair.known)

    def fit_scene(
        self,
        read: Read,
        windows: Sequence[Window],
        *,
        say: Say,
        max_iterations: int = MAX_ITERATIONS,
    ) -> SceneFit:
        """Measure a scene, see :class:`Baseline`."""
        if self.name not in _MAGNITUDES:
            return fit_windowed(self.magnitude, read, windows, say=say)
        magnitude = None if self.name == IR_MAD else self.magnitude
        return fit_pointwise(magnitude, read, windows, say=say, max_iterations=max_iterations)
