"""The meaning of stored mask values, and how it is determined from all masks of a data set."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from changedet.data.labels.masks import GREY_THRESHOLD, GREY_TO_COLOUR, MaskHistogram
from changedet.errors import CheckpointError, DataError
from changedet.storage.text import first_few
from changedet.types import IGNORED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy.typing as npt

LabelKind = Literal["binary", "one_bit", "jpeg", "colour", "declared", "empty", "polygons"]

# More of a JPEG than this between black and white, and it is no mask.
_MAX_MIDDLE_SHARE = 0.05
_UNKNOWN = 254
_USUAL_CHANGED = (1, 255, 65535)
# Nodata values that may rather be one of the classes.
_USUAL_NODATA = (0, 1, 255)
_few_values = partial(first_few, most=8)


@dataclass(frozen=True)
class LabelEncoding:
    """Which stored values mean changed, unchanged and ignored.

    Attributes:
        kind: ``binary`` (two values), ``one_bit``, ``jpeg`` (grey with smeared edges), ``colour``
            (one colour on black, values 0xRRGGBB), ``declared`` (the changed values were given by
            hand, every other one is unchanged), ``empty`` (all masks are 0) or ``polygons``
            (drawn: inside is changed).
        changed: Stored values of changed pixels.
        unchanged: Stored values of unchanged pixels.
        grey_threshold: Greys from here on are changed (``jpeg`` only).
        ignore_value: Stored value of pixels that count as neither.
    """

    kind: LabelKind
    changed: tuple[int, ...]
    unchanged: tuple[int, ...]
    grey_threshold: int | None = None
    ignore_value: int | None = None

    def decode(self, raw: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        """Turn stored values, (H, W), into 0 unchanged, 1 changed, 255 ignored.

        Args:
            raw: bool (1 bit), uint8 (grey), uint16 or int32 (colours, 0xRRGGBB).

        Raises:
            DataError: If a value occurs that the encoding does not know.
        """
        # The threshold separates dark from bright; the values only say whether dark means changed.
        dark_is_changed = 0 in self.changed
        if raw.dtype == np.bool_:
            return np.asarray(raw != dark_is_changed, dtype=np.uint8)
        if self.grey_threshold is not None:
            bright = raw >= self.grey_threshold
            return np.asarray(bright != dark_is_changed, dtype=np.uint8)
        if raw.dtype == np.uint8 and self.kind != "colour":
            decoded = np.take(self._meaning(np.arange(256)), raw)
        else:
            scale = GREY_TO_COLOUR if raw.dtype == np.uint8 else 1
            decoded = self._meaning(raw.astype(np.int64) * scale)
        unknown = decoded == _UNKNOWN
        if unknown.any():
            values = [int(value) for value in np.unique(raw[unknown])]
            raise DataError(
                f"label value {_few_values(values)} is not in the data set's encoding "
                f"({self.describe()})"
            )
        return decoded

    def describe(self) -> str:
        """Say the encoding in one line."""
        changed = _few_values([self._shown(value) for value in self.changed])
        unchanged = _few_values([self._shown(value) for value in self.unchanged])
        if self.grey_threshold is not None:
            side = "below" if 0 in self.changed else "from"
            text = f"JPEG grey, {side} {self.grey_threshold} = changed"
        elif self.kind == "empty":
            text = "all masks are 0 = unchanged, so the value for changed is unknown"
        elif self.kind == "polygons":
            text = "inside a polygon = changed"
        elif self.kind == "declared":
            text = f"{changed} = changed as declared, everything else = unchanged"
        else:
            text = f"{unchanged} = unchanged, " if unchanged else ""
            text += f"{changed} = changed"
            if self.kind == "one_bit":
                text = f"1 bit, {text}"
            elif self.kind == "binary" and self.changed[0] not in _USUAL_CHANGED:
                text += " (the only other value)"
        return text if self.ignore_value is None else f"{text}, {self.ignore_value} = ignored"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in asdict(self).items()
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> LabelEncoding:
        """Rebuild what :meth:`to_dict` returned.

        Raises:
            CheckpointError: If fields are missing or unknown.
        """
        try:
            values = dict(fields)
            values["changed"] = tuple(int(value) for value in values["changed"])
            values["unchanged"] = tuple(int(value) for value in values["unchanged"])
            return cls(**values)
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"the stored label encoding is damaged ({error}): {dict(fields)}; copy the file "
                "again"
            ) from error

    def _meaning(self, values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
        other = 0 if self.kind == "declared" else _UNKNOWN
        meaning = np.full(values.shape, other, dtype=np.uint8)
        meaning[np.isin(values, self.unchanged)] = 0
        meaning[np.isin(values, self.changed)] = 1
        if self.ignore_value is not None:
            meaning[values == self.ignore_value] = IGNORED
        return meaning

    def _shown(self, value: int) -> str | int:
        return f"#{value:06x}" if self.kind == "colour" else value


class MaskCount(NamedTuple):
    """Pixels of one mask by meaning."""

    unchanged: int
    changed: int
    ignored: int


def decide_encoding(
    masks: Sequence[MaskHistogram],
    *,
    ignore_value: int | None = None,
    changed_values: tuple[int, ...] | None = None,
) -> LabelEncoding:
    """Decide what the values mean from what all masks hold.

    Raises:
        DataError: If the masks contradict each other or their values cannot be understood.
    """
    if not masks:
        raise DataError(
            "there are no labels to determine the encoding from; add masks to the data set"
        )
    if changed_values is not None and ignore_value in changed_values:
        raise DataError(
            f"data.ignore_value {ignore_value} is also one of data.changed_values "
            f"{_few_values(changed_values)}; a value can mean one thing only"
        )
    masks = [mask for mask in masks if mask.kind != "polygons"]
    if not masks:
        return _polygon_encoding(ignore_value, changed_values)
    _refuse_class_as_nodata(masks)
    telling = [mask for mask in masks if not mask.is_blank]
    if any(mask.kind == "jpeg" for mask in masks):
        return _jpeg_encoding(telling, ignore_value, changed_values)
    if changed_values is not None:
        return _declared_encoding(masks, ignore_value, changed_values)
    if telling and all(mask.kind == "bit" for mask in telling):
        return LabelEncoding("one_bit", (1,), (0,), ignore_value=ignore_value)
    return _two_valued_encoding([m for m in telling if m.kind != "bit"], ignore_value)


def count_meanings(mask: MaskHistogram, encoding: LabelEncoding) -> MaskCount:
    """Count unchanged, changed and ignored pixels of a mask."""
    values = np.array(list(mask.counts), dtype=np.int64)
    if mask.kind == "polygons":
        meanings = values.astype(np.uint8)
    elif mask.kind == "bit":
        meanings = encoding.decode(values.astype(np.bool_))
    elif mask.kind == "colour" or encoding.kind != "colour":
        meanings = encoding.decode(values)
    else:
        meanings = encoding.decode(values * GREY_TO_COLOUR)
    numbers = np.array(list(mask.counts.values()), dtype=np.int64)
    unchanged, changed, ignored = (int(numbers[meanings == m].sum()) for m in (0, 1, IGNORED))
    return MaskCount(unchanged, changed, ignored + mask.ignored)


def changed_share(counts: Iterable[MaskCount]) -> float:
    """Share of changed pixels among those that are not ignored; 0 if there are none."""
    unchanged = changed = 0
    for count in counts:
        unchanged += count.unchanged
        changed += count.changed
    return changed / (unchanged + changed) if unchanged + changed else 0.0


def _refuse_class_as_nodata(masks: Sequence[MaskHistogram]) -> None:
    """Refuse rasters whose nodata value hides one of the two classes.

    gdal_rasterize and many tools declare 0 as nodata of what they write.
    """
    hiding = [mask for mask in masks if mask.nodata in _USUAL_NODATA and mask.ignored]
    values = set().union(*(mask.counts for mask in masks))
    if not hiding or len(values) > 1:
        return
    nodata, only = hiding[0].nodata, next(iter(values), None)
    lost = "changed" if only == 0 else "unchanged"
    what = "there is no other value" if only is None else f"all other values are {only}"
    raise DataError(
        f"{_named(hiding)}: the nodata value is {nodata:g} and {what}, so nothing is known to be "
        f"{lost}; if {nodata:g} means {lost}: gdal_edit.py -unsetnodata FILE, for each label"
    )


def _polygon_encoding(
    ignore_value: int | None, changed_values: tuple[int, ...] | None
) -> LabelEncoding:
    if ignore_value is not None or changed_values is not None:
        raise DataError(
            "the labels are polygons, which have no values: remove data.ignore_value and "
            "data.changed_values"
        )
    return LabelEncoding("polygons", (1,), (0,))


def _jpeg_encoding(
    masks: Sequence[MaskHistogram], ignore_value: int | None, changed_values: tuple[int, ...] | None
) -> LabelEncoding:
    if ignore_value is not None or changed_values not in (None, (0,), (255,)):
        raise DataError(
            "some labels are JPEG, which alters values, so only dark and bright can be "
            "distinguished: remove data.ignore_value, and set data.changed_values to [255] or [0] "
            "or remove it"
        )
    grey = [mask for mask in masks if mask.middle_share > _MAX_MIDDLE_SHARE]
    if grey:
        share = max(mask.middle_share for mask in grey)
        raise DataError(
            f"{_named(grey)}: {share:.0%} of the pixels of this JPEG are neither black nor white; "
            "is this an image rather than a label?"
        )
    others = [mask for mask in masks if mask.kind not in ("jpeg", "bit")]
    odd = [mask for mask in others if not set(mask.counts) <= {0, 255}]
    if odd:
        raise DataError(
            f"{_named(odd)}: values {_few_values(_values(odd))} beside labels that are JPEG "
            "(0..255); the labels contradict each other, store all of them as 0/255"
        )
    dark, bright = (0,), (255,)
    changed, unchanged = (dark, bright) if changed_values == dark else (bright, dark)
    return LabelEncoding("jpeg", changed, unchanged, grey_threshold=GREY_THRESHOLD)


def _declared_encoding(
    masks: Sequence[MaskHistogram], ignore_value: int | None, changed_values: tuple[int, ...]
) -> LabelEncoding:
    coloured = [mask for mask in masks if mask.kind == "colour"]
    if coloured:
        raise DataError(
            f"{_named(coloured)}: data.changed_values lists greys, but the label is coloured; "
            "convert the labels to grey PNG"
        )
    unchanged = [v for v in _values(masks) if v not in changed_values and v != ignore_value]
    return LabelEncoding("declared", changed_values, tuple(unchanged), ignore_value=ignore_value)


def _two_valued_encoding(masks: Sequence[MaskHistogram], ignore_value: int | None) -> LabelEncoding:
    coloured = any(mask.kind == "colour" for mask in masks)
    if coloured and ignore_value is not None:
        raise DataError(
            f"{_named(masks)}: data.ignore_value {ignore_value} is a grey, but the label is "
            "coloured; convert the labels to grey PNG"
        )
    values = _values(masks)
    others = [value for value in values if value not in (0, ignore_value)]
    unchanged = () if ignore_value == 0 else (0,)
    if not others:
        return LabelEncoding("empty", (), unchanged, ignore_value=ignore_value)
    if len(others) > 1:
        raise _undeclared(masks, others, values)
    only = others[0]
    if not coloured and only not in _USUAL_CHANGED and not any(0 in m.counts for m in masks):
        raise DataError(
            f"{_named(masks)}: {only} is the only value in the labels, so it is unknown whether it "
            "means changed; set data.changed_values"
        )
    kind: LabelKind = "colour" if coloured else "binary"
    return LabelEncoding(kind, (only,), unchanged, ignore_value=ignore_value)


def _undeclared(masks: Sequence[MaskHistogram], others: list[int], values: list[int]) -> DataError:
    if any(mask.kind == "colour" for mask in masks):
        colours = _few_values([f"#{value:06x}" for value in values])
        return DataError(
            f"{_named(masks)}: colours {colours}, but only black and one other colour are "
            "supported; convert the labels to grey PNG of 0 and 255"
        )
    first = next((mask for mask in masks if len(set(mask.counts) & set(others)) > 1), None)
    if first is None and others == [1, 255]:
        by_value = [next(m for m in masks if value in m.counts) for value in others]
        return DataError(
            f"the labels contradict each other: {by_value[0].path} is 0/1 and {by_value[1].path} "
            "is 0/255; use one encoding, or set data.changed_values or data.ignore_value"
        )
    holders = [first] if first else [next(m for m in masks if v in m.counts) for v in others]
    return DataError(
        f"{_named(holders)}: values {_few_values(values)} in labels other than JPEG, and it is "
        "unknown which of them mean changed; set data.changed_values or data.ignore_value"
    )


def _values(masks: Sequence[MaskHistogram]) -> list[int]:
    coloured = any(mask.kind == "colour" for mask in masks)
    values: set[int] = set()
    for mask in masks:
        scale = GREY_TO_COLOUR if coloured and mask.kind != "colour" else 1
        values.update(value * scale for value in mask.counts)
    return sorted(values)


def _named(masks: Sequence[MaskHistogram]) -> str:
    # The blocks of a scene have their label in common.
    paths = list(dict.fromkeys(str(mask.path) for mask in masks))
    return first_few(paths)
