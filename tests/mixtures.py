"""A mixture of data sets, and a model of several kinds of change that finds something in it."""

from pathlib import Path
from typing import Any

import torch

from changedet.card import ModelCard
from changedet.kinds import KindOfChange
from changedet.models.model_file import save_model
from changedet.models.registry import create_model
from changedet.types import Normalisation
from conftest import write_split_folders

STATS = Normalisation((120.0,) * 3, (120.0,) * 3, (60.0,) * 3, (60.0,) * 3)
GSD_M = {"towns": 0.5, "suburbs": 1.0, "fields": 2.0}
KINDS = {"towns": "building", "suburbs": "building", "fields": "cropland"}
SIGNS = torch.tensor([1.0, -1.0, 1.0]).view(3, 1, 1, 1)
#: As a training left it: other scores, so other thresholds.
FORMER = (
    KindOfChange("any", 0.25, temperature=1.5),
    KindOfChange("building", 0.3, temperature=2.5),
    KindOfChange("cropland", 0.9, temperature=0.5),
)


def write_mixture(folder: Path) -> Path:
    """Write three small data sets of two kinds, and the mixture of them."""
    lines = ["sets:"]
    for name, (pairs, size_px) in {"towns": (2, 64), "suburbs": (1, 64), "fields": (1, 96)}.items():
        write_split_folders(folder / name, counts=(1, pairs, 0), size_px=size_px)
        lines.append(f"  {name}: {{data: {name}, kind: {KINDS[name]}, gsd_m: {GSD_M[name]}}}")
    path = folder / "mixture.yaml"
    path.write_text("\n".join(lines))
    return path


def write_model(path: Path, **fields: Any) -> Path:
    """Write a model of three kinds of change, or of those in ``kinds``."""
    torch.manual_seed(5)
    network = create_model(
        "siamese_pyramid",
        encoder="test_efficientnet",
        decoder_width=8,
        kinds=tuple(kind.name for kind in fields.get("kinds", FORMER)) or ("any",),
    )
    # Finds most of the bright squares, by chance.
    with torch.no_grad():
        drawn = torch.empty(3, 8, 1, 1).normal_(std=3.0) * SIGNS
        network.predict.weight.copy_(drawn[: len(network.kinds)])
    network.eval()
    card = ModelCard(
        "siamese_pyramid",
        network.options,
        STATS,
        tile_px=64,
        **{"kinds": FORMER, "working_gsd_m": (0.5, 1.0), "threshold": 0.25, **fields},
    )
    save_model(path, network, card)
    return path
