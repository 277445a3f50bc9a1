"""Survey labelled rasters: open, measure and cut them, assign their blocks to splits."""

from __future__ import annotations

from collections import Counter
from functools import partial, reduce
from operator import add
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from changedet.data.labels.masks import MaskHistogram
from changedet.data.parallel import map_in_order
from changedet.data.pixel_sums import PixelSums, WideSums
from changedet.data.rasters.blocks import Candidate, cut, deal, inset
from changedet.data.rasters.label_checks import check_classes, check_labels
from changedet.data.rasters.manifest import LAYOUT, SPLITS, read_manifest
from changedet.data.rasters.overlaps import find_overlaps
from changedet.data.rasters.source import LabelledRaster, RasterBlock, RasterPixels, open_rasters
from changedet.data.survey import Survey
from changedet.errors import ChangeDetError, ConfigError, DataError
from changedet.raster.bands import choose_bands
from changedet.raster.open import open_raster
from changedet.raster.remarks import remarks_on_reading
from changedet.raster.value_types import kind_of_values
from changedet.storage.secrets import without_secrets

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from changedet.data.pixel_sums import Sums
    from changedet.data.rasters.manifest import Manifest, RasterEntry, SplitRule
    from changedet.raster.geo_grid import Window
    from changedet.types import PixelType

# Read at once while a block is measured, by each thread.
_PIECE_PX = 1024
_MOST_LABEL_VALUES = 256
_RGB = 3


class Measured(NamedTuple):
    """What a rectangle of a raster holds: label values, and statistics of both dates."""

    mask: MaskHistogram
    sums: tuple[Sums, Sums]

    @property
    def counted(self) -> int:
        """Pixels whose label counts."""
        return sum(self.mask.counts.values())


class RawBlock(NamedTuple):
    """A block before it is assigned to a split: whole, and what remains of it after insetting."""

    scene: LabelledRaster
    window: Window
    core: Window | None
    whole: Measured
    inner: Measured | None


def survey_rasters(path: Path, *, channels: int | None) -> Survey:
    """Open all rasters of a manifest, read them once, and assign their blocks to splits.

    Reading everything once tells which blocks hold an image, labels and change, and gives the
    statistics for the normalisation: each valid pixel of a block counts, in float64.

    Args:
        path: The manifest.
        channels: Bands that the model takes; None: those that the manifest lists, or else 3.

    Raises:
        DataError: If the manifest cannot be used; what is wrong with a scene becomes a fault.
    """
    manifest = read_manifest(path)
    channels = channels or len(manifest.bands or ()) or _RGB
    found = Survey(
        path,
        LAYOUT,
        manifest.name,
        channels=channels,
        bands=manifest.bands,
        bands_after=manifest.bands_after,
        scenes=manifest.settings,
    )
    scenes = _open_scenes(manifest, found, channels=channels)
    blocks = [block for scene in scenes for block in _measure_scene(scene, manifest.rule, found)]
    if found.faults:
        return found
    if scenes:
        found.pixel_type = scenes[0].pixel_type
    found.warnings += find_overlaps(scenes, gap_px=manifest.rule.gap_px)
    labelled = [block for block in blocks if block.whole.counted]
    if len(labelled) < len(blocks):
        found.notes.append(
            f"{len(blocks) - len(labelled)} of {len(blocks)} blocks have no labelled pixel (no "
            "image, or outside the labelled area) and are skipped"
        )
    if not labelled:
        found.faults.append(f"{path}: no pixel has both an image and a label; check the files")
        return found
    _deal(manifest, labelled, found)
    return found


def _open_scenes(manifest: Manifest, found: Survey, *, channels: int) -> list[LabelledRaster]:
    scenes: list[LabelledRaster] = []
    for entry in manifest.scenes:
        try:
            scene, notes = _open_scene(entry, manifest, channels=channels)
            if scenes and scene.pixel_type != scenes[0].pixel_type:
                raise DataError(
                    f"its values are {scene.pixel_type}, those of {scenes[0].entry.name} "
                    f"{scenes[0].pixel_type}; convert one of them (gdal_translate -ot -scale)"
                )
        except ChangeDetError as error:
            found.faults.append(f"scene {entry.name!r}: {error}")
            continue
        found.notes += [f"{entry.name}: {note}" for note in notes]
        scenes.append(scene)
    return scenes


