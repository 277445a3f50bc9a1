"""Give a model a threshold that was not chosen with it, and say in its card where it is from."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from changedet._version import __version__
from changedet.card import (
    ModelCard,
    calibration_key,
    check_threshold,
    checked_name,
    read_card,
)
from changedet.data.seen import data_settings
from changedet.errors import ConfigError
from changedet.model_search import find_model
from changedet.selection import Selection
from changedet.storage.output_folder import Existing, check_result_file
from changedet.types import Precision, TestTime


def set_threshold(
    model: str | Path,
    out: str | Path,
    *,
    threshold: float | None = None,
    threshold_of: str | Path | None = None,
    kind: str | None = None,
    reason: str | None = None,
    test_time: TestTime | None = None,
    precision: Precision = "float32",
    existing: Existing = "refuse",
) -> ModelCard:
    """Write a model file again with a threshold that is given, or with that of another model.

    It is for a final model that was trained on all labelled images: none are left to choose a
    threshold on, but a model of the same settings, trained on a part of them, has one.

    Args:
        model: Model file, folder of a training run, or name of a model.
        out: Model file to write, which may be ``model``.
        threshold: Score in [0, 1] from which a pixel is changed.
        threshold_of: Another model, as for ``model``, whose threshold it is to be.
        kind: Kind of change whose threshold it is, of those that the model tells apart; None: the
            first one, or with ``threshold_of`` all of them, with their temperatures.
        reason: Why, in a sentence for the card; needed with a number.
        test_time: Views of a tile whose scores are averaged; None: those of ``threshold_of``, which
            the threshold belongs to, or else the model's own.
        precision: Type of the weights in ``out``.
        existing: Whether an existing file ``out`` may be replaced.

    Returns:
        The card that was written.

    Raises:
        ConfigError: If both or neither are given, the number is no score, or it lacks a reason, or
            the models do not find the same kinds of change.
        CheckpointError: If a model file cannot be used.
        StorageError: If the file cannot be written.
    """
    if (threshold is None) == (threshold_of is None):
        raise ConfigError("give either `threshold` or `threshold_of`, and only one of them")
    out = checked_name(out)
    check_result_file(out, existing=existing)
    path = find_model(model)
    card = read_card(path)
    if threshold_of is None:
        card = card.with_threshold(kind, check_threshold(threshold or 0.0), _by_hand(reason))
        chosen = {card.kind_index(kind)}
    else:
        source = find_model(threshold_of)
        other = read_card(source)
        _check_kinds((path, card), (source, other))
        names = [kind] if kind or not card.kinds else [one.name for one in card.kinds]
        for name in names:
            card = _taken_over(card, name, source=source, other=other, reason=reason)
        chosen = {card.kind_index(name) for name in names}
        test_time = test_time or other.test_time
    # Only now, when all that the user can have wrong is told, PyTorch is loaded.
    from changedet.models.model_file import load_model, save_model

    network, _ = load_model(path)
    # Those of the former thresholds.
    former = {calibration_key(card, index) for index in chosen}
    stated = replace(
        card,
        test_time=test_time or card.test_time,
        metrics={name: value for name, value in card.metrics.items() if name not in former},
        package_version=__version__,
    )
    save_model(out, network, stated, precision=precision)
    return stated


def _check_kinds(*models: tuple[Path, ModelCard]) -> None:
    """A threshold is for the scores of one kind of change, so both models must find the same."""
    (path, names), (other, others) = (
        (path, [kind.name for kind in card.kinds]) for path, card in models
    )
    if names != others:
        raise ConfigError(
            f"{path} finds {_listed(names)} and {other} {_listed(others)}, so the thresholds of "
            "one are not for the scores of the other; choose them with `data`"
        )


def _listed(names: Sequence[str]) -> str:
    return f"the kinds of change {', '.join(names)}" if names else "one kind of change"


def _taken_over(
    card: ModelCard, kind: str | None, *, source: Path, other: ModelCard, reason: str | None
) -> ModelCard:
    """Give a card the threshold of another model for one kind of change, and its temperature."""
    chosen, score = _of_another(source, other.for_kind(kind), reason=reason)
    card = card.with_threshold(kind, score, chosen)
    if not card.kinds:
        return card
    # The threshold is one of scores that were divided by it.
    return card.with_temperature(kind, other.kinds[card.kind_index(kind)].temperature)


def _by_hand(reason: str | None) -> Selection:
    if not (reason or "").strip():
        raise ConfigError(
            "a `threshold` that is set by hand needs a `reason`, which the model's card then "
            "states: where the number is from"
        )
    return Selection("user", text=f"set by the user: {reason}")


def _of_another(path: Path, card: ModelCard, *, reason: str | None) -> tuple[Selection, float]:
    if card.threshold is None:
        raise ConfigError(
            f"{path} has no threshold to take over; calibrate it first, or give one that has"
        )
    chosen = card.threshold_selection
    trained_on = data_settings(card).get("train_split")
    what = "another model" if trained_on is None else f"a model trained on split {trained_on!r}"
    parts = [f"that of {path.name}, {what}"]
    parts += [] if chosen is None else [f"there {chosen.describe()}"]
    parts += [reason] if reason else []
    where = Selection("other", text="; ".join(parts))
    if chosen is not None:
        where = replace(where, data=chosen.data, split=chosen.split, images=chosen.images)
    return where, card.threshold
