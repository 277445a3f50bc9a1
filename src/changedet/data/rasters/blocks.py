"""Cut labelled rasters into blocks and assign them to splits without leaks. No I/O."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from changedet.raster.geo_grid import Window

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Candidate(NamedTuple):
    """What dealing needs to know of a block.

    ``counted`` are its labelled pixels; ``core_counted`` and ``core_changed`` the labelled and
    the changed ones of what is left when it is inset.
    """

    counted: int
    core_counted: int
    core_changed: int


def cut(shape: tuple[int, int], block_px: int) -> list[Window]:
    """Cut a grid into blocks of nearly equal size, row by row.

    A block is at most ``block_px`` high and wide, and more than half of it unless the grid is
    smaller.
    """
    rows, columns = (_edges(length, block_px) for length in shape)
    return [
        Window(top, left, bottom - top, right - left)
        for top, bottom in pairwise(rows)
        for left, right in pairwise(columns)
    ]


def _edges(length: int, block_px: int) -> list[int]:
    parts = math.ceil(length / block_px)
    return [round(length * part / parts) for part in range(parts + 1)]


def inset(window: Window, gap_px: int) -> Window | None:
    """Take ``gap_px`` away from every side; None if nothing is left."""
    height, width = window.height - 2 * gap_px, window.width - 2 * gap_px
    if height < 1 or width < 1:
        return None
    return Window(window.top + gap_px, window.left + gap_px, height, width)


def deal(candidates: Sequence[Candidate], shares: Mapping[str, float], *, seed: int) -> list[str]:
    """Assign blocks to splits by their shares of the labelled pixels.

    Blocks are sorted by their share of changed pixels and shuffled among those of similar share.
    The first go to each split in turn, so that every split holds change if there are blocks with
    change enough; each of the others goes to the split that lacks most. A block whose core holds
    no labelled pixel can only be trained on.

    Args:
        candidates: All blocks; each holds at least one labelled pixel.
        shares: Share by split, positive, the most important split first.
        seed: Decides the order among blocks of similar share.

    Returns:
        The split of each block.
    """
    order = _order(candidates, seed, stratum=math.ceil(1 / min(shares.values())))
    dealt: dict[int, str] = {}
    pixels = dict.fromkeys(shares, 0)
    for split, number in zip(shares, order, strict=False):
        dealt[number] = split
        pixels[split] += candidates[number].counted
    rest = [number for number in range(len(candidates)) if number not in set(order)]
    for number in [*order[len(dealt) :], *rest]:
        total = sum(pixels.values()) + candidates[number].counted
        open_to = list(shares) if candidates[number].core_counted else list(shares)[:1]
        split = max(open_to, key=lambda name: shares[name] * total - pixels[name])
        dealt[number] = split
        pixels[split] += candidates[number].counted
    return [dealt[number] for number in range(len(candidates))]


def _order(candidates: Sequence[Candidate], seed: int, *, stratum: int) -> list[int]:
    """Sort the blocks that fit every split, most changed first, shuffled within strata."""
    generator = np.random.default_rng(seed)
    luck = generator.random(len(candidates))
    fitting = [number for number, block in enumerate(candidates) if block.core_counted]
    changed = [number for number in fitting if candidates[number].core_changed]
    changed.sort(key=lambda n: (-candidates[n].core_changed / candidates[n].core_counted, luck[n]))
    still = sorted(set(fitting).difference(changed), key=lambda number: luck[number])
    shuffled: list[int] = []
    for start in range(0, len(changed), stratum):
        shuffled += sorted(changed[start : start + stratum], key=lambda number: luck[number])
    return shuffled + still
