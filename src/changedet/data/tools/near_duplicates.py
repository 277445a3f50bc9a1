"""Find images of one split that show the same place as images of another.

Such images make a test easier than it looks: the model has met the place before. Each date is
shrunk to 16 x 16 grey cells, which differ neither by colour balance nor by compression, and
compared by correlation in all eight rotations and mirror images. Two pairs are near-duplicates if

* one date of each, in the same frame, correlates at least by the limit, or
* both dates do where the frames are shifted against each other by up to half of their side.

On the training and validation images of CLCD, which are of different places, the highest values
are 0.76 and 0.84; of pairs that share more than half of their area, two thirds exceed 0.9.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from PIL import Image

from changedet.data.labelled import read_pair
from changedet.data.parallel import map_in_order
from changedet.errors import ConfigError, DataError
from changedet.types import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from changedet.data.labelled import LabelledPair
    from changedet.data.labels.encoding import LabelEncoding
    from changedet.data.pixel_sums import Pixels

#: Correlation from which on two pairs count as near-duplicates.
DEFAULT_LIMIT = 0.9
#: Cells along each side of a thumbnail.
THUMBNAIL_PX = 16
#: More comparisons than this are made in one frame only: searching shifts takes 300 times as long.
MOST_SHIFTED_COMPARISONS = 1_000_000

#: ``identical``: an image has the very same pixels; ``same frame``: a date of each looks alike;
#: ``shifted``: both dates do where the frames overlap.
Relation = Literal["identical", "same frame", "shifted"]
Shifts = Literal["search", "none"]

_FURTHEST = THUMBNAIL_PX // 2
# Comparisons whose correlations lie in memory at once.
_COMPARED_AT_ONCE = 4_000_000
# Standard deviation (of cells), as a share of the largest value, below which nothing is compared.
_FLAT = 1e-4


class Thumbnails(NamedTuple):
    """Pairs made comparable.

    Attributes:
        names: Of the pairs.
        grey: Before and after, (N, 2, 16, 16), float32, means over bands in stored values.
        digests: Hashes of the pixels of each date; None for an image of one colour.
    """

    names: tuple[str, ...]
    grey: npt.NDArray[np.float32]
    digests: tuple[tuple[bytes | None, bytes | None], ...]


@dataclass(frozen=True)
class NearDuplicate:
    """Two pairs that show the same place.

    Attributes:
        index: Number of the pair in its split.
        name: Its name.
        other: Name of the pair of the other split.
        relation: How they were found.
        correlation: Of the thumbnails; of both dates the smaller one where the frames are shifted.
        overlap: Share of the area that both have in common, 1 in the same frame.
    """

    index: int
    name: str
    other: str
    relation: Relation
    correlation: float
    overlap: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return asdict(self)


def make_thumbnails(
    pairs: Sequence[LabelledPair],
    *,
    encoding: LabelEncoding,
    channels: int = 3,
    progress: Progress | None = None,
) -> Thumbnails:
    """Read pairs and shrink them.

    Args:
        pairs: Labelled pairs.
        encoding: What the labels' values mean.
        channels: Channels that the images must have.
        progress: Told after every pair.

    Raises:
        DataError: If a pair cannot be read.
    """
    shrink = partial(_shrink, encoding=encoding, channels=channels)
    made = list(map_in_order(shrink, pairs, progress=progress))
    none = np.zeros((0, 2, THUMBNAIL_PX, THUMBNAIL_PX), dtype=np.float32)
    return Thumbnails(
        names=tuple(pair.name for pair in pairs),
        grey=np.stack([grey for grey, _ in made]) if made else none,
        digests=tuple(digests for _, digests in made),
    )


def thumbnail(image: Pixels) -> npt.NDArray[np.float32]:
    """Shrink an image, (H, W, C), to 16 x 16 cells, each the mean of all bands of its pixels."""
    grey = image.mean(axis=2, dtype=np.float32)
    side = (THUMBNAIL_PX, THUMBNAIL_PX)
    shrunk = Image.fromarray(grey).resize(side, Image.Resampling.BOX)
    return np.asarray(shrunk, dtype=np.float32)


def find_near_duplicates(
    pairs: Thumbnails,
    others: Thumbnails,
    *,
    limit: float = DEFAULT_LIMIT,
    shifts: Shifts = "search",
) -> list[NearDuplicate]:
    """Compare every pair with every other one.

    Args:
        pairs: Of the split in question.
        others: Of the split that it must not repeat.
        limit: Correlation from which on they are near-duplicates, in (0, 1].
        shifts: Whether frames that only overlap are searched as well.

    Returns:
        All near-duplicates, in the order of ``pairs``, the most alike first.

    Raises:
        ConfigError: If the limit is out of range.
    """
    if not 0.0 < limit <= 1.0:
        raise ConfigError(f"the limit of the correlation must be in (0, 1], got {limit:g}")
    found = []
    at_once = max(1, _COMPARED_AT_ONCE // max(1, len(others.names)))
    for first in range(0, len(pairs.names) if others.names else 0, at_once):
        grey = pairs.grey[first : first + at_once]
        framed = _same_frame(grey, others.grey)
        shifted, overlap = _shifted(grey, others.grey, shifts)
        identical = _identical(pairs.digests[first : first + at_once], others.digests)
        # The sum of a rotated image may miss 1 by rounding.
        near = identical | (np.maximum(framed, shifted) >= limit - 1e-6)
        for row, column in np.argwhere(near):
            place = row, column
            is_framed = identical[place] or framed[place] >= limit - 1e-6
            relation: Relation = "same frame" if is_framed else "shifted"
            found.append(
                NearDuplicate(
                    index=first + int(row),
                    name=pairs.names[first + row],
                    other=others.names[column],
                    relation="identical" if identical[place] else relation,
                    correlation=float((framed if is_framed else shifted)[place].clip(-1.0, 1.0)),
                    overlap=1.0 if is_framed else float(overlap[place]),
                )
            )
    return sorted(found, key=lambda one: (one.index, one.relation != "identical", -one.correlation))


def _shrink(
    pair: LabelledPair, *, encoding: LabelEncoding, channels: int
) -> tuple[npt.NDArray[np.float32], tuple[bytes | None, bytes | None]]:
    decoded = read_pair(pair, encoding=encoding, channels=channels)
    if not np.isfinite(decoded.before).all() or not np.isfinite(decoded.after).all():
        raise DataError(f"{pair.source} has NaN values; fill or mask them")
    grey = np.stack([thumbnail(decoded.before), thumbnail(decoded.after)])
    return grey, (_digest(decoded.before), _digest(decoded.after))


def _digest(image: Pixels) -> bytes | None:
    # An image of one colour (no data) says nothing of the place.
    if (image == image[0, 0]).all():
        return None
    shape = f"{image.dtype.str} {image.shape}".encode()
    return hashlib.blake2b(shape + np.ascontiguousarray(image).tobytes(), digest_size=16).digest()


def _identical(
    digests: Sequence[tuple[bytes | None, ...]], others: Sequence[tuple[bytes | None, ...]]
) -> npt.NDArray[np.bool_]:
    """Tell which pairs have an image in common, (N, M)."""
    holders: dict[bytes, list[int]] = {}
    for column, own in enumerate(others):
        for digest in own:
            if digest is not None:
                holders.setdefault(digest, []).append(column)
    shared = np.zeros((len(digests), len(others)), dtype=np.bool_)
    for row, own in enumerate(digests):
        for digest in own:
            if digest is not None:
                shared[row, holders.get(digest, [])] = True
    return shared


def _same_frame(
    grey: npt.NDArray[np.float32], others: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Correlate any date with any date in one frame; the highest of all rotations, (N, M)."""
    best = np.full((len(grey), len(others)), -1.0, dtype=np.float32)
    ours = _dates(grey)
    for turned in _turns(others):
        theirs = _dates(turned).transpose(0, 2, 1)
        for first, second in product((0, 1), repeat=2):
            np.maximum(best, ours[first] @ theirs[second], out=best)
    return best


