"""Measure how far one date lies off the other, to a fraction of a pixel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage
from skimage.registration import phase_cross_correlation

from changedet.raster.shift_estimate import MEDIAN_ERROR, ShiftEstimate

Values: TypeAlias = NDArray[Any]
Mask: TypeAlias = NDArray[np.bool_]
Features: TypeAlias = NDArray[np.complex64]
Real: TypeAlias = NDArray[np.float32]

#: Tiles below this height or width hold too little to be matched.
MIN_TILE_PX = 32
#: A tile is used if its valid pixels hold this share of the window's weight.
MIN_VALID = 0.5
#: Shifts up to this share of the tile are looked for.
MAX_SHIFT = 0.25
#: How many times higher the best match must be than any other. On CLCD train, 0 to 6 of 100 tiles
#: of different places reach it (tiles of 512 to 64 px).
MIN_QUALITY = 1.4
#: Shifts above this share of the tile are measured again on the common part: in a whole tile the
#: window pulls them towards 0, by 0.002 of the shift for a tile of 128 px.
FAR = 1 / 32
#: Half the side of the square around the best match inside which only other peaks count.
PEAK_PX = 8
#: Shifts are measured in steps of one part in so many of a pixel.
STEPS = 50
#: Gaussian that the gradient is taken with. On CLCD train 1 is more exact than 2.
SIGMA_PX = 1.0
#: How far the gradient's filter reaches, in sigma and in pixels.
REACH_SIGMA = 4.0
REACH_PX = 4
#: Standard deviation of a normal distribution in units of its median absolute deviation.
NORMAL_MAD = 1.4826
#: Tiles further from the median than so many spreads do not count.
OUTLIER_SPREADS = 3.0
#: Tiles this close to the median always count, however well the others agree.
ALWAYS_KEPT_PX = 0.25
#: Fewer tiles give no estimate, nor do tiles whose median is less certain than this (standard error
#: along an axis).
MIN_TILES = 3
MAX_ERROR_PX = 1.0
#: Share of the tiles that were looked at, and of those that were measured, that must agree: of 25
#: tiles of different places, 2 or 3 are measured by chance (see :data:`MIN_QUALITY`), and where
#: tiles of a small scene overlap, they make the same mistake.
MIN_SHARE_OF_TRIED = 0.2
MIN_SHARE_OF_MEASURED = 0.5


class TileShift(NamedTuple):
    """Shift of one tile: what lies at p in ``before`` lies at p + (down, right) in ``after``.

    Attributes:
        down_px: In pixels.
        right_px: In pixels.
        quality: How many times better the match is than the second best; at least 1.
    """

    down_px: float
    right_px: float
    quality: float


class _Peak(NamedTuple):
    down: int
    right: int
    quality: float


def measure_shift(before: Values, after: Values, valid: Mask) -> TileShift | None:
    """Measure the shift between two dates of one tile by correlating directions of edges.

    The seasons turn bright fields into dark ones, but edges stay where they are. Thus the gradient
    g of every band, as a complex number, is squared, which makes opposite directions equal (Di
    Zenzo, 1986, "A note on the gradient of a multi-image"), and summed over the bands; its size is
    compressed by the square root. These features are correlated by FFT (as the orientations of
    Fitch et al., BMVC 2002, "Orientation Correlation"), and the peak is refined by an upsampled
    DFT (Guizar-Sicairos et al., 2008). Dividing by the amplitudes, as phase correlation does,
    makes the estimate worse for different dates.

    Args:
        before: (h, w, C), any real type, finite where valid.
        after: The same.
        valid: (h, w), True where both dates hold data.

    Returns:
        The shift; None if the tile has too few valid pixels or too little texture, or if another
        shift of up to a quarter of the tile explains it nearly as well.

    Raises:
        ValueError: If the shapes do not fit each other.
    """
    if before.shape != after.shape or before.shape[:2] != valid.shape:
        raise ValueError(
            f"dates of {before.shape} and {after.shape} and a mask of {valid.shape} do not fit"
        )
    if min(valid.shape) < MIN_TILE_PX:
        return None
    is_whole = bool(valid.all())
    inner = valid if is_whole else ~ndimage.maximum_filter(~valid, size=2 * REACH_PX + 1)
    window = _window(valid.shape)
    if (window * inner).sum() < MIN_VALID * window.sum():
        return None
    first = _edge_directions(before, valid)
    second = _edge_directions(after, valid)
    surface = _correlate(first, second, inner)
    peak = _best_match(surface)
    if peak is None or peak.quality < MIN_QUALITY:
        return None
    down, right = peak.down, peak.right
    if max(abs(down), abs(right)) <= FAR * min(valid.shape):
        rest = _highest_point(surface, near=(down, right))
    else:
        common = _common_part(first, second, inner, peak=peak)
        rest = _highest_point(common, near=(0, 0))
    return None if rest is None else TileShift(down + rest[0], right + rest[1], peak.quality)


def combine_shifts(shifts: Sequence[TileShift], *, tried: int) -> ShiftEstimate | None:
    """Take the median of the tiles that agree.

    Args:
        shifts: Of the tiles that could be measured.
        tried: Number of all tiles that were looked at.

    Returns:
        The estimate; None if fewer than three tiles agree, less than a fifth of those that were
        looked at or half of those that were measured, or if they differ so much that their median
        is uncertain by more than a pixel.
    """
    if len(shifts) < MIN_TILES:
        return None
    places = np.array([(shift.down_px, shift.right_px) for shift in shifts])
    off = np.abs(places - np.median(places, axis=0)).max(axis=1)
    limit = max(OUTLIER_SPREADS * NORMAL_MAD * float(np.median(off)), ALWAYS_KEPT_PX)
    kept = places[off <= limit]
    centre = np.median(kept, axis=0)
    spreads = NORMAL_MAD * np.median(np.abs(kept - centre), axis=0)
    spread = float(np.sqrt((spreads**2).mean()))
    needed = max(MIN_TILES, MIN_SHARE_OF_TRIED * tried, MIN_SHARE_OF_MEASURED * len(shifts))
    if len(kept) < needed or MEDIAN_ERROR * spread > MAX_ERROR_PX * math.sqrt(len(kept)):
        return None
    return ShiftEstimate(
        down_px=float(centre[0]),
        right_px=float(centre[1]),
        spread_px=spread,
        tiles_used=len(kept),
        tiles_tried=tried,
    )


def _edge_directions(image: Values, valid: Mask) -> Features:
    """Give features that a change of contrast, of its sign or of its scale hardly alters."""
    total = np.zeros(valid.shape, np.complex64)
    # Picking values by a mask costs as much as a filter, and changes nothing where all are picked.
    is_whole = bool(valid.all())
    for index in range(image.shape[2]):
        band = image[..., index].astype(np.float64, order="C")
        known = band.reshape(-1) if is_whole else band[valid]
        scale = float(known.std())
        if scale == 0.0:
            continue
        band = ((band - known.mean()) / scale).astype(np.float32)
        down = ndimage.gaussian_filter(band, SIGMA_PX, order=(1, 0), truncate=REACH_SIGMA)
        right = ndimage.gaussian_filter(band, SIGMA_PX, order=(0, 1), truncate=REACH_SIGMA)
        gradient = np.empty(band.shape, np.complex64)
        gradient.real, gradient.imag = right, down
        np.square(gradient, out=gradient)
        total += gradient
    size = np.abs(total)
    # The added median keeps the weakest gradients, which are noise, from being amplified most.
    floor = np.median(size if is_whole else size[valid])
    return np.asarray(total / np.sqrt(size + floor + np.finfo(np.float32).tiny), np.complex64)


def _correlate(first: Features, second: Features, valid: Mask) -> Real:
    """Correlate windowed features; the value at (d, r), modulo the size, is for that shift."""
    weights = _window(valid.shape) * valid
    spectra = [fft.fft2(_centred(features, weights)) for features in (first, second)]
    return np.asarray(fft.ifft2(spectra[1] * spectra[0].conj()).real, np.float32)


def _centred(features: Features, weights: Real) -> Features:
    """Remove the mean before the window is applied, or the window itself would match at 0."""
    mean = (features * weights).sum() / max(float(weights.sum()), np.finfo(np.float32).tiny)
    return np.asarray((features - mean) * weights, np.complex64)


def _best_match(surface: Real) -> _Peak | None:
    """Find the highest value within reach, and how far it stands out from all others there.

    None if it lies at the edge of the reach, as it does where there is no texture at all.
    """
    height, width = surface.shape
    reach = int(MAX_SHIFT * height), int(MAX_SHIFT * width)
    near = fft.fftshift(surface)
    middle = height // 2, width // 2
    near = near[
        middle[0] - reach[0] : middle[0] + reach[0] + 1,
        middle[1] - reach[1] : middle[1] + reach[1] + 1,
    ]
    top, left = (int(place) for place in np.unravel_index(near.argmax(), near.shape))
    if top in (0, near.shape[0] - 1) or left in (0, near.shape[1] - 1):
        return None
    others = near.copy()
    # Next to the peak only other peaks count, so that a wide one is not its own rival; further
    # away everything does: a single straight edge matches all along itself.
    around = np.s_[
        max(top - PEAK_PX, 0) : top + PEAK_PX + 1, max(left - PEAK_PX, 0) : left + PEAK_PX + 1
    ]
    is_peak = near == ndimage.maximum_filter(near, size=3)
    others[around] = np.where(is_peak[around], near[around], 0.0)
    others[top, left] = 0.0
    rival = max(float(others.max()), np.finfo(np.float64).tiny)
    best = float(near[top, left])
    return _Peak(top - reach[0], left - reach[1], best / rival)


def _common_part(first: Features, second: Features, valid: Mask, *, peak: _Peak) -> Real:
    """Correlate only what both dates show of the ground, so that the window favours no shift."""
    height, width = valid.shape
    down, right = peak.down, peak.right
    mine = np.s_[max(-down, 0) : height - max(down, 0), max(-right, 0) : width - max(right, 0)]
    theirs = np.s_[max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)]
    return _correlate(first[mine], second[theirs], valid[mine] & valid[theirs])


def _highest_point(surface: Real, *, near: tuple[int, int]) -> tuple[float, float] | None:
    """Give the place of the maximum relative to the pixel ``near``; None if it is elsewhere."""
    # The peak is looked for in the size of the values, so none may be negative.
    spectrum = fft.fft2(surface - surface.min())
    place, _, _ = phase_cross_correlation(  # type: ignore[no-untyped-call]
        spectrum,
        np.ones_like(spectrum),
        space="fourier",
        normalization=None,
        upsample_factor=STEPS,
    )
    down, right = float(place[0]) - near[0], float(place[1]) - near[1]
    return (down, right) if max(abs(down), abs(right)) < PEAK_PX else None


def _window(shape: tuple[int, ...]) -> Real:
    """Hann window that is nowhere 0."""
    sides = [np.sin(np.pi * (np.arange(size) + 0.5) / size) ** 2 for size in shape]
    return np.outer(*sides).astype(np.float32)
