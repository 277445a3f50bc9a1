"""Put trained models together into one file: the mean of their scores, or of their weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import torch

from changedet.card import ModelCard, checked_name, read_precision
from changedet.choices import check_choice
from changedet.data.rasters.provenance import add_validation, difference
from changedet.data.seen import data_settings, is_same_data_set
from changedet.domain import Domain
from changedet.errors import ConfigError
from changedet.kinds import KindOfChange
from changedet.model_search import find_model
from changedet.models.base import ChangeModel
from changedet.models.ensemble import Ensemble
from changedet.models.model_file import load_model, save_model
from changedet.models.weight_mean import mean_of_weights
from changedet.storage.output_folder import Existing, check_result_file
from changedet.types import Precision

#: Settings of the data that tell what has been seen of it; members that differ in them are refused.
_SPLITS = ("train_split", "val_split")


#: Of what of the models the mean is taken.
Average = Literal["scores", "weights"]


class _Member(NamedTuple):
    path: Path
    model: ChangeModel
    card: ModelCard


@dataclass(frozen=True)
class EnsembleReport:
    """What was put together.

    Attributes:
        out: The file that was written.
        card: Its model card.
        val_split: Split that chose the members, if they say so.
        members_differ_in_views: Whether the members name different test-time views, in which case
            the file names none.
        parameters: Number of trained values, of all members where their scores are averaged.
        precision: Type of the stored weights.
        size_bytes: Size of the written file.
    """

    out: Path
    card: ModelCard
    val_split: str | None
    members_differ_in_views: bool
    parameters: int
    precision: Precision
    size_bytes: int


def build_ensemble(
    models: Sequence[str | Path],
    out: str | Path,
    *,
    average: Average = "scores",
    existing: Existing = "refuse",
) -> EnsembleReport:
    """Write one model file that scores by the mean of several, or is the mean of their weights.

    What was chosen for the members one by one, their thresholds above all, does not fit their mean:
    the file has no threshold until it is calibrated
    (:func:`changedet.evaluation.calibrate.calibrate_model`). The weights are stored as float16 if
    those of all members are.

    Args:
        models: Model files, runs or names, two or more, trained on the same splits of one data set.
        out: Model file to write.
        average: ``scores``: every member scores, at the sum of their costs; ``weights``: one
            network of the size of a member, see :func:`.weight_mean.mean_of_weights`.
        existing: Whether a file ``out`` may be replaced.

    Raises:
        ConfigError: If ``out`` exists and may not be replaced or is a member, two members are the
            same network, or they do not fit together.
        CheckpointError: If a model file cannot be used.
        StorageError: If the file cannot be written.
    """
    out = checked_name(out)
    paths = [find_model(path) for path in models]
    if any(out.resolve() == path.resolve() for path in paths):
        raise ConfigError(
            f"{out} is one of the models and would be overwritten; choose another name"
        )
    check_result_file(out, existing=existing)
    members = [_Member(path, *load_model(path)) for path in paths]
    check_choice("average", average, get_args(Average))
    combine = Ensemble if average == "scores" else mean_of_weights
    ensemble = combine([member.model for member in members])
    for number, member in enumerate(members):
        for earlier in members[:number]:
            _check_fits(earlier, member)
    card = _merged_card(ensemble, members)
    precision: Precision = (
        "float16" if all(read_precision(path) == "float16" for path in paths) else "float32"
    )
    save_model(out, ensemble, card, precision=precision)
    return EnsembleReport(
        out=out,
        card=card,
        val_split=_split(members[0].card, "val_split"),
        members_differ_in_views=len({member.card.test_time for member in members}) > 1,
        parameters=ensemble.parameter_count,
        precision=precision,
        size_bytes=out.stat().st_size,
    )


def _check_fits(first: _Member, second: _Member) -> None:
    """Refuse two members that no one card, or no one way of use, does justice to."""
    one, other = first.card, second.card
    if _is_same(first.model, second.model):
        raise ConfigError(
            f"{first.path} and {second.path} are the same network, which would only cost time; "
            "give models that were trained separately"
        )
    if one.normalisation != other.normalisation:
        raise ConfigError(
            f"{first.path} and {second.path} normalise images differently, but all members of an "
            "ensemble get the same input; train both with the same data.normalisation, such as "
            "mean_std"
        )
    for what, values in _shared(first, second).items():
        if values[0] != values[1]:
            raise ConfigError(
                f"the models of an ensemble must share their {what}: {first.path} has "
                f"{_said(values[0])}, {second.path} {_said(values[1])}"
            )
    _check_blocks(first, second)


def _shared(first: _Member, second: _Member) -> dict[str, tuple[object, object]]:
    """Give by name what two members must have in common, as far as both have it."""
    one, other = first.card, second.card
    shared: dict[str, tuple[object, object]] = {
        "type of pixel values": (one.pixel_type, other.pixel_type),
        "bands": (_bands(one), _bands(other)),
        "working ground sample distances": (one.working_gsd_m, other.working_gsd_m),
        **{f"data.{name}": (_split(one, name), _split(other, name)) for name in _SPLITS},
    }
    if one.data_name is None or not is_same_data_set(other.data_name, one.data_name):
        shared["data set"] = (one.data_name, other.data_name)
    if one.label is not None and other.label is not None:
        shared["meaning of label values"] = (one.label, other.label)
    if first.model.fixed_tile and second.model.fixed_tile:
        shared["tile size, because both use attention over the whole tile"] = (
            one.tile_px,
            other.tile_px,
        )
    return shared


def _check_blocks(first: _Member, second: _Member) -> None:
    """Let members through that were trained on the same blocks; others may have chosen them."""
    one, other = first.card.blocks, second.card.blocks
    if one is None or other is None:
        how = None if one is other else "only one of them was trained on scenes"
    else:
        how = difference(one, other, roles=("training",))
    if how is not None:
        raise ConfigError(
            f"the models of an ensemble must be trained on the same blocks of scenes, {first.path} "
            f"and {second.path} were not ({how})"
        )


def _is_same(first: ChangeModel, second: ChangeModel) -> bool:
    if (first.architecture, first.options) != (second.architecture, second.options):
        return False
    weights = second.state_dict()
    return all(torch.equal(value, weights[name]) for name, value in first.state_dict().items())


def _bands(card: ModelCard) -> tuple[tuple[int, ...] | None, ...]:
    return card.source_bands, card.source_bands_after


def _split(card: ModelCard, name: str) -> str | None:
    return data_settings(card).get(name)


def _said(value: object) -> str:
    return "none stated" if value is None else str(value)


def _merged_domain(domains: Sequence[Domain | None]) -> Domain | None:
    """Keep what all members say; they share what no member is alone in having seen."""
    known = [domain for domain in domains if domain is not None]
    if not known:
        return None
    lengths = [domain.gsd_m for domain in known if domain.gsd_m is not None]
    # The looks of a set are in units of the values beside them.
    measured = next((domain for domain in known if domain.values is not None), known[0])
    return Domain(
        is_generated=all(domain.is_generated for domain in known),
        gsd_m=(min(low for low, _ in lengths), max(high for _, high in lengths))
        if lengths
        else None,
        change="; ".join(dict.fromkeys(domain.change for domain in known if domain.change)) or None,
        region="; ".join(dict.fromkeys(domain.region for domain in known if domain.region)) or None,
        values=measured.values,
        sets=measured.sets,
    )


def _merged_card(ensemble: ChangeModel, members: Sequence[_Member]) -> ModelCard:
    cards = [member.card for member in members]
    first = cards[0]
    blocks = first.blocks
    for card in cards[1:]:
        if blocks is not None and card.blocks is not None:
            blocks = add_validation(blocks, card.blocks)
    # Attention sees the tile it was trained on (spec 1.2); without it any tile does.
    attending = [member.card.tile_px for member in members if member.model.fixed_tile]
    # Each sentence once.
    notes = dict.fromkeys(card.licence_note for card in cards if card.licence_note)
    return ModelCard(
        architecture=ensemble.architecture,
        options=ensemble.options,
        normalisation=first.normalisation,
        pixel_type=first.pixel_type,
        tile_px=attending[0] if attending else max(card.tile_px for card in cards),
        # Each once: members of one run may have been chosen together.
        weights_selection=tuple(
            dict.fromkeys(chosen for card in cards for chosen in card.weights_selection)
        ),
        test_time=first.test_time if len({card.test_time for card in cards}) == 1 else "none",
        label=next((card.label for card in cards if card.label is not None), None),
        metrics={"members": [card.metrics for card in cards]},
        data_name=first.data_name,
        licence_note="; ".join(notes) or None,
        recipe={
            "name": ensemble.architecture,
            "data": {name: _split(first, name) for name in _SPLITS},
            "members": [card.recipe for card in cards],
        },
        blocks=blocks,
        source_bands=first.source_bands,
        source_bands_after=first.source_bands_after,
        domain=_merged_domain([card.domain for card in cards]),
        # Thresholds and temperatures of the members do not fit their mean.
        kinds=tuple(KindOfChange(kind.name) for kind in first.kinds),
        working_gsd_m=first.working_gsd_m,
    )
