"""Predict on the rasters of two folders."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from changedet.data.band_files import find_band_files
from changedet.data.images import RASTER_SUFFIXES
from changedet.errors import (
    ChangeDetError,
    CheckpointError,
    ConfigError,
    DataError,
    ImageError,
    MissingExtraError,
    ResultsError,
    StorageError,
)
from changedet.inference.detector import Detector
from changedet.inference.provenance import settle_threshold
from changedet.inference.working_gsd import check_gsd
from changedet.predict.flow import TileProgress
from changedet.predict.inputs import PICTURES, is_placed, visible_files
from changedet.predict.rasters import predict_scene
from changedet.predict.request import SceneReport, SceneRequest, load_detector, spoken
from changedet.predict.results import request_settings
from changedet.predict.summary import SUMMARY, RasterFacts, SceneSummary
from changedet.predict.tiling import choose_tiling
from changedet.raster.info import read_info
from changedet.raster.open import open_raster
from changedet.storage.text import first_few
from changedet.types import TestTime
from changedet.vector.regions import read_region, region_sha256

# Other rasters that may lie next to TIFFs; unlike .ovr or .xml, they are not part of one.
_NOT_TAKEN: Final = PICTURES | {".vrt", ".img"}
_VIRTUAL: Final = frozenset({".vrt"})
_PLACES: Final = ("before", "after")
# Facts of a summary that stand for a setting of another name.
_SETTINGS: Final = {"model_sha256": "model", "baseline": "model"}
# What earlier versions did, which had no such settings.
_EARLIER: Final = {"test_time": "none", "nodata": "none", "alpha": "mask"}
#: Errors that the next pair would meet as well.
_HOPELESS: Final = (CheckpointError, MissingExtraError, StorageError)


class PairResult(NamedTuple):
    """The result of one pair of two folders: a report, or the reason why there is none."""

    stem: str
    outcome: SceneReport | ChangeDetError


def predict_scenes(
    request: SceneRequest,
    *,
    detector: Detector | None = None,
    say: Callable[[str], None] = lambda message: None,
    progress: TileProgress | None = None,
) -> Iterator[PairResult]:
    """Map what changed between the TIFFs of two folders that have the same stems.

    Each pair gets its own folder in ``request.out``. Pairs that an earlier run finished are
    skipped, unless they may be replaced. What is wrong with one pair does not stop the others.

    Args:
        request: As for :func:`changedet.predict.rasters.predict_scene`; two folders.
        detector: Scores the tiles of all pairs, instead of one made from the request.
        say: Gets sentences for the user.
        progress: Called with the progress of scoring the current pair.

    Returns:
        The result of each pair, as it is done; pairs that are skipped are left out. The checks
        are done before; the iterator raises StorageError, and what else would hit every pair.

    Raises:
        DataError: If a raster has no partner.
        ConfigError: If an option is wrong, or finished results were made with other settings or
            from other rasters.
        CheckpointError: If the model file cannot be used.
    """
    if request.bands is None:
        _refuse_band_files(Path(request.before), Path(request.after))
    matched = _match(Path(request.before), Path(request.after), say)
    pairs = {
        stem: replace(request, before=str(before), after=str(after), out=request.out / stem)
        for stem, before, after in matched
    }
    # A baseline is made for as many bands as the first pair has.
    if detector is None:
        detector = load_detector(next(iter(pairs.values())))
    detector = detector.for_kind(request.kind)
    settled = _check_options(request, detector)
    finished = set()
    if request.existing == "refuse":
        finished = {stem for stem, pair in pairs.items() if (pair.out / SUMMARY).is_file()}
    region_now = cache(partial(_region_sha256, request))
    differences = {}
    for stem in sorted(finished):
        asked = request_settings(pairs[stem], **settled._asdict())
        differences[stem] = _differences(pairs[stem], asked, region_now)
    _refuse_any(differences, request.out)
    return _predict_all(pairs, finished, detector=detector, say=say, progress=progress)


def _predict_all(
    pairs: Mapping[str, SceneRequest],
    finished: set[str],
    *,
    detector: Detector,
    say: Callable[[str], None],
    progress: TileProgress | None,
) -> Iterator[PairResult]:
    for stem, pair in pairs.items():
        tell = _prefixed(say, stem)
        if stem in finished:
            tell('skipped, results exist (`existing="replace"` replaces them)')
            continue
        try:
            outcome: SceneReport | ChangeDetError = predict_scene(
                pair, detector=detector, say=tell, progress=progress
            )
        except _HOPELESS:
            raise
        except ChangeDetError as error:
            outcome = error
        yield PairResult(stem, outcome)


def _prefixed(say: Callable[[str], None], stem: str) -> Callable[[str], None]:
    return lambda text: say(f"{stem}: {text}")


class _Settled(NamedTuple):
    """What is used for all pairs: the model's metadata, threshold, views and kind of change."""

    model: dict[str, Any]
    threshold: float
    test_time: TestTime
    kind: str | None
    runtime: str | None


def _check_options(request: SceneRequest, detector: Detector) -> _Settled:
    """Find mistakes that concern all pairs before the first one."""
    threshold, _ = settle_threshold(
        detector.card, request.threshold, model=str(detector.path or "the model")
    )
    choose_tiling(
        detector,
        tile_px=request.tile_px,
        overlap_px=request.overlap_px,
        batch_size=request.batch_size,
    )
    if request.gsd_m is not None:
        check_gsd(request.gsd_m)
    return _Settled(
        detector.metadata, threshold, detector.test_time, detector.kind, detector.runtime
    )


