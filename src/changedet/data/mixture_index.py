"""Index the data sets of a mixture, see :mod:`changedet.data.mixture_file`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from changedet.data.domain import measure_shared_gsd
from changedet.data.labels.scan import scan_labels
from changedet.data.mixture import Mixture, MixturePair, MixtureSet, set_name
from changedet.data.mixture_file import LAYOUT, MixtureEntry, check_held_out, kinds_of, read_mixture
from changedet.data.pair import PairPaths
from changedet.data.pair_index import PairIndex
from changedet.data.rasters.manifest import RasterSettings
from changedet.data.survey import BandChoice
from changedet.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from changedet.data.labelled import LabelledPair

    _BandsOfDates: TypeAlias = tuple[tuple[int, ...] | None, tuple[int, ...] | None]


def index_mixture(path: Path, index_set: Callable[..., PairIndex]) -> PairIndex:
    """Index the data sets of a mixture one after the other and join them.

    Args:
        path: The mixture's file.
        index_set: Indexes one of them: gets its folder, ``benchmark``, and ``bands`` where the
            mixture chooses them.

    Raises:
        DataError: If the file or a set cannot be used, no pair of a set is left, or sets differ in
            the number of bands or the kind of values.
    """
    entries = read_mixture(path)
    members: list[MixtureSet] = []
    indices: dict[str, PairIndex] = {}
    splits: dict[str, list[LabelledPair]] = {}
    notes: list[str] = []
    for name, entry in entries.items():
        index = index_set(
            entry.data,
            benchmark=entry.benchmark,
            **({} if entry.bands is None else {"bands": BandChoice(entry.bands)}),
        )
        indices[name] = index
        _check_alike(path, indices, name)
        indices[name], member, own_notes = _taken(path, name, entry=entry, index=index)
        members.append(member)
        notes += own_notes
        for split, pairs in indices[name].splits.items():
            splits.setdefault(split, []).extend(pairs)
    first = next(iter(indices.values()))
    # What is read of rasters is one choice for all sets, or nobody's to state.
    bands = {(index.bands, index.bands_after) for index in indices.values()}
    shared: _BandsOfDates = bands.pop() if len(bands) == 1 else (None, None)
    return PairIndex(
        root=path,
        layout=LAYOUT,
        name=path.stem,
        splits={split: tuple(pairs) for split, pairs in splits.items()},
        notes=tuple(notes),
        channels=first.channels,
        bands=shared[0],
        bands_after=shared[1],
        pixel_type=first.pixel_type,
        scenes=_settings_of_scenes(indices.values(), shared),
        mixture=Mixture(
            tuple(members),
            kinds_of(entries),
            terms={name: entry.terms for name, entry in entries.items() if entry.terms},
            regions={name: entry.region for name, entry in entries.items() if entry.region},
        ),
        data_sets=indices,
    )


def _taken(
    path: Path, name: str, *, entry: MixtureEntry, index: PairIndex
) -> tuple[PairIndex, MixtureSet, list[str]]:
    """Give the pairs of a set that a mixture takes, what they must know of it, and what to say."""
    kept = _kept(path, name, entry=entry, index=index)
    pairs = [pair for some in kept.values() for pair in some]
    notes = list(index.notes)
    gsd_m = entry.gsd_m
    if gsd_m is None:
        gsd_m = measure_shared_gsd(pairs, say=notes.append)
    member = MixtureSet(
        name,
        entry.kind,
        tuple(kind for kind in entry.also_changed if kind != entry.kind),
        entry.weight,
        gsd_m,
        entry.directed,
        scan_labels(
            pairs, ignore_value=entry.ignore_value, changed_values=entry.changed_values
        ).encoding,
        gsd_is_measured=entry.gsd_m is None,
    )
    splits = {
        split: tuple(MixturePair(pair, member) for pair in some) for split, some in kept.items()
    }
    notes = [*(f"{name}: {note}" for note in notes), _describe(member, kept)]
    return replace(index, splits=splits, notes=()), member, notes


def leave_out(index: PairIndex, names: Sequence[str]) -> PairIndex:
    """Leave data sets of a mixture out, as if its file did not name them.

    Args:
        index: Of the mixture.
        names: Their names.

    Raises:
        ConfigError: As :func:`changedet.data.mixture_file.check_held_out`.
    """
    check_held_out(index.root, names)
    if index.mixture is None:
        return index
    sets = tuple(one for one in index.mixture.sets if one.name not in names)
    splits = {
        split: tuple(pair for pair in pairs if set_name(pair) not in names)
        for split, pairs in index.splits.items()
    }
    mixture = Mixture(
        sets,
        # In the order in which they are known.
        tuple(
            kind
            for kind in index.mixture.kinds
            if any(one.teaches(kind) != "nothing" for one in sets)
        ),
        terms={name: terms for name, terms in index.mixture.terms.items() if name not in names},
        regions={name: at for name, at in index.mixture.regions.items() if name not in names},
    )
    own = tuple(f"{name}: " for name in names)
    data_sets = {name: one for name, one in index.data_sets.items() if name not in names}
    return replace(
        index,
        splits={split: pairs for split, pairs in splits.items() if pairs},
        data_sets=data_sets,
        scenes=_settings_of_scenes(data_sets.values(), (index.bands, index.bands_after)),
        notes=(
            *(note for note in index.notes if not note.startswith(own)),
            f"left out: {', '.join(names)}",
        ),
        mixture=mixture,
    )


def _settings_of_scenes(sets: Iterable[PairIndex], bands: _BandsOfDates) -> RasterSettings | None:
    """Give what holds for the scenes of all sets; None if there are none.

    Manifests may keep different distances between their blocks: the smallest one holds for all.
    """
    gaps_px = [one.scenes.gap_px for one in sets if one.scenes is not None]
    return RasterSettings(min(gaps_px), *bands) if gaps_px else None


def _check_alike(path: Path, indices: Mapping[str, PairIndex], name: str) -> None:
    first_name, first = next(iter(indices.items()))
    own = indices[name]
    if (own.channels, own.pixel_type) != (first.channels, first.pixel_type):
        raise DataError(
            f"{path}: {name} has images of {own.channels} bands of {own.pixel_type}, but "
            f"{first_name} of {first.channels} bands of {first.pixel_type}; choose bands that all "
            "sets have (`data.source_bands`), or train them apart"
        )


def _kept(
    path: Path, name: str, *, entry: MixtureEntry, index: PairIndex
) -> dict[str, tuple[LabelledPair, ...]]:
    """Give the pairs of a set that the mixture takes, by split."""
    if entry.validate_ and index.scenes is not None:
        raise DataError(
            f"{path}: validate of {name} moves single pairs, but its blocks are cut from scenes "
            f"and keep no distance from one another; remove it, and set split of a scene in "
            f"{index.root}"
        )
    wanted = index.splits if entry.splits is None else entry.splits
    kept: dict[str, tuple[LabelledPair, ...]] = {}
    for split in wanted:
        pairs = [pair for pair in index.split(split, setting="splits") if entry.takes(pair.name)]
        moved = [
            pair
            for pair in pairs
            if isinstance(pair, PairPaths) and split == "train" and entry.validates(pair.name)
        ]
        for own, some in (
            (split, [pair for pair in pairs if pair not in moved]),
            # The validation split may have pairs of the same names.
            ("val", [pair._replace(name=f"train_{pair.name}") for pair in moved]),
        ):
            if some:
                kept[own] = (*kept.get(own, ()), *some)
    if not kept:
        raise DataError(
            f"{path}: no pair of {name} is left: names such as {index.pairs[0].name!r} do not "
            "match its patterns (include, exclude), or its splits have none"
        )
    return kept


def _describe(member: MixtureSet, kept: Mapping[str, Sequence[LabelledPair]]) -> str:
    counts = ", ".join(f"{len(pairs)} {split}" for split, pairs in kept.items())
    size = "unknown pixel size"
    if member.gsd_m is not None:
        source = " by the georeference" if member.gsd_is_measured else ""
        size = f"pixels of {member.gsd_m:.4g} m{source}"
    return f"{member.name}: {counts}; {member.kind}, {size}, weight {member.weight:g}"
