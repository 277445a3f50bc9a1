"""The manifest of labelled rasters, ``scenes.yaml``: rasters, labels, and how they are split."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple, Self, TypeAlias

from pydantic import (
    AfterValidator,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from changedet.data.file_names import REVIEW, SCENES, SPLIT_NAMES, find_mixture
from changedet.errors import DataError
from changedet.storage.text import is_file, read_text
from changedet.storage.validation import Section, describe, must
from changedet.storage.yaml import yaml_tree

#: Name of the layout that it describes.
LAYOUT: Final = "scenes"
#: Name of the manifest inside a folder.
MANIFEST: Final = SCENES
SPLITS: Final = tuple(SPLIT_NAMES)
#: Shown before the rasters are surveyed, which may take minutes.
READING_SCENES: Final = "reading the scenes once for the split, the labels and the statistics"

_SUFFIXES = (".yaml", ".yml")
# http://, s3:// and GDAL's own file systems.
_REMOTE = re.compile(r"[a-z][a-z0-9+.-]*://|/vsi", re.IGNORECASE)
# A block is read as a whole where it is validated on, so its size is bounded.
_SMALLEST_BLOCK_PX, _LARGEST_BLOCK_PX = 64, 4096
# What is left of a block that is inset, at least.
_SMALLEST_CORE_PX = 32


def _from_the_folder(location: str, info: ValidationInfo) -> str:
    """Start a relative path from the manifest's folder, which is the context of validation."""
    return location if _REMOTE.match(location) else str(Path(info.context or "") / location)


_Location: TypeAlias = Annotated[str, AfterValidator(_from_the_folder), must("be a path or URL")]
_Text: TypeAlias = Annotated[str, must("be text", remedy="put it in quotes")]
_SplitName: TypeAlias = Annotated[
    str, Field(pattern=f"^({'|'.join(SPLITS)})$"), must(f"be one of {', '.join(SPLITS)}")
]
_Share: TypeAlias = Annotated[StrictFloat, Field(ge=0.0, le=1.0), must("be a share in [0, 1]")]
_BandList: TypeAlias = Annotated[
    tuple[Annotated[StrictInt, Field(ge=1)], ...],
    Field(min_length=1),
    must("list bands counted from 1"),
]


class _Part(Section):
    """A part of a manifest; a key without a value is as good as left out."""

    @model_validator(mode="before")
    @classmethod
    def _drop_empty(cls, tree: Any) -> Any:  # noqa: ANN401
        if not isinstance(tree, dict):
            return tree
        known = {field.alias or name for name, field in cls.model_fields.items()}
        return {key: value for key, value in tree.items() if value is not None or key not in known}


class RasterEntry(_Part):
    """One labelled raster of the manifest.

    Attributes:
        name: Unique in the manifest; by default that of the earlier raster.
        before: Raster of the first date: path or URL.
        after: Raster of the second date.
        labels: Polygon file or label raster: path or URL.
        area: Polygon file; outside of it the labels are incomplete and do not count.
        split: The split that the whole raster goes to; None: its blocks are assigned to splits.
        labels_layer: Layer of the polygon file; None: its only layer of polygons.
        unchanged: Whether it is known that nothing changed, so that labels may show nothing.
    """

    name: _Text
    before: _Location
    after: _Location
    labels: _Location
    area: _Location | None = None
    split: _SplitName | None = None
    labels_layer: _Text | None = None
    unchanged: Annotated[StrictBool, must("be true or false")] = False

    @model_validator(mode="before")
    @classmethod
    def _name_by_the_raster(cls, tree: Any) -> Any:  # noqa: ANN401
        if isinstance(tree, dict) and tree.get("name") in (None, ""):
            return {**tree, "name": Path(str(tree.get("before"))).stem}
        return tree


class _Shares(Section):
    train: _Share = 0.0
    val: _Share = 0.0
    test: _Share = 0.0

    @model_validator(mode="after")
    def _add_up(self) -> Self:
        total = self.train + self.val + self.test
        if abs(total - 1.0) > 1e-6:
            raise ValueError(f"the shares must add up to 1, got {total:g}")
        return self


