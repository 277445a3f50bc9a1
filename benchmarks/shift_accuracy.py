"""Accuracy of the shift that is measured between two dates, on real pairs moved by a known shift.

    python benchmarks/shift_accuracy.py --data CLCD --split val

Every pair is a small scene. Its later date is moved by a random fraction of a pixel (cubic spline,
rounded to 8 bits again, edges cropped), and the shift is estimated:

same date   between the earlier date and its own moved copy; the error is absolute.
other date  between the dates. Real pairs are not perfectly aligned to begin with, so the reference
            is the estimate without the move, plus the move.
corrected   what remains between the dates after the later one was moved back by the estimate
            (bilinear, as when reading).

The error is the length of the difference in pixels. "measured" is the share of pairs with an
estimate. A last line counts pairs of different places: every estimate there is wrong.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from scipy import ndimage

from changedet.data.images import read_image
from changedet.data.index import PairPaths, index_pairs
from changedet.predict.registration import estimate_shift
from changedet.raster.geo_grid import GeoGrid, Window
from changedet.raster.pair import PairPixels
from changedet.raster.shift import measure_shift
from changedet.raster.shift_estimate import ShiftEstimate

Image: TypeAlias = NDArray[np.uint8]
Place: TypeAlias = NDArray[np.float64]
Estimator: TypeAlias = Callable[[Image, Image], Place | None]


def moved(image: Image, shift: Place, *, order: int = 3) -> Image:
    """Move the content by (down, right) pixels."""
    values = ndimage.shift(image.astype(np.float64), (*shift, 0), order=order, mode="reflect")
    result: Image = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return result


def scene_estimate(before: Image, after: Image) -> ShiftEstimate | None:
    """Estimate as for a scene."""

    def read(window: Window) -> PairPixels:
        part = np.s_[window.top : window.bottom, window.left : window.right]
        return PairPixels(before[part], after[part], np.ones(window.shape, np.bool_))

    return estimate_shift(read, GeoGrid(None, Affine.identity(), *before.shape[:2]))


def of_scene(before: Image, after: Image) -> Place | None:
    """Give the shift of a scene as (down, right)."""
    found = scene_estimate(before, after)
    return None if found is None else np.array([found.down_px, found.right_px])


def of_tile(before: Image, after: Image) -> Place | None:
    """Give the shift of the whole image taken as a single tile."""
    found = measure_shift(before, after, np.ones(before.shape[:2], np.bool_))
    return None if found is None else np.array([found.down_px, found.right_px])


def errors_of_pair(
    before: Image, after: Image, *, shift: Place, estimate: Estimator
) -> tuple[float | None, float | None, float | None]:
    """Errors in pixels for the same date, the other date and after the correction."""
    margin = int(np.ceil(np.abs(shift).max())) + 8
    inner = np.s_[margin:-margin, margin:-margin]
    first = before[inner]
    later = moved(after, shift)
    same = _error(estimate(first, moved(before, shift)[inner]), shift)
    as_it_is, found = estimate(first, after[inner]), estimate(first, later[inner])
    if as_it_is is None or found is None:
        return same, None, None
    rest = estimate(first, moved(later, -found, order=1)[inner])
    return same, _error(found, as_it_is + shift), _error(rest, np.zeros(2))


def _error(found: Place | None, truth: Place) -> float | None:
    return None if found is None else float(np.hypot(*(found - truth)))


def row(name: str, errors: Sequence[float | None]) -> str:
    """Format one line of the table."""
    known = [error for error in errors if error is not None]
    if not known:
        return f"{name:28} {0:8.0%}        -        -        -"
    middle, high = np.quantile(known, (0.5, 0.95))
    return f"{name:28} {len(known) / len(errors):8.0%} {middle:8.3f} {high:8.3f} {max(known):8.3f}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of pairs")
    parser.add_argument("--split", default="val")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--largest", type=float, default=3.0, help="of the shifts, in px")
    parser.add_argument("--every", type=int, default=1, help="take every n-th pair")
    options = parser.parse_args()
    paths = [
        pair
        for pair in index_pairs(options.data).split(options.split)[:: options.every]
        if isinstance(pair, PairPaths)
    ]
    rng = np.random.default_rng(options.seed)
    pairs = [(read_image(path.before), read_image(path.after)) for path in paths]
    shifts = rng.uniform(-options.largest, options.largest, (len(pairs), 2))
    print(f"{len(pairs)} pairs, shifts up to {options.largest:g} px, seed {options.seed}")
    print(f"{'':28} {'measured':>8} {'median':>8} {'95 %':>8} {'largest':>8}")
    kinds: list[tuple[str, Estimator]] = [("scene", of_scene), ("tile", of_tile)]
    for kind, estimate in kinds:
        errors = [
            errors_of_pair(before, after, shift=shift, estimate=estimate)
            for (before, after), shift in zip(pairs, shifts, strict=True)
        ]
        for name, column in zip(
            ("same date", "other date", "corrected"), zip(*errors, strict=True), strict=True
        ):
            print(row(f"{kind}, {name}", column))
    found = [scene_estimate(before, after) for before, after in pairs]
    known = [one for one in found if one is not None]
    lengths, spreads = [one.length_px for one in known], [one.spread_px for one in known]
    print(f"the pairs as they are: {np.median(lengths):.2f} px apart, spread", end=" ")
    print(f"{np.median(spreads):.2f} px (medians)")
    wrong = [scene_estimate(pairs[i - 1][0], pairs[i][1]) is not None for i in range(1, len(pairs))]
    print(f"different places: {sum(wrong)} of {len(wrong)} gave an estimate")


if __name__ == "__main__":
    main()