def _shifted(
    grey: npt.NDArray[np.float32], others: npt.NDArray[np.float32], shifts: Shifts
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Correlate both dates at every shift; the highest smaller one and its overlap, (N, M)."""
    best = np.full((len(grey), len(others)), -1.0, dtype=np.float32)
    overlap = np.zeros_like(best)
    if shifts == "none":
        return best, overlap
    turns = list(_turns(others))
    steps = range(-_FURTHEST, _FURTHEST + 1)
    for down, right in product(steps, steps):
        ours = _dates(_common(grey, down, right))
        area = (THUMBNAIL_PX - abs(down)) * (THUMBNAIL_PX - abs(right))
        for turned in turns:
            theirs = _dates(_common(turned, -down, -right)).transpose(0, 2, 1)
            straight = np.minimum(ours[0] @ theirs[0], ours[1] @ theirs[1])
            swapped = np.minimum(ours[0] @ theirs[1], ours[1] @ theirs[0])
            here = np.maximum(straight, swapped, out=straight)
            is_better = here > best
            np.copyto(best, here, where=is_better)
            np.copyto(overlap, area / THUMBNAIL_PX**2, where=is_better)
    return best, overlap


def _turns(grey: npt.NDArray[np.float32]) -> Iterator[npt.NDArray[np.float32]]:
    """Return all eight rotations and mirror images."""
    for mirrored in (grey, grey[..., ::-1]):
        for quarters in range(4):
            yield np.rot90(mirrored, quarters, axes=(-2, -1))


def _common(grey: npt.NDArray[np.float32], down: int, right: int) -> npt.NDArray[np.float32]:
    """Cut out what remains inside another frame that lies so many cells further."""
    rows = slice(max(0, down), THUMBNAIL_PX + min(0, down))
    columns = slice(max(0, right), THUMBNAIL_PX + min(0, right))
    return grey[:, :, rows, columns]


def _dates(grey: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Bring each image to mean 0 and length 1, (N, 2, h, w) -> (2, N, h * w), date by date.

    The product of two is their correlation. An image without structure becomes 0, like none.
    """
    flat = grey.reshape(*grey.shape[:2], -1).transpose(1, 0, 2)
    centred = flat - flat.mean(axis=2, keepdims=True)
    length = np.sqrt(np.einsum("dnc,dnc->dn", centred, centred))[..., None]
    flatness = _FLAT * np.abs(flat).max(axis=2, keepdims=True) * np.sqrt(flat.shape[2])
    standardised: npt.NDArray[np.float32] = np.divide(
        centred, length, out=np.zeros_like(centred), where=length > flatness
    )
    return standardised
