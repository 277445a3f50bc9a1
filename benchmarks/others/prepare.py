"""Scenes, a raster that stacks both dates, and a network as TorchScript, for compare.py.

python prepare.py MODEL.safetensors FOLDER SIZE
"""

import json
import sys
import warnings
from pathlib import Path

import numpy as np
import rasterio
import torch

from changedet.export.graph import StoredToScores
from changedet.models.model_file import load_model
from changedet.speed.scenes import write_scenes


def main() -> None:
    """Write them into a folder."""
    model_path, folder, size = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    model, card = load_model(model_path)
    before, after = write_scenes(folder, size, card)
    with rasterio.open(before) as first, rasterio.open(after) as second:
        profile = {**first.profile, "count": first.count + second.count}
        with rasterio.open(folder / "stack.tif", "w", **profile) as stack:
            stack.write(np.concatenate([first.read(), second.read()]))
    network = StoredToScores(model, card, kind=0).eval()
    example = torch.zeros(1, 2 * model.in_channels, 512, 512)
    with torch.inference_mode(), warnings.catch_warnings():
        # The graph is of tiles of one size, which is all that it is asked for.
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(network, example)  # type: ignore[no-untyped-call]
    traced.save(str(folder / "network.pt"))
    facts = {"size": size, "threshold": 0.5 if card.threshold is None else card.threshold}
    (folder / "facts.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    main()
