"""Read model cards of format 1, whose provenance was a sentence, as cards of format 2."""

import ast
import re
from collections.abc import Mapping
from typing import Any, get_args

from changedet.selection import Selection, SelectionKind
from changedet.types import Mode, Precision, TestTime

# The split was written as Python shows a text: in double quotes if it holds a single one. The name
# of the data set may hold anything, also "(12 images), old"; the last number of images is the one
# that was written.
_BEST_F1 = re.compile(
    r"""max-F1\ on\ split\ (?P<split>'(?:[^'\\]|\\[\\'nrtxuU])*'|"(?:[^"\\]|\\[\\'nrtxuU])*")
    \ of\ (?P<data>.*)\ \((?P<images>\d+)\ images?\)(?P<how>(?:[,;].*)?)""",
    re.DOTALL | re.VERBOSE,
)
_TRAINED = re.compile(r", epoch (?P<epoch>\d+), batch (?P<batch>\d+)")
_CALIBRATED = re.compile(
    f", calibrated with mode (?P<mode>{'|'.join(get_args(Mode))}), "
    f"test-time augmentation (?P<test_time>{'|'.join(get_args(TestTime))}), "
    f"(?P<precision>{'|'.join(get_args(Precision))}) weights"
)
_FIXED: dict[str, SelectionKind] = {
    "given by hand": "user",
    "given by hand when converted": "conversion",
    "Otsu of each image": "otsu",
}
# Those of the members of an ensemble were joined.
_NEXT_MEMBER = re.compile(r"; (?=max-F1 on split ['\"])")


def upgrade_card(values: Mapping[str, Any]) -> dict[str, Any]:
    """Give the values of a format-1 card as they stand in one of format 2.

    Raises:
        TypeError: If one of its sentences is no text.
    """
    upgraded = dict(values)
    threshold = _sentence(upgraded.pop("threshold_source", None))
    weights = _sentence(upgraded.pop("selection_source", None))
    by_threshold = None if threshold is None else parse_selection(threshold)
    by_weights = [] if weights is None else parse_selections(weights)
    # Before the choice of the weights had a sentence of its own, the threshold was chosen together
    # with them, unless it was calibrated later.
    is_calibrated = "calibration" in (values.get("metrics") or ())
    if weights is None and by_threshold and by_threshold.split and not is_calibrated:
        by_weights = [by_threshold]
    upgraded["threshold_selection"] = by_threshold and by_threshold.to_dict()
    upgraded["weights_selection"] = [selection.to_dict() for selection in by_weights]
    return upgraded


def parse_selections(sentences: str) -> list[Selection]:
    """Read back the sentences of an ensemble's members, joined by semicolons."""
    return [parse_selection(sentence) for sentence in _NEXT_MEMBER.split(sentences)]


def parse_selection(sentence: str) -> Selection:
    """Read a sentence back; what is not understood stays as its text."""
    if sentence in _FIXED:
        return Selection(_FIXED[sentence])
    found = _BEST_F1.fullmatch(sentence)
    if found is None:
        return Selection("other", text=sentence)
    data, images, how = found["data"], int(found["images"]), found["how"]
    try:
        split: str = ast.literal_eval(found["split"])
    except (SyntaxError, ValueError):
        return Selection("other", text=sentence)
    if trained := _TRAINED.fullmatch(how):
        epoch, batch = int(trained["epoch"]), int(trained["batch"])
        return Selection("training", data, split, images, epoch=epoch, batch=batch)
    if calibrated := _CALIBRATED.fullmatch(how):
        settings: dict[str, Any] = calibrated.groupdict()
        return Selection("calibration", data, split, images, **settings)
    return Selection("split", data, split, images, text=sentence if how else None)


def _sentence(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value or None
    raise TypeError(f"the source of the threshold or the weights must be text, got {value!r}")
