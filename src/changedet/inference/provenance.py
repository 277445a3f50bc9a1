"""What a report says of the model and of the threshold that were used."""

from pathlib import Path
from typing import Any

from changedet.baselines.names import baseline_name, is_baseline
from changedet.card import ModelCard, check_threshold
from changedet.errors import ConfigError
from changedet.selection import Selection
from changedet.storage.checksum import file_sha256


def settle_threshold(card: ModelCard, given: float | None, *, model: str) -> tuple[float, str]:
    """Choose between the user's threshold and the model's own.

    Args:
        card: Of the model.
        given: Score in [0, 1] that the user asked for, if any.
        model: Name of the model, for the message.

    Returns:
        The threshold, a score in [0, 1], and who chose it.

    Raises:
        ConfigError: If there is none, or the given one is no score.
    """
    if given is not None:
        return check_threshold(given), Selection("user").describe()
    if card.threshold is None:
        raise ConfigError(
            f"{model} has no threshold; set `threshold`, or have one chosen on a validation split "
            "and stored: `changedet calibrate`"
        )
    return card.threshold, card.threshold_source or "stored with the model"


def kind_note(card: ModelCard, used: str | None, *, given: str | None) -> str | None:
    """Say which kind of change is found where a model tells several apart and none was chosen.

    Args:
        card: Of the model.
        used: The kind that is found.
        given: The kind that the user asked for, if any.
    """
    names = [kind.name for kind in card.kinds]
    if given is not None or len(names) < 2 or used != names[0]:
        return None
    return (
        f"the model finds {', '.join(names[:-1])} or {names[-1]} change: {names[0]} is taken; set "
        "`kind` to choose another"
    )


def model_metadata(path: Path | None, card: ModelCard) -> dict[str, Any]:
    """Identify a model for a report: name, checksum, architecture, training data.

    A baseline is known by its name and options alone.

    Args:
        path: The model file; None: it comes from none, and has no name and checksum.
        card: What is known of it.
    """
    if is_baseline(card.architecture):
        return {"baseline": baseline_name(card.architecture), **card.options}
    return {
        "file": None if path is None else path.name,
        "sha256": None if path is None else file_sha256(path),
        "architecture": card.architecture,
        "options": card.options,
        "data": card.data_name,
    }


def graph_runtime(runtime: str | None) -> dict[str, str]:
    """Name what computes the network where it is not PyTorch, whose scores differ by roundings."""
    return {} if runtime in (None, "torch") else {"runtime": runtime}