def _open_scene(
    entry: RasterEntry, manifest: Manifest, *, channels: int
) -> tuple[LabelledRaster, tuple[str, ...]]:
    bands, pixel_type = _probe(entry.before, manifest.bands, channels=channels)
    wanted_after = manifest.bands_after or manifest.bands
    bands_after, type_after = _probe(entry.after, wanted_after, channels=channels)
    if type_after != pixel_type:
        raise DataError(
            f"{entry.before} has {pixel_type} and {entry.after} {type_after} values; convert one "
            "of them (gdal_translate -ot ... -scale ...)"
        )
    both = (bands, bands_after)
    with open_rasters(entry, channels=channels, pixel_type=pixel_type, bands=both) as pair:
        scene = LabelledRaster(entry, channels, pixel_type, both, pair.grid, pair.rules)
        notes = tuple(remark.sentence for remark in remarks_on_reading(pair.facts))
    # Faults of the labels are to be known before everything is read.
    return scene, (*notes, *check_labels(entry, scene.grid))


def _probe(
    location: str, wanted: tuple[int, ...] | None, *, channels: int
) -> tuple[tuple[int, ...], PixelType]:
    """Choose the bands of a raster and tell the kind of its values."""
    with open_raster(location) as dataset:
        try:
            bands = choose_bands(
                dataset, wanted, channels=channels, location=location, setting="bands"
            )
        except ConfigError as error:
            raise ConfigError(
                f"{error} (in the manifest: bands: [1, 2, ...]; another number of bands: "
                "`channels=N` to check, `model.in_channels=N` to train)"
            ) from error
        return bands, kind_of_values(dataset.dtypes[band - 1] for band in bands)


def _measure_scene(scene: LabelledRaster, rule: SplitRule, found: Survey) -> list[RawBlock]:
    windows = cut(scene.grid.shape, rule.block_px)
    # A scene that is in one split as a whole has no neighbours in another.
    gap_px = 0 if scene.entry.split else rule.gap_px
    try:
        blocks = list(map_in_order(partial(_measure_block, scene, gap_px=gap_px), windows))
        check_classes(scene.entry, scene.grid, [block.whole.mask for block in blocks])
    except ChangeDetError as error:
        found.faults.append(f"scene {scene.entry.name!r}: {error}")
        return []
    return blocks


def _measure_block(scene: LabelledRaster, window: Window, *, gap_px: int) -> RawBlock:
    core = inset(window, gap_px)
    whole: list[Measured] = []
    inner: list[Measured] = []
    for part in cut(window.shape, _PIECE_PX):
        piece = part.moved(window.top, window.left)
        pixels = scene.read(piece)
        whole.append(_measure(scene, pixels))
        shared = None if core is None else piece.intersect(core)
        if shared is not None:
            inner.append(_measure(scene, pixels.crop(shared.moved(-piece.top, -piece.left))))
    return RawBlock(
        scene, window, core, _join(whole, window), _join(inner, core) if core and inner else None
    )


def _measure(scene: LabelledRaster, pixels: RasterPixels) -> Measured:
    kind = PixelSums if scene.pixel_type == "uint8" else WideSums
    sums = kind.of(pixels.before[pixels.valid]), kind.of(pixels.after[pixels.valid])
    values, numbers = np.unique(pixels.labels[pixels.counted], return_counts=True)
    location = without_secrets(scene.entry.labels)
    if values.size and (values[0] < 0 or values[-1] > np.iinfo(np.uint16).max):
        raise DataError(
            f"{location}: label values from {values[0]} to {values[-1]} are outside 0..65535; "
            f"convert them with: gdal_translate -ot Byte -scale {location} label.tif"
        )
    if values.size > _MOST_LABEL_VALUES:
        raise DataError(
            f"{location}: {values.size} different values are too many for a label; is this an "
            "image?"
        )
    counts = dict(zip(values.tolist(), numbers.tolist(), strict=True))
    height, width = pixels.counted.shape
    mask = MaskHistogram(
        Path(location),
        height,
        width,
        "polygons" if scene.kind == "polygons" else "wide",
        counts,
        ignored=pixels.counted.size - sum(counts.values()),
    )
    return Measured(mask, sums)


