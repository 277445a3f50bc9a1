"""How training images look, and how far others are from that: no network is needed.

The figures of a window (:mod:`changedet.data.window_features`) are compared to those of windows of
training pairs by the distance of Mahalanobis (1936), with a covariance that is shrunk (Chen et al.,
Shrinkage Algorithms for MMSE Covariance Estimation, IEEE Transactions on Signal Processing 2010).
Pairs that were held out tell which distances are usual.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import numpy as np

from changedet.data.window_features import FloatArray, features_of, grid_windows, side_px
from changedet.domain import Appearance

if TYPE_CHECKING:
    from collections.abc import Sequence

    from changedet.data.labelled import BothDates, LabelledPair
    from changedet.domain import Domain, ValueRange

#: How far a pair is: within the usual distance of held-out pairs, beyond it, far beyond it.
Verdict: TypeAlias = Literal["within", "beyond", "far"]

#: From this many times the usual distance on, a pair is far: no held-out pair of CLCD, LEVIR-CD,
#: GZ-CD, DSIFN, OSCD or SZTAKI was.
FAR: Final = 1.5
# Windows of a pair, along each axis.
_ALONG_AXIS: Final = 2
# Fewer windows describe no set, and fewer held-out ones no usual distance.
_FEWEST_WINDOWS: Final = 16
_FEWEST_HELD_OUT: Final = 8
# Without held-out pairs, every n-th training pair is held out in turn.
_FOLDS: Final = 5
_USUAL: Final = 95.0
# No figure of real images varies less.
_LEAST_SPREAD: Final = 1e-3
_DIGITS: Final = 6


@dataclass(frozen=True)
class DomainDistance:
    """How far a pair, or several, is from what a model was trained on.

    Attributes:
        nearest: The training set that it looks most like.
        distance: From that set: the middle one of all windows, in standard deviations.
        usual: 95 % of that set's own windows, of pairs that were held out, are nearer than this.
        verdict: ``within`` the usual distance, ``beyond`` it, or ``far``: beyond 1.5 times that.
        windows: How many windows of the pair were looked at.
        ratios: Distance from each training set, as a multiple of the one that is usual there.
    """

    nearest: str
    distance: float
    usual: float
    verdict: Verdict
    windows: int
    ratios: dict[str, float]


def describe_appearance(
    name: str, *, bands: int, pairs: Sequence[FloatArray], held_out: Sequence[FloatArray]
) -> Appearance | None:
    """Describe a training set by the windows of some of its pairs.

    Args:
        name: Of the set.
        bands: Of its images.
        pairs: Figures of the windows of each training pair, (n, F).
        held_out: The same of pairs that are not trained on; too few: training pairs are held out in
            turn.

    Returns:
        None if there are too few windows.
    """
    pairs, held_out = ([part for part in parts if len(part)] for parts in (pairs, held_out))
    reference = _joined(pairs)
    if len(reference) < _FEWEST_WINDOWS:
        return None
    mean, whitening = _fit(reference)
    kept = _joined(held_out)
    if len(kept) >= _FEWEST_HELD_OUT:
        distances = _distances(kept, mean, whitening)
    else:
        folds = [number % _FOLDS for number in range(len(pairs))]
        parts = []
        for fold in sorted(set(folds)):
            others = _joined([pair for pair, own in zip(pairs, folds, strict=True) if own != fold])
            own = _joined([pair for pair, own in zip(pairs, folds, strict=True) if own == fold])
            if len(others) >= _FEWEST_HELD_OUT:
                parts.append(_distances(own, *_fit(others)))
        if not parts:
            return None
        distances = np.concatenate(parts)
    middle, usual = np.percentile(distances, [50.0, _USUAL])
    if middle < _LEAST_SPREAD:
        # All windows are the same: a picture that was made.
        return None
    return Appearance(
        name=name,
        bands=bands,
        mean=_rounded(mean),
        whitening=_rounded(whitening[np.tril_indices(len(mean))]),
        usual=float(f"{usual:.{_DIGITS}g}"),
        middle=float(f"{middle:.{_DIGITS}g}"),
        windows=len(reference),
        held_out=len(distances),
    )


def _joined(parts: Sequence[FloatArray]) -> FloatArray:
    return np.concatenate(parts) if parts else np.zeros((0, 0))


def _fit(features: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Give mean, (F,), and whitening matrix, (F, F), lower triangular."""
    mean, spread = features.mean(axis=0), np.maximum(features.std(axis=0), _LEAST_SPREAD)
    standard = (features - mean) / spread
    count, size = standard.shape
    covariance = standard.T @ standard / count
    # Oracle approximating shrinkage, equation 23 of the paper.
    average, power = np.trace(covariance) / size, float(np.mean(covariance**2))
    excess = (count + 1) * (power - average**2 / size)
    share = min(1.0, (power + average**2) / excess) if excess > 0 else 1.0
    shrunk = (1 - share) * covariance + (share * average + 1e-6) * np.eye(size)
    whitening: FloatArray = np.linalg.inv(np.linalg.cholesky(shrunk)) / spread
    return mean, whitening


