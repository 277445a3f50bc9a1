"""Put trained models together into one file whose score is the mean of theirs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from changedet._result_folder import Existing
from changedet.errors import ConfigError
from changedet.experiment.seen_before import selection_source
from changedet.models.ensemble import Ensemble
from changedet.models.model_file import (
    ModelCard,
    checked_name,
    load_model,
    read_precision,
    save_model,
)
from changedet.types import Precision

#: What all members must have been trained with: they see the same normalised images, and one card
#: says what has been seen of a data set.
_SHARED = {
    "normalisation": "normalisation",
    "pixel_type": "type of pixel values",
    "source_bands": "bands",
    "source_bands_after": "bands of the second date",
    "data_name": "data set",
    "blocks": "blocks of scenes",
}
_SHARED_SETTINGS = ("train_split", "val_split")

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class EnsembleReport:
    """What was put together.

    Attributes:
        out: The file that was written.
        card: What it says.
        parameters: Number of trained values of all members.
        precision: Type of the stored weights.
        size_bytes: Size of the written file.
    """

    out: Path
    card: ModelCard
    parameters: int
    precision: Precision
    size_bytes: int


def build_ensemble(
    models: Sequence[Path], out: Path, *, existing: Existing = "refuse"
) -> EnsembleReport:
    """Write one model file that scores by the mean of several.

    What was chosen for the members one by one, their thresholds above all, does not fit their mean:
    the file has no threshold until it is calibrated
    (:func:`changedet.experiment.calibration.calibrate_model`). The weights are stored as float16 if
    those of all members are.

    Args:
        models: Model files, two or more, trained on the same splits of one data set.
        out: Model file to write.
        existing: Whether a file ``out`` may be replaced.

    Raises:
        ConfigError: If ``out`` exists and may not be replaced, a file is given twice, or the models
            do not fit together.
        CheckpointError: If a model file cannot be used.
        StorageError: If the file cannot be written.
    """
    out = checked_name(out)
    if existing == "refuse" and out.exists():
        raise ConfigError(f"{out} exists; choose another name, or give --overwrite")
    _refuse_repeats(models)
    networks, cards = zip(*(load_model(path) for path in models), strict=True)
    _check_alike(models, cards)
    ensemble = Ensemble(networks)
    card = _merged_card(ensemble, cards)
    precision: Precision = (
        "float16" if all(read_precision(path) == "float16" for path in models) else "float32"
    )
    save_model(out, ensemble, card, precision=precision)
    return EnsembleReport(
        out=out,
        card=card,
        parameters=sum(parameter.numel() for parameter in ensemble.parameters()),
        precision=precision,
        size_bytes=out.stat().st_size,
    )


def _refuse_repeats(models: Sequence[Path]) -> None:
    seen: dict[Path, Path] = {}
    for path in models:
        if path.resolve() in seen:
            raise ConfigError(f"{path} is given twice, which only costs time; give other models")
        seen[path.resolve()] = path


def _check_alike(models: Sequence[Path], cards: Sequence[ModelCard]) -> None:
    for path, card in zip(models[1:], cards[1:], strict=True):
        for name, words in _SHARED.items():
            _check_equal(words, (models[0], getattr(cards[0], name)), (path, getattr(card, name)))
        for name in _SHARED_SETTINGS:
            _check_equal(
                f"data.{name}", (models[0], _section(cards[0], name)), (path, _section(card, name))
            )


def _section(card: ModelCard, name: str) -> object:
    data: dict[str, Any] = (card.recipe or {}).get("data", {})
    return data.get(name)


def _check_equal(words: str, first: tuple[Path, object], second: tuple[Path, object]) -> None:
    if first[1] != second[1]:
        raise ConfigError(
            f"the models of an ensemble must share their {words}: {first[0]} has {first[1]}, "
            f"{second[0]} has {second[1]}; train them alike"
        )


def _merged_card(ensemble: Ensemble, cards: Sequence[ModelCard]) -> ModelCard:
    first = cards[0]
    return ModelCard(
        architecture=ensemble.architecture,
        options=ensemble.options,
        normalisation=first.normalisation,
        pixel_type=first.pixel_type,
        tile_px=max(card.tile_px for card in cards),
        selection_source=_joined(selection_source(card) for card in cards),
        test_time=_common([card.test_time for card in cards]) or "none",
        label=_common([card.label for card in cards]),
        metrics={"members": [card.metrics for card in cards]},
        data_name=first.data_name,
        licence_note=_joined(card.licence_note for card in cards),
        recipe={
            "name": ensemble.architecture,
            "data": (first.recipe or {}).get("data", {}),
            "members": [card.recipe for card in cards],
        },
        blocks=first.blocks,
        source_bands=first.source_bands,
        source_bands_after=first.source_bands_after,
    )


def _joined(notes: Iterable[str | None]) -> str | None:
    """Join what the members say, each sentence once."""
    return "; ".join(dict.fromkeys(note for note in notes if note)) or None


def _common(values: Sequence[_Value]) -> _Value | None:
    return values[0] if all(value == values[0] for value in values) else None