def _join(parts: Sequence[Measured], window: Window) -> Measured:
    counts: Counter[int] = Counter()
    for part in parts:
        counts.update(part.mask.counts)
    mask = parts[0].mask._replace(
        height=window.height,
        width=window.width,
        counts=dict(sorted(counts.items())),
        ignored=sum(part.mask.ignored for part in parts),
    )
    before = reduce(add, (part.sums[0] for part in parts))
    after = reduce(add, (part.sums[1] for part in parts))
    return Measured(mask, (before, after))


def _deal(manifest: Manifest, blocks: Sequence[RawBlock], found: Survey) -> None:
    rule = manifest.rule
    free = [block for block in blocks if block.scene.entry.split is None]
    if free and len(free) < len(rule.shares):
        found.faults.append(
            f"{manifest.path}: the scenes give {len(free)} block(s) of up to {rule.block_px} px "
            f"with labels, too few to split into {', '.join(rule.shares)}; lower split.block_px, "
            "or set the split of each scene"
        )
        return
    usual = _usual_values(blocks)
    candidates = [_candidate(block, usual) for block in free]
    left = sum(candidate.core_counted > 0 for candidate in candidates)
    # Only training takes blocks as a whole.
    if free and left < len(rule.shares) > 1:
        found.faults.append(
            f"{manifest.path}: only {left} of {len(free)} blocks are left after the inset of "
            f"{rule.gap_px} px, too few to split into {', '.join(rule.shares)}; lower "
            "split.gap_px, or set the split of each scene"
        )
        return
    dealt = iter(deal(candidates, rule.shares, seed=rule.seed))
    splits: dict[str, list[RasterBlock]] = {split: [] for split in SPLITS}
    for block in blocks:
        split = block.scene.entry.split or next(dealt)
        splits[split].append(_block(block, split))
    splits = {split: members for split, members in splits.items() if members}
    found.splits = dict(splits)
    found.notes.append(_how(manifest, splits, free))


def _usual_values(blocks: Iterable[RawBlock]) -> dict[LabelledRaster, int]:
    """Report the most common label value of each scene; what it means is decided later."""
    counts: dict[LabelledRaster, Counter[int]] = {}
    for block in blocks:
        counts.setdefault(block.scene, Counter()).update(block.whole.mask.counts)
    return {scene: own.most_common(1)[0][0] for scene, own in counts.items()}


def _candidate(block: RawBlock, usual: dict[LabelledRaster, int]) -> Candidate:
    inner = {} if block.inner is None else block.inner.mask.counts
    unchanged = 0 if block.scene.kind == "polygons" else usual[block.scene]
    counted = sum(inner.values())
    return Candidate(block.whole.counted, counted, counted - inner.get(unchanged, 0))


def _block(block: RawBlock, split: str) -> RasterBlock:
    entry = block.scene.entry
    window, measured = block.window, block.whole
    if split != "train" and block.core is not None and block.inner is not None:
        window, measured = block.core, block.inner
    name = f"{entry.name}_{block.window.top:05}_{block.window.left:05}"
    return RasterBlock(name, block.scene, window, measured.mask, measured.sums)


def _how(
    manifest: Manifest, splits: Mapping[str, Sequence[RasterBlock]], free: Sequence[RawBlock]
) -> str:
    rule = manifest.rule
    parts = []
    for split, blocks in splits.items():
        pixels = sum(sum(block.mask.counts.values()) for block in blocks)
        parts.append(f"{split} {len(blocks)} ({pixels / 1e6:.3g} Mpx labelled)")
    how = f"scenes cut into blocks of up to {rule.block_px} px: {', '.join(parts)}"
    if free and rule.gap_px:
        how += f"; those of val and test are inset by {rule.gap_px} px"
    return how
