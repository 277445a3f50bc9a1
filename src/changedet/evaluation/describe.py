"""Say in a model's card what its training images were like, without touching its weights."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from changedet.card import ModelCard, read_card, replace_card
from changedet.data.domain import measure_gsd, measure_sets, measure_values
from changedet.data.index import index_pairs
from changedet.domain import Domain, shared_gsd
from changedet.errors import ConfigError
from changedet.evaluation.model_data import check_pixel_type
from changedet.model_search import find_model
from changedet.storage.output_folder import Existing, check_result_file


def describe_training(
    model: str | Path,
    out: str | Path,
    *,
    data: str | Path | None = None,
    split: str = "train",
    held_out_split: str = "val",
    benchmark: str | None = None,
    gsd_m: Sequence[float] | None = None,
    working_gsd_m: Sequence[float] | None = None,
    change_kind: str | None = None,
    region: str | None = None,
    generated: bool = False,
    existing: Existing = "refuse",
) -> ModelCard:
    """Write a model file again with what is known of its training images.

    What is not given stays as the card states it.

    Args:
        model: Model file, folder of a training run, or name of a model.
        out: Model file to write, which may be ``model``; its tensors are those of ``model``.
        data: Data set that it was trained on, whose values and looks (and ground sample distance,
            where it is georeferenced) are measured.
        split: Split of it that trained the model.
        held_out_split: Split whose pairs say how far from the training images others of the same
            kind lie; without it, training pairs are held out in turn.
        benchmark: Name of a known benchmark; None: the layout is found out.
        gsd_m: Ground sample distance in metres, or the smallest and the largest one.
        working_gsd_m: The one at which the model works, or the smallest and the largest: images of
            others are then resampled for it.
        change_kind: Kind of change that was labelled, in words.
        region: Where the images were taken, in words.
        generated: Whether the images were drawn by a program.
        existing: Whether an existing file ``out`` may be replaced.

    Returns:
        The card that was written.

    Raises:
        ConfigError: If nothing is given, or the ground sample distance is none.
        CheckpointError: If the model file cannot be used.
        DataError: If the data cannot be read.
        StorageError: If ``out`` cannot be written.
    """
    source, target = find_model(model), Path(out)
    check_result_file(target, existing=existing)
    if not (data or gsd_m or working_gsd_m or change_kind or region or generated):
        raise ConfigError(
            "nothing is given to state in the model's card; set `data`, `gsd_m`, "
            "`working_gsd_m`, `change_kind` or `region`"
        )
    card = read_card(source)
    working = (min(working_gsd_m), max(working_gsd_m)) if working_gsd_m else card.working_gsd_m
    domain = card.domain or Domain()
    if data is not None:
        channels = len(card.normalisation.mean_before)
        index = index_pairs(data, benchmark=benchmark, channels=channels)
        check_pixel_type(source, card.pixel_type, index, data=Path(data))
        pairs = index.split(split)
        held_out = () if split == held_out_split else index.splits.get(held_out_split, ())
        values = measure_values(pairs, channels=channels)
        lengths = (min(gsd_m), max(gsd_m)) if gsd_m else measure_gsd(pairs)
        domain = replace(
            domain,
            values=values,
            sets=measure_sets(
                index.name,
                pairs,
                held_out,
                units=values,
                gsd_m=None if lengths is None else shared_gsd(lengths),
                working_gsd_m=working,
            ),
            gsd_m=lengths or domain.gsd_m,
        )
    if gsd_m:
        domain = replace(domain, gsd_m=(min(gsd_m), max(gsd_m)))
    domain = replace(
        domain,
        change=change_kind or domain.change,
        region=region or domain.region,
        is_generated=generated or domain.is_generated,
    )
    described = replace(card, domain=domain, working_gsd_m=working)
    replace_card(source, target, described)
    return described
