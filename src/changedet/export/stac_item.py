"""An exported model as a STAC Item with the Machine Learning Model extension (stac-extensions/mlm).

The item describes the file beside it: what goes in, what comes out, and its checksum.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from changedet._version import __version__
from changedet.export.metadata import typical_gsd
from changedet.storage.onnx_file import INPUT, OUTPUT

if TYPE_CHECKING:
    from changedet.card import ModelCard
    from changedet.storage.onnx_file import GraphFacts

_SCHEMAS: Final = (
    "https://stac-extensions.github.io/mlm/v1.5.0/schema.json",
    "https://stac-extensions.github.io/file/v2.1.0/schema.json",
)
# Multihash: the code of SHA-256 and the length of its digest in bytes, before the digest.
_SHA256: Final = "1220"
_DATES: Final = ("before", "after")
_ANY: Final = -1


def make_item(
    card: ModelCard,
    facts: GraphFacts,
    *,
    file_name: str,
    size_bytes: int,
    file_sha256: str,
    parameters: int,
) -> dict[str, Any]:
    """Describe an exported model.

    Args:
        card: What is known of the network.
        facts: What the graph takes and gives.
        file_name: Of the ONNX file, which lies beside the item.
        size_bytes: Its size.
        file_sha256: Its checksum.
        parameters: Number of trained values.

    Returns:
        The item, as JSON-able values. It has no place on Earth, for the model file names none.
    """
    bands = [
        f"{date}-{number}"
        for date in _DATES
        for number in range(1, facts.channels // len(_DATES) + 1)
    ]
    sides = [facts.height or _ANY, facts.width or _ANY]
    names = [kind.name for kind in card.kinds] or ["change"]
    properties: dict[str, Any] = {
        "datetime": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "description": f"Change detection in image pairs: {card.architecture}, trained on "
        f"{card.data_name or 'data that the file does not name'}"
        f"{'; quantised: most of it is computed in 8 bits' if facts.is_int8 else ''}.",
        "mlm:name": file_name.rpartition(".")[0],
        "mlm:architecture": card.architecture,
        "mlm:tasks": ["semantic-segmentation"],
        "mlm:framework": "ONNX",
        "mlm:framework_version": None,
        "mlm:accelerator": None,
        "mlm:accelerator_constrained": False,
        "mlm:total_parameters": parameters,
        "mlm:pretrained": True,
        "mlm:pretrained_source": card.data_name,
        "mlm:input": [
            {
                "name": INPUT,
                "bands": bands,
                "description": "Stored values of both dates, the earlier one's bands first; "
                "normalisation is part of the graph. Height and width are multiples of "
                f"{facts.stride}.",
                "input": {
                    "shape": [_ANY, facts.channels, *sides],
                    "dim_order": ["batch", "bands", "height", "width"],
                    "data_type": "float32",
                },
                "pre_processing_function": None,
            }
        ],
        "mlm:output": [
            {
                "name": OUTPUT,
                "tasks": ["semantic-segmentation"],
                "description": "Score of change, 0 to 1, for each kind of change.",
                "result": {
                    "shape": [_ANY, facts.kinds, *sides],
                    "dim_order": ["batch", "channel", "height", "width"],
                    "data_type": "float32",
                },
                "classification:classes": [
                    {"value": index, "name": name, "description": f"{name} change"}
                    for index, name in enumerate(names)
                ],
                "post_processing_function": None,
            }
        ],
        "changedet:version": __version__,
        "changedet:precision": "int8" if facts.is_int8 else "float32",
    }
    gsd_m = typical_gsd(card)
    if gsd_m is not None:
        properties["gsd"] = gsd_m
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": list(_SCHEMAS),
        "id": file_name.rpartition(".")[0],
        "geometry": None,
        "properties": properties,
        "links": [],
        "assets": {
            "model": {
                "href": f"./{file_name}",
                "title": "Graph and weights",
                "type": "application/octet-stream; framework=onnx",
                "roles": ["mlm:model", "mlm:weights"],
                "mlm:artifact_type": "onnx",
                "file:size": size_bytes,
                "file:checksum": _SHA256 + file_sha256,
            }
        },
    }
