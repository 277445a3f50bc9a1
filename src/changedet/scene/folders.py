"""Tell rasters from pictures, and pair the rasters of two folders."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from changedet.data.layouts import Found, images_by_stem, some
from changedet.errors import DataError
from changedet.scene.flow import TileProgress
from changedet.scene.predict import predict_scene
from changedet.scene.request import SceneReport, SceneRequest
from changedet.scene.summary import SUMMARY

_PICTURES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif"})
_RASTERS = frozenset({".tif", ".tiff"})


def is_scene(location: str) -> bool:
    """Tell whether a place is a raster to be treated as a scene: anything but plain pictures.

    A folder is one of scenes if all images in it are TIFFs.
    """
    path = Path(location)
    if path.is_dir():
        suffixes = {file.suffix.lower() for file in path.iterdir() if file.is_file()}
        images = suffixes & (_PICTURES | _RASTERS)
        return bool(images) and images <= _RASTERS
    return path.suffix.lower() not in _PICTURES


def predict_scenes(
    request: SceneRequest,
    *,
    say: Callable[[str], None] = lambda message: None,
    progress: TileProgress | None = None,
) -> list[SceneReport]:
    """Map what changed between the rasters of two folders that have the same stems.

    Each pair gets a folder of its own in ``request.out``. Pairs that an earlier run finished are
    passed over, unless they may be replaced.

    Args:
        request: As for :func:`changedet.scene.predict.predict_scene`; two folders.
        say: Gets sentences for the user.
        progress: Told how far the scoring of the pair at hand is.

    Raises:
        DataError: If a raster has no partner, besides what ``predict_scene`` raises.
    """
    reports = []
    for stem, before, after in _match(Path(request.before), Path(request.after)):
        out = request.out / stem
        if request.existing == "refuse" and (out / SUMMARY).is_file():
            say(f"{stem}: already there, passed over (--overwrite replaces it)")
            continue
        one = replace(request, before=str(before), after=str(after), out=out)
        reports.append(predict_scene(one, say=_prefixed(say, stem), progress=progress))
    return reports


def _prefixed(say: Callable[[str], None], stem: str) -> Callable[[str], None]:
    return lambda text: say(f"{stem}: {text}")


def _match(before: Path, after: Path) -> list[tuple[str, Path, Path]]:
    for path, other in ((before, after), (after, before)):
        if not path.is_dir():
            raise DataError(
                f"{other} is a folder and {path} is none; give two rasters, or two folders whose "
                "files have the same stems"
            )
    first, second = _rasters(before), _rasters(after)
    lonely = first.keys() ^ second.keys()
    if lonely:
        raise DataError(
            f"{len(lonely)} raster(s) of {before} and {after} have no partner in the other folder: "
            f"{some(sorted(lonely))}; add the partners or take these out"
        )
    return [(stem, first[stem], second[stem]) for stem in sorted(first)]


def _rasters(folder: Path) -> dict[str, Path]:
    found = Found()
    images = images_by_stem(folder, found)
    if found.faults:
        raise DataError(f"{found.faults[0]}; pairs are matched by the stem of their file names")
    return images
