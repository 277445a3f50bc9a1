"""Baselines over a whole scene, read window by window in memory that does not grow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from changedet.baselines.ir_mad import MAX_ITERATIONS, CanonicalPairs, IrMadFit, fit_ir_mad
from changedet.baselines.otsu import OtsuScale, otsu_scale
from changedet.baselines.sample import PixelSample, SampledPixels
from changedet.baselines.standardise import BandMoments, BandStatistics, known_pixels
from changedet.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from changedet.raster.geo_grid import Window
    from changedet.raster.pair import PairPixels

#: Two standardised dates, (H, W, C), to how much each pixel differs, (H, W), at least 0.
Magnitude: TypeAlias = (
    "Callable[[NDArray[np.float32], NDArray[np.float32]], NDArray[np.floating[Any]]]"
)
#: Reads both dates in a window of the scene.
Read: TypeAlias = "Callable[[Window], PairPixels]"
#: Gets sentences for the user.
Say: TypeAlias = "Callable[[str], None]"

#: IR-MAD iterates over this many pixels of a scene at least, and less than twice as many.
SAMPLED_PX = 2**19
#: A threshold that calls more than this share changed has divided pixels that are all alike.
_MOST_CHANGED = 0.35
#: The threshold of a method that needs each pixel's surroundings is taken from so many pixels.
WINDOWED_PX = 2**24


class PairStatistics(NamedTuple):
    """Statistics of the bands of both dates of a scene."""

    before: BandStatistics
    after: BandStatistics

    def standardise(
        self, before: NDArray[Any], after: NDArray[Any], known: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Standardise a window, (h, w, C); pixels that are not known become 0 in both dates."""
        first, second = np.zeros(before.shape, np.float32), np.zeros(after.shape, np.float32)
        first[known] = self.before.standardise(before[known])
        second[known] = self.after.standardise(after[known])
        return first, second


@dataclass(frozen=True)
class SceneFit:
    """A baseline with the statistics and the threshold of one scene.

    Attributes:
        statistics: Of the bands of both dates.
        magnitude: Measures how much standardised pixels differ.
        otsu: The scene's threshold.
        figures: What was measured, for reports, as plain JSON types.
    """

    statistics: PairStatistics
    magnitude: Magnitude
    otsu: OtsuScale
    figures: dict[str, Any] = field(default_factory=dict)

    def score(self, before: NDArray[Any], after: NDArray[Any]) -> NDArray[np.float32]:
        """Score the change of a window of the scene.

        Args:
            before: Stored values, (h, w, C).
            after: The same shape.

        Returns:
            Scores, (h, w), in [0, 1); the scene's Otsu threshold lies at 0.5. They are 0 where
            nothing differs, and where a value is no number.
        """
        known = known_pixels(before, after)
        pair = self.statistics.standardise(before, after, known)
        return self.otsu.score(self.magnitude(*pair), known)


def fit_pointwise(
    magnitude: Magnitude | None,
    read: Read,
    windows: Sequence[Window],
    *,
    say: Say,
    max_iterations: int = MAX_ITERATIONS,
    sampled_px: int = SAMPLED_PX,
) -> SceneFit:
    """Measure a scene for a method that looks at each pixel by itself.

    The windows are read three times: for the statistics of the bands and IR-MAD's sample, for the
    range of the magnitudes, and for their histogram. Pixels without data count nowhere.

    Args:
        magnitude: The method; None: IR-MAD, which is fitted to the scene.
        read: Gives a window.
        windows: Windows that cover the scene once.
        say: Gets what was measured.
        max_iterations: Of IR-MAD; 1 is plain MAD.
        sampled_px: IR-MAD iterates over this many pixels at least, less than twice as many at most.

    Raises:
        DataError: If no pixel holds data in both dates, or IR-MAD finds nothing to correlate.
    """
    if magnitude is None:
        sample = PixelSample(sampled_px)
        statistics, figures = _measure_bands(read, windows, sample, say=say)
        measure, found = _fit_to_sample(
            sample.pixels(), statistics, say=say, max_iterations=max_iterations
        )
        figures |= found
    else:
        measure = magnitude
        statistics, figures = _measure_bands(read, windows, None, say=say)

    def passes() -> Iterator[NDArray[Any]]:
        for window in windows:
            pixels = read(window)
            known = _known(pixels)
            # A list of pixels will do, as an image of one row.
            first = statistics.before.standardise(pixels.before[known][None])
            second = statistics.after.standardise(pixels.after[known][None])
            yield measure(first, second)

    otsu = _find_threshold(passes, figures, say=say)
    return SceneFit(statistics, measure, otsu, figures)


