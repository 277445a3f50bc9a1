"""What a model's card says of the data set and the splits that it was trained on."""

from collections.abc import Mapping
from typing import Any

from changedet.card import ModelCard
from changedet.data.file_names import split_parts


def is_same_data_set(name: str | None, other: str) -> bool:
    """Compare the names of data sets; "clcd", a folder, and "CLCD", the benchmark, are the same."""
    return name is not None and name.casefold() == other.casefold()


def data_settings(card: ModelCard) -> Mapping[str, Any]:
    """Give the recipe's section ``data``, whatever the data set; empty if it has none."""
    section: Mapping[str, Any] = (card.recipe or {}).get("data", {})
    return section


def training_data(card: ModelCard, data_name: str) -> Mapping[str, Any]:
    """Give the recipe's section ``data``, as ``train_split``; empty if of another data set."""
    return data_settings(card) if is_same_data_set(card.data_name, data_name) else {}


def splits_trained_on(card: ModelCard, data_name: str) -> tuple[str, ...]:
    """Name the splits of a data set that a model was trained on, as far as its card tells."""
    named = training_data(card, data_name).get("train_split")
    return split_parts(named) if isinstance(named, str) else ()
