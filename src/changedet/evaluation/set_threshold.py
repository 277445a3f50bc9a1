"""Give a model a threshold that was not chosen with it, and say in its card where it is from."""

from dataclasses import replace
from pathlib import Path

from changedet._version import __version__
from changedet.card import CALIBRATION, ModelCard, check_threshold, checked_name, read_card
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
        reason: Why, in a sentence for the card; needed with a number.
        test_time: Views of a tile whose scores are averaged; None: those of ``threshold_of``, which
            the threshold belongs to, or else the model's own.
        precision: Type of the weights in ``out``.
        existing: Whether an existing file ``out`` may be replaced.

    Returns:
        The card that was written.

    Raises:
        ConfigError: If both or neither are given, the number is no score, or it lacks a reason.
        CheckpointError: If a model file cannot be used.
        StorageError: If the file cannot be written.
    """
    if (threshold is None) == (threshold_of is None):
        raise ConfigError("give either `threshold` or `threshold_of`, and only one of them")
    out = checked_name(out)
    check_result_file(out, existing=existing)
    if threshold_of is None:
        chosen, score = _by_hand(reason), check_threshold(threshold or 0.0)
    else:
        source = find_model(threshold_of)
        other = read_card(source)
        _refuse_kinds(source, other)
        chosen, score = _of_another(source, other, reason=reason)
        test_time = test_time or other.test_time
    path = find_model(model)
    _refuse_kinds(path, read_card(path))
    # Only now, when all that the user can have wrong is told, PyTorch is loaded.
    from changedet.models.model_file import load_model, save_model

    network, card = load_model(path)
    stated = replace(
        card,
        threshold=score,
        threshold_selection=chosen,
        test_time=test_time or card.test_time,
        # Those of the former threshold.
        metrics={name: value for name, value in card.metrics.items() if name != CALIBRATION},
        package_version=__version__,
    )
    save_model(out, network, stated, precision=precision)
    return stated


def _refuse_kinds(path: Path, card: ModelCard) -> None:
    if card.kinds:
        raise ConfigError(
            f"{path} has a threshold for each of its kinds of change "
            f"({', '.join(kind.name for kind in card.kinds)}); choose them with `data`"
        )


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
