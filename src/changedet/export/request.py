"""What is to be exported where, checked without PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from changedet._optional import ONNX, ONNX_RUNTIME, TORCH, check_all
from changedet.card import is_exported, read_card
from changedet.errors import ConfigError
from changedet.models.options import check_installed
from changedet.storage.output_folder import check_result_file

if TYPE_CHECKING:
    from changedet.storage.output_folder import Existing


def check_export(
    model: str | Path, out: str | Path, *, kind: str | None = None, existing: Existing = "refuse"
) -> Path:
    """Let a place through to which a model can be exported.

    Args:
        model: The model file.
        out: The file to write; a description with the ending ``.json`` goes beside it.
        kind: The only kind of change that is to be scored; None: all.
        existing: What to do if one of the two is there: ``refuse``, ``replace``.

    Returns:
        The file to write.

    Raises:
        CheckpointError: If the model file cannot be used.
        ConfigError: If it has another ending or must not be replaced, or the model is exported
            already or does not know the kind.
        MissingExtraError: If a package that this needs is not installed.
    """
    out = Path(out)
    check_all([TORCH, ONNX, ONNX_RUNTIME])
    if is_exported(model):
        raise ConfigError(
            f"{model} is exported already; give the model file that it was exported from"
        )
    if out.suffix != ".onnx":
        raise ConfigError(f"an exported model must end in .onnx, got {out.name!r}; rename it")
    for file in (out, item_path(out)):
        check_result_file(file, existing=existing)
    card = read_card(model).for_kind(kind)
    check_installed(card.architecture, card.options)
    return out


def item_path(out: Path) -> Path:
    """Name the description beside an exported model."""
    return out.with_suffix(".json")


@dataclass(frozen=True)
class ExportReport:
    """What an export wrote.

    Attributes:
        out: The file.
        item: Its description as a STAC Item.
        size_bytes: Size of the file.
        shapes: Batch, height and width of the tiles on which it was compared with PyTorch.
        largest_difference: Of two scores of a pixel.
        flipped_share: Share of the pixels that are changed by one and unchanged by the other.
        tile_px: Side of the only tile that it takes; None: it takes any multiple of the stride.
        stride: What height and width of its images must be multiples of, in pixels.
    """

    out: Path
    item: Path
    size_bytes: int
    shapes: tuple[tuple[int, int, int], ...]
    largest_difference: float
    flipped_share: float
    tile_px: int | None
    stride: int
