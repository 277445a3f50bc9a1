"""Endings and names by which the files of a data set are known; imports nothing heavy."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from changedet.errors import DataError

#: Files that may be rasters rather than pictures.
RASTER_SUFFIXES: Final = frozenset({".tif", ".tiff", ".jp2", ".vrt"})
#: Those of TIFFs.
TIFF_SUFFIXES: Final = (".tif", ".tiff")
IMAGE_SUFFIXES: Final = RASTER_SUFFIXES | {
    *(".png", ".jpg", ".jpeg", ".jpe", ".bmp", ".webp", ".gif"),
}
_ARCHIVES: Final = frozenset({".zip", ".gz", ".tgz", ".tar", ".7z", ".rar"})
#: Folder and list names of each split, the usual one first.
SPLIT_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}


def split_parts(name: str) -> tuple[str, ...]:
    """Name the splits that are meant by ``train`` or, of several together, ``train+val``."""
    return tuple(dict.fromkeys(part.strip() for part in name.split("+")))


def check_data_folder(root: Path) -> None:
    """Refuse a place that is no folder, where no manifest of scenes was found.

    Raises:
        DataError: If it is a file, or not there.
    """
    if root.suffix.lower() in _ARCHIVES and root.is_file():
        raise DataError(f"{root} is an archive; unpack it, then give the folder it unpacks to")
    if not root.is_dir():
        raise DataError(
            f"{root} is {'no folder' if root.exists() else 'not there'}; "
            "give the folder of a data set or a manifest of scenes (scenes.yaml)"
        )
