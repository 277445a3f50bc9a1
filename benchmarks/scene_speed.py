"""Speed of `changedet predict` on a scene, relative to pure inference.

    python benchmarks/scene_speed.py --model MODEL --size 2048 --rounds 5 --work speed

Pure inference scores the same batches of tiles from memory in a loop and does nothing else. It
alternates with the full pipeline (reading GeoTIFFs, blending, writing) within each round, because
machines are noisy; the result is the ratio of each round. Both use the test-time augmentation that
the model file names.
"""

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from scene_memory import write_scene

from changedet.inference.detector import load
from changedet.predict.flow import score_scene
from changedet.predict.journal import Journal
from changedet.predict.tiling import choose_tiling
from changedet.raster.environment import gdal_environment
from changedet.raster.pair import PairOptions, RasterPair
from changedet.raster.score_store import ScoreFile
from changedet.raster.tile_plan import TilePlan


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--work", type=Path, required=True)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    before, after = (options.work / f"{date}_{options.size}.tif" for date in ("before", "after"))
    for seed, scene in enumerate((before, after)):
        if not scene.is_file():
            write_scene(scene, options.size, seed=seed)
    detector = load(options.model, device=options.device)
    tiling = choose_tiling(detector, tile_px=None, overlap_px=None, batch_size=None)
    scorer = detector.scorer
    with gdal_environment(), RasterPair(str(before), str(after), PairOptions()) as pair:
        size = (tiling.tile_px, tiling.tile_px)
        plan = TilePlan(pair.grid.shape, size, tiling.overlap_px, pair.grid.window)
        rng = np.random.default_rng(0)
        tiles = rng.integers(0, 256, (2, *size, 3), dtype=np.uint8)

        def pure() -> None:
            for row in plan.rows:
                for run in plan.runs(row, tiling.batch_size):
                    count = len(run.columns)
                    scorer.score([tiles[0]] * count, [tiles[1]] * count)

        def flow() -> None:
            folder = options.work / "state"
            folder.mkdir(exist_ok=True)
            with ScoreFile.create(folder / "score.f32", pair.grid) as scores:
                score_scene(
                    pair.read,
                    lambda window: np.ones(window.shape, np.bool_),
                    plan=plan,
                    scorer=scorer,
                    batch_size=tiling.batch_size,
                    sink=scores,
                    journal=Journal(folder, {}, first_row=0),
                )

        print(
            f"{plan.count} tiles, {tiling}, test-time augmentation {detector.test_time}, "
            f"{torch.get_num_threads()} threads, {detector.device_name}"
        )
        ratios = []
        for number in range(options.rounds):
            seconds = {}
            # Whoever comes first may profit or suffer, so the order alternates.
            for part in (pure, flow) if number % 2 == 0 else (flow, pure):
                started = time.monotonic()
                part()
                seconds[part.__name__] = time.monotonic() - started
            ratios.append(seconds["pure"] / seconds["flow"])
            rate = pair.grid.height * pair.grid.width / 1e6 / seconds["flow"]
            print(
                f"round {number}: pure {seconds['pure']:.1f} s, flow {seconds['flow']:.1f} s "
                f"({rate:.2f} Mpx/s), ratio {ratios[-1]:.3f}",
                flush=True,
            )
    print(f"median ratio {statistics.median(ratios):.3f} (lowest {min(ratios):.3f})")


if __name__ == "__main__":
    main()
