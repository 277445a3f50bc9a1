"""The network in ``predict_geotiff`` of geoai-py, in the environment of install.sh.

python geoai_script.py NETWORK.pt STACK.tif FOLDER THRESHOLD
"""

import sys
from pathlib import Path

import numpy as np
import rasterio
import torch
from geoai.inference import predict_geotiff  # type: ignore[import-not-found]


def main() -> None:
    """Score one raster that holds both dates, and make the mask."""
    network_path, stack, folder, threshold = sys.argv[1:]
    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    score = out / "score.tif"
    predict_geotiff(
        torch.jit.load(network_path).eval(),  # type: ignore[no-untyped-call]
        stack,
        str(score),
        tile_size=512,
        overlap=128,
        batch_size=4,
        device="cpu",
        # By default values of 8 bits are divided by 255; the network wants them as they are.
        preprocess_fn=lambda tile: tile.astype(np.float32),
        verbose=False,
    )
    with rasterio.open(score) as raster:
        mask = (raster.read(1) >= float(threshold)).astype(np.uint8)
        profile = {**raster.profile, "dtype": "uint8", "nodata": None}
    with rasterio.open(out / "mask.tif", "w", **profile) as raster:
        raster.write(mask, 1)


if __name__ == "__main__":
    main()
