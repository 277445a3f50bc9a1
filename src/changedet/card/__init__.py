"""What a model file holds besides its weights, read and checked without PyTorch."""

from changedet.card.card_file import (
    CARD_KEY,
    PARAMETERS_KEY,
    PRECISION_KEY,
    checked_name,
    is_exported,
    open_tensors,
    read_card,
    read_parameter_count,
    read_precision,
    refuse_exported,
    replace_card,
)
from changedet.card.model_card import (
    CALIBRATION,
    FORMAT_VERSION,
    LARGEST_TILE_PX,
    Band,
    ModelCard,
    calibration_key,
    check_threshold,
)

__all__ = [
    "CALIBRATION",
    "CARD_KEY",
    "FORMAT_VERSION",
    "LARGEST_TILE_PX",
    "PARAMETERS_KEY",
    "PRECISION_KEY",
    "Band",
    "ModelCard",
    "calibration_key",
    "check_threshold",
    "checked_name",
    "is_exported",
    "open_tensors",
    "read_card",
    "read_parameter_count",
    "read_precision",
    "refuse_exported",
    "replace_card",
]
