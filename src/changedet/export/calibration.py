"""Tiles of a data set, as the graph of a model sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from changedet.data.index import index_pairs
from changedet.data.survey import BandChoice
from changedet.errors import DataError
from changedet.inference.graph_scorer import GraphScorer
from changedet.inference.tiling import score_pairs
from changedet.inference.working_gsd import match_gsd
from changedet.raster.geo_grid import Window

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from changedet.card import ModelCard
    from changedet.data.labelled import BothDates, LabelledPair
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


def choose_pairs(
    data: str | Path, card: ModelCard, *, split: str, count: int
) -> tuple[LabelledPair, ...]:
    """Take pairs from a whole split, evenly spread over it.

    Args:
        data: Folder of the data set; labels are not needed.
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
    return tuple(pairs[int(place * step)] for place in range(min(count, len(pairs))))


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
    channels = facts.channels // 2
    read = (_middle(pair, side=card.tile_px, channels=channels) for pair in pairs)
    for _ in score_pairs(scorer, read, images=lambda both: both[:2], batch_size=1):
        pass
    return recorder.seen


def _middle(pair: LabelledPair, *, side: int, channels: int) -> BothDates:
    height, width = pair.size()
    window = Window(
        top=max(0, (height - side) // 2),
        left=max(0, (width - side) // 2),
        height=min(side, height),
        width=min(side, width),
    )
    return pair.read_images([window], channels=channels)[0]
