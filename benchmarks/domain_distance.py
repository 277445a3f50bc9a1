"""Whether the distance from the training images tells pairs from home from pairs from elsewhere.

    python benchmarks/domain_distance.py clcd=CLCD levir=LEVIR gzcd=GZCD ... [--out table.md]

Every data set stands in for the training set of a model once: its training pairs are described as
training does, its validation pairs tell which distances are usual. Then the validation pairs of all
sets are compared to it.

First table   a row for each such home, a column for where the pairs are from: the share of them
              that lies beyond the usual distance, and the area under the ROC curve of the distance
              between the home's own pairs and those (0.5: it tells nothing, 1: everything).
Second table  a model of all sets but one: the share of the left-out set's pairs that are beyond the
              usual distance of every set, the same for the other sets' own pairs, the area under
              the ROC curve between the two, and the share of the set's pairs that are taken for it
              once it is among the training sets.

Third table   the first set's own validation pairs, changed on purpose: the share beyond the usual
              distance, and the median distance as a multiple of it.

Validation pairs say both what is usual and how many pairs are beyond that: of a home's own pairs,
about one in twenty is by construction.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from scipy.stats import rankdata

from changedet.data.appearance import compare, read_features
from changedet.data.domain import measure_sets, measure_values
from changedet.data.index import index_pairs
from changedet.data.labelled import BothDates, LabelledPair
from changedet.data.parallel import map_in_order
from changedet.data.window_features import (
    FloatArray,
    features_of,
    grid_windows,
    side_px,
    zoomed,
)
from changedet.domain import Appearance, ValueRange

# Training looks at so many at most.
MOST_PAIRS = 64


def area(home: Sequence[float], away: Sequence[float]) -> float:
    """Chance that a pair from elsewhere is farther than one from home, ties counting half."""
    ranks = rankdata([*home, *away])[len(home) :]
    return float((ranks.sum() - len(away) * (len(away) + 1) / 2) / (len(home) * len(away)))


def nearest_ratio(features: FloatArray, sets: Sequence[Appearance]) -> float:
    """Distance of a pair from the nearest set, as a multiple of what is usual there."""
    found = compare(features, sets)
    return np.inf if found is None else min(found.ratios.values())


def beyond(ratios: Sequence[float]) -> str:
    """Share of pairs beyond the usual distance, in words."""
    return f"{100 * np.mean(np.array(ratios) > 1.0):.0f} %"


def first_table(looks: Mapping[str, Appearance], pairs: Mapping[str, list[FloatArray]]) -> str:
    """One home against one place elsewhere."""
    lines = [f"| home \\ pairs of | {' | '.join(pairs)} |", f"|---|{'---|' * len(pairs)}"]
    for home, look in looks.items():
        ratios = {
            name: [nearest_ratio(one, [look]) for one in found] for name, found in pairs.items()
        }
        cells = [
            beyond(own) if name == home else f"{beyond(own)} ({area(ratios[home], own):.2f})"
            for name, own in ratios.items()
        ]
        lines.append(f"| {home} | {' | '.join(cells)} |")
    return "\n".join(lines)


def second_table(looks: Mapping[str, Appearance], pairs: Mapping[str, list[FloatArray]]) -> str:
    """All sets but one, and that one."""
    lines = [
        "| left out | its pairs beyond | other sets' beyond | AUC | taken for it if it is in |",
        "|---|---|---|---|---|",
    ]
    for left_out in looks:
        sets = [look for name, look in looks.items() if name != left_out]
        away = [nearest_ratio(one, sets) for one in pairs[left_out]]
        home = [
            nearest_ratio(one, sets)
            for name, found in pairs.items()
            if name != left_out
            for one in found
        ]
        named = [compare(one, list(looks.values())) for one in pairs[left_out]]
        right = np.mean([found is not None and found.nearest == left_out for found in named])
        lines.append(
            f"| {left_out} | {beyond(away)} | {beyond(home)} | {area(home, away):.2f} | "
            f"{100 * right:.0f} % |"
        )
    return "\n".join(lines)


def other_contrast(window: BothDates, *, gain: float, offset: float) -> BothDates:
    """Brighten or flatten both dates."""
    return BothDates(window.before * gain + offset, window.after * gain + offset, window.valid)


def noisy(window: BothDates) -> BothDates:
    """Add noise of 15 grey values to both dates."""
    before, after = np.random.default_rng(0).normal(0, 15, (2, *window.before.shape))
    return BothDates(
        np.clip(window.before + before, 0, 255), np.clip(window.after + after, 0, 255), window.valid
    )


CHANGES: dict[str, Callable[[BothDates], BothDates]] = {
    "as they are": lambda window: window,
    "first and last band swapped": lambda window: BothDates(
        window.before[..., ::-1], window.after[..., ::-1], window.valid
    ),
    "a third of the contrast": partial(other_contrast, gain=0.3, offset=90.0),
    "half as bright": partial(other_contrast, gain=0.5, offset=0.0),
    "noise of 15 grey values": noisy,
    "one date twice": lambda window: BothDates(window.before, window.before, window.valid),
    "shrunk to 1/2": partial(zoomed, zoom=0.5),
    "shrunk to 1/4": partial(zoomed, zoom=0.25),
}


def third_table(
    look: Appearance, pairs: Sequence[LabelledPair], units: Sequence[ValueRange]
) -> str:
    """Pairs from home that are changed on purpose."""
    lines = ["| changed | beyond | times the usual distance |", "|---|---|---|"]
    for title, change in CHANGES.items():
        ratios = []
        for pair in pairs:
            windows = grid_windows(pair.size(), side_px=side_px(1.0), along_axis=2)
            read = pair.read_images(windows, channels=3)
            ratios.append(nearest_ratio(features_of(map(change, read), units), [look]))
        lines.append(f"| {title} | {beyond(ratios)} | {np.median(ratios):.2f} |")
    return "\n".join(lines)


def spread(pairs: Sequence[LabelledPair], most: int = MOST_PAIRS) -> list[LabelledPair]:
    """Some of the pairs, evenly spread."""
    count = min(len(pairs), most)
    return [pairs[number * len(pairs) // count] for number in range(count)]


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("sets", nargs="+", metavar="NAME=FOLDER")
    parser.add_argument("--val", default="val", help="split that stands in for new images")
    parser.add_argument("--out", type=Path, help="also write the tables into this file")
    asked = parser.parse_args()
    indices = {}
    for word in asked.sets:
        name, _, folder = word.partition("=")
        indices[name] = index_pairs(Path(folder), channels=3)
    everything = [pair for index in indices.values() for pair in spread(index.split("train"))]
    units = measure_values(spread(everything), channels=3)
    if units is None:
        parser.error("no pixel holds an image")
    looks, pairs = {}, {}
    for name, index in indices.items():
        val = index.split(asked.val)
        (looks[name],) = measure_sets(name, index.split("train"), val, units=units)
        read = map_in_order(partial(read_features, units=units), spread(val))
        pairs[name] = [features for features in read if len(features)]
        print(f"{name}: {looks[name].windows} windows, {len(pairs[name])} pairs from {asked.val}")
    first = next(iter(indices))
    third = third_table(looks[first], spread(indices[first].split(asked.val), most=16), units)
    tables = f"{first_table(looks, pairs)}\n\n{second_table(looks, pairs)}\n\n{third}\n"
    print(f"\n{tables}")
    if asked.out is not None:
        asked.out.write_text(tables, encoding="utf-8")


if __name__ == "__main__":
    main()