def fit_windowed(
    magnitude: Magnitude, read: Read, windows: Sequence[Window], *, say: Say
) -> SceneFit:
    """Measure a scene for a method that needs each pixel's surroundings, such as a network.

    The statistics of the bands are those of the whole scene; the threshold is Otsu's of as many
    windows, spread over the scene, as hold about 16 million pixels together.

    Args:
        magnitude: The method.
        read: Gives a window.
        windows: Windows that cover the scene once.
        say: Gets what was measured.

    Raises:
        DataError: If no pixel holds data in both dates.
    """
    statistics, figures = _measure_bands(read, windows, None, say=say)
    largest = max(window.height * window.width for window in windows)
    step = max(1, -(-len(windows) * largest // WINDOWED_PX))
    magnitudes = []
    for window in windows[::step]:
        pixels = read(window)
        known = _known(pixels)
        if known.any():
            pair = statistics.standardise(pixels.before, pixels.after, known)
            magnitudes.append(magnitude(*pair)[known])
    counted = sum(part.size for part in magnitudes)
    figures["threshold_pixels"] = counted
    if step > 1:
        say(f"the threshold is taken from {100 * counted / figures['pixels']:.1f} % of the pixels")
    otsu = _find_threshold(lambda: magnitudes, figures, say=say)
    return SceneFit(statistics, magnitude, otsu, figures)


def _known(pixels: PairPixels) -> NDArray[np.bool_]:
    return np.asarray(pixels.valid & known_pixels(pixels.before, pixels.after))


def _measure_bands(
    read: Read, windows: Sequence[Window], sample: PixelSample | None, *, say: Say
) -> tuple[PairStatistics, dict[str, Any]]:
    moments: tuple[BandMoments, BandMoments] | None = None
    for window in windows:
        pixels = read(window)
        known = _known(pixels)
        if moments is None:
            bands = pixels.before.shape[2]
            moments = BandMoments(bands), BandMoments(bands)
        before, after = pixels.before[known], pixels.after[known]
        moments[0].add(before)
        moments[1].add(after)
        if sample is not None:
            sample.add(before, after)
    if moments is None or not moments[0].count:
        raise DataError(
            "no pixel has data in both dates; check the nodata values (gdalinfo) and where the two "
            "overlap"
        )
    statistics = PairStatistics(moments[0].statistics(), moments[1].statistics())
    for date, bands_of in zip(("before", "after"), statistics, strict=True):
        constant = np.flatnonzero(~bands_of.varies) + 1
        if constant.size:
            listed = ", ".join(map(str, constant))
            some = f"channel {listed} of {date} has only one value and is"
            many = f"channels {listed} of {date} have only one value each and are"
            say(f"warning: {some if constant.size == 1 else many} ignored")
    return statistics, {"pixels": moments[0].count}


def _fit_to_sample(
    sample: SampledPixels, statistics: PairStatistics, *, say: Say, max_iterations: int
) -> tuple[Magnitude, dict[str, Any]]:
    """Fit IR-MAD to standardised pixels and tell how that went."""
    fit = fit_ir_mad(
        statistics.before.standardise(sample.before),
        statistics.after.standardise(sample.after),
        max_iterations=max_iterations,
    )
    if fit.pairs is None:
        raise DataError(
            "IR-MAD has nothing to correlate, as every band of one date has only one value; check "
            "the rasters and `bands`"
        )
    pairs = fit.pairs
    _tell_fit(fit, pairs, sample, say=say)
    figures = {
        "sampled_pixels": len(sample.before),
        "iterations": fit.iterations,
        "converged": fit.has_converged,
        "canonical_correlations": [round(float(value), 6) for value in pairs.correlation],
    }

    def length(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
        # The root, a length in standard deviations like that of a change vector: over a scene the
        # few largest squares would decide alone where Otsu's threshold lies.
        root: NDArray[np.float32] = np.sqrt(pairs.chi_square(first, second)).astype(np.float32)
        return root

    return length, figures


def _tell_fit(fit: IrMadFit, pairs: CanonicalPairs, sample: SampledPixels, *, say: Say) -> None:
    done = "converged after" if fit.has_converged else "not converged after"
    correlations = ", ".join(f"{value:.3f}" for value in pairs.correlation)
    say(
        f"{'' if fit.has_converged else 'warning: '}IR-MAD {done} {fit.iterations} iterations over "
        f"{len(sample.before):,} of {sample.population:,} pixels ({100 * sample.share:.3g} %); "
        f"canonical correlations {correlations}"
    )
    bands = sample.before.shape[1]
    if len(pairs.correlation) < bands:
        say(
            f"only {len(pairs.correlation)} of {bands} combinations of bands can be compared; the "
            "others do not vary in one date (constant bands, or bands computed from each other)"
        )


def _find_threshold(
    passes: Callable[[], Iterable[NDArray[Any]]], figures: dict[str, Any], *, say: Say
) -> OtsuScale:
    otsu = otsu_scale(passes)
    figures["otsu_magnitude"] = otsu.threshold
    if otsu.threshold is None:
        say("warning: all pixels differ by the same amount, so nothing counts as changed")
    else:
        say(f"Otsu's threshold over the scene: {otsu.threshold:.4g} (score 0.5)")
    if otsu.share > _MOST_CHANGED:
        say(
            f"warning: {100 * otsu.share:.0f} % of the pixels reach Otsu's threshold: their "
            "differences form no two groups, so that the mask says little; set a higher "
            "`threshold`, or choose another method"
        )
    return otsu
