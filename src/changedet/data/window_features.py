"""What windows of pairs of images look like in a few figures, of which no network needs to know.

Windows are described by the levels and the contrast of their bands, by the correlation of bands and
of dates, and by the strength of edges at four scales: that tells sensors, seasons and kinds of
ground apart, and to some degree ground sample distances. What the figures of training images are,
and how far others are from them, says :mod:`changedet.data.appearance`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
from PIL import Image

from changedet.data.labelled import BothDates
from changedet.raster.geo_grid import Window

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from changedet.domain import ValueRange

#: Figures of windows.
FloatArray: TypeAlias = "NDArray[np.float64]"
#: Values of pixels, in units of the training.
Values: TypeAlias = "NDArray[np.float32]"
Mask: TypeAlias = "NDArray[np.bool_]"

# Side of a window as the network sees it, in pixels; windows of small images are smaller.
_WINDOW_PX: Final = 256
# Smaller windows have no texture at the coarsest scale.
_SMALLEST_PX: Final = 32
# Share of a window's pixels that must hold an image.
_VALID_SHARE: Final = 0.5
# Edges are measured at 1, 2, 4 and 8 pixels.
_SCALES: Final = 4
# Bands that are looked at, spread over all.
_MOST_BANDS: Final = 16
# Standard deviations from the 1st to the 99th percentile, roughly.
_SPREAD: Final = 4.0
# Of values in such units: a step of one grey value is about 0.02.
_FLAT: Final = 0.005
# Values beyond this are so far from those of any training that it does not matter how far.
_LARGEST: Final = 1e4
_LARGEST_CORRELATION: Final = 0.99


def window_features(window: BothDates, units: Sequence[ValueRange]) -> FloatArray | None:
    """Describe a window by F figures, see the module.

    Args:
        window: Of the size at which the network sees it.
        units: Range of the values of each band in training: they make the figures independent of
            units.

    Returns:
        (F,); None if the window is too small, holds too little of an image, or values that are no
        numbers.
    """
    height, width, channels = window.before.shape
    valid = None if window.valid is None or window.valid.all() else window.valid
    if min(height, width) < _SMALLEST_PX or (valid is not None and valid.mean() < _VALID_SHARE):
        return None
    bands = _looked_at(channels)
    dates = [
        _in_units(image, [(band, units[band]) for band in bands], valid=valid)
        for image in (window.before, window.after)
    ]
    greys = [values.mean(axis=0) for values in dates]
    described = [
        _describe_bands(values, valid) + _describe_texture(grey, valid)
        for values, grey in zip(dates, greys, strict=True)
    ]
    edges = [_edges(grey) for grey in greys]
    alike = [
        np.mean([_correlation(one, two, valid) for one, two in zip(*dates, strict=True)]),
        _correlation(edges[0], edges[1], _inner(valid)),
    ]
    features: FloatArray = np.concatenate([np.mean(described, axis=0), _stretched(np.array(alike))])
    return features if np.isfinite(features).all() else None


def _in_units(
    image: NDArray[Any], bands: Sequence[tuple[int, ValueRange]], *, valid: Mask | None
) -> Values:
    """Give bands of an image in units of the training, (C, h, w)."""
    values = np.empty((len(bands), *image.shape[:2]), np.float32)
    for place, (band, unit) in enumerate(bands):
        spread = (unit.high - unit.low) / _SPREAD or 1.0
        values[place] = image[..., band]
        values[place] -= unit.middle
        values[place] /= spread
        np.clip(values[place], -_LARGEST, _LARGEST, out=values[place])
        if valid is not None:
            # What holds no image must make no edges: it gets the mean of the rest.
            values[place][~valid] = values[place][valid].mean()
    return values


def _describe_bands(values: Values, valid: Mask | None) -> list[float]:
    """Level and contrast of each band, and how alike bands are."""
    pixels = values.reshape(len(values), -1) if valid is None else values[:, valid]
    levels = pixels.mean(axis=1, keepdims=True)
    around = pixels - levels
    spreads = np.sqrt(np.square(around).mean(axis=1))
    figures = [*levels[:, 0], *np.log(spreads + _FLAT)]
    if len(values) > 1:
        products = around @ around.T / pixels.shape[1]
        # A band without contrast resembles no other.
        alike = products / np.maximum(np.outer(spreads, spreads), _FLAT**2)
        related = _stretched(alike[np.triu_indices(len(values), 1)].astype(np.float64))
        figures += [related.mean(), related.min()]
    return [float(figure) for figure in figures]


def _describe_texture(grey: Values, valid: Mask | None) -> list[float]:
    """Strength of edges, and how much stronger the strongest are, at each scale."""
    figures: list[float] = []
    for scale in range(_SCALES):
        if scale:
            grey = _halved(grey)
            valid = None if valid is None else _halved(valid.astype(np.float32)) == 1.0
        strong = _edges(grey)
        inner = _inner(valid)
        strong = strong.ravel() if inner is None else strong[inner]
        if not strong.size:
            strong = np.zeros(1, np.float32)
        middle, high = np.percentile(strong, [50, 98])
        figures += [
            float(np.log(strong.mean() + _FLAT)),
            float(np.log((high + _FLAT) / (middle + _FLAT))),
        ]
    return figures


def _looked_at(channels: int) -> list[int]:
    count = min(channels, _MOST_BANDS)
    return [number * channels // count for number in range(count)]


def _edges(grey: Values) -> Values:
    """Length of the gradient, (h - 1, w - 1)."""
    corner = grey[:-1, :-1]
    lengths: Values = np.hypot(grey[:-1, 1:] - corner, grey[1:, :-1] - corner)
    return lengths


def _inner(valid: Mask | None) -> Mask | None:
    """Where all pixels of an edge hold an image, (h - 1, w - 1)."""
    return None if valid is None else valid[:-1, :-1] & valid[:-1, 1:] & valid[1:, :-1]


def _halved(values: Values) -> Values:
    height, width = (length // 2 * 2 for length in values.shape)
    halved: Values = values[:height, :width].reshape(height // 2, 2, width // 2, 2).mean((1, 3))
    return halved


def _stretched(correlations: FloatArray) -> FloatArray:
    """Fisher's transformation, after which correlations spread evenly."""
    stretched: FloatArray = np.arctanh(
        correlations.clip(-_LARGEST_CORRELATION, _LARGEST_CORRELATION)
    )
    return stretched


