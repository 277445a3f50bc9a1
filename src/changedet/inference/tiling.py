"""Score image pairs of any size, tile by tile; the tiles of many images share batches."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from changedet.errors import ConfigError
from changedet.inference.scorer import Image, Scorer, checked_scores
from changedet.raster.geo_grid import Window
from changedet.raster.grid import default_overlap, mirror_to, round_up
from changedet.raster.tile_plan import Resident, RowBlender, TilePlan
from changedet.types import Mode

Item = TypeVar("Item")
#: Tile larger than any image: baselines measure each image as a whole.
WHOLE_PX = 2**31


def score_pairs(
    scorer: Scorer,
    items: Iterable[Item],
    *,
    images: Callable[[Item], tuple[Image, Image]],
    tile_px: int | None = None,
    overlap_px: int | None = None,
    batch_size: int = 8,
) -> Iterator[tuple[Item, Resident]]:
    """Score the change of every pixel of many pairs, in their order, taking them one by one.

    Overlapping tiles are blended smoothly; with an overlap of 0 every pixel comes from exactly one
    tile. A scorer of fixed tiles always sees tiles of exactly ``tile_px`` (spec 1.2), so smaller
    images are mirrored to that size; for other scorers they are only mirrored to the next multiple
    of the stride.

    Args:
        scorer: Scores the tiles.
        items: Whatever the caller calls a pair; sizes may differ between pairs.
        images: Gives before and after of an item, stored values, (H, W, C), both of one size.
        tile_px: Height and width of a tile, rounded up to a multiple of the scorer's stride; None:
            the card's.
        overlap_px: Pixels that neighbouring tiles share at least; None: a quarter of the tile.
        batch_size: Tiles that are scored at once; it does not change the scores.

    Returns:
        Each item with its scores, (H, W), float32 in [0, 1], where the scorer leaves them.

    Raises:
        ConfigError: If the tile, overlap or batch size makes no sense.
    """
    tile_px = round_up(scorer.card.tile_px if tile_px is None else tile_px, scorer.stride)
    if tile_px < 1:
        raise ConfigError(f"the tile size must be at least 1 pixel, got {tile_px}")
    overlap_px = default_overlap(tile_px) if overlap_px is None else overlap_px
    if not 0 <= overlap_px < tile_px:
        raise ConfigError(f"the tile overlap must be in [0, {tile_px}), got {overlap_px}")
    check_batch_size(batch_size)
    return _score_tiled(
        scorer, items, images, tile_px=tile_px, overlap_px=overlap_px, batch_size=batch_size
    )


def check_batch_size(batch_size: int) -> None:
    """Refuse batches without tiles.

    Raises:
        ConfigError: If there is less than one.
    """
    if batch_size < 1:
        raise ConfigError(f"the batch size must be at least 1, got {batch_size}")


def overlap_of(mode: Mode, tile_px: int) -> int:
    """Pixels that neighbouring tiles share in a mode."""
    return default_overlap(tile_px) if mode == "whole" else 0


def _score_tiled(
    scorer: Scorer,
    items: Iterable[Item],
    images: Callable[[Item], tuple[Image, Image]],
    *,
    tile_px: int,
    overlap_px: int,
    batch_size: int,
) -> Iterator[tuple[Item, Resident]]:
    begun: deque[_Map[Item]] = deque()
    batch: list[_Piece] = []
    for item in items:
        before, after = images(item)
        shape = before.shape[0], before.shape[1]
        size = _tile_size(scorer, shape, tile_px)
        score_map = _Map(item, scorer, TilePlan(shape, size, overlap_px, Window(0, 0, *shape)))
        begun.append(score_map)
        for piece in _pieces(score_map, before, after):
            if batch and piece.before.shape != batch[0].before.shape:
                _score_into(scorer, batch)
                batch = []
            batch.append(piece)
            if len(batch) == batch_size:
                _score_into(scorer, batch)
                batch = []
        while begun and begun[0].is_complete:
            done = begun.popleft()
            yield done.item, done.score
    if batch:
        _score_into(scorer, batch)
    while begun:
        done = begun.popleft()
        yield done.item, done.score


class _Map(Generic[Item]):
    """Unfinished score map of one item."""

    def __init__(
        self,
        item: Item,
        scorer: Scorer,
        plan: TilePlan,
    ) -> None:
        self.item = item
        self.plan = plan
        self.score: Resident = scorer.zeros(plan.shape)
        self._blender = RowBlender(self.plan, memory=scorer)
        self.is_complete = False

    def add(self, row: int, column: int, score: Resident) -> None:
        """Blend the scores of one tile in, (h, w); tiles come row by row, left to right."""
        self._blender.add_scores(row, column, score)
        if column + 1 < len(self.plan.lefts):
            return
        top, rows = self._blender.finish_row(row)
        self.score[top : top + rows.shape[1]] = rows[0]
        self._blender.go_on(row)
        self.is_complete = row + 1 == len(self.plan.tops)


class _Piece(NamedTuple):
    """One tile of one pair, stored values, (h, w, C), and where its scores go."""

    score_map: _Map[Any]
    row: int
    column: int
    before: Image
    after: Image


def _tile_size(scorer: Scorer, shape: tuple[int, int], tile_px: int) -> tuple[int, int]:
    if scorer.fixed_tile:
        return tile_px, tile_px
    height, width = (min(tile_px, round_up(length, scorer.stride)) for length in shape)
    return height, width


def _pieces(score_map: _Map[Any], before: Image, after: Image) -> Iterator[_Piece]:
    plan = score_map.plan
    before, after = (mirror_to(image, plan.tile_shape) for image in (before, after))
    for row in plan.rows:
        for column in plan.columns:
            tile = plan.tile(row, column)
            window = np.s_[tile.top : tile.bottom, tile.left : tile.right]
            yield _Piece(score_map, row, column, before[window], after[window])


def _score_into(scorer: Scorer, pieces: list[_Piece]) -> None:
    """Score a batch of tiles and blend each into its map."""
    scores = checked_scores(
        scorer.score_resident(
            [piece.before for piece in pieces], [piece.after for piece in pieces]
        ),
        scorer,
    )
    for piece, score in zip(pieces, scores, strict=True):
        piece.score_map.add(piece.row, piece.column, score)
