"""The manifest of scenes, ``scenes.yaml``: which rasters, which labels, how they are split."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import yaml

from changedet.data.layouts import SPLIT_NAMES
from changedet.errors import DataError
from changedet.storage.yaml import parse_yaml

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Name of the layout that it describes.
LAYOUT: Final = "scenes"
#: Name of the manifest inside a folder.
MANIFEST: Final = "scenes.yaml"
SPLITS: Final = tuple(SPLIT_NAMES)
#: To be said before scenes are surveyed, which may take minutes.
READING_SCENES: Final = "reading the scenes once, for the split, the labels and the statistics"

_SUFFIXES = (".yaml", ".yml")
# http://, s3:// and GDAL's own file systems.
_REMOTE = re.compile(r"[a-z][a-z0-9+.-]*://|/vsi", re.IGNORECASE)
#: A block is read as a whole where it is validated on, so its size is bounded.
_BLOCK_PX = (64, 4096)
# What is left of a block that is inset, at least.
_SMALLEST_CORE_PX = 32


@dataclass(frozen=True)
class RasterEntry:
    """One scene of the manifest.

    Attributes:
        name: Unique in the manifest.
        before: Raster of the first date: path or URL.
        after: Raster of the second date.
        labels: Polygon file or label raster: path or URL.
        area: Polygon file; outside of it the labels are incomplete and do not count.
        split: The split that the whole scene goes to; None: its blocks are dealt.
        labels_layer: Layer of the polygon file; None: its only layer of polygons.
        unchanged: Whether it is known that nothing changed, so that labels may show nothing.
    """

    name: str
    before: str
    after: str
    labels: str
    area: str | None = None
    split: str | None = None
    labels_layer: str | None = None
    unchanged: bool = False


@dataclass(frozen=True)
class SplitRule:
    """How scenes are cut and dealt.

    Attributes:
        block_px: Largest height and width of a block.
        gap_px: Pixels by which validation and test blocks are inset on every side.
        seed: Decides which block goes where.
        shares: Share of the labelled pixels by split; they add up to 1.
    """

    block_px: int = 1024
    gap_px: int = 64
    seed: int = 0
    shares: Mapping[str, float] = field(
        default_factory=lambda: {"train": 0.70, "val": 0.15, "test": 0.15}
    )


class RasterSettings(NamedTuple):
    """What a manifest says of all its scenes, and a model has to know.

    Attributes:
        gap_px: Distance that validation and test blocks keep from training blocks, in pixels.
        bands: Bands that are read, counted from 1; None: all but alpha.
        bands_after: Those of the second date where they differ.
    """

    gap_px: int
    bands: tuple[int, ...] | None = None
    bands_after: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Manifest:
    """All that a manifest says.

    Attributes:
        path: The file.
        scenes: At least one.
        bands: Bands that are read, counted from 1; None: all but alpha.
        bands_after: Those of the second date where they differ.
        rule: How scenes are split.
    """

    path: Path
    scenes: tuple[RasterEntry, ...]
    bands: tuple[int, ...] | None = None
    bands_after: tuple[int, ...] | None = None
    rule: SplitRule = SplitRule()

    @property
    def name(self) -> str:
        """Name of the data set: the folder's for ``scenes.yaml``, else the file's."""
        return self.path.resolve().parent.name if self.path.name == MANIFEST else self.path.stem

    @property
    def settings(self) -> RasterSettings:
        """What is stored with a model."""
        return RasterSettings(self.rule.gap_px, self.bands, self.bands_after)


def find_manifest(root: Path) -> Path | None:
    """Tell the manifest that ``root`` is or holds, None if it is neither."""
    if root.is_file() and root.suffix.lower() in _SUFFIXES:
        return root
    inside = root / MANIFEST
    return inside if inside.is_file() else None


def read_manifest(path: Path) -> Manifest:
    """Read and check a manifest.

    Raises:
        DataError: If it cannot be read, a key is unknown or missing, or a value is out of range;
            the message names the place and, for a typo, the nearest key.
    """
    try:
        tree = parse_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {error}; check the file") from error
    except yaml.YAMLError as error:
        raise DataError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    top = _section(tree, ("scenes", "bands", "bands_after", "split"), where=str(path))
    listed = top.get("scenes")
    if not isinstance(listed, list) or not listed:
        raise DataError(
            f"{path}: scenes must list at least one scene with name, before, after and labels, "
            f"got {listed!r}"
        )
    scenes = tuple(
        _scene(entry, path.parent, where=f"{path}: scenes[{number}]")
        for number, entry in enumerate(listed)
    )
    twice = [name for name, times in Counter(scene.name for scene in scenes).items() if times > 1]
    if twice:
        raise DataError(f"{path}: two scenes are named {twice[0]!r}; give each a name of its own")
    bands = _bands(top, "bands", where=str(path))
    bands_after = _bands(top, "bands_after", where=str(path))
    if bands_after is not None and (bands is None or len(bands) != len(bands_after)):
        raise DataError(
            f"{path}: bands_after lists {len(bands_after)} bands and bands "
            f"{len(bands) if bands else 'none'}; list as many for both dates"
        )
    return Manifest(path, scenes, bands, bands_after, _rule(top.get("split"), f"{path}: split"))


def _scene(entry: object, folder: Path, *, where: str) -> RasterEntry:
    known = ("name", "before", "after", "labels", "labels_layer", "area", "split", "unchanged")
    values = _section(entry, known, where=where)
    for key in ("before", "after", "labels"):
        if not isinstance(values.get(key), str):
            raise DataError(f"{where}: {key} must be a path or URL, got {values.get(key)!r}")
    for key in ("name", "area", "labels_layer"):
        if values.get(key) is not None and not isinstance(values[key], str):
            raise DataError(f"{where}: {key} must be text, got {values[key]!r}; put it in quotes")
    split = values.get("split")
    if split is not None and split not in SPLITS:
        raise DataError(f"{where}: split must be one of {', '.join(SPLITS)}, got {split!r}")
    unchanged = values.get("unchanged", False)
    if not isinstance(unchanged, bool):
        raise DataError(f"{where}: unchanged must be true or false, got {unchanged!r}")
    area = values.get("area")
    return RasterEntry(
        name=values.get("name") or Path(values["before"]).stem,
        before=_location(values["before"], folder),
        after=_location(values["after"], folder),
        labels=_location(values["labels"], folder),
        area=None if area is None else _location(area, folder),
        split=split,
        labels_layer=values.get("labels_layer"),
        unchanged=unchanged,
    )


def _location(text: str, folder: Path) -> str:
    return text if _REMOTE.match(text) else str(folder / text)


def _bands(top: Mapping[str, Any], key: str, *, where: str) -> tuple[int, ...] | None:
    bands = top.get(key)
    if bands is None:
        return None
    if not isinstance(bands, list) or not bands or not all(_is_count(band, 1) for band in bands):
        raise DataError(f"{where}: {key} must list bands counted from 1, got {bands!r}")
    return tuple(bands)


def _rule(section: object, where: str) -> SplitRule:
    if section is None:
        return SplitRule()
    values = _section(section, ("block_px", "gap_px", "seed", "shares"), where=where)
    block_px, gap_px = values.get("block_px", 1024), values.get("gap_px", 64)
    low, high = _BLOCK_PX
    if not _is_count(block_px, low) or block_px > high:
        raise DataError(f"{where}.block_px must be in [{low}, {high}], got {block_px!r}")
    largest = (block_px - _SMALLEST_CORE_PX) // 2
    if not _is_count(gap_px, 0) or gap_px > largest:
        raise DataError(
            f"{where}.gap_px must be in [0, {largest}] for blocks of {block_px} px, got "
            f"{gap_px!r}; lower it or raise block_px"
        )
    seed = values.get("seed", 0)
    if not _is_count(seed, 0):
        raise DataError(f"{where}.seed must be a whole number from 0 on, got {seed!r}")
    return SplitRule(block_px, gap_px, seed, _shares(values.get("shares"), f"{where}.shares"))


def _shares(section: object, where: str) -> Mapping[str, float]:
    if section is None:
        return SplitRule().shares
    values = _section(section, SPLITS, where=where)
    for split, share in values.items():
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
            raise DataError(f"{where}.{split} must be a share in [0, 1], got {share!r}")
    total = sum(values.values())
    if abs(total - 1.0) > 1e-6:
        raise DataError(f"{where} must add up to 1, got {total:g}")
    return {split: float(values[split]) for split in SPLITS if values.get(split)}


def _section(tree: object, known: Sequence[str], *, where: str) -> dict[str, Any]:
    if not isinstance(tree, dict):
        raise DataError(f"{where} must hold keys ({', '.join(known)}), got {tree!r}")
    for key in tree:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
            raise DataError(f"{where}: unknown key {key!r}; {hint}")
    return tree


def _is_count(value: object, lowest: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= lowest
