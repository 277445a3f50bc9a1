"""Names of what a run over an archive writes."""

from typing import Final

#: What the results were made with: one model for all.
SETTINGS: Final = "batch.json"
#: One row per item, and folder of the rows that are not in it yet.
MANIFEST: Final = "manifest.parquet"
PARTS: Final = "manifest"
#: How far a run is.
STATUS: Final = "status.json"
#: Holds one folder of results per item.
ITEMS: Final = "items"
#: In an item's folder: what it was made from. It comes last, so that it tells a complete folder.
RECORD: Final = "record.json"
#: Holds the folders of items that are not complete.
UNFINISHED: Final = ".unfinished.part"
#: Holds a folder of block scores for each large scene that is not complete.
BLOCKS: Final = f"{UNFINISHED}/.blocks"


def item_folder(identifier: str) -> str:
    """Give the folder of an item's results."""
    return f"{ITEMS}/{identifier}"
