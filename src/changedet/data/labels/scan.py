"""What the values of change masks mean: determined once, from all masks of a data set.

A mask is 0/1, 0/255, 1 bit, palette or colour on black, or greyscale JPEG as in CDD. One mask alone
often cannot tell (an empty one is 0 in all of them), so :func:`scan_labels` looks at all of them
and refuses what contradicts itself; nothing is guessed pixel by pixel later.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from changedet.data.labels.encoding import (
    LabelEncoding,
    MaskCount,
    changed_share,
    count_meanings,
    decide_encoding,
)
from changedet.data.labels.masks import MaskHistogram, RawMask, read_mask
from changedet.data.parallel import map_in_order
from changedet.errors import DataError
from changedet.types import IGNORED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from changedet.data.labelled import LabelledPair

__all__ = ["LabelEncoding", "LabelScan", "read_label", "scan_labels"]


@dataclass(frozen=True)
class LabelScan:
    """What all masks of a data set together say.

    Attributes:
        encoding: What the values mean.
        changed_share: Share of changed pixels among those that are not ignored, in [0, 1].
        images: Number of masks.
        empty: Names of pairs without a changed pixel.
        full: Names of pairs with changed pixels only.
        notes: Sentences worth telling the user.
        counts: Pixels by pair.
    """

    encoding: LabelEncoding
    changed_share: float
    images: int
    empty: tuple[str, ...]
    full: tuple[str, ...]
    notes: tuple[str, ...] = ()
    counts: Mapping[LabelledPair, MaskCount] = field(default_factory=dict, repr=False)

    def share_of(self, pairs: Sequence[LabelledPair]) -> float:
        """Share of changed pixels, in [0, 1], over some of the scanned pairs (the train split)."""
        unknown = next((pair for pair in pairs if pair not in self.counts), None)
        if unknown is not None:
            raise DataError(f"{unknown.source} is not one of the scanned pairs")
        return changed_share(self.counts[pair] for pair in pairs)


def scan_labels(
    pairs: Sequence[LabelledPair],
    *,
    ignore_value: int | None = None,
    changed_values: tuple[int, ...] | None = None,
) -> LabelScan:
    """Decide the encoding from all masks and count changed pixels.

    Args:
        pairs: All pairs of the data set, of every split.
        ignore_value: Stored value of pixels that count as neither changed nor unchanged.
        changed_values: Stored values that mean changed; every other value is unchanged.

    Raises:
        DataError: If there is no mask, one cannot be read, or their values cannot be understood.
    """
    facts = list(map_in_order(lambda pair: pair.inspect_label(), pairs))
    encoding = decide_encoding(facts, ignore_value=ignore_value, changed_values=changed_values)
    counts = {pair: count_meanings(mask, encoding) for pair, mask in zip(pairs, facts, strict=True)}
    per_pair = [(pair.name, counts[pair]) for pair in pairs]
    return LabelScan(
        encoding=encoding,
        changed_share=changed_share(count for _, count in per_pair),
        images=len(pairs),
        empty=tuple(name for name, count in per_pair if not count.changed),
        full=tuple(name for name, count in per_pair if count.changed and not count.unchanged),
        notes=notes_on(facts, encoding),
        counts=counts,
    )


def read_label(path: Path, encoding: LabelEncoding) -> npt.NDArray[np.uint8]:
    """Read a mask, (H, W): 0 unchanged, 1 changed, 255 ignored.

    Raises:
        DataError: If it cannot be read or does not follow ``encoding``.
    """
    return decode_mask(path, read_mask(path), encoding)


def decode_mask(path: Path, raw: RawMask, encoding: LabelEncoding) -> npt.NDArray[np.uint8]:
    """Turn the stored values of a mask into 0 unchanged, 1 changed, 255 ignored, (H, W).

    Raises:
        DataError: If it does not follow ``encoding``.
    """
    if encoding.grey_threshold is None:
        follows = raw.kind != "jpeg" or not raw.values.any()
    else:
        follows = raw.kind in ("jpeg", "bit") or bool(np.isin(raw.values, (0, 255)).all())
    if not follows:
        raise DataError(
            f"{path}: {'a JPEG' if raw.kind == 'jpeg' else 'other values'} among labels encoded as "
            f"{encoding.describe()}; check the data with: changedet data check"
        )
    try:
        if raw.known is None:
            return encoding.decode(raw.values)
        label = np.full(raw.values.shape, IGNORED, dtype=np.uint8)
        # What is unknown may have any value.
        label[raw.known] = encoding.decode(raw.values[raw.known])
        return label
    except DataError as error:
        raise DataError(f"{path}: {error}; check the data with: changedet data check") from error


def notes_on(masks: Sequence[MaskHistogram], encoding: LabelEncoding) -> tuple[str, ...]:
    """Sentences about what is legal in the masks but seldom meant."""
    notes = []
    greys = [mask.brightest for mask in masks if mask.kind == "jpeg"]
    threshold = encoding.grey_threshold
    if threshold is not None and greys and max(greys) < threshold:
        notes.append(
            f"no JPEG label is brighter than {max(greys)}, so no pixel counts as changed "
            f"(from {threshold} on); if these are 0/1 masks, they must not be stored as JPEG"
        )
    seen = {value for mask in masks for value in mask.counts}
    if encoding.kind == "declared":
        notes += [
            f"the changed value {value} does not occur in any label"
            for value in encoding.changed
            if value not in seen
        ]
    if encoding.ignore_value is not None and encoding.ignore_value not in seen:
        notes.append(f"the ignore value {encoding.ignore_value} does not occur in any label")
    return tuple(notes)
