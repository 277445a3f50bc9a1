"""What scorers with a network have in common, whatever computes it. Needs no PyTorch."""

from __future__ import annotations

import copy
import dataclasses
from typing import Self, get_args

from changedet.card import LARGEST_TILE_PX, ModelCard
from changedet.choices import check_choice
from changedet.inference.views import views
from changedet.raster.grid import round_up
from changedet.types import TestTime


class NetworkScorer:
    """A scorer whose network finds kinds of change, and can be shown images shrunk or enlarged.

    Attributes:
        card: Its normalisation, tile size and threshold: the threshold is that of ``kind``, the
            tile as large as the one of the training on the ground.
        kind: The kind of change that is scored; None: the only one of a model that names none.
        zoom: Height and width of what the network sees, in those of the images: they are shrunk or
            enlarged by this for it, and the scores are brought back to their pixels.
        test_time: Which views of a tile are scored and averaged, see
            :func:`changedet.inference.views.views`. They go through the network one after the
            other, so memory does not grow with their number.
        source: What it came from, for messages.

    Args:
        card: What is known of the network.
        test_time: Test-time augmentation, instead of the one in the card.
        kind: The kind of change to score, of those in the card; None: the first one.
        source: What it came from, such as the path of its file.

    Raises:
        ConfigError: If there is no such test-time augmentation, or the model does not know the kind
            of change.
    """

    def __init__(
        self,
        card: ModelCard,
        *,
        test_time: TestTime | None = None,
        kind: str | None = None,
        source: str | None = None,
    ) -> None:
        self.test_time: TestTime = card.test_time if test_time is None else test_time
        check_choice("test_time", self.test_time, get_args(TestTime))
        self.source = source
        self._views = views(self.test_time)
        self._stored = card
        self._choose(kind, zoom=1.0)

    def _choose(self, kind: str | None, *, zoom: float) -> None:
        card = self._stored
        self._index = card.kind_index(kind)
        self.kind = card.kinds[self._index].name if card.kinds else None
        self._temperature = card.kinds[self._index].temperature if card.kinds else None
        self.zoom = zoom
        card = card.for_kind(kind)
        if zoom != 1.0:
            side = card.tile_px / zoom
            # Enlarged, it must not become larger than the tile of the training.
            tile_px = round(side) if zoom < 1.0 else int(side)
            card = dataclasses.replace(card, tile_px=max(1, min(tile_px, LARGEST_TILE_PX)))
        self.card = card

    def for_kind(self, kind: str | None) -> Self:
        """Give a scorer of another kind of change with the same network.

        Raises:
            ConfigError: If the model does not know it.
        """
        other = copy.copy(self)
        other._choose(kind, zoom=self.zoom)
        return other

    def zoomed(self, zoom: float) -> Self:
        """Give a scorer with the same network that sees the images shrunk or enlarged.

        Args:
            zoom: Height and width of what the network sees, in those of the images.
        """
        other = copy.copy(self)
        other._choose(self.kind, zoom=zoom)
        return other

    @property
    def network_stride(self) -> int:
        """What height and width of what the network sees must be multiples of, in pixels."""
        raise NotImplementedError

    @property
    def fixed_tile(self) -> bool:
        """Whether the network holds attention, whose result depends on the tile's size."""
        raise NotImplementedError

    @property
    def stride(self) -> int:
        """What height and width of a tile must be multiples of, in pixels.

        Images that are resampled are brought to a size that suits the network on the way.
        """
        return self.network_stride if self.zoom == 1.0 else 1

    @property
    def _multiple(self) -> int:
        """What height and width of resampled images are brought to a multiple of, in pixels."""
        stride = self.network_stride
        return round_up(self._stored.tile_px, stride) if self.fixed_tile else stride

    @property
    def _is_tempered(self) -> bool:
        """Whether logits are divided by a temperature (Guo et al. 2017)."""
        return self._temperature not in (None, 1.0)

    def _tiles_at_once(self, tiles: int) -> int:
        """Say how many of a batch go through the network at once.

        What it sees at once, and so its memory, stays that of tiles as they are.
        """
        return max(1, int(tiles / max(1.0, self.zoom) ** 2))