def _refuse_any(differences: Mapping[str, list[str]], out: Path) -> None:
    """Refuse to pass over results that would come out differently now; differences by stem."""
    stems: dict[str, list[str]] = {}
    for stem, names in differences.items():
        for name in names:
            stems.setdefault(name, []).append(stem)
    if stems:
        what = "; ".join(f"{name} ({first_few(where)})" for name, where in stems.items())
        raise ConfigError(
            f"existing results in {out} were made with other settings: {what}; use "
            '`existing="replace"` to recompute all, choose another folder (`out`), or remove '
            "the folders of these pairs"
        )


def _differences(
    pair: SceneRequest,
    asked: Mapping[str, Any],
    region_now: Callable[[str | None], str],
) -> list[str]:
    """Name what has changed since a finished result was made."""
    try:
        summary = SceneSummary.read(pair.out / SUMMARY)
    except ResultsError:
        return [f"unknown, as {SUMMARY} cannot be read"]
    names = list(_differing({**_EARLIER, **summary.request}, asked))
    for date in _PLACES:
        then: RasterFacts = getattr(summary.inputs, date)
        now = _version(getattr(pair, date))
        if spoken(date) not in names and now != [then.size_bytes, then.changed_at]:
            names.append(f"the content of {date}")
    if (
        pair.region is not None
        and spoken("region") not in names
        and summary.area_of_interest_sha256 != region_now(summary.grid.crs)
    ):
        names.append(f"the content of {pair.region}")
    return names


def _differing(
    earlier: Mapping[str, Any], now: Mapping[str, Any], *, prefix: str = ""
) -> Iterator[str]:
    for name in sorted(earlier.keys() | now.keys()):
        old, new = earlier.get(name), now.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _differing(old, new, prefix=f"{name}.")
        elif old != new and not (name in _PLACES and _same_place(str(old), str(new))):
            yield spoken(prefix + _SETTINGS.get(name, name))


def _same_place(old: str, new: str) -> bool:
    return Path(old).absolute() == Path(new).absolute()


def _version(location: str) -> list[int | str | None]:
    """Size and date of a raster, as they stand in a summary; nothing if it cannot be read now."""
    try:
        with open_raster(location) as dataset:
            facts = read_info(dataset, location=location, bands=(1,))
    except ImageError:
        return []
    return [facts.size_bytes, facts.changed_at]


def _region_sha256(request: SceneRequest, crs: str | None) -> str:
    """Tell one state of the area of interest from another, as it stands in a summary."""
    geometry = read_region(
        request.region or "", crs=crs, text_crs=request.region_crs, tell=lambda message: None
    )
    return region_sha256(geometry)


def _refuse_band_files(before: Path, after: Path) -> None:
    """Refuse folders that hold one file per band: each band alone would be mapped as an image."""
    stacks = []
    for folder in (before, after):
        found = find_band_files(visible_files(folder)) if folder.is_dir() else []
        if not found:
            return
        with open_raster(str(next(iter(found[0].files.values())))) as dataset:
            if dataset.count != 1:
                return
        stacks.append(found[0])
    commands = [
        stack.stack_command(name)
        for stack, name in zip(stacks, ("before.vrt", "after.vrt"), strict=True)
    ]
    raise DataError(
        f"{before} and {after} hold one file per band ({stacks[0].listed}); stack the bands of "
        f"each date into one file: {commands[0]} && {commands[1]}; then predict on these two, and "
        "choose bands by their place in the stack (`bands`)"
    )


def _match(before: Path, after: Path, say: Callable[[str], None]) -> list[tuple[str, Path, Path]]:
    for path, other in ((before, after), (after, before)):
        if not path.is_dir():
            raise DataError(
                f"{other} is a folder and {path} is not; give two rasters, or two folders whose "
                "files have the same stems"
            )
    first, second = _rasters(before, say), _rasters(after, say)
    lonely = first.keys() ^ second.keys()
    if lonely:
        raise DataError(
            f"{len(lonely)} raster(s) of {before} and {after} have no partner in the other folder: "
            f"{first_few(sorted(lonely))}; add the partners or remove these"
        )
    return [(stem, first[stem], second[stem]) for stem in sorted(first)]


def _rasters(folder: Path, say: Callable[[str], None]) -> dict[str, Path]:
    """Find the rasters of a folder: its TIFFs, or where there are none, pictures with a place."""
    rasters: dict[str, Path] = {}
    ignored = 0
    files = visible_files(folder)
    # A VRT among other rasters is made of them: a mosaic or a stack of bands.
    is_made = any(path.suffix.lower() in RASTER_SUFFIXES - _VIRTUAL for path in files)
    taken = RASTER_SUFFIXES - _VIRTUAL if is_made else RASTER_SUFFIXES
    has_rasters = any(path.suffix.lower() in taken for path in files)
    if not has_rasters and any(map(is_placed, files)):
        taken = PICTURES
    for path in files:
        if path.suffix.lower() not in taken:
            ignored += path.suffix.lower() in _NOT_TAKEN
        elif path.stem in rasters:
            raise DataError(
                f"{folder}: {rasters[path.stem].name} and {path.name} have the same stem, so it is "
                "unclear which one to use; remove one (pairs are matched by the stem of their "
                "file names)"
            )
        else:
            rasters[path.stem] = path
    if not rasters:
        raise DataError(
            f"{folder} has no TIFFs, nor images with world files; convert other rasters with "
            "gdal_translate, or give two folders of PNG or JPEG images"
        )
    if ignored:
        say(f"{folder}: {ignored} image(s) other than TIFFs are ignored")
    return rasters
