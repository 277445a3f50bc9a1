"""Baselines as scorers of tiles, after they have measured a scene. Needs no PyTorch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from changedet.baselines.ir_mad import MAX_ITERATIONS
from changedet.baselines.names import BASELINE_PREFIX, DEEP_DIFFERENCE, baseline_name
from changedet.baselines.registry import Baseline, create_baseline
from changedet.card import ModelCard
from changedet.inference.scorer import HostScorer
from changedet.selection import Selection
from changedet.types import Normalisation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from changedet.baselines.scene import SceneFit
    from changedet.baselines.standardise import BandStatistics
    from changedet.inference.scorer import Image
    from changedet.raster.geo_grid import Window
    from changedet.raster.pair import PairPixels
    from changedet.types import TestTime

_OTSU_SCORE = 0.5
#: Tile of images that are cut up.
_IMAGE_TILE_PX = 256
_SCENE_TILE_PX = 512


class BaselineMethod(HostScorer):
    """Scores images, or tiles, each by itself, and whole scenes once they have been measured.

    Args:
        baseline: The method.
        channels: Channels of the images, where the method takes any number.
        device: Where the method's encoder computes, if it has one.
        max_iterations: Of IR-MAD on scenes; 1 is plain MAD.
    """

    stride = 1
    fixed_tile = False
    test_time: TestTime = "none"

    def __init__(
        self,
        baseline: Baseline,
        *,
        channels: int,
        device: str = "cpu",
        max_iterations: int = MAX_ITERATIONS,
    ) -> None:
        self.in_channels = baseline.in_channels or channels
        self.baseline = baseline
        self._device = device
        self._max_iterations = max_iterations
        nothing, one = (0.0,) * self.in_channels, (1.0,) * self.in_channels
        self.card = ModelCard(
            architecture=f"{BASELINE_PREFIX}{baseline.name}",
            options=dict(baseline.options),
            normalisation=Normalisation(nothing, nothing, one, one),
            tile_px=_IMAGE_TILE_PX,
            threshold=_OTSU_SCORE,
            threshold_selection=Selection("otsu"),
        )

    @property
    def device_name(self) -> str:
        """Where the method's encoder computes."""
        return self._device

    def score(self, before: Sequence[Image], after: Sequence[Image]) -> NDArray[np.float32]:
        """Score images, or tiles, each by itself, (B, h, w), float32 in [0, 1]."""
        return np.stack([self.baseline.score(*pair) for pair in zip(before, after, strict=True)])

    def fit(
        self,
        read: Callable[[Window], PairPixels],
        windows: Sequence[Window],
        *,
        say: Callable[[str], None] = lambda message: None,
    ) -> BaselineScorer:
        """Measure a scene, see :meth:`changedet.inference.scorer.SceneFitted.fit`."""
        fit = self.baseline.fit_scene(read, windows, say=say, max_iterations=self._max_iterations)
        return BaselineScorer(self.baseline, fit, device=self._device)


class BaselineScorer(HostScorer):
    """Scores tiles of a scene by an untrained baseline that has measured it.

    Args:
        baseline: The method.
        fit: What it measured.
        device: Where the method's encoder computes, if it has one.

    Attributes:
        card: Its normalisation is the statistics of the scene, so that missing pixels, which get
            its means, differ in nothing; its threshold is Otsu's.
        measured: What was measured, for reports.
    """

    stride = 1
    fixed_tile = False
    test_time: TestTime = "none"

    def __init__(self, baseline: Baseline, fit: SceneFit, *, device: str = "cpu") -> None:
        before, after = fit.statistics
        self._fit = fit
        self.measured: Mapping[str, Any] = fit.figures
        self._device = device
        self.card = ModelCard(
            architecture=f"{BASELINE_PREFIX}{baseline.name}",
            options=dict(baseline.options),
            normalisation=Normalisation(
                mean_before=_numbers(before.mean),
                mean_after=_numbers(after.mean),
                std_before=_deviations(before),
                std_after=_deviations(after),
            ),
            pixel_type="float32",
            tile_px=_SCENE_TILE_PX,
            threshold=_OTSU_SCORE,
            threshold_selection=Selection("otsu_scene"),
        )

    @property
    def device_name(self) -> str:
        """Where the method's encoder computes."""
        return self._device

    @property
    def in_channels(self) -> int:
        """Bands of the scene's dates."""
        return len(self._fit.statistics.before.mean)

    def score(self, before: Sequence[Image], after: Sequence[Image]) -> NDArray[np.float32]:
        """Score a batch of tiles, see :meth:`changedet.inference.scorer.Scorer.score`."""
        return np.stack([self._fit.score(*pair) for pair in zip(before, after, strict=True)])


def open_baseline(
    spec: str,
    *,
    channels: int = 3,
    encoder: str | None = None,
    encoder_weights: str | None = None,
    device: str = "cpu",
    max_iterations: int = MAX_ITERATIONS,
) -> BaselineMethod:
    """Make an untrained baseline ready for images and scenes.

    Args:
        spec: ``baseline:NAME`` with a name of
            :func:`changedet.baselines.names.list_baselines`; ``floor:NAME`` means the same.
        channels: Channels of the images.
        encoder: timm's name of a baseline's encoder; None: EfficientNet-Lite0.
        encoder_weights: ``package``, ``hub``, ``none`` or a file; None: ``package``.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        max_iterations: Of IR-MAD on scenes; 1 is plain MAD.

    Raises:
        ConfigError: If there is no such method, encoder or device, or the method has no encoder.
        CheckpointError: If the encoder's weights cannot be had.
        MissingExtraError: If they are a package that is not installed.
    """
    # PyTorch takes seconds to load, and only an encoder computes with it.
    place = "cpu"
    if device not in ("cpu", "auto") or baseline_name(spec) == DEEP_DIFFERENCE:
        from changedet.inference.devices import resolve_device

        place = str(resolve_device(device))
    baseline = create_baseline(
        baseline_name(spec),
        channels=channels,
        encoder=encoder,
        encoder_weights=encoder_weights,
        device=place,
    )
    return BaselineMethod(baseline, channels=channels, device=place, max_iterations=max_iterations)


def _numbers(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _deviations(statistics: BandStatistics) -> tuple[float, ...]:
    # A constant band is not divided by what is 0 but for rounding errors.
    return _numbers(np.where(statistics.varies, statistics.std, 1.0))
