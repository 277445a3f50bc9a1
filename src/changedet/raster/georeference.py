"""Tell from a TIFF's tags where on Earth it lies, as far as two files can be compared by it."""

import struct
import warnings
from pathlib import Path
from typing import Final, TypeAlias

from PIL.TiffImagePlugin import ImageFileDirectory_v2

from changedet.errors import ImageError

#: Values of the georeferencing tags by tag number, to be compared for equality only.
GeoTags: TypeAlias = dict[int, object]

_GEO_KEY_DIRECTORY: Final = 34735
# ModelPixelScale, ModelTiepoint, ModelTransformation, GeoKeyDirectory, GeoDoubleParams and
# GeoAsciiParams (OGC 19-008r4, GeoTIFF 1.1).
_TAGS: Final = (33550, 33922, 34264, _GEO_KEY_DIRECTORY, 34736, 34737)
# GTModelType, GeodeticCRS and ProjectedCRS: a directory with none of them names no CRS.
_CRS_KEYS: Final = frozenset({1024, 2048, 3072})
_MAGIC: Final = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
_BIG_TIFF: Final = 43


def read_georeference(path: Path) -> GeoTags | None:
    """Read the tags that place a raster on Earth; pixels are not touched.

    Returns:
        The tags, or None if the file is no TIFF or names no coordinate reference system (CRS).

    Raises:
        ImageError: If the file cannot be read or its tags are damaged.
    """
    try:
        with path.open("rb") as file:
            header = file.read(8)
            if header[:4] not in _MAGIC:
                return None
            if _BIG_TIFF in (header[2], header[3]):
                header += file.read(8)
            directory = ImageFileDirectory_v2(header)
            file.seek(directory.next)
            with warnings.catch_warnings():
                # Pillow only warns of a directory that is cut short.
                warnings.simplefilter("error", UserWarning)
                directory.load(file)
            tags = {tag: directory[tag] for tag in _TAGS if tag in directory}
    except (OSError, SyntaxError, ValueError, TypeError, struct.error, UserWarning) as error:
        raise ImageError(
            f"{path}: the TIFF's tags cannot be read ({error}); the file is damaged or cut short, "
            "get or write it again"
        ) from error
    return tags if _names_crs(tags.get(_GEO_KEY_DIRECTORY)) else None


def _names_crs(directory: object) -> bool:
    """Look for a CRS among the keys: four numbers a key, the first is its name, after a header."""
    return isinstance(directory, tuple) and not _CRS_KEYS.isdisjoint(directory[4::4])
