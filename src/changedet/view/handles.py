"""Open layers of items, reopened when a file has changed."""

from __future__ import annotations

import threading
from collections import OrderedDict
from contextlib import nullcontext
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from changedet.view.item import Item
    from changedet.view.layers import Layer, LayerReader

# Layers that a thread keeps open, or that are kept in memory for all: those of two items.
_MOST: Final = 8
_Opened: TypeAlias = "OrderedDict[tuple[str, Layer], tuple[str, LayerReader]]"


class Handles:
    """Gives layers to threads: of scenes, each thread its own, as GDAL's handles are not shared.

    Those of image pairs are pictures in memory, which all threads share.
    """

    def __init__(self) -> None:
        self._local = threading.local()
        self._shared: _Opened = OrderedDict()
        self._lock = threading.Lock()

    def get(self, item: Item, layer: Layer) -> LayerReader:
        """Give a layer, opened now or before.

        Raises:
            ImageError: If it cannot be opened, or its file has vanished.
        """
        if item.kind == "scene":
            opened: _Opened = self._local.__dict__.setdefault("opened", OrderedDict())
        else:
            opened = self._shared
        with self._lock if opened is self._shared else nullcontext():
            key = (str(item.folder), layer)
            known = opened.pop(key, None)
            try:
                state = item.signature(layer)
            except Exception:
                if known is not None:
                    known[1].close()
                raise
            if known is not None and known[0] != state:
                known[1].close()
                known = None
            entry = known or (state, item.open_layer(layer))
            opened[key] = entry
            while len(opened) > _MOST:
                _, (_, oldest) = opened.popitem(last=False)
                oldest.close()
            return entry[1]
