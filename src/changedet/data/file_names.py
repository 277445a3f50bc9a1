"""Endings and names by which the files of a data set are known; imports nothing heavy."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from changedet.errors import DataError
from changedet.storage.markers import SUMMARY
from changedet.storage.text import is_file, read_text

#: Files that may be rasters rather than pictures.
RASTER_SUFFIXES: Final = frozenset({".tif", ".tiff", ".jp2", ".vrt"})
#: Those of TIFFs.
TIFF_SUFFIXES: Final = (".tif", ".tiff")
IMAGE_SUFFIXES: Final = RASTER_SUFFIXES | {
    *(".png", ".jpg", ".jpeg", ".jpe", ".bmp", ".webp", ".gif"),
}
#: Name of a mixture of data sets inside a folder, and what such a file begins a line with.
MIXTURE: Final = "mixture.yaml"
_SETS: Final = re.compile(r"^sets[ \t]*:", re.MULTILINE)
#: Name of a manifest of labelled scenes inside a folder.
SCENES: Final = "scenes.yaml"
#: Scores and mask of a scene.
SCORE: Final = "score.tif"
MASK: Final = "mask.tif"
#: What changedet view keeps beside a result: verdicts on its polygons.
REVIEW: Final = "review.gpkg"
_YAML_SUFFIXES: Final = (".yaml", ".yml")
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


def find_mixture(root: Path) -> Path | None:
    """Tell the mixture of data sets that ``root`` is or holds, None if it is neither.

    Raises:
        DataError: If the file cannot be read.
    """
    if is_file(root) and root.suffix.lower() in _YAML_SUFFIXES:
        return root if _SETS.search(read_text(root, error=DataError)) else None
    inside = root / MIXTURE
    return inside if is_file(inside) else None


def is_review(place: Path) -> bool:
    """Tell whether a place is a review file, or results of a prediction with at least one.

    A folder that is a data set as well counts as that.
    """
    if is_file(place):
        return place.name == REVIEW
    if any(is_file(place / name) for name in (SCENES, MIXTURE)):
        return False
    if is_file(place / REVIEW):
        return True
    return is_file(place / SUMMARY) and any(place.glob(f"*/{REVIEW}"))
