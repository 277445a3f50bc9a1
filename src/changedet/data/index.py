"""One index of pairs for every layout: list files, folders, benchmarks, labelled rasters."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from changedet.data.band_files import refuse_band_files
from changedet.data.benchmarks import LISTS, Benchmark, differences, find_benchmark
from changedet.data.file_names import (
    SPLIT_NAMES,
    check_data_folder,
    find_mixture,
    split_parts,
)
from changedet.data.images import is_raster
from changedet.data.layouts import (
    UNDERSTOOD,
    LayoutFolders,
    Prefer,
    find_folders,
    find_split_folders,
    half_a_layout,
    match_pairs,
    other_label_folders,
    subfolders,
)
from changedet.data.lists import find_lists, read_list
from changedet.data.pair import PairPaths
from changedet.data.pair_index import PairIndex
from changedet.data.rasters.manifest import find_manifest
from changedet.data.survey import BandChoice, Survey
from changedet.data.world_files import misplaced_pictures
from changedet.errors import ConfigError, DataError
from changedet.storage.text import first_few

if TYPE_CHECKING:
    from changedet.data.mixture_file import MixtureEntry

__all__ = [
    "BandChoice",
    "PairIndex",
    "PairPaths",
    "Survey",
    "accept",
    "check_one_data_set",
    "check_splits",
    "files_of",
    "index_pairs",
    "survey",
]

#: Shares of the splits where the data set has none.
SPLIT_SHARES = {"train": 0.70, "val": 0.15, "test": 0.15}
_SMALLEST_SPLIT_SET = len(SPLIT_SHARES)
_STEM_SPLIT = re.compile(rf"({'|'.join(SPLIT_NAMES)})[_-]", re.IGNORECASE)


def index_pairs(
    root: str | Path,
    *,
    benchmark: str | None = None,
    labelled: bool = True,
    channels: int | None = 3,
    bands: BandChoice = BandChoice(),  # noqa: B008 - immutable
) -> PairIndex:
    """Find all pairs under ``root``.

    A mixture of data sets (``mixture.yaml``) and a manifest of scenes (``scenes.yaml``) win over
    everything else.
    List files win over folders, prepared ones (``train1.txt``, ``OUT1``) over others. Without
    splits, stems that all begin with ``train_``, ``val_`` or ``test_`` tell them; else 70, 15 and
    15 percent are drawn by a hash of the stem, the same on every machine.

    Args:
        root: Folder of the data set, manifest of scenes, or mixture of data sets.
        benchmark: Name of a row of ``benchmarks.BENCHMARKS``, to check the layout against.
        labelled: Whether every pair needs a label.
        channels: Bands that the model takes; None: as many as the images have. Rasters are opened
            with them, pictures not yet.
        bands: Which bands of rasters these are.

    Raises:
        DataError: If the layout is not understood, a list is empty, a file has no partner, or
            rasters do not fit each other.
        ConfigError: If there is no such benchmark, or a manifest lists the bands itself.
    """
    mixture = find_mixture(Path(root))
    if mixture is not None:
        if benchmark is not None:
            raise ConfigError(
                f"a benchmark ({benchmark}) cannot be combined with a mixture ({mixture}); name "
                "the benchmark of a set in that file"
            )
        # pydantic comes with it, which single data sets do without.
        from changedet.data.mixture_index import index_mixture

        return index_mixture(
            mixture, partial(index_pairs, channels=channels, bands=bands, labelled=labelled)
        )
    return accept(
        survey(Path(root), benchmark=benchmark, labelled=labelled, channels=channels, bands=bands)
    )


def accept(found: Survey) -> PairIndex:
    """Turn a survey without faults into an index.

    Raises:
        DataError: If there are faults; the message tells the first.
    """
    if found.faults:
        more = len(found.faults) - 1
        rest = f" (and {more} more; changedet data check {found.root} lists them)" if more else ""
        raise DataError(found.faults[0] + rest)
    splits = {split: tuple(pairs) for split, pairs in found.splits.items()}
    return PairIndex(
        root=found.root,
        layout=found.layout,
        name=found.name,
        splits=splits,
        notes=(*found.warnings, *found.notes),
        channels=found.channels,
        bands=found.bands,
        bands_after=found.bands_after,
        pixel_type=found.pixel_type,
        scenes=found.scenes,
    )


def files_of(index: PairIndex) -> dict[str, list[PairPaths]]:
    """Give the pairs of an index by split, where each has to be three files of its own.

    Raises:
        DataError: If they are blocks of scenes.
    """
    files = {
        split: [pair for pair in pairs if isinstance(pair, PairPaths)]
        for split, pairs in index.splits.items()
    }
    if sum(map(len, files.values())) < len(index.pairs):
        raise DataError(
            f"{index.root} lists scenes, which need no preparation; give a folder of image pairs"
        )
    return files


def survey(
    root: Path,
    *,
    benchmark: str | None = None,
    labelled: bool = True,
    prefer: Prefer = "prepared",
    channels: int | None = 3,
    bands: BandChoice = BandChoice(),  # noqa: B008 - immutable
) -> Survey:
    """Find all pairs under ``root`` and collect faults instead of stopping at the first.

    Raises:
        DataError: If the folder does not exist or nothing in it is understood.
        ConfigError: If there is no such benchmark.
    """
    row = None if benchmark is None else find_benchmark(benchmark)
    check_one_data_set(root)
    manifest = find_manifest(root)
    if manifest is not None:
        if row is not None:
            raise ConfigError(
                f"a benchmark ({row.name}) cannot be combined with a raster manifest ({manifest}); "
                "remove one of them"
            )
        if bands.before is not None and bands.origin == "asked":
            raise ConfigError(
                f"the bands of scenes are listed in their manifest ({manifest}: bands: [1, 2, "
                "3]); remove `bands`"
            )
        # GDAL comes with it, which pairs of pictures do without.
        from changedet.data.rasters.survey import survey_rasters

        return survey_rasters(manifest, channels=channels)
    found = _survey_names(root, row, labelled=labelled, prefer=prefer)
    found.channels = channels or len(bands.before or ()) or found.channels
    is_asked = bands.before is not None and bands.origin == "asked"
    if is_asked or _has_rasters(found):
        from changedet.data.rasters.tile_survey import settle_tiles

        settle_tiles(found, bands, channels=channels)
    files = [pair for pairs in found.splits.values() for pair in pairs]
    found.faults += misplaced_pictures(pair for pair in files if isinstance(pair, PairPaths))
    return found


def check_one_data_set(root: Path) -> None:
    """Refuse a mixture, where one data set is asked for.

    Raises:
        DataError: If it is one, naming its data sets.
    """
    mixture = find_mixture(root)
    if mixture is None:
        return
    from changedet.data.mixture_file import read_mixture

    folders = [str(entry.data) for entry in read_mixture(mixture).values()]
    raise DataError(
        f"{mixture} is a mixture of data sets, which training, evaluation and calibration take as "
        f"a whole; here, give one of them: {first_few(folders)}"
    )


def check_splits(
    root: Path, asked: Mapping[str, str | None], *, benchmark: str | None = None
) -> None:
    """Refuse a data set without pairs, and splits that it has not; no file is opened but lists.

    Args:
        root: Folder of the data set; a manifest of scenes is passed over, whose rasters tell. Of a
            mixture, one data set must have a split.
        asked: Names of splits by the setting that chose each; None: not asked for.
        benchmark: Name of a known benchmark.

    Raises:
        DataError: If the layout is not understood, or there is no such split.
        ConfigError: If there is no such benchmark.
    """
    mixture = find_mixture(root)
    if mixture is not None:
        from changedet.data.mixture_file import read_mixture

        _check_splits_of_sets(mixture, read_mixture(mixture), asked)
        return
    if find_manifest(root) is not None:
        return
    row = None if benchmark is None else find_benchmark(benchmark)
    index = accept(_survey_names(root, row, labelled=True, prefer="prepared"))
    for setting, split in asked.items():
        if split is not None:
            index.split(split, setting=setting)


def _check_splits_of_sets(
    mixture: Path, sets: Mapping[str, "MixtureEntry"], asked: Mapping[str, str | None]
) -> None:
    found: dict[str, None] = {}
    for entry in sets.values():
        if entry.splits is None and find_manifest(entry.data) is not None:
            # Its rasters tell.
            return
        if entry.splits is None:
            row = None if entry.benchmark is None else find_benchmark(entry.benchmark)
            own = _survey_names(entry.data, row, labelled=True, prefer="prepared")
            found.update(dict.fromkeys(own.splits))
        found.update(dict.fromkeys((*(entry.splits or ()), *(("val",) if entry.validate_ else ()))))
    for setting, split in asked.items():
        missing = [] if split is None else [one for one in split_parts(split) if one not in found]
        if missing:
            raise DataError(
                f"no data set of {mixture} has a split {missing[0]!r}; choose one of: "
                f"{', '.join(found)} (`{setting}=NAME`)"
            )


def holds_pictures_only(root: Path, *, benchmark: str | None = None) -> bool:
    """Tell, without opening a file, whether all images of a data set are 8-bit RGB pictures.

    Args:
        root: Folder of the data set, manifest of scenes, or mixture; of the latter two this is not
            told.
        benchmark: Name of a known benchmark.

    Raises:
        DataError: If the layout is not understood.
    """
    if find_manifest(root) is not None or find_mixture(root) is not None:
        return False
    row = None if benchmark is None else find_benchmark(benchmark)
    return not _has_rasters(_survey_names(root, row, labelled=True, prefer="prepared"))


def _survey_names(root: Path, row: Benchmark | None, *, labelled: bool, prefer: Prefer) -> Survey:
    check_data_folder(root)
    published = [root / part for part in (row.inside if row else ())]
    inner = next((folder for folder in published if folder.is_dir()), root)
    found = _survey_layout(inner, labelled=labelled, prefer=prefer)
    if row is not None:
        _check_benchmark(found, row)
    return found


def _has_rasters(found: Survey) -> bool:
    return any(
        is_raster(path)
        for pairs in found.splits.values()
        for pair in pairs
        if isinstance(pair, PairPaths)
        for path in (pair.before, pair.after)
    )


def _survey_layout(root: Path, *, labelled: bool, prefer: Prefer) -> Survey:
    name = root.resolve().name
    lists = find_lists(root, prefer=prefer)
    if lists:
        found = Survey(root, LISTS, name)
        for split, entry in lists.items():
            if entry.loser is not None:
                found.notes.append(f"{entry.path.name} is used, not {entry.loser.name}")
            pairs = read_list(entry.path, root=root, labelled=labelled, prefer=prefer)
            found.add(split, pairs)
        return found
    with_folders = {
        split: folders
        for split, folder in find_split_folders(root).items()
        if (folders := find_folders(folder, prefer=prefer)) is not None
    }
    whole = None if with_folders else find_folders(root, prefer=prefer)
    recognised = [*with_folders.values(), *([] if whole is None else [whole])]
    refuse_band_files(root, [(folders.before, folders.after) for folders in recognised])
    if with_folders:
        found = Survey(root, f"{next(iter(with_folders.values())).name} in split folders", name)
        _add_split_folders(found, with_folders, labelled=labelled)
        return found
    if whole is None:
        raise DataError(_not_understood(root))
    found = Survey(root, f"{whole.name} without splits", name)
    pairs = match_pairs(whole, labelled=labelled)
    _say_which_labels(found, [whole])
    found.add("train", pairs)
    if pairs.pairs:
        splits, how = _split(pairs.pairs)
        found.splits = dict(splits)
        found.notes.append(how)
    return found


def _add_split_folders(found: Survey, used: Mapping[str, LayoutFolders], *, labelled: bool) -> None:
    some_have_labels = any(folders.label is not None for folders in used.values())
    for split, folders in used.items():
        if labelled and some_have_labels and folders.label is None:
            found.notes.append(f"{split} has no label folder and is skipped")
        else:
            found.add(split, match_pairs(folders, labelled=labelled))
    _say_which_labels(found, list(used.values()))
    for split, folder in find_split_folders(found.root).items():
        half = half_a_layout(folder)
        if split not in used and half is not None:
            found.faults.append(f"{half}; add it or remove the folder")
        elif split not in used:
            found.notes.append(f"{folder} has no folders of two dates and is skipped")


def _say_which_labels(found: Survey, folders: Sequence[LayoutFolders]) -> None:
    for entry in folders:
        losers = other_label_folders(entry)
        if losers and entry.label is not None:
            where = entry.label.relative_to(found.root)
            found.notes.append(f"using the labels in {where}, not those in {', '.join(losers)}")


def _split(pairs: Sequence[PairPaths]) -> tuple[dict[str, list[PairPaths]], str]:
    marks = [_STEM_SPLIT.match(pair.name) for pair in pairs]
    if all(marks):
        by_stem: dict[str, list[PairPaths]] = {split: [] for split in SPLIT_NAMES}
        for pair, mark in zip(pairs, marks, strict=True):
            if mark is not None:
                by_stem[mark.group(1).lower()].append(pair)
        splits = {split: members for split, members in by_stem.items() if members}
        counted = ", ".join(f"{split} {len(members)}" for split, members in splits.items())
        return splits, f"no split folders or lists: split by the prefix of the names ({counted})"
    splits = _split_by_hash(pairs)
    counted = ", ".join(f"{split} {len(members)}" for split, members in splits.items())
    return splits, (
        f"no split folders or lists: split by a hash of the names ({counted}), the same every "
        "time; tiles of one scene may end up in different splits, so write lists if they overlap"
    )


def _split_by_hash(pairs: Sequence[PairPaths]) -> dict[str, list[PairPaths]]:
    ranked = sorted(pairs, key=lambda pair: hashlib.sha256(pair.name.encode()).digest())
    total = len(ranked)
    if total < _SMALLEST_SPLIT_SET:
        val, test = total - 1, 0
    else:
        val, test = (max(1, round(SPLIT_SHARES[split] * total)) for split in ("val", "test"))
    bounds = {"train": (0, total - val - test), "val": (total - val - test, total - test)}
    bounds["test"] = (total - test, total)
    return {
        split: sorted(ranked[start:end]) for split, (start, end) in bounds.items() if end > start
    }


def _check_benchmark(found: Survey, row: Benchmark) -> None:
    found.name = row.name
    if not any(found.layout.lower().startswith(name.lower()) for name in row.layouts):
        raise DataError(
            f"{found.root} contains {found.layout}, but {row.name} comes as "
            f"{' or '.join(row.layouts)}; check the folder or omit the benchmark"
        )
    numbers = {split: len(pairs) for split, pairs in found.splits.items()}
    difference = differences(row, numbers)
    if difference is not None:
        found.notes.append(difference)


def _not_understood(root: Path) -> str:
    half = half_a_layout(root) or next(
        (
            problem
            for folder in find_split_folders(root).values()
            if (problem := half_a_layout(folder)) is not None
        ),
        None,
    )
    inside = [
        folder
        for folder in subfolders(root).values()
        if find_folders(folder) or find_split_folders(folder) or find_lists(folder)
    ]
    hint = f"; did you mean {first_few([str(folder) for folder in inside])}?" if inside else "."
    return f"{half or f'no pairs are found in {root}'}{hint} Understood are {UNDERSTOOD}"
