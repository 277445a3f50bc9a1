"""Compare the results of two checkouts on the same rasters, bit for bit.

    python benchmarks/same_scenes.py EARLIER BEFORE AFTER --model MODEL --work DIR [-- OPTIONS]

EARLIER is a second checkout, for example of commit 59bc17a: ``git worktree add EARLIER 59bc17a``.
Both run with this Python. AFTER is used twice, as it is and warped onto the grid of BEFORE, so that
an unaligned and an aligned pair are compared. OPTIONS are passed to ``changedet predict``. The exit
status is 1 if score.tif, mask.tif or the polygons differ in a single byte.
"""

import argparse
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import rasterio
from rasterio.vrt import WarpedVRT

HERE = Path(__file__).parents[1]
PRODUCTS = ("score.tif", "mask.tif", "polygons.geojson")


def main() -> None:
    """Predict with both, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("earlier", type=Path)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    words = sys.argv[1:]
    split = words.index("--") if "--" in words else len(words)
    asked, options = parser.parse_args(words[:split]), words[split + 1 :]
    asked.work.mkdir(parents=True, exist_ok=True)
    aligned = asked.work / "aligned.tif"
    write_aligned(asked.before, asked.after, aligned)
    differing = 0
    for name, after in (("aligned", aligned), ("unaligned", asked.after)):
        sums = [
            predict(
                checkout,
                [str(asked.before), str(after), "--model", str(asked.model), *options],
                asked.work / f"{name}_{which}",
            )
            for which, checkout in (("earlier", asked.earlier), ("now", HERE))
        ]
        for product in PRODUCTS:
            is_same = sums[0][product] == sums[1][product]
            differing += not is_same
            print(f"{name} {product}: {'the same bytes' if is_same else 'DIFFERENT'}")
    sys.exit(1 if differing else 0)


def write_aligned(before: Path, after: Path, path: Path) -> None:
    """Bring AFTER onto the grid of BEFORE, so that the program finds an aligned pair."""
    with rasterio.open(before) as grid, rasterio.open(after) as source:
        place = {
            "crs": grid.crs,
            "transform": grid.transform,
            "width": grid.width,
            "height": grid.height,
        }
        with WarpedVRT(source, resampling=rasterio.enums.Resampling.cubic, **place) as warped:
            profile = {**source.profile, **place, "driver": "GTiff"}
            with rasterio.open(path, "w", **profile) as file:
                file.write(warped.read())


def predict(checkout: Path, words: list[str], out: Path) -> dict[str, str]:
    """Run ``changedet predict`` of a checkout and give the checksums of its products."""
    command = [sys.executable, "-m", "changedet", "predict", *words, "--polygons", "geojson"]
    environment = {**os.environ, "PYTHONPATH": str(checkout.resolve() / "src")}
    subprocess.run([*command, "--out", str(out), "--overwrite"], check=True, env=environment)
    return {name: hashlib.sha256((out / name).read_bytes()).hexdigest() for name in PRODUCTS}


if __name__ == "__main__":
    main()