def _distances(features: FloatArray, mean: FloatArray, whitening: FloatArray) -> FloatArray:
    """Root mean square of the uncorrelated differences, (N,)."""
    distances: FloatArray = np.sqrt((((features - mean) @ whitening.T) ** 2).mean(axis=1))
    return distances


def read_features(
    pair: LabelledPair, units: Sequence[ValueRange], *, zoom: float = 1.0
) -> FloatArray:
    """Describe some windows of a pair of a data set, (N, F), see :func:`features_of`.

    Args:
        pair: The pair; its label is not read.
        units: Range of the values of each band in training.
        zoom: What the model resamples its images by.

    Raises:
        ImageError: If an image cannot be read.
    """
    windows = grid_windows(pair.size(), side_px=side_px(zoom), along_axis=_ALONG_AXIS)
    return features_of(pair.read_images(windows, channels=len(units)), units, zoom=zoom)


def _rounded(values: FloatArray) -> tuple[float, ...]:
    return tuple(float(f"{value:.{_DIGITS}g}") for value in values)


def distances_from(appearance: Appearance, features: FloatArray) -> FloatArray:
    """Give the distance of windows, (N, F), from a training set, (N,)."""
    size = len(appearance.mean)
    whitening = np.zeros((size, size))
    whitening[np.tril_indices(size)] = appearance.whitening
    return _distances(features, np.array(appearance.mean), whitening)


def compare(features: FloatArray, sets: Sequence[Appearance]) -> DomainDistance | None:
    """Find the training set that windows look most like, and whether as much as its own.

    Args:
        features: Of the windows of a pair, (N, F).
        sets: What is known of the training sets.

    Returns:
        None if there is no window, or no set of such images.
    """
    known = [one for one in sets if len(features) and len(one.mean) == features.shape[1]]
    if not known:
        return None
    middles = [float(np.median(distances_from(one, features))) for one in known]
    ratios = [middle / one.usual for middle, one in zip(middles, known, strict=True)]
    best = int(np.argmin(ratios))
    ratio = ratios[best]
    return DomainDistance(
        nearest=known[best].name,
        distance=round(middles[best], 4),
        usual=known[best].usual,
        verdict="within" if ratio <= 1.0 else "beyond" if ratio <= FAR else "far",
        windows=len(features),
        ratios={one.name: round(value, 4) for one, value in zip(known, ratios, strict=True)},
    )


def features_of_images(
    images: BothDates, domain: Domain | None, *, zoom: float = 1.0
) -> FloatArray | None:
    """Describe some windows of two images, (N, F); None if there is nothing to compare them to.

    Args:
        images: As they are stored.
        domain: What the model was trained on.
        zoom: What the model resamples the images by.
    """
    if domain is None or domain.values is None or not domain.sets:
        return None
    height, width, channels = images.before.shape
    if channels != len(domain.values):
        return None
    windows = grid_windows((height, width), side_px=side_px(zoom), along_axis=_ALONG_AXIS)
    features = features_of(map(images.read, windows), domain.values, zoom=zoom)
    return features if len(features) else None


def distance_of(parts: Sequence[FloatArray | None], domain: Domain | None) -> DomainDistance | None:
    """Compare what was described of one pair, or of several, to the training sets."""
    known = [part for part in parts if part is not None]
    return compare(np.concatenate(known), domain.sets) if known and domain is not None else None