class SplitRule(_Part):
    """How labelled rasters are cut and their blocks assigned to splits.

    Attributes:
        block_px: Largest height and width of a block.
        gap_px: Pixels by which validation and test blocks are inset on every side.
        seed: Decides which block goes where.
        given_shares: Share of the labelled pixels by split, ``shares`` in the file.
    """

    block_px: Annotated[
        StrictInt,
        Field(ge=_SMALLEST_BLOCK_PX, le=_LARGEST_BLOCK_PX),
        must(f"be in [{_SMALLEST_BLOCK_PX}, {_LARGEST_BLOCK_PX}]"),
    ] = 1024
    gap_px: Annotated[StrictInt, Field(ge=0), must("be a whole number from 0 on")] = 64
    seed: Annotated[StrictInt, Field(ge=0), must("be a whole number from 0 on")] = 0
    given_shares: _Shares = Field(_Shares(train=0.70, val=0.15, test=0.15), alias="shares")

    @property
    def shares(self) -> Mapping[str, float]:
        """Share of the labelled pixels by split, positive, adding up to 1."""
        given = self.given_shares.model_dump()
        return {split: given[split] for split in SPLITS if given[split]}

    @model_validator(mode="after")
    def _leave_a_core(self) -> Self:
        largest = (self.block_px - _SMALLEST_CORE_PX) // 2
        if self.gap_px > largest:
            raise ValueError(
                f"gap_px must be in [0, {largest}] for blocks of {self.block_px} px, got "
                f"{self.gap_px}; lower it or raise block_px"
            )
        return self


class _ManifestFile(_Part):
    """What stands in the file."""

    scenes: tuple[RasterEntry, ...]
    bands: _BandList | None = None
    bands_after: _BandList | None = None
    split: SplitRule = SplitRule()

    @field_validator("scenes", mode="before")
    @classmethod
    def _check_number(cls, scenes: object) -> object:
        if not isinstance(scenes, list) or not scenes:
            raise ValueError(
                f"list at least one scene, with before, after and labels, got {scenes!r}"
            )
        return scenes

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        names = Counter(scene.name for scene in self.scenes)
        twice = [name for name, times in names.items() if times > 1]
        if twice:
            raise ValueError(f"two scenes are named {twice[0]!r}; give each its own name")
        for_both = self.bands is not None and len(self.bands) == len(self.bands_after or self.bands)
        if self.bands_after is not None and not for_both:
            raise ValueError(
                f"bands_after lists {len(self.bands_after)} bands and bands "
                f"{len(self.bands) if self.bands else 'none'}; list the same number for both dates"
            )
        return self


class RasterSettings(NamedTuple):
    """What holds for all rasters of a manifest, and a model has to know.

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
    """The content of a manifest.

    Attributes:
        path: The file.
        scenes: At least one.
        rule: How the rasters are split.
        bands: Bands that are read, counted from 1; None: all but alpha.
        bands_after: Those of the second date where they differ.
    """

    path: Path
    scenes: tuple[RasterEntry, ...]
    rule: SplitRule
    bands: tuple[int, ...] | None = None
    bands_after: tuple[int, ...] | None = None

    @property
    def name(self) -> str:
        """Name of the data set: the folder's for ``scenes.yaml``, else the file's."""
        return self.path.resolve().parent.name if self.path.name == MANIFEST else self.path.stem

    @property
    def settings(self) -> RasterSettings:
        """What is stored with a model."""
        return RasterSettings(self.rule.gap_px, self.bands, self.bands_after)


def find_manifest(root: Path) -> Path | None:
    """Tell the manifest that ``root`` is or holds, None if it is neither.

    Raises:
        DataError: If a file cannot be read, or is a review that is no data set yet.
    """
    if find_mixture(root) is not None:
        return None
    if is_file(root) and root.suffix.lower() in _SUFFIXES:
        return root
    if is_file(root) and root.name == REVIEW:
        raise DataError(
            f"{root} holds verdicts of a review; make a data set of them (changedet data review "
            f"{root.parent}), and use that one"
        )
    inside = root / MANIFEST
    return inside if is_file(inside) else None


def read_manifest(path: Path) -> Manifest:
    """Read and check a manifest.

    Raises:
        DataError: If it cannot be read, a key is unknown or missing, or a value is out of range;
            the message names every faulty place and, for a typo, the nearest key.
    """
    tree = yaml_tree(read_text(path, error=DataError), origin=path, error=DataError)
    try:
        read = _ManifestFile.model_validate(tree, context=path.parent)
    except ValidationError as error:
        raise DataError(f"{path}: {describe(error, _ManifestFile)}") from error
    return Manifest(path, read.scenes, read.split, read.bands, read.bands_after)
