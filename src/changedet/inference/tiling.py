"""Score image pairs of any size, tile by tile; the tiles of many images share batches."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from changedet.errors import ConfigError
from changedet.inference.torch_scorer import Image, TileScorer
from changedet.models.base import ChangeModel
from changedet.raster.grid import blend_weights, mirror_to, round_up, tiles
from changedet.types import Normalisation, TestTime


def score_pairs(
    model: ChangeModel,
    pairs: Iterable[tuple[Image, Image]],
    *,
    normalisation: Normalisation,
    tile_px: int,
    overlap_px: int,
    batch_size: int,
    device: torch.device,
    test_time: TestTime = "none",
) -> Iterator[Tensor]:
    """Score the change of every pixel of many pairs, in their order, reading them one by one.

    Overlapping tiles are blended smoothly; with an overlap of 0 every pixel comes from exactly one
    tile. A model that attends always sees tiles of exactly ``tile_px`` (spec 1.2), so smaller
    images are mirrored to that size; for other models they are only mirrored to the next multiple
    of the stride. Between two scores the model is in the mode in which it was found.

    Args:
        model: On ``device``.
        pairs: Before and after, uint8, (H, W, C), both of one size; sizes may differ between pairs.
        normalisation: Statistics the model was trained with.
        tile_px: Height and width of a tile, rounded up to a multiple of the model's stride.
        overlap_px: Pixels that neighbouring tiles share at least.
        batch_size: Tiles that go through the model at once; it does not change the scores.
        device: Where to compute; CUDA computes in bfloat16.
        test_time: Which views of a tile, turned, mirrored or coarser, are scored and averaged.

    Returns:
        Scores, (H, W), float32 in [0, 1], on ``device``, one map a pair.

    Raises:
        ConfigError: If the tile, overlap or batch size makes no sense, or there is no such
            test-time augmentation.
    """
    tile_px = round_up(tile_px, model.stride)
    if tile_px < 1:
        raise ConfigError(f"the tile size must be at least 1 pixel, got {tile_px}")
    if not 0 <= overlap_px < tile_px:
        raise ConfigError(f"the tile overlap must be in [0, {tile_px}), got {overlap_px}")
    if batch_size < 1:
        raise ConfigError(f"the batch size must be at least 1, got {batch_size}")
    scorer = TileScorer(model, normalisation, device, test_time=test_time)
    return _score_tiled(scorer, pairs, tile_px, overlap_px=overlap_px, batch_size=batch_size)


def _score_tiled(
    scorer: TileScorer,
    pairs: Iterable[tuple[Image, Image]],
    tile_px: int,
    *,
    overlap_px: int,
    batch_size: int,
) -> Iterator[Tensor]:
    begun: deque[_Canvas] = deque()
    batch: list[_Piece] = []
    for before, after in pairs:
        size = _tile_size(scorer.model, before.shape[:2], tile_px)
        canvas = _Canvas.blank(before.shape[:2], size, overlap_px, device=scorer.device)
        begun.append(canvas)
        for piece in _pieces(canvas, before, after):
            if batch and piece.before.shape != batch[0].before.shape:
                _score_into(scorer, batch)
                batch = []
            batch.append(piece)
            if len(batch) == batch_size:
                _score_into(scorer, batch)
                batch = []
        while begun and begun[0].missing == 0:
            yield begun.popleft().finished()
    if batch:
        _score_into(scorer, batch)
    while begun:
        yield begun.popleft().finished()


def _tile_size(model: ChangeModel, shape: tuple[int, ...], tile_px: int) -> tuple[int, int]:
    if model.fixed_tile:
        return tile_px, tile_px
    height, width = (min(tile_px, round_up(length, model.stride)) for length in shape)
    return height, width


@dataclass
class _Canvas:
    """Score map in the making, (H, W), with the weights of its tiles' rows and columns."""

    score: Tensor
    rows: Tensor
    columns: Tensor
    overlap_px: int
    missing: int

    @classmethod
    def blank(
        cls,
        shape: tuple[int, ...],
        size: tuple[int, int],
        overlap_px: int,
        *,
        device: torch.device,
    ) -> "_Canvas":
        rows, columns = (
            torch.from_numpy(
                blend_weights(length, size=part, overlap=overlap_px).astype(np.float32)
            ).to(device)
            for length, part in zip(shape, size, strict=True)
        )
        score = torch.zeros(shape, dtype=torch.float32, device=device)
        return cls(score, rows, columns, overlap_px, len(rows) * len(columns))

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of a tile."""
        return self.rows.shape[1], self.columns.shape[1]

    def add(self, piece: "_Piece", score: Tensor) -> None:
        """Blend the scores of one tile in, (h, w)."""
        weighted = score * self.rows[piece.row, :, None] * self.columns[piece.column]
        target = self.score[piece.top :, piece.left :][: score.shape[0], : score.shape[1]]
        target += weighted[: target.shape[0], : target.shape[1]]
        self.missing -= 1

    def finished(self) -> Tensor:
        """Hand the map out; the blend of scores may leave [0, 1] by a rounding error."""
        return self.score.clamp_(0.0, 1.0)


class _Piece(NamedTuple):
    """One tile of one pair, uint8, (h, w, C), and where its scores go."""

    canvas: _Canvas
    row: int
    column: int
    top: int
    left: int
    before: Image
    after: Image


def _pieces(canvas: _Canvas, before: Image, after: Image) -> Iterator[_Piece]:
    height, width = canvas.size
    before, after = (mirror_to(image, canvas.size) for image in (before, after))
    shape = (canvas.score.shape[0], canvas.score.shape[1])
    for tile in tiles(shape, size=canvas.size, overlap=canvas.overlap_px):
        window = np.s_[tile.top : tile.top + height, tile.left : tile.left + width]
        yield _Piece(canvas, *tile, before[window], after[window])


def _score_into(scorer: TileScorer, pieces: list[_Piece]) -> None:
    """Score a batch of tiles and blend each into its map."""
    scores = scorer.score([piece.before for piece in pieces], [piece.after for piece in pieces])
    with torch.no_grad():
        for piece, score in zip(pieces, scores, strict=True):
            piece.canvas.add(piece, score)
