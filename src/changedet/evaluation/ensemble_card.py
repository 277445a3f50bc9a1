"""What the model file says that holds the networks of several."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from changedet._version import __version__
from changedet.card import ModelCard, calibration_key
from changedet.data.file_names import split_parts
from changedet.data.rasters.provenance import ROLES, add_blocks, difference
from changedet.data.seen import DATA_SETS, data_settings, is_same_data_set
from changedet.domain import MOST_SETS, Appearance, Domain
from changedet.evaluation.ensemble_plan import Source, with_kinds, without_calibrations
from changedet.kinds import KindOfChange
from changedet.models.base import ChangeModel
from changedet.models.options import ENSEMBLE
from changedet.types import TestTime

#: Settings of the data that tell what has been seen of it; members that find the same kind of
#: change and differ in them are refused.
SPLITS = ("train_split", "val_split")


class Member(NamedTuple):
    """One network of what is put together.

    Attributes:
        name: Where it is from, for messages.
        source: The file.
        model: The network.
        card: What is known of it.
    """

    name: str
    source: Source
    model: ChangeModel
    card: ModelCard


def card_of_all(
    network: ChangeModel,
    members: Sequence[Member],
    *,
    test_time: TestTime | None,
    unchanged: Sequence[Source],
) -> ModelCard:
    """Say what holds for all members, and of each kind of change what still fits its scores.

    A kind keeps threshold and temperature where its scores stay those of one file: no other file
    scores it, all networks are taken that do so there, their weights stay as they are, and so do
    the views. All else that was chosen for members one by one does not fit their mean.

    Args:
        network: Of the new file.
        members: What it is put together from.
        test_time: Its views; None: those of the members, or none where they differ.
        unchanged: The files whose weights stay as they are.
    """
    sources = list(dict.fromkeys(member.source for member in members))
    if test_time is None:
        first = sources[0].card.test_time
        is_shared = all(source.card.test_time == first for source in sources)
        test_time = first if is_shared else "none"
    is_one_file = len(sources) == 1 and sources[0].is_whole and network.architecture == ENSEMBLE
    if len(members) == 1:
        card = members[0].card
    else:
        card = sources[0].card if is_one_file else _merged_card(network, members)
    card = replace(
        card,
        architecture=network.architecture,
        options=network.options,
        test_time=test_time,
        package_version=__version__,
    )
    # Those of another threshold, or of other scores, are not true any more.
    metrics = without_calibrations(card.metrics)
    kinds = [KindOfChange(name) for name in network.kinds]
    named = replace(card, kinds=tuple(kinds))
    for place, name in enumerate(network.kinds):
        knowing = [source for source in sources if source.finds(name)]
        source = knowing[0]
        if (
            len(knowing) == 1
            and source.scores_alike(name)
            and source in unchanged
            and source.card.test_time == test_time
        ):
            kinds[place], figures = _calibrated(source.card, name)
            metrics |= {calibration_key(named, place): figures} if figures else {}
    card = replace(with_kinds(card, tuple(kinds)), metrics=metrics)
    return card if any(source.card.kinds for source in sources) else replace(card, kinds=())


def _calibrated(card: ModelCard, name: str) -> tuple[KindOfChange, Mapping[str, Any] | None]:
    """Give what a card says of a kind of change, and the figures of its calibration."""
    place = card.kind_index(name) if card.kinds else 0
    known = KindOfChange(name, card.threshold, card.threshold_selection)
    figures = card.metrics.get(calibration_key(card, place))
    return (card.kinds[place] if card.kinds else known), figures


def _merged_card(network: ChangeModel, members: Sequence[Member]) -> ModelCard:
    cards = [member.card for member in members]
    first = cards[0]
    # Attention sees the tile it was trained on (spec 1.2); without it any tile does.
    attending = [member.card.tile_px for member in members if member.model.fixed_tile]
    # Each sentence once.
    notes = dict.fromkeys(card.licence_note for card in cards if card.licence_note)
    labels = [card.label for card in cards if card.label is not None]
    return ModelCard(
        architecture=network.architecture,
        options=network.options,
        normalisation=first.normalisation,
        pixel_type=first.pixel_type,
        tile_px=attending[0] if attending else max(card.tile_px for card in cards),
        # Each once: members of one run may have been chosen together.
        weights_selection=tuple(
            dict.fromkeys(chosen for card in cards for chosen in card.weights_selection)
        ),
        # Members of different kinds of change may have been trained on labels of other values.
        label=labels[0] if labels and all(label == labels[0] for label in labels) else None,
        metrics={"members": [card.metrics for card in cards]},
        data_name=_data_name(cards),
        licence_note="; ".join(notes) or None,
        recipe={
            "name": network.architecture,
            "data": {
                "train_split": _trained_on(cards),
                "val_split": split_of(first, "val_split"),
            },
            "members": [card.recipe for card in cards],
            **_data_sets(cards),
        },
        blocks=_merged_blocks(cards),
        source_bands=first.source_bands,
        source_bands_after=first.source_bands_after,
        domain=_merged_domain([card.domain for card in cards]),
        working_gsd_m=first.working_gsd_m,
    )


def _trained_on(cards: Sequence[ModelCard]) -> str | None:
    """Name the splits of the first one's data set that any of them was trained on."""
    first = cards[0]
    own = [
        split_of(card, "train_split")
        for card in cards
        if card is first or is_same_data_set(card.data_name, first.data_name or "")
    ]
    return widest_split(own) or own[0]


