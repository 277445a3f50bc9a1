"""Tiles of a data set, as the graph of a model sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from changedet.data.index import index_pairs
from changedet.data.labels.scan import scan_labels
from changedet.data.seen import is_same_data_set
from changedet.data.survey import BandChoice
from changedet.errors import DataError
from changedet.inference.graph_scorer import GraphScorer
from changedet.inference.tiling import score_pairs
from changedet.inference.working_gsd import match_gsd
from changedet.raster.geo_grid import Window

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from changedet.card import ModelCard
    from changedet.data.index import PairIndex
    from changedet.data.labelled import LabelledPair
    from changedet.data.labels.encoding import LabelEncoding
    from changedet.inference.scorer import Image
    from changedet.storage.onnx_file import GraphFacts


class _Recorder:
    """Stands in for a graph, and notes what it is given."""

    runtime = "none"

    def __init__(self, facts: GraphFacts) -> None:
        self.facts = facts
        self.seen: list[NDArray[np.float32]] = []

    def run(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Note a batch; every score is 0."""
        self.seen.append(image)
        return np.zeros((len(image), self.facts.kinds, *image.shape[2:]), np.float32)


class Middle(NamedTuple):
    """The tile in the middle of a pair.

    Attributes:
        before: Stored values, (h, w, C).
        after: The same at the later date.
        label: 0 unchanged, 1 changed, 255 ignored, (h, w); None: not known.
    """

    before: Image
    after: Image
    label: NDArray[np.uint8] | None


class Chosen(NamedTuple):
    """Pairs of a data set.

    Attributes:
        pairs: Evenly spread over a split.
        encoding: What the values of their labels mean; None: they have none that can be used.
    """

    pairs: tuple[LabelledPair, ...]
    encoding: LabelEncoding | None


def choose_pairs(data: str | Path, card: ModelCard, *, split: str, count: int) -> Chosen:
    """Take pairs from a whole split, evenly spread over it.

    Args:
        data: Folder of the data set. Labels are not needed; those of a mixture, whose sets label
            different kinds of change, do not count, nor do those of which it is not clear what they
            mean.
        card: Of the model.
        split: Where they are from.
        count: How many; fewer where the split has fewer.

    Raises:
        DataError: If the data set cannot be read, or has another number of bands.
    """
    bands = BandChoice(card.source_bands, card.source_bands_after, origin="trained")
    channels = len(card.normalisation.mean_before)
    index = index_pairs(
        data,
        labelled=False,
        channels=channels,
        bands=BandChoice() if card.source_bands is None else bands,
    )
    if index.channels != channels:
        raise DataError(
            f"the images of {data} have {index.channels} bands, and the model takes {channels}; "
            "give a data set like the one that it was trained on"
        )
    pairs = index.split(split)
    step = max(1.0, len(pairs) / count)
    chosen = tuple(pairs[int(place * step)] for place in range(min(count, len(pairs))))
    return Chosen(chosen, _encoding(index, card))


def _encoding(index: PairIndex, card: ModelCard) -> LabelEncoding | None:
    if index.mixture is not None or not all(pair.is_labelled for pair in index.pairs):
        return None
    known = card.label if is_same_data_set(card.data_name, index.name) else None
    declared = known or {}
    try:
        return scan_labels(
            index.pairs,
            ignore_value=declared.get("ignore_value"),
            changed_values=declared.get("changed") if declared.get("kind") == "declared" else None,
        ).encoding
    except DataError:
        return None


def middles(
    pairs: Sequence[LabelledPair], card: ModelCard, encoding: LabelEncoding | None
) -> Iterator[Middle]:
    """Read the tile in the middle of each pair.

    Args:
        pairs: Of a data set.
        card: Of the model, whose tile it is.
        encoding: What the values of the labels mean; None: they are not read.

    Raises:
        DataError: If one cannot be read.
    """
    channels, side = len(card.normalisation.mean_before), card.tile_px
    for pair in pairs:
        height, width = pair.size()
        window = Window(
            top=max(0, (height - side) // 2),
            left=max(0, (width - side) // 2),
            height=min(side, height),
            width=min(side, width),
        )
        if encoding is None:
            before, after, _ = pair.read_images([window], channels=channels)[0]
            yield Middle(before, after, None)
        else:
            view = pair.open(encoding=encoding, channels=channels, fill=card.normalisation)
            yield Middle(*view.read(window))


def tiles_seen(
    pairs: Sequence[LabelledPair],
    card: ModelCard,
    facts: GraphFacts,
    *,
    gsd_m: float | None,
) -> list[NDArray[np.float32]]:
    """Give what a graph is shown of pairs at prediction: resampled, in every test-time view.

    Args:
        pairs: One tile is cut out of the middle of each.
        card: Of the model.
        facts: Of the graph.
        gsd_m: Ground sample distance of the images in metres; None: they are not resampled.

    Returns:
        Batches of (1, 2 C, h, w).
    """
    recorder = _Recorder(facts)
    scorer = GraphScorer(recorder, card)
    zoom = match_gsd(card, given=gsd_m, measured=None).factor
    if zoom != 1.0:
        scorer = scorer.zoomed(zoom)
    read = middles(pairs, card, None)
    for _ in score_pairs(scorer, read, images=lambda one: one[:2], batch_size=1):
        pass
    return recorder.seen
