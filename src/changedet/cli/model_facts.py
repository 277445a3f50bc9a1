"""What a model card says, in the words of a list or a short table."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from changedet.card import ModelCard

# A calibration's figures are of the file as it is; those of the training are of the weights before.
_FIGURES = (("calibration", "f1"), ("validation", "max_f1"))


def selection_f1(card: "ModelCard") -> float | None:
    """F1 on the images that chose the threshold, if the card has it."""
    for name, figure in _FIGURES:
        value: Any = card.metrics.get(name)
        if isinstance(value, dict) and isinstance(value.get(figure), float):
            return float(value[figure])
    return None


def network_line(card: "ModelCard") -> str:
    """Name the network and its encoder, or how many of which an ensemble has."""
    options = card.options
    members = options.get("members")
    if not isinstance(members, list):
        return _with_encoder(card.architecture, options)
    names = [_with_encoder(str(member["architecture"]), member["options"]) for member in members]
    counted = dict.fromkeys(names)
    parts = [f"{names.count(name)} x {name}" for name in counted]
    return f"{card.architecture} of {', '.join(parts)}"


def kinds_line(card: "ModelCard") -> str | None:
    """List the kinds of change that a model tells apart, each with its threshold.

    Where the networks of an ensemble find different kinds, each kind says how many find it.
    """
    from changedet.models.options import kinds_of, networks_of

    networks = [kinds_of(options) for _, options in networks_of(card.architecture, card.options)]
    parts = []
    for kind in card.kinds:
        facts = [f"threshold {'none' if kind.threshold is None else f'{kind.threshold:.4f}'}"]
        if len(set(networks)) > 1:
            count = sum(kind.name in names for names in networks)
            facts.insert(0, f"{count} of {len(networks)} networks")
        parts.append(f"{kind.name} ({', '.join(facts)})")
    return ", ".join(parts) or None


def working_line(card: "ModelCard") -> str | None:
    """Say at which ground sample distances a model works."""
    if card.working_gsd_m is None:
        return None
    low, high = card.working_gsd_m
    return f"{low:g} m" if low == high else f"{low:g} to {high:g} m"


def _with_encoder(architecture: str, options: dict[str, Any]) -> str:
    encoder = options.get("encoder")
    return architecture if encoder is None else f"{architecture} on {encoder}"