def widest_split(names: Sequence[str | None]) -> str | None:
    """Name what was trained on where one network saw ``train`` and another ``train+val``.

    Args:
        names: Splits that networks were trained on.

    Returns:
        The one that holds all others; None if none does, or one is not known.
    """
    known = [name for name in names if name is not None]
    if len(known) < len(names):
        return None
    seen = {part for name in known for part in split_parts(name)}
    return next((name for name in known if seen <= set(split_parts(name))), None)


def split_of(card: ModelCard, name: str) -> str | None:
    """Give a setting of the data that a model was trained on, one of :data:`SPLITS`."""
    return data_settings(card).get(name)


def _data_name(cards: Sequence[ModelCard]) -> str | None:
    names: dict[str, str] = {}
    for card in cards:
        if card.data_name is not None:
            # "clcd" and "CLCD" are the same data set.
            names.setdefault(card.data_name.casefold(), card.data_name)
    return "; ".join(names.values()) or None


def _data_sets(cards: Sequence[ModelCard]) -> dict[str, Any]:
    """List the data set and the splits of each member, unless they are the same for all."""
    sets = [
        {"name": card.data_name, **{name: split_of(card, name) for name in SPLITS}}
        for card in cards
    ]
    different = {((one["name"] or "").casefold(), *(one[name] for name in SPLITS)) for one in sets}
    return {DATA_SETS: sets} if len(different) > 1 else {}


def _merged_blocks(cards: Sequence[ModelCard]) -> dict[str, Any] | None:
    merged: dict[str, Any] | None = None
    for blocks in (card.blocks for card in cards if card.blocks is not None):
        if merged is None:
            merged = blocks
            continue
        is_same = difference(merged, blocks, roles=("training",)) is None
        merged = add_blocks(merged, blocks, roles=("validation",) if is_same else ROLES)
    return merged


def _merged_domain(domains: Sequence[Domain | None]) -> Domain | None:
    """Keep what all members say; they share what no member is alone in having seen."""
    known = [domain for domain in domains if domain is not None]
    if not known:
        return None
    lengths = [domain.gsd_m for domain in known if domain.gsd_m is not None]
    # The looks of a set are in units of the values beside them, and logarithms among them cannot
    # be brought into others: the member that knows most sets decides, and those in its units join.
    measured = max(known, key=lambda domain: (len(domain.sets), domain.values is not None))
    sets: dict[str, Appearance] = {}
    for domain in (measured, *known):
        if domain.values == measured.values:
            for one in domain.sets:
                sets.setdefault(one.name, one)
    return Domain(
        is_generated=all(domain.is_generated for domain in known),
        gsd_m=(min(low for low, _ in lengths), max(high for _, high in lengths))
        if lengths
        else None,
        change="; ".join(dict.fromkeys(domain.change for domain in known if domain.change)) or None,
        region="; ".join(dict.fromkeys(domain.region for domain in known if domain.region)) or None,
        values=measured.values,
        sets=tuple(sets.values())[:MOST_SETS],
    )
