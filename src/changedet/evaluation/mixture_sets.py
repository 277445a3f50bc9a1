"""Which data sets of a mixture a model can be judged on, and for which kind of change; no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from changedet.data.file_names import split_parts
from changedet.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from changedet.card import ModelCard
    from changedet.data.pair_index import PairIndex


class ChosenSets(NamedTuple):
    """Data sets of a mixture that a model is judged on.

    Attributes:
        kinds: The kind of change that the model looks for in each, by the set's name; None: the
            model names no kinds.
        notes: Sentences for the user: what is left out, and why.
    """

    kinds: Mapping[str, str | None]
    notes: tuple[str, ...]


def sets_for(
    card: ModelCard | None,
    labelled: Mapping[str, str],
    *,
    model: str | Path,
    mixture: Path,
    kind: str | None = None,
) -> ChosenSets:
    """Choose the sets of a mixture whose kind of change a model knows.

    Args:
        card: Of the model; None: an untrained baseline.
        labelled: The kind of change that each set labels, by the set's name.
        model: Its name, for messages.
        mixture: The file, for messages.
        kind: Only the sets of this kind; None: of all kinds.

    Raises:
        ConfigError: If none is left.
    """
    if card is None or not card.kinds:
        note = (
            f"{model} names no kinds of change: every data set is taken as it is, whatever kind "
            "its labels show"
        )
        return ChosenSets(dict.fromkeys(labelled), (note,))
    known = [one.name for one in card.kinds if kind in (None, one.name)]
    chosen: dict[str, str | None] = {
        name: shown for name, shown in labelled.items() if shown in known
    }
    others = {name: shown for name, shown in labelled.items() if name not in chosen}
    if not chosen:
        raise ConfigError(
            f"{model} finds {' or '.join(known)} change, and the data sets of {mixture} show "
            f"{', '.join(dict.fromkeys(others.values()))}; use another mixture, or a model that "
            "knows these kinds"
            if kind is None
            else f"no data set of {mixture} shows the kind of change {kind!r}; there are: "
            f"{', '.join(dict.fromkeys(others.values()))}"
        )
    if kind is not None or not others:
        return ChosenSets(chosen, ())
    listed = ", ".join(f"{name} ({shown})" for name, shown in others.items())
    note = f"left out, because the model does not know their kind of change: {listed}"
    return ChosenSets(chosen, (note,))


def with_split(chosen: ChosenSets, index: PairIndex, *, split: str) -> ChosenSets:
    """Leave out the data sets of a mixture that have no pairs in a split.

    Args:
        chosen: Sets of the mixture.
        index: The mixture.
        split: Name of the split, or of several that are joined.

    Raises:
        DataError: If none is left.
    """
    parts = split_parts(split)
    kinds = {
        name: kind
        for name, kind in chosen.kinds.items()
        if all(part in index.data_sets[name].splits for part in parts)
    }
    missing = [name for name in chosen.kinds if name not in kinds]
    if not kinds:
        # Where other sets of the mixture have it, these may lack it by mistake.
        index.split(split)
        raise DataError(
            f"none of these data sets of {index.root} has a split {split!r}: "
            f"{', '.join(missing)}; choose another one (`split=NAME`)"
        )
    if not missing:
        return chosen
    note = f"left out, because they have no split {split!r}: {', '.join(missing)}"
    return ChosenSets(kinds, (*chosen.notes, note))
