"""What is often written by hand: both images in memory, a loop over tiles, a mean where they lap.

    python plain_script.py NETWORK.pt BEFORE.tif AFTER.tif OUT.tif THRESHOLD

NETWORK.pt takes (B, 6, H, W) stored values as TorchScript. Scores and mask are plain GeoTIFFs.
"""

import sys

import numpy as np
import rasterio
import torch

TILE, OVERLAP, BATCH = 512, 128, 4


def main() -> None:
    """Score one pair."""
    network_path, before_path, after_path, out, threshold = sys.argv[1:]
    network = torch.jit.load(network_path).eval()  # type: ignore[no-untyped-call]
    with rasterio.open(before_path) as before, rasterio.open(after_path) as after:
        image = np.concatenate([before.read(), after.read()])
        profile = before.profile
    height, width = image.shape[1:]
    step = TILE - OVERLAP
    rows, columns = (-(-max(side - TILE, 0) // step) * step + TILE for side in (height, width))
    image = np.pad(image, ((0, 0), (0, rows - height), (0, columns - width)), mode="reflect")
    total = np.zeros((rows, columns), np.float32)
    count = np.zeros((rows, columns), np.float32)
    places = [
        (top, left)
        for top in range(0, rows - OVERLAP, step)
        for left in range(0, columns - OVERLAP, step)
    ]
    for start in range(0, len(places), BATCH):
        some = places[start : start + BATCH]
        tiles = np.stack([image[:, t : t + TILE, left : left + TILE] for t, left in some])
        with torch.inference_mode():
            scores = network(torch.from_numpy(tiles).float())[:, 0].numpy()
        for (top, left), score in zip(some, scores, strict=True):
            total[top : top + TILE, left : left + TILE] += score
            count[top : top + TILE, left : left + TILE] += 1
    score = (total / count)[:height, :width]
    mask = (score >= float(threshold)).astype(np.uint8)
    profile = {k: profile[k] for k in ("height", "width", "crs", "transform")}
    for path, values in ((out, score), (out.replace(".tif", "_mask.tif"), mask)):
        options = {"driver": "GTiff", "count": 1, "dtype": values.dtype, "compress": "deflate"}
        with rasterio.open(path, "w", **options, **profile) as raster:
            raster.write(values, 1)


if __name__ == "__main__":
    main()
