"""Compare the accuracy on a scene with that on its chips, with a mosaic of real pairs.

    python benchmarks/scene_accuracy.py --data CLCD --split val --model MODEL --work mosaic

The chips of a split are laid side by side into one scene in UTM. The second date is warped into
EPSG:4326 at a finer resolution and with a shift of a fraction of a pixel, like rasters from another
source; `predict_scene` resamples it to the first date's grid. F1 is pooled over all pixels at the
model's threshold, for the scene and for the individual chips, with the same model, tiles and
test-time augmentation (that of the model file).
"""

import argparse
import json
import math
from pathlib import Path

import numpy as np

from changedet.data.index import PairIndex, index_pairs
from changedet.data.labels.scan import scan_labels
from changedet.data.training.pairs import read_pair
from changedet.inference.detector import load
from changedet.inference.tiling import score_pairs
from changedet.predict.rasters import predict_scene
from changedet.predict.request import SceneRequest
from changedet.predict.tiling import choose_tiling

GSD_M = 1.0
CRS = "EPSG:32649"
#: The finer grid of the second date, in pixels of the first, and how far off its origin lies.
FINER, OFFSET_PX = 0.8, (0.37, 0.61)


def write_mosaic(index: PairIndex, split: str, work: Path) -> dict[str, tuple[int, int]]:
    """Write before.tif (UTM), after.tif (EPSG:4326) and truth.npy; give the chips' places."""
    import rasterio
    from affine import Affine
    from rasterio.warp import Resampling, calculate_default_transform, reproject

    pairs = index.split(split)
    encoding = scan_labels(index.pairs).encoding
    side = read_pair(pairs[0], encoding=encoding).label.shape[0]
    columns = math.ceil(math.sqrt(len(pairs)))
    shape = math.ceil(len(pairs) / columns) * side, columns * side
    before, after = np.zeros((2, 3, *shape), np.uint8)
    truth = np.full(shape, 255, np.uint8)
    places = {}
    for number, pair in enumerate(pairs):
        top, left = number // columns * side, number % columns * side
        decoded = read_pair(pair, encoding=encoding)
        part = np.s_[top : top + side, left : left + side]
        before[:, *part] = decoded.before.transpose(2, 0, 1)
        after[:, *part] = decoded.after.transpose(2, 0, 1)
        truth[part] = decoded.label
        places[pair.name] = top, left
    grid = Affine(GSD_M, 0.0, 700_000.0, 0.0, -GSD_M, 2_560_000.0)
    profile = {"driver": "GTiff", "count": 3, "dtype": "uint8", "tiled": True, "nodata": None}
    with rasterio.open(
        work / "before.tif",
        "w",
        **profile,
        crs=CRS,
        transform=grid,
        height=shape[0],
        width=shape[1],
    ) as raster:
        raster.write(before)
    right, bottom = grid @ (shape[1], shape[0])
    target, width, height = calculate_default_transform(
        CRS, "EPSG:4326", shape[1], shape[0], grid.c, bottom, right, grid.f
    )
    target = target @ Affine.translation(*OFFSET_PX) @ Affine.scale(FINER)
    width, height = math.ceil(width / FINER), math.ceil(height / FINER)
    warped = np.zeros((3, height, width), np.uint8)
    reproject(
        after,
        warped,
        src_transform=grid,
        src_crs=CRS,
        dst_transform=target,
        dst_crs="EPSG:4326",
        resampling=Resampling.cubic,
    )
    seen = np.zeros((height, width), np.uint8)
    reproject(
        np.full(shape, 255, np.uint8),
        seen,
        src_transform=grid,
        src_crs=CRS,
        dst_transform=target,
        dst_crs="EPSG:4326",
        resampling=Resampling.nearest,
    )
    with rasterio.open(
        work / "after.tif",
        "w",
        **profile,
        crs="EPSG:4326",
        transform=target,
        height=height,
        width=width,
    ) as raster:
        raster.write(warped)
        raster.write_mask(seen)
    np.save(work / "truth.npy", truth)
    return places


def f1_of(changed: np.ndarray, truth: np.ndarray) -> float:
    """F1 of the change class where the truth is known."""
    known = truth != 255
    hit = int((changed & (truth == 1) & known).sum())
    return 2 * hit / max(1, int((changed & known).sum()) + int((truth == 1).sum()))


def main() -> None:
    """Measure and print."""
    import rasterio

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", default="val")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--resampling", default="bilinear")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    index = index_pairs(options.data)
    places = write_mosaic(index, options.split, options.work)
    truth = np.load(options.work / "truth.npy")
    detector = load(options.model)
    tiling = choose_tiling(detector, tile_px=None, overlap_px=None, batch_size=None)
    encoding = scan_labels(index.pairs).encoding
    pairs = index.split(options.split)
    chips = np.zeros(truth.shape, np.float32)
    scores = score_pairs(
        detector.scorer,
        ((pair.name, read_pair(pair, encoding=encoding)) for pair in pairs),
        images=lambda item: (item[1].before, item[1].after),
        tile_px=tiling.tile_px,
        overlap_px=tiling.overlap_px,
        batch_size=tiling.batch_size,
    )
    for (name, _), score in scores:
        top, left = places[name]
        height, width = score.shape
        chips[top : top + height, left : left + width] = detector.scorer.to_host(score)
    report = predict_scene(
        SceneRequest(
            before=str(options.work / "before.tif"),
            after=str(options.work / "after.tif"),
            model=options.model,
            out=options.work / "out",
            resampling=options.resampling,
            existing="replace",
        ),
        say=print,
    )
    with rasterio.open(options.work / "out" / "score.tif") as raster:
        scene = raster.read(1)
        placed = raster.transform
    # The common area may leave out a row or column at the edge.
    top, left = round((2_560_000.0 - placed.f) / GSD_M), round((placed.c - 700_000.0) / GSD_M)
    part = np.s_[top : top + scene.shape[0], left : left + scene.shape[1]]
    truth = np.where(np.isnan(scene), 255, truth[part])
    threshold = np.float32(report.threshold)
    figures = {
        "chips_f1": f1_of(chips[part] >= threshold, truth),
        "scene_f1": f1_of(scene >= threshold, truth),
        "pixels": int((truth != 255).sum()),
        "shape": scene.shape,
        "threshold": report.threshold,
        "test_time": detector.test_time,
        "shift": report.content["shift"],
        "coverage": report.content["coverage"],
    }
    figures["difference_points"] = 100 * (figures["scene_f1"] - figures["chips_f1"])
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
