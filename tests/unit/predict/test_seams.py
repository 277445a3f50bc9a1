"""Seams between tiles, on a real network."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from changedet.card import ModelCard
from changedet.inference.torch_scorer import TorchScorer
from changedet.models.registry import create_model
from changedet.predict.flow import score_scene
from changedet.predict.journal import Journal
from changedet.raster.geo_grid import Window
from changedet.raster.pair import PairPixels
from changedet.raster.tile_plan import TilePlan
from changedet.types import Normalisation

SHAPE = HEIGHT, WIDTH = 96, 400
TILE = 96
STATS = Normalisation((128.0,) * 3, (128.0,) * 3, (50.0,) * 3, (50.0,) * 3)


class Rows:
    """Keeps the score map."""

    def __init__(self) -> None:
        self.scores = np.zeros(SHAPE, np.float32)

    def write_rows(self, top: int, rows: np.ndarray) -> None:
        (self.scores[top : top + rows.shape[1]],) = rows

    def sync(self) -> None:
        pass


def smooth_dates(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(rng.normal(size=(2, *SHAPE, 3)), (0, 2, 2, 0))
    before, after = (noise / noise.std() * 50 + 128).clip(0, 255).astype(np.uint8)
    return before, after


def scores(folder: Path, *, tile_px: int, overlap_px: int, seed: int) -> np.ndarray:
    before, after = smooth_dates()
    torch.manual_seed(seed)
    model = create_model("dasnet_v2", encoder="resnet18", head_width=16, attention="none")

    def read(window: Window) -> PairPixels:
        part = np.s_[window.top : window.bottom, window.left : window.right]
        return PairPixels(before[part].copy(), after[part].copy(), np.ones(window.shape, bool))

    rows = Rows()
    score_scene(
        read,
        lambda window: np.ones(window.shape, bool),
        plan=TilePlan(SHAPE, (tile_px, tile_px), overlap_px, Window(0, 0, *SHAPE)),
        scorer=TorchScorer(model, ModelCard("stand-in", {}, STATS), device="cpu"),
        batch_size=4,
        sink=rows,
        journal=Journal(folder, {}, first_row=0),
    )
    return rows.scores


def seam_contrast(score: np.ndarray, overlap_px: int) -> float:
    """Largest mean step across a tile's edge, against all but the largest steps elsewhere."""
    plan = TilePlan(SHAPE, (TILE, TILE), overlap_px, Window(0, 0, *SHAPE))
    steps = np.abs(np.diff(score, axis=1)).mean(axis=0)
    edges = {left - 1 for left in plan.lefts} | {left + TILE - 1 for left in plan.lefts}
    seams = sorted(edge for edge in edges if 0 <= edge < WIDTH - 1)
    elsewhere = np.delete(steps, seams)
    return float(steps[seams].max() / np.quantile(elsewhere, 0.99))


@pytest.mark.parametrize("seed", [0, 1])
def test_no_step_across_a_tiles_edge_stands_out(tmp_path: Path, seed: int):
    blended = scores(tmp_path / "a", tile_px=TILE, overlap_px=TILE // 4, seed=seed)
    assert seam_contrast(blended, TILE // 4) < 1.0
    # The same measure does see the seams of tiles that lie side by side.
    side_by_side = scores(tmp_path / "b", tile_px=TILE, overlap_px=0, seed=seed)
    assert seam_contrast(side_by_side, 0) > 1.5


def test_without_attention_the_tile_size_hardly_matters(tmp_path: Path):
    # An untrained resnet18 at stride 8 sees further than these overlaps, hence a tolerance and no
    # equality: a third of the score's own spread at the worst, a fortieth on average.
    small = scores(tmp_path / "a", tile_px=192, overlap_px=96, seed=0)
    large = scores(tmp_path / "b", tile_px=320, overlap_px=160, seed=0)
    difference = np.abs(small - large)[:, 40:-40]
    assert difference.max() < small.std() / 3
    assert difference.mean() < small.std() / 40
