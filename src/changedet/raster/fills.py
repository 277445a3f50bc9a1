"""Find values that stand for missing pixels although the file does not say so.

Two kinds are certain. A *marker* such as -9999 is repeated exactly and lies far outside of all
other values. A *collar* is an area of exactly one usual value in all bands (0, the largest of the
type, a marker) that lies at the edge of the image and ends sharply: dark water and bright snow,
which also reach 0 or 255, fade out instead. What looks like one of these but is not certain is
found, too, and left to the user.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: Values that programs write where there is no image.
_USUAL: Final = frozenset(
    {
        *(-1.0, -99.0, -999.0, -9999.0, -99999.0, -999999.0, -10000.0, 9999.0, 99999.0),
        *(-32767.0, -32768.0, 32767.0, 65535.0, -2147483648.0, 2147483647.0, 4294967295.0),
        # Lowest int16 and float16, netCDF's fill values, and others of climate models.
        *(-32766.0, -65504.0, 1e20, -1e20, 1e30, -1e30, float(np.float32(9.96921e36))),
    }
)
# A marker: repeated this often at least, and as far from the nearest other value as the others
# spread (from their 1st to their 99th percentile), or many times that if it is no usual one.
_REPEATED: Final = 10
_REPEATED_SHARE: Final = 1e-5
_UNUSUAL_SPREADS: Final = 1000.0
# Below so many different values nothing can be said of what is usual in the image.
_DISTINCT: Final = 16
_OTHERS: Final = 100
_LOOKED_AT: Final = 50_000
# A bright or dark marker must fill all bands in this share of its pixels.
_TOGETHER: Final = 0.9
_BRIGHT_SHARE: Final = 1e-3
# A collar: this share of the edge, and of its surroundings (so many pixels wide) at most that much
# is nearly like it, within a few grey levels or this part of the image's spread.
_EDGE_SHARE: Final = 0.02
_UNUSUAL_EDGE_SHARE: Final = 0.05
# Of a single band, in which dark and saturated spots reach 0 and the largest value by themselves.
_SINGLE_BAND_EDGE_SHARE: Final = 0.1
_RIM_PX: Final = 3
_LIKE_IN_RIM: Final = 0.05
_LIKE_LEVELS: Final = 3.0
_LIKE_SPREAD: Final = 1 / 64
# Areas of the value that do not reach the edge may be this large, as a share of those that do.
_INNER: Final = 0.25
# Largest value of pictures, which also marks missing pixels where they are stored in other types.
_BYTE_MAX: Final = 255.0
# What is not certain is said from this share of the pixels on.
_MENTIONED: Final = 0.02
_MENTIONED_SINGLE_BAND: Final = 0.05


class SampledWindow(NamedTuple):
    """A window of the sample.

    Attributes:
        values: (C, h, w), stored values of the chosen bands.
        valid: (h, w), which of them hold data as far as the file says.
        edges: (h, w), which pixels lie on the edge of the area that is sampled.
    """

    values: NDArray[Any]
    valid: NDArray[np.bool_]
    edges: NDArray[np.bool_]


@dataclass(frozen=True)
class Fill:
    """A value that stands, or may stand, for missing pixels.

    Attributes:
        value: As it is stored.
        scope: Whether a pixel is missing where ``all`` chosen bands hold it, or ``any`` does.
        share: Share of the sampled pixels that would be missing, in [0, 1].
        edge_share: Share of the sampled edge, in [0, 1].
        kind: ``marker`` far outside of all other values, ``collar`` at the edge, or ``unclear``.
    """

    value: float
    scope: Literal["all", "any"]
    share: float
    edge_share: float
    kind: Literal["marker", "collar", "unclear"]

    @property
    def is_certain(self) -> bool:
        """Whether it is treated as missing without being told."""
        return self.kind != "unclear"


def find_fills(windows: Sequence[SampledWindow]) -> tuple[Fill, ...]:
    """Find what marks missing pixels in a sample of a raster, the surest first.

    Args:
        windows: Spread over the raster, corners and edges included.
    """
    pixels = sum(int(window.valid.sum()) for window in windows)
    if pixels < _OTHERS:
        return ()
    found = [
        _measured(windows, value, scope=scope, kind="marker") for value, scope in _markers(windows)
    ]
    left = [_without(window, found) for window in windows]
    spread = _spread(np.concatenate([window.values[:, window.valid].ravel() for window in left]))
    if spread is not None:
        for value in _candidates(left):
            fill = _collar(left, value, spread=spread)
            if fill is not None:
                found.append(fill)
    return tuple(sorted(found, key=lambda fill: (not fill.is_certain, -fill.share)))


def _markers(windows: Sequence[SampledWindow]) -> list[tuple[float, Literal["all", "any"]]]:
    """Find exact values far outside of all others, in any band."""
    found: dict[float, Literal["all", "any"]] = {}
    for band in range(len(windows[0].values)):
        values = np.concatenate([window.values[band][window.valid] for window in windows])
        for value in _far_values(values):
            scope: Literal["all", "any"] = "any" if value < 0 else "all"
            if scope == "any" or _fills_all_bands(windows, value):
                found[value] = scope
    return sorted(found.items())


def _far_values(values: NDArray[Any]) -> Iterator[float]:
    """Give the extreme values of a band that are repeated exactly and far from all others."""
    is_byte = values.dtype == np.uint8
    fewest = max(_REPEATED, _REPEATED_SHARE * values.size)
    rest = values
    # Several may hide each other: -9999 beside -32768.
    seen: list[Any] = []
    for _ in range(4):
        if rest.size < _OTHERS:
            return
        ends = [value for value in {rest.min(), rest.max()} if (rest == value).sum() >= fewest]
        if not ends:
            break
        seen += ends
        rest = rest[(rest != ends[0]) & (rest != ends[-1])]
    if is_byte or not seen or rest.size < _OTHERS:
        return
    spread = _spread(rest)
    if spread is None:
        return
    low, high = float(rest.min()), float(rest.max())
    for value in map(float, seen):
        gap = max(low - value, value - high)
        is_usual = value in _USUAL or value == 0
        if gap >= spread * (1.0 if is_usual else _UNUSUAL_SPREADS):
            yield float(value)


def _spread(values: NDArray[Any]) -> float | None:
    """Measure how far values reach, from the 1st to the 99th percentile; None: too few differ."""
    some = values[:: max(1, values.size // _LOOKED_AT)]
    if len(np.unique(some)) < _DISTINCT:
        return None
    low, high = np.percentile(some, (1, 99))
    return float(high - low) or float(some.max() - some.min())


def _fills_all_bands(windows: Sequence[SampledWindow], value: float) -> bool:
    pixels = sum(int(window.valid.sum()) for window in windows)
    hits = [(window.values == value) & window.valid for window in windows]
    together = sum(int(hit.all(axis=0).sum()) for hit in hits)
    somewhere = sum(int(hit.any(axis=0).sum()) for hit in hits)
    return together >= _TOGETHER * somewhere and together >= _BRIGHT_SHARE * pixels


def _measured(
    windows: Sequence[SampledWindow],
    value: float,
    *,
    scope: Literal["all", "any"],
    kind: Literal["marker", "collar", "unclear"],
) -> Fill:
    join = np.all if scope == "all" else np.any
    hits = [join(window.values == value, axis=0) & window.valid for window in windows]
    edges = sum(int(window.edges.sum()) for window in windows)
    return Fill(
        value,
        scope,
        share=sum(int(hit.sum()) for hit in hits) / sum(hit.size for hit in hits),
        edge_share=sum(
            int(hit[window.edges].sum()) for hit, window in zip(hits, windows, strict=True)
        )
        / max(edges, 1),
        kind=kind,
    )


def _without(window: SampledWindow, fills: Sequence[Fill]) -> SampledWindow:
    valid = window.valid
    for fill in fills:
        join = np.all if fill.scope == "all" else np.any
        valid = valid & ~join(window.values == fill.value, axis=0)
    return window._replace(valid=valid)


def _candidates(windows: Sequence[SampledWindow]) -> list[float]:
    """Give values that fill all bands at the edge, the usual ones, and the most frequent one."""
    dtype = windows[0].values.dtype
    usual = {0.0}
    if dtype.kind in "iu":
        usual |= {float(np.iinfo(dtype).min), float(np.iinfo(dtype).max), _BYTE_MAX}
    at_edge = np.concatenate(
        [window.values[:, window.edges & window.valid] for window in windows], axis=1
    )
    alike = at_edge[0][(at_edge == at_edge[0]).all(axis=0)]
    if alike.size:
        values, counts = np.unique(alike, return_counts=True)
        usual.add(float(values[counts.argmax()]))
    return sorted(usual)


def _collar(windows: Sequence[SampledWindow], value: float, *, spread: float) -> Fill | None:
    dtype = windows[0].values.dtype
    fill = _measured(windows, value, scope="all", kind="unclear")
    if fill.share == 0.0 or _is_all_there_is(windows, value):
        return None
    is_extreme = dtype.kind in "iu" and value in (np.iinfo(dtype).min, np.iinfo(dtype).max)
    is_usual = value == 0 or is_extreme or value in _USUAL or value == _BYTE_MAX
    like = max(_LIKE_LEVELS if dtype.kind in "iu" else 0.0, _LIKE_SPREAD * spread)
    is_sharp = _is_sharp(windows, value, like=like)
    needed = _EDGE_SHARE if is_usual else _UNUSUAL_EDGE_SHARE
    if len(windows[0].values) == 1:
        needed = _SINGLE_BAND_EDGE_SHARE
    if is_sharp and fill.edge_share >= needed:
        return _measured(windows, value, scope="all", kind="collar") if is_usual else fill
    mentioned = _MENTIONED_SINGLE_BAND if len(windows[0].values) == 1 else _MENTIONED
    return fill if is_usual and fill.share >= mentioned else None


def _is_all_there_is(windows: Sequence[SampledWindow], value: float) -> bool:
    """Tell whether what is left without a value is too little, or too even, to be an image."""
    others = [
        window.values[:, window.valid & ~(window.values == value).all(axis=0)].ravel()
        for window in windows
    ]
    rest = np.concatenate(others)
    return rest.size < _OTHERS or _spread(rest) is None


def _is_sharp(windows: Sequence[SampledWindow], value: float, *, like: float) -> bool:
    """Tell whether areas of a value reach the edge of the image, and end without a transition."""
    outer = inner = rim_px = alike_px = 0
    for window in windows:
        hit = (window.values == value).all(axis=0) & window.valid
        if not hit.any():
            continue
        labels, count = ndimage.label(hit)
        sizes = np.bincount(labels.ravel(), minlength=count + 1)
        at_edge = np.zeros(count + 1, np.bool_)
        at_edge[labels[window.edges]] = True
        # An area that leaves the window may reach the edge elsewhere.
        leaves = at_edge.copy()
        for side in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
            leaves[side] = True
        at_edge[0], leaves[0] = False, True
        outer += int(sizes[at_edge].sum())
        inner += int(sizes[~leaves].sum())
        collar = at_edge[labels]
        rim = ndimage.binary_dilation(collar, np.ones((3, 3)), iterations=_RIM_PX)
        rim &= window.valid & ~collar
        distance = np.abs(window.values[:, rim].astype(np.float64) - value).max(axis=0, initial=0)
        rim_px += int(rim.sum())
        alike_px += int(((distance <= like) & (distance > 0)).sum())
    return outer > 0 and inner <= _INNER * outer and alike_px <= _LIKE_IN_RIM * rim_px
