"""``mixture.yaml``: several data sets that one network is trained on, and what each one labels."""

from __future__ import annotations

import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import AfterValidator, Field, ValidationError, ValidationInfo, field_validator

from changedet.choices import nearest
from changedet.data.file_names import find_mixture
from changedet.data.rasters.manifest import find_manifest
from changedet.errors import ConfigError, DataError
from changedet.kinds import ANY, check_kind
from changedet.storage.text import read_text
from changedet.storage.validation import Section, describe, must
from changedet.storage.yaml import yaml_tree

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Name of the layout that it describes.
LAYOUT: Final = "mixture"
_LARGEST_WEIGHT = 1000.0
_LARGEST_GSD_M = 10_000.0
# What a request can say of a data set, and a mixture says of each.
_OF_ONE_SET: Final = ("gsd_m", "benchmark", "ignore_value", "changed_values")


def _kind(name: str) -> str:
    try:
        return check_kind(name)
    except ConfigError as error:
        raise ValueError(str(error)) from error


_Kind = Annotated[str, AfterValidator(_kind), must("name a kind of change, such as building")]


class MixtureEntry(Section):
    """One data set of a mixture.

    Attributes:
        data: Its folder, or a manifest of scenes, relative to the mixture's file.
        kind: Kind of change that its labels show: ``any`` where every change is labelled.
        also_changed: Further kinds of which its changed pixels are changes, too; what is labelled
            unchanged says nothing about those.
        weight: How many times its training pairs are seen in an epoch; fractions are allowed.
        gsd_m: Ground sample distance of its images in metres; None: what their georeference says,
            if they have one.
        include: Patterns of the names of pairs that are used, those of scenes with their block
            (``town_00000_01024``); all by default.
        exclude: Patterns of the names of pairs that are left out.
        splits: Splits that are used; all by default.
        validate: Patterns of the names of training pairs that validate instead of being trained on;
            a manifest of scenes says itself which blocks validate.
        directed: Whether the order of the dates matters for what is labelled, so that they must
            not be swapped in training.
        bands: Bands of its rasters that are read, from 1, in the model's order; None: those that
            the settings choose, or all that hold no mask.
        ignore_value: Label value whose pixels are ignored.
        changed_values: Label values that mean changed, where the labels do not say it themselves.
        benchmark: Name of a known benchmark, whose layout the folder has.
        region: Where the images were taken, in words.
        terms: Under which terms the images may be used, in words, for the model's card.
    """

    data: Annotated[Path, must("be the folder of a data set, or a manifest of scenes")]
    kind: _Kind
    also_changed: tuple[_Kind, ...] = ()
    weight: Annotated[
        float,
        Field(gt=0.0, le=_LARGEST_WEIGHT),
        must(f"be above 0 and at most {_LARGEST_WEIGHT:g}", remedy="remove a set that is not used"),
    ] = 1.0
    gsd_m: (
        Annotated[
            float,
            Field(gt=0.0, le=_LARGEST_GSD_M),
            must("be a ground sample distance in metres"),
        ]
        | None
    ) = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    validate_: Annotated[tuple[str, ...], Field(alias="validate")] = ()
    splits: tuple[str, ...] | None = None
    directed: bool = False
    bands: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] | None = None
    ignore_value: Annotated[int, Field(ge=0, le=255)] | None = None
    changed_values: tuple[int, ...] | None = None
    benchmark: str | None = None
    region: Annotated[str, Field(max_length=200)] | None = None
    terms: Annotated[str, Field(max_length=1000)] | None = None

    @field_validator("data", mode="after")
    @classmethod
    def _from_the_folder(cls, data: Path, info: ValidationInfo) -> Path:
        return Path(info.context or "") / data

    @field_validator("include", "exclude", "validate_", "also_changed", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    def takes(self, name: str) -> bool:
        """Tell whether the pair of a name is used."""
        is_wanted = not self.include or any(fnmatch.fnmatchcase(name, one) for one in self.include)
        return is_wanted and not any(fnmatch.fnmatchcase(name, one) for one in self.exclude)

    def validates(self, name: str) -> bool:
        """Tell whether the training pair of a name validates instead."""
        return any(fnmatch.fnmatchcase(name, one) for one in self.validate_)


class _MixtureFile(Section):
    sets: Annotated[
        dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,59}$")], MixtureEntry],
        Field(min_length=1, max_length=200),
    ]


def read_mixture(path: Path) -> Mapping[str, MixtureEntry]:
    """Read and check a mixture.

    Returns:
        The sets by name, in the order of the file.

    Raises:
        DataError: If it cannot be read, a key is unknown or missing, or a value is out of range;
            the message names every faulty place and, for a typo, the nearest key.
    """
    tree = yaml_tree(read_text(path, error=DataError), origin=path, error=DataError)
    named = tree.get("sets") if isinstance(tree, dict) else None
    if not isinstance(named, dict) or not named:
        raise DataError(
            f"{path}: sets must name data sets, each with its folder (data) and the kind of change "
            "that it labels (kind)"
        )
    try:
        read = _MixtureFile.model_validate(tree, context=path.parent)
    except ValidationError as error:
        raise DataError(f"{path}: {describe(error, _MixtureFile)}") from error
    for name, entry in read.sets.items():
        if not entry.data.is_dir() and find_manifest(entry.data) is None:
            is_there = (
                "is neither a folder nor a manifest" if entry.data.exists() else "is not there"
            )
            raise DataError(
                f"{path}: the data set of {name}, {entry.data}, {is_there}; give its folder "
                "or manifest relative to this file, or remove the set"
            )
    return read.sets


def check_beside(mixture: Path, request: object, *, also: Sequence[str] = ()) -> None:
    """Refuse settings of one data set, which a mixture states for each of its own.

    Args:
        mixture: Its file.
        request: Has these settings as attributes; None: nothing was asked for.
        also: Further settings that are refused.

    Raises:
        ConfigError: If something was asked for.
    """
    for setting in (*_OF_ONE_SET, *also):
        if getattr(request, setting) is not None:
            raise ConfigError(
                f"`{setting}` is for one data set, and {mixture} states it for each of its sets; "
                "remove it"
            )


def kinds_of(sets: Mapping[str, MixtureEntry]) -> tuple[str, ...]:
    """List the kinds of change that the sets of a mixture teach: ``any`` first, then as they come.

    Args:
        sets: The sets by name.
    """
    taught = dict.fromkeys(
        kind for entry in sets.values() for kind in (entry.kind, *entry.also_changed)
    )
    return tuple(sorted(taught, key=lambda kind: kind != ANY))


def check_held_out(root: Path, names: Sequence[str]) -> None:
    """Refuse data sets that cannot be left out of training.

    Args:
        root: The mixture's file, or the folder that holds it.
        names: The sets to leave out.

    Raises:
        ConfigError: If it is no mixture, it has no such set, or none is left.
        DataError: If the file cannot be read.
    """
    path = find_mixture(root)
    if path is None:
        raise ConfigError(
            f"{root} is one data set, but `data.held_out` names sets of a mixture; remove it, or "
            "give a mixture (mixture.yaml)"
        )
    known = list(read_mixture(path))
    for name in names:
        if name not in known:
            raise ConfigError(
                f"`data.held_out` names a set {name!r} that {path} does not have; "
                f"{nearest(name, known)}"
            )
    if set(known) == set(names):
        raise ConfigError(
            f"`data.held_out` names all sets of {path}, so no set is left to train on; keep one"
        )
