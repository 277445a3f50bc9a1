"""What an exported file says of itself, to this package and to others."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import TYPE_CHECKING, Final

from changedet.card import CARD_KEY, FORMAT_VERSION, PARAMETERS_KEY, PRECISION_KEY
from changedet.raster.grid import default_overlap, round_up
from changedet.storage.onnx_file import GRAPH_KEY

if TYPE_CHECKING:
    from changedet.card import ModelCard
    from changedet.storage.onnx_file import GraphFacts

_LARGEST_VALUE: Final = 255.0
_CENTIMETRES: Final = 100.0
_PERCENT: Final = 100
_HALF: Final = 0.5


def describe_graph(
    card: ModelCard, facts: GraphFacts, *, parameters: int, precision: str
) -> dict[str, str]:
    """Give the metadata of an ONNX file.

    Besides the card, these are what the QGIS plugin Deepness reads
    (qgis-plugin-deepness.readthedocs.io, "Adding metadata to ONNX model"), and GeoDeep, which
    takes the same: type, classes, resolution, tile and threshold. Both give the graph one image
    with the bands of both dates, the earlier ones first. Deepness divides 8-bit values by 255 and
    standardises; the factors written here undo that.

    Args:
        card: What is known of the network.
        facts: What the graph takes and gives.
        parameters: Number of trained values.
        precision: Type of the weights.
    """
    stated = dataclasses.replace(card, format_version=FORMAT_VERSION)
    tile_px = round_up(card.tile_px, facts.stride)
    names = [kind.name for kind in card.kinds] or ["change"]
    classes = names if facts.kinds > 1 else ["unchanged", *names]
    values = {
        "model_type": "Segmentor",
        "class_names": {str(index): name for index, name in enumerate(classes)},
        "tile_size": tile_px,
        "tiles_size": tile_px,
        "tiles_overlap": round(_PERCENT * default_overlap(tile_px) / tile_px),
        "seg_thresh": stored_thresholds(card, facts.kinds)[0],
        "seg_small_segment": 0,
        "standardization_mean": [0.0] * facts.channels,
        "standardization_std": [1.0 / _LARGEST_VALUE] * facts.channels,
    }
    gsd_m = typical_gsd(card)
    if gsd_m is not None:
        values["resolution"] = _CENTIMETRES * gsd_m
    return {
        CARD_KEY: json.dumps(stated.to_dict(), allow_nan=False),
        PARAMETERS_KEY: str(parameters),
        PRECISION_KEY: precision,
        GRAPH_KEY: facts.to_json(),
        **{name: json.dumps(value) for name, value in values.items()},
    }


def stored_thresholds(card: ModelCard, kinds: int) -> list[float]:
    """Give the thresholds for what the graph gives, which no temperature has changed yet.

    Args:
        card: What is known of the network.
        kinds: Number of kinds of change that the graph scores.

    Returns:
        One score in [0, 1] for each kind; a half where none was chosen.
    """
    if not card.kinds:
        return [_HALF if card.threshold is None else card.threshold] * kinds
    found = []
    for kind in card.kinds:
        score = _HALF if kind.threshold is None else kind.threshold
        if kind.temperature is not None and 0.0 < score < 1.0:
            logit = math.log(score / (1.0 - score)) * kind.temperature
            score = 1.0 / (1.0 + math.exp(-logit))
        found.append(score)
    return found


def typical_gsd(card: ModelCard) -> float | None:
    """Give the finest ground sample distance that suits a model, in metres, if it states any."""
    stated = card.working_gsd_m or (card.domain.gsd_m if card.domain is not None else None)
    return None if stated is None else stated[0]
