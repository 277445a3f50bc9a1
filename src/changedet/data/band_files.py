"""Recognise images that are stored as one file per band, and say how to stack them."""

from __future__ import annotations

import re
import shlex
from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

from changedet.data.images import RASTER_SUFFIXES
from changedet.errors import DataError
from changedet.storage.text import first_few

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

# Sentinel-2 (B02, B8A, B02_10m), Landsat (B4), radar (VV) and colours, at the end of a name.
_BAND: Final = re.compile(
    r"^(?P<image>.*?)[_.-]?(?P<band>B(?:AND)?_?\d{1,2}A?|VV|VH|HH|HV|red|green|blue|nir|swir[12]?)"
    r"(?:_\d{2}m)?$",
    re.IGNORECASE,
)
_LEAST_BANDS: Final = 2
# Of the Onera Satellite Change Detection data set; "rect": all bands on one grid.
_DATE_FOLDERS: Final = (("imgs_1_rect", "imgs_2_rect"), ("imgs_1", "imgs_2"))


class BandFiles(NamedTuple):
    """The bands of one image, each in its own file.

    Attributes:
        image: What their names have in common; empty where they are named by the band alone.
        files: By the name of the band, in natural order.
    """

    image: str
    files: dict[str, Path]

    @property
    def listed(self) -> str:
        """Names of the bands, the first few."""
        return first_few(list(self.files), most=4)

    def stack_command(self, stacked: str) -> str:
        """Give the command that stacks them.

        Args:
            stacked: Name of the file to write.
        """
        files = " ".join(shlex.quote(str(path)) for path in self.files.values())
        return f"gdalbuildvrt -separate -resolution highest {shlex.quote(stacked)} {files}"


def find_band_files(paths: Iterable[Path]) -> list[BandFiles]:
    """Group files by the image whose bands they are; empty if this is not how they are stored.

    It is if most of the rasters are named by a band, two or more of each image. Whether each file
    really has one band only is for the caller to see.

    Args:
        paths: Files of one folder.
    """
    rasters = [path for path in paths if path.suffix.lower() in RASTER_SUFFIXES]
    images: dict[str, dict[str, Path]] = defaultdict(dict)
    for path in rasters:
        named = _BAND.match(path.stem)
        if named is not None:
            images[named["image"]][named["band"]] = path
    stacks = [
        BandFiles(image, dict(sorted(files.items(), key=lambda item: _natural(item[0]))))
        for image, files in sorted(images.items())
        if len(files) >= _LEAST_BANDS
    ]
    named_files = sum(len(stack.files) for stack in stacks)
    return stacks if 2 * named_files > len(rasters) else []


def _natural(band: str) -> tuple[int, str]:
    number = re.search(r"\d+", band)
    return (int(number[0]) if number else 0, band)


def refuse_band_files(root: Path, folders: Iterable[tuple[Path, Path]]) -> None:
    """Refuse a data set whose images are stored as one file per band.

    Args:
        root: Its folder.
        folders: Folders of the earlier and the later images, as far as a layout was recognised.

    Raises:
        DataError: With the command that stacks the first pair.
    """
    pairs = list(folders) or _dates_in(root)
    for before, after in pairs:
        first, second = _first_stack(before), _first_stack(after)
        if first is not None and second is not None and _has_one_band(first):
            name = first.image.strip("_.-") or _named_after(before)
            commands = [
                stack.stack_command(f"stacked/{part}/{name}.vrt")
                for stack, part in ((first, "A"), (second, "B"))
            ]
            raise DataError(
                f"{before} holds one file per band ({first.listed}); stack the bands of each "
                "image into one file, in folders A and B of a new data set (labels in its folder "
                f"label): mkdir -p stacked/A stacked/B && {commands[0]} && {commands[1]}"
            )


def _first_stack(folder: Path) -> BandFiles | None:
    """Find the first image in a folder, or in its first subfolder if it holds nothing else."""
    content = sorted(path for path in folder.iterdir() if path.name[0] != ".")
    files = [path for path in content if path.is_file()]
    inner = [path for path in content if path.is_dir()]
    if not files and inner:
        files = [path for path in inner[0].iterdir() if path.is_file()]
    return next(iter(find_band_files(files)), None)


def _dates_in(root: Path) -> list[tuple[Path, Path]]:
    """Find two folders that hold the bands of one date each, up to two levels down."""
    near = _subfolders(root)
    deep = [inner for folder in near for inner in _subfolders(folder)]
    for folder in (root, *near, *deep):
        inside = {path.name.lower(): path for path in _subfolders(folder)}
        for first, second in _DATE_FOLDERS:
            if first in inside and second in inside:
                return [(inside[first], inside[second])]
        dates = [path for path in inside.values() if find_band_files(path.iterdir())]
        if len(dates) == _LEAST_BANDS:
            return [(dates[0], dates[1])]
    return []


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")


def _named_after(folder: Path) -> str:
    # The folder of a date says no more than the date.
    return folder.parent.name or folder.name


def _has_one_band(stack: BandFiles) -> bool:
    from changedet.raster.open import open_raster

    with open_raster(str(next(iter(stack.files.values())))) as dataset:
        return bool(dataset.count == 1)
