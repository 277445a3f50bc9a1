"""Tell rasters from plain images, and what is wrong with the names of two inputs; no GDAL."""

import difflib
import re
from pathlib import Path
from typing import Final

from changedet.data.file_names import IMAGE_SUFFIXES, RASTER_SUFFIXES, TIFF_SUFFIXES
from changedet.errors import ConfigError, DataError
from changedet.raster.open_errors import is_raster_folder, why_not_several
from changedet.raster.sidecars import place_files
from changedet.storage.markers import SUMMARY
from changedet.storage.output_folder import (
    Existing,
    check_result_folder,
    content_of,
    is_publishing,
    staging_folder,
)
from changedet.storage.text import first_few

PICTURES: Final = IMAGE_SUFFIXES - RASTER_SUFFIXES
# What GDAL opens that is no path: addresses, its own file systems, drivers with a prefix (netCDF
# layers, databases; a drive letter is none), and XML.
_NO_PATH: Final = re.compile(r"[a-z0-9]+://|/vsi|[a-z0-9_]{2,}:|<", re.IGNORECASE)
# GDAL reads no world files beside these.
_PLACELESS: Final = frozenset({".webp"})
# What may pick a part of a file, such as a page.
_PART: Final = "#"


def is_scene(location: str) -> bool:
    """Tell whether a place is a raster to be treated as a scene: anything but plain images.

    An address always is, whatever its suffix, and so is a picture with a world file. A folder holds
    scenes if there are any in it, or is one itself, such as a Zarr store.
    """
    if _NO_PATH.match(location):
        return True
    path = Path(location)
    if is_raster_folder(path):
        return True
    if path.is_dir():
        return any(is_placed(file) for file in visible_files(path))
    return path.suffix.lower() not in PICTURES or is_placed(path)


def is_placed(file: Path) -> bool:
    """Tell whether a file is a TIFF, or a picture with a file beside it that says its place."""
    suffix = file.suffix.lower()
    return suffix in RASTER_SUFFIXES or (
        suffix in PICTURES and suffix not in _PLACELESS and bool(place_files(file))
    )


def is_folder_of_images(location: str) -> bool:
    """Tell whether a place is a folder of images rather than one image."""
    path = Path(location)
    return path.is_dir() and not is_raster_folder(path)


def visible_files(folder: Path) -> list[Path]:
    """Files of a folder that are not hidden, sorted."""
    return sorted(
        path for path in folder.iterdir() if not path.name.startswith(".") and path.is_file()
    )


def refuse_turned(location: str) -> None:
    """Refuse a TIFF that is only a picture and is to be turned before it is looked at.

    Raises:
        DataError: With the way to set it upright.
    """
    path = Path(location)
    if path.suffix.lower() not in TIFF_SUFFIXES or not path.is_file():
        return
    # Reading of images is loaded where there is one.
    from changedet.data.images import image_orientation, is_plain_picture

    if not is_plain_picture(path):
        return
    orientation = image_orientation(path)
    if orientation != 1:
        raise DataError(
            f"{path}: its orientation tag says that it is turned or mirrored ({orientation}), "
            "which a raster cannot be; set it upright, for example with ImageMagick: magick "
            f"{path} -auto-orient upright.tif"
        )


def check_inputs(before: str, after: str) -> None:
    """Refuse inputs that are not there, and a folder beside a file.

    Raises:
        DataError: Naming the input, and a file of a similar name.
    """
    places = []
    for location in (before, after):
        if _NO_PATH.match(location) or _PART in location:
            return
        path = Path(location)
        if not path.exists():
            several = why_not_several(location)
            raise DataError(several or f"there is no file or folder {path}; {_nearest_file(path)}")
        places.append(path)
    are_folders = [is_folder_of_images(str(path)) for path in places]
    if are_folders[0] != are_folders[1]:
        folder, file = places if are_folders[0] else places[::-1]
        raise DataError(
            f"{folder} is a folder and {file} is a file; give two images, or two folders whose "
            "files have the same stems"
        )


def check_out(out: Path, *, are_folders: bool, existing: Existing) -> None:
    """Refuse a folder whose content must not be replaced.

    Args:
        out: For the results.
        are_folders: Whether the inputs are folders of scenes, whose finished ones are kept.
        existing: What may be done with earlier results.

    Raises:
        ConfigError: If it is a file, or holds other things.
    """
    if are_folders:
        content_of(out)
        images = (
            [file.name for file in visible_files(out) if is_placed(file)] if out.is_dir() else []
        )
        if images:
            raise ConfigError(
                f"{out} holds images ({first_few(images)}), and results would lie among them; "
                "choose another folder (`out`)"
            )
    elif not is_publishing(staging_folder(out.absolute(), "unfinished")):
        check_result_folder(out, marker=SUMMARY, existing=existing)


def _nearest_file(path: Path) -> str:
    try:
        names = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return f"the folder {path.parent} is not there either; check the spelling"
    # Similar in all but a letter or two: many files of a folder have long names in common.
    near = difflib.get_close_matches(path.name, names, n=1, cutoff=0.8)
    return f"did you mean {near[0]!r}?" if near else "check the spelling"
