"""Put trained models together into one file: the mean of their scores, or of their weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, NamedTuple, get_args

import torch

from changedet.card import ModelCard, checked_name
from changedet.choices import check_choice
from changedet.data.rasters.provenance import difference
from changedet.data.seen import is_same_data_set
from changedet.errors import ConfigError
from changedet.evaluation.ensemble_card import (
    SPLITS,
    Member,
    card_of_all,
    split_of,
    widest_split,
)
from changedet.evaluation.ensemble_plan import Source, card_of_network, plan_ensemble
from changedet.models.base import ChangeModel
from changedet.models.ensemble import Ensemble
from changedet.models.model_file import load_model, rounded_tensors, save_model
from changedet.models.registry import rebuild_model
from changedet.models.weight_mean import mean_of_weights
from changedet.storage.output_folder import Existing, check_result_file
from changedet.types import Precision, TestTime

_WORKING: Final = "working ground sample distances"
_REMEDIES: Final = {
    _WORKING: "; state those that both work at: changedet describe (`working_gsd_m`)"
}

#: Of what of the models the mean is taken.
Average = Literal["scores", "weights"]


class Uncalibrated(NamedTuple):
    """A kind of change without a threshold that fits its scores.

    Attributes:
        kind: Its name; None: the file names none.
        val_split: Split that chose the first member that finds it, if the member says so.
    """

    kind: str | None
    val_split: str | None


@dataclass(frozen=True)
class EnsembleReport:
    """What was put together.

    Attributes:
        out: The file that was written.
        card: Its model card.
        val_split: Split that chose the members, if they say so.
        members_differ_in_views: Whether the members name different test-time views and none were
            chosen, in which case the file names none.
        parameters: Number of trained values, of all members where their scores are averaged.
        precision: Type of the stored weights.
        size_bytes: Size of the written file.
        members: Number of networks that were put together.
        taken_apart: Ensembles whose networks were taken one by one.
        uncalibrated: Kinds of change that have to be calibrated; the others keep their thresholds.
    """

    out: Path
    card: ModelCard
    val_split: str | None
    members_differ_in_views: bool
    parameters: int
    precision: Precision
    size_bytes: int
    members: int
    taken_apart: tuple[Path, ...]
    uncalibrated: tuple[Uncalibrated, ...]


def build_ensemble(
    models: Sequence[str | Path],
    out: str | Path,
    *,
    average: Average = "scores",
    keep: Sequence[int] | None = None,
    kind: str | None = None,
    test_time: TestTime | None = None,
    precision: Precision | None = None,
    existing: Existing = "refuse",
) -> EnsembleReport:
    """Write one model file that scores by the mean of several, or is the mean of their weights.

    The kinds of change of the file are those of its members, and each is scored by the members that
    know it. What was chosen for members one by one, their thresholds above all, does not fit their
    mean: a kind has no threshold until it is calibrated
    (:func:`changedet.evaluation.calibrate.calibrate_model`), unless its scores stay those of one
    file. The networks of an ensemble are taken one by one.

    Args:
        models: Model files, runs or names; two or more, or one with ``keep`` or ``kind``. Those
            that find the same kind of change were trained on the same splits of one data set, or
            some of them on further splits, such as ``train+val`` beside ``train``.
        out: Model file to write.
        average: ``scores``: every member scores, at the sum of their costs; ``weights``: one
            network of the size of a member, see :func:`.weight_mean.mean_of_weights`.
        keep: Which networks of a single ensemble are taken, counted from 1; one makes a file of
            this network. None: all.
        kind: Kind of change that those models find which name none.
        test_time: Views of a tile whose scores are averaged; None: those of the members, or none
            where they differ.
        precision: Type of the weights in ``out``; None: float16 if all models have such, that of a
            single model, else float32. Weights that are rounded already stay as they are when they
            are rounded to the same type again.
        existing: Whether a file ``out`` may be replaced.

    Raises:
        ConfigError: If ``out`` exists and may not be replaced or is a member, two members are the
            same network, they do not fit together, ``keep`` names no networks of one ensemble, or
            ``kind`` is not needed, or is missing.
        CheckpointError: If a model file cannot be used.
        StorageError: If the file cannot be written.
    """
    out = checked_name(out)
    check_choice("average", average, get_args(Average))
    for name, value, choices in (
        ("test_time", test_time, TestTime),
        ("precision", precision, Precision),
    ):
        if value is not None:
            check_choice(name, value, get_args(choices))
    sources = plan_ensemble(models, keep=keep, kind=kind)
    for source in sources:
        if out.resolve() == source.path.resolve():
            raise ConfigError(
                f"{out} is one of the models and would be overwritten; choose another name"
            )
    check_result_file(out, existing=existing)
    members = [member for source in sources for member in _load(source)]
    for number, member in enumerate(members):
        for earlier in members[:number]:
            _check_fits(earlier, member)
    network = _combined([member.model for member in members], average=average)
    precision = precision or _precision(sources)
    is_mean_of_weights = len(members) > 1 and average == "weights"
    unchanged = [] if is_mean_of_weights else _unchanged(members, precision)
    card = card_of_all(network, members, test_time=test_time, unchanged=unchanged)
    save_model(out, network, card, precision=precision)
    views = {source.card.test_time for source in sources}
    return EnsembleReport(
        out=out,
        card=card,
        val_split=split_of(members[0].card, "val_split"),
        members_differ_in_views=test_time is None and len(views) > 1,
        parameters=network.parameter_count,
        precision=precision,
        size_bytes=out.stat().st_size,
        members=len(members),
        taken_apart=tuple(source.path for source in sources if source.is_ensemble),
        uncalibrated=_uncalibrated(card, members),
    )


def _combined(networks: Sequence[ChangeModel], *, average: Average) -> ChangeModel:
    if len(networks) == 1:
        return networks[0]
    return Ensemble(networks) if average == "scores" else mean_of_weights(networks)


def _load(source: Source) -> list[Member]:
    """Load those networks of a file that are taken, as the kind of change that was named."""
    model, _ = load_model(source.path)
    networks: list[ChangeModel] = [*model.networks] if isinstance(model, Ensemble) else [model]
    members = []
    for place in source.kept:
        network = networks[place]
        if source.named is not None:
            options = {**network.options, "kinds": [source.named]}
            named = rebuild_model(network.architecture, options)
            named.load_state_dict(network.state_dict())
            network = named.eval()
        members.append(Member(source.label(place), source, network, card_of_network(source, place)))
    return members


def _precision(sources: Sequence[Source]) -> Precision:
    if len(sources) == 1:
        return sources[0].precision
    return "float16" if all(source.precision == "float16" for source in sources) else "float32"


def _unchanged(members: Sequence[Member], precision: Precision) -> list[Source]:
    """List the files of which all weights that are taken survive the rounding."""
    changed = set()
    for member in members:
        exact = member.model.state_dict()
        rounded = rounded_tensors(member.model, precision=precision)
        if any(
            not torch.equal(value.float(), exact[name].float()) for name, value in rounded.items()
        ):
            changed.add(member.source)
    return [member.source for member in members if member.source not in changed]


def _uncalibrated(card: ModelCard, members: Sequence[Member]) -> tuple[Uncalibrated, ...]:
    if not card.kinds:
        split = split_of(members[0].card, "val_split")
        return () if card.threshold is not None else (Uncalibrated(None, split),)
    found = []
    for kind in card.kinds:
        if kind.threshold is None:
            first = next(member for member in members if kind.name in member.model.kinds)
            found.append(Uncalibrated(kind.name, split_of(first.card, "val_split")))
    return tuple(found)


def _check_fits(first: Member, second: Member) -> None:
    """Refuse two members that no one card, or no one way of use, does justice to."""
    one, other = first.card, second.card
    if _is_same(first.model, second.model):
        raise ConfigError(
            f"{first.name} and {second.name} are the same network, which would only cost time; "
            "give models that were trained separately"
        )
    if one.normalisation != other.normalisation:
        raise ConfigError(
            f"{first.name} and {second.name} normalise images differently, but all members of an "
            "ensemble get the same input; train both with the same data.normalisation, such as "
            "mean_std"
        )
    for what, values in _shared(first, second).items():
        if values[0] != values[1]:
            raise ConfigError(
                f"the models of an ensemble must share their {what}: {first.name} has "
                f"{_said(values[0])}, {second.name} {_said(values[1])}{_REMEDIES.get(what, '')}"
            )
    if _meet(first, second):
        _check_blocks(first, second)


def _meet(first: Member, second: Member) -> bool:
    """Tell whether two members find a kind of change together."""
    return not set(first.model.kinds).isdisjoint(second.model.kinds)


def _shared(first: Member, second: Member) -> dict[str, tuple[object, object]]:
    """Give by name what two members must have in common, as far as both have it."""
    one, other = first.card, second.card
    shared: dict[str, tuple[object, object]] = {
        "type of pixel values": (one.pixel_type, other.pixel_type),
        "bands": (_bands(one), _bands(other)),
        _WORKING: (one.working_gsd_m, other.working_gsd_m),
    }
    if _meet(first, second):
        for name in SPLITS:
            splits = (split_of(one, name), split_of(other, name))
            # A network of train beside one of train+val: the file says train+val.
            if name != "train_split" or widest_split(splits) is None:
                shared[f"data.{name}"] = splits
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


def _check_blocks(first: Member, second: Member) -> None:
    """Let members through that were trained on the same blocks; others may have chosen them."""
    one, other = first.card.blocks, second.card.blocks
    if one is None or other is None:
        how = None if one is other else "only one of them was trained on scenes"
    else:
        how = difference(one, other, roles=("training",))
    if how is not None:
        raise ConfigError(
            f"the models of an ensemble must be trained on the same blocks of scenes, {first.name} "
            f"and {second.name} were not ({how})"
        )


def _is_same(first: ChangeModel, second: ChangeModel) -> bool:
    if (first.architecture, first.options) != (second.architecture, second.options):
        return False
    weights = second.state_dict()
    return all(torch.equal(value, weights[name]) for name, value in first.state_dict().items())


def _bands(card: ModelCard) -> tuple[tuple[int, ...] | None, ...]:
    return card.source_bands, card.source_bands_after


def _said(value: object) -> str:
    return "none stated" if value is None else str(value)
