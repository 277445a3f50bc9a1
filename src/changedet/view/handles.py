"""Open layers of items, a few for each thread, reopened when a file has changed."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from changedet.view.item import Item
    from changedet.view.layers import Layer, LayerReader

# Layers that a thread keeps open: those of two or three items.
_MOST: Final = 10


class Handles:
    """Gives each thread layers of its own: GDAL's handles must not be shared."""

    def __init__(self) -> None:
        self._local = threading.local()

    def get(self, item: Item, layer: Layer) -> LayerReader:
        """Give a layer, opened now or before by this thread.

        Raises:
            ImageError: If it cannot be opened, or its file has vanished.
        """
        opened: OrderedDict[tuple[str, Layer], tuple[str, LayerReader]]
        opened = self._local.__dict__.setdefault("opened", OrderedDict())
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

    def drop(self, item: Item, layer: Layer) -> None:
        """Close a layer of this thread, after an error."""
        opened = self._local.__dict__.get("opened", {})
        known = opened.pop((str(item.folder), layer), None)
        if known is not None:
            known[1].close()
