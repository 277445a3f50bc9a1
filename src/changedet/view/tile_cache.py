"""Encoded tiles that were asked for lately."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable


class TileCache:
    """Keeps so many bytes of the tiles that were asked for last.

    Args:
        most_bytes: Of all tiles together.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._lock = threading.Lock()
        self._tiles: OrderedDict[Hashable, bytes] = OrderedDict()
        self._bytes = 0

    def get(self, key: Hashable) -> bytes | None:
        """Give a tile if it is known."""
        with self._lock:
            tile = self._tiles.get(key)
            if tile is not None:
                self._tiles.move_to_end(key)
            return tile

    def put(self, key: Hashable, tile: bytes) -> None:
        """Keep a tile."""
        with self._lock:
            former = self._tiles.pop(key, b"")
            self._tiles[key] = tile
            self._bytes += len(tile) - len(former)
            while self._bytes > self._most and self._tiles:
                _, oldest = self._tiles.popitem(last=False)
                self._bytes -= len(oldest)