def _correlation(first: Values, second: Values, valid: Mask | None) -> float:
    first, second = (
        values.ravel() if valid is None else values[valid] for values in (first, second)
    )
    if not first.size:
        return 0.0
    first, second = first - first.mean(), second - second.mean()
    size = math.sqrt(float(first @ first) * float(second @ second))
    return float(first @ second) / size if size > 0.0 else 0.0


def grid_windows(shape: tuple[int, int], *, side_px: int, along_axis: int) -> list[Window]:
    """Spread windows over an image, from edge to edge.

    Args:
        shape: Height and width of the image.
        side_px: Side of a window; less in smaller images.
        along_axis: Windows next to each other at most; less where they would overlap by more than
            half.
    """
    places = []
    for length in shape:
        side = min(length, side_px)
        count = min(along_axis, max(1, round(length / side)))
        room = length - side
        starts = [room // 2] if count == 1 else [n * room // (count - 1) for n in range(count)]
        places.append([(start, side) for start in starts])
    return [Window(top, left, h, w) for top, h in places[0] for left, w in places[1]]


def side_px(zoom: float) -> int:
    """Give the side of a window in stored pixels that a model resamples by ``zoom``."""
    return max(1, round(_WINDOW_PX / zoom))


def zoomed(window: BothDates, zoom: float) -> BothDates:
    """Resample a window as a model does that works at another ground sample distance.

    Args:
        window: As it is stored.
        zoom: Height and width of the result in those of the window.
    """
    if zoom == 1.0:
        return window
    height, width = (max(1, round(length * zoom)) for length in window.before.shape[:2])

    def resized(plane: NDArray[Any]) -> NDArray[np.float32]:
        picture = Image.fromarray(np.ascontiguousarray(plane, np.float32))
        return np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR))

    before, after = (
        np.stack([resized(image[..., band]) for band in range(image.shape[-1])], axis=-1)
        for image in (window.before, window.after)
    )
    valid = None if window.valid is None else resized(window.valid) > _VALID_SHARE
    return BothDates(before, after, valid)


def features_of(
    windows: Iterable[BothDates], units: Sequence[ValueRange], *, zoom: float = 1.0
) -> FloatArray:
    """Describe windows, those aside that hold too little, (N, F); F is 0 if there are none.

    Args:
        windows: As they are stored.
        units: Range of the values of each band in training.
        zoom: What the model resamples images by, see :func:`zoomed`.
    """
    found = (window_features(zoomed(window, zoom), units) for window in windows)
    kept = [features for features in found if features is not None]
    return np.array(kept) if kept else np.zeros((0, 0))
