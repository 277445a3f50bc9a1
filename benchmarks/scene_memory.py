"""Peak memory of `changedet predict` on scenes of several sizes, each in a separate process.

    python benchmarks/scene_memory.py --sizes 4096 12288 24576 --work scenes

The scenes are synthetic GeoTIFFs. The network is tiny and untrained, because a large one would mask
the memory of the pipeline, which is what is measured. Prints one line per size, and the growth.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

BLOCK_PX = 512


def write_scene(path: Path, size_px: int, *, seed: int) -> None:
    """Write a tiled RGB GeoTIFF block by block, without ever holding it."""
    import rasterio
    from affine import Affine
    from rasterio.windows import Window

    rng = np.random.default_rng(seed)
    kinds = np.repeat(
        np.repeat(rng.integers(0, 256, (16, 3, 64, 64), dtype=np.uint8), 8, axis=2), 8, axis=3
    )
    profile = {
        "driver": "GTiff",
        "height": size_px,
        "width": size_px,
        "count": 3,
        "dtype": "uint8",
        "crs": "EPSG:32649",
        "transform": Affine(1.0, 0.0, 500_000.0, 0.0, -1.0, 2_600_000.0),
        "tiled": True,
        "blockxsize": BLOCK_PX,
        "blockysize": BLOCK_PX,
        "compress": "deflate",
        "zlevel": 1,
        "bigtiff": "if_safer",
        "photometric": "rgb",
    }
    with rasterio.Env(GDAL_CACHEMAX=64), rasterio.open(path, "w", **profile) as raster:
        for top in range(0, size_px, BLOCK_PX):
            for left in range(0, size_px, BLOCK_PX):
                block = kinds[rng.integers(len(kinds))]
                raster.write(block, window=Window(left, top, BLOCK_PX, BLOCK_PX))


def write_model(path: Path) -> None:
    """Write a tiny untrained model; its threshold is the 99th percentile of its scores here."""
    import torch

    from changedet.card import ModelCard
    from changedet.models.model_file import save_model
    from changedet.models.registry import create_model
    from changedet.types import Normalisation

    torch.manual_seed(0)
    model = create_model("dasnet", encoder="test_resnet", head_width=8, attention="none")
    stats = Normalisation((128.0,) * 3, (128.0,) * 3, (60.0,) * 3, (60.0,) * 3)
    card = ModelCard(model.architecture, model.options, stats, tile_px=256, threshold=0.0225)
    save_model(path, model, card)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[4096, 24576])
    parser.add_argument("--work", type=Path, required=True)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    model = options.work / "tiny.safetensors"
    write_model(model)
    peaks = {}
    for size_px in options.sizes:
        scenes = [options.work / f"{date}_{size_px}.tif" for date in ("before", "after")]
        for seed, scene in enumerate(scenes):
            if not scene.is_file():
                write_scene(scene, size_px, seed=seed)
        out = options.work / f"out_{size_px}"
        command = [sys.executable, "-m", "changedet", "predict", *map(str, scenes)]
        command += ["--model", str(model), "--out", str(out), "--overwrite"]
        # Less overlap than usual saves an hour of waiting and holds no less in memory.
        command += ["--overlap", "64"]
        started = time.monotonic()
        subprocess.run(command, check=True)
        summary = json.loads((out / "summary.json").read_text())
        peaks[size_px] = summary["peak_memory_mb"]
        print(
            f"{size_px}x{size_px}: peak {peaks[size_px]:.0f} MB, "
            f"{summary['speed']['mpx_per_s']:.2f} Mpx/s while scoring, "
            f"{time.monotonic() - started:.0f} s in all, "
            f"{summary['polygons']['count']} polygons",
            flush=True,
        )
    first, last = peaks[options.sizes[0]], peaks[options.sizes[-1]]
    print(f"growth from the first to the last size: {100 * (last / first - 1):.1f} %")


if __name__ == "__main__":
    main()
