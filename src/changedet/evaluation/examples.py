"""Panels of the pairs that say most about a model: its worst, its median and its best."""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from changedet.data.labelled import DecodedPair, LabelledPair
from changedet.inference.detector import Prediction
from changedet.metrics.confusion import Confusion
from changedet.rendering.display import as_rgb
from changedet.rendering.pictures import panel, shrunk, write_jpeg, write_png

Kind = Literal["worst", "median", "best", "no_change"]


#: Folders of the panels, and of the pictures that each one is made of.
PANELS, PARTS = "panels", "panel_parts"
#: Longer side of the latter, in pixels.
_PART_PX = 512
# Unchanged, changed, ignored.
_LABEL_GREYS = (0, 255, 128)


class Choice(NamedTuple):
    """One pair to be shown: its number in the split, why, and its F1 (NaN: undefined)."""

    number: int
    kind: Kind
    f1: float


def choose_pairs(counts: Sequence[Confusion], count: int) -> list[Choice]:
    """Choose pairs by their F1: a third each from the bottom, the middle and the top.

    Pairs without changed and detected pixels have no F1; they only fill up what is left. Equal F1
    keep the order of the pairs, so the choice is always the same.

    Args:
        counts: Confusion of every pair.
        count: How many to choose at most.
    """
    f1 = [confusion.f1 for confusion in counts]
    undefined = [index for index, value in enumerate(f1) if math.isnan(value)]
    ranked = sorted(set(range(len(f1))).difference(undefined), key=lambda index: (f1[index], index))
    wanted = min(count, len(ranked))
    end = (wanted + 1) // 3
    middle = wanted - 2 * end
    first = (len(ranked) - middle) // 2
    chosen: list[tuple[Kind, list[int]]] = [
        ("worst", ranked[:end]),
        ("median", ranked[first : first + middle]),
        ("best", ranked[len(ranked) - end :]),
        ("no_change", undefined[: count - wanted]),
    ]
    return [Choice(index, kind, f1[index]) for kind, indices in chosen for index in indices]


def write_examples(
    folder: Path,
    choices: Iterable[Choice],
    *,
    pairs: Sequence[LabelledPair],
    read: Callable[[LabelledPair], DecodedPair],
    score: Callable[[DecodedPair], NDArray[np.float32]],
    threshold: float,
) -> None:
    """Show the chosen pairs: a panel of each, and its parts as files that a page can show.

    A panel in ``panels/`` has before, after, label, heat map, hits and mistakes in one picture. Its
    folder in ``panel_parts/`` has ``before.jpg``, ``after.jpg``, ``label.png`` (0 unchanged, 255
    changed, 128 ignored) and ``score.png`` (255 times the score), at most 512 pixels wide or high.

    Args:
        folder: Of the evaluation.
        choices: Which pairs, in the order in which the files are numbered.
        pairs: All pairs of the split.
        read: Reads a pair.
        score: Scores a pair, (H, W), in [0, 1].
        threshold: Score from which on a pixel counts as changed.

    Raises:
        StorageError: If a file cannot be written.
    """
    for number, choice in enumerate(choices, start=1):
        pair = pairs[choice.number]
        images = read(pair)
        prediction = Prediction(score(images), threshold)
        f1 = "" if math.isnan(choice.f1) else f"_f1-{choice.f1:.3f}"
        before, after = as_rgb(images.before), as_rgb(images.after)
        picture = panel(
            before,
            after,
            score=prediction.score,
            mask=prediction.mask,
            label=images.label,
            threshold=threshold,
            title=_title(pair.name, choice),
        )
        name = re.sub(r"[^\w.-]+", "_", pair.name)
        stem = f"{number:02d}_{choice.kind}{f1}_{name}"
        write_png(folder / PANELS / f"{stem}.png", picture)
        parts = folder / PARTS / stem
        write_jpeg(parts / "before.jpg", shrunk(before, _PART_PX))
        write_jpeg(parts / "after.jpg", shrunk(after, _PART_PX))
        label = np.choose(np.minimum(images.label, 2), _LABEL_GREYS).astype(np.uint8)
        write_png(parts / "label.png", shrunk(label, _PART_PX, classes=True))
        grey = np.rint(prediction.score * np.float32(255)).astype(np.uint8)
        write_png(parts / "score.png", shrunk(grey, _PART_PX))


def _title(name: str, choice: Choice) -> str:
    words = {"worst": "one of the worst", "median": "typical", "best": "one of the best"}
    if choice.kind not in words:
        return f"{name} - no change labelled or detected"
    return f"{name} - F1 {choice.f1:.3f}, {words[choice.kind]}"
