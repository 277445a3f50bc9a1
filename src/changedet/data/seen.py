"""What a model's card says of the data set and the splits that it was trained on."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from changedet.card import ModelCard
from changedet.data.file_names import split_parts

#: Part of an ensemble's recipe: for each member ``name``, ``train_split`` and ``val_split`` of the
#: data set that it was trained on, where they are not the same for all.
DATA_SETS: Final = "data_sets"


def is_same_data_set(name: str | None, other: str) -> bool:
    """Compare the names of data sets; "clcd", a folder, and "CLCD", the benchmark, are the same."""
    return name is not None and name.casefold() == other.casefold()


def data_settings(card: ModelCard) -> Mapping[str, Any]:
    """Give the recipe's section ``data``, whatever the data set; empty if it has none."""
    section: Mapping[str, Any] = (card.recipe or {}).get("data", {})
    return section


def training_data(card: ModelCard, data_name: str) -> Mapping[str, Any]:
    """Give the recipe's section ``data``, as ``train_split``; empty if of another data set.

    Of an ensemble whose members were trained on several data sets, ``train_split`` names all splits
    of this one that a member was trained on.
    """
    if is_same_data_set(card.data_name, data_name):
        return data_settings(card)
    sets: Sequence[Mapping[str, Any]] = (card.recipe or {}).get(DATA_SETS, ())
    own = [one for one in sets if is_same_data_set(one.get("name"), data_name)]
    trained = [str(one["train_split"]) for one in own if one.get("train_split") is not None]
    return {**own[0], "train_split": "+".join(trained) or None} if own else {}


def splits_trained_on(card: ModelCard, data_name: str) -> tuple[str, ...]:
    """Name the splits of a data set that a model was trained on, as far as its card tells."""
    named = training_data(card, data_name).get("train_split")
    return split_parts(named) if isinstance(named, str) else ()
