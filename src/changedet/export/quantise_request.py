"""What is to be quantised where, checked before anything is computed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from changedet._optional import ONNX, ONNX_RUNTIME, check_all
from changedet.errors import ConfigError
from changedet.storage.output_folder import check_result_file

if TYPE_CHECKING:
    from changedet.export.comparison import Difference
    from changedet.storage.output_folder import Existing

#: Pairs that are looked at, unless more or fewer are asked for.
PAIRS: Final = 48
#: How much F1 by the labels may fall.
LARGEST_LOSS: Final = 0.005
_FEWEST_PAIRS: Final = 2


@dataclass(frozen=True, kw_only=True)
class QuantisationRequest:
    """A model that is to be computed in 8 bits.

    Attributes:
        model: An exported model.
        data: Folder of pairs like those that it will see; labels are used where there are any.
        out: The file to write, ending in ``.onnx``.
        split: Where the pairs are from; not one that figures are reported on.
        pairs: How many, 2 or more. Every fourth one is not calibrated on but compared.
        gsd_m: Their ground sample distance in metres; None: they are not resampled.
        largest_loss: How much F1 by the labels may fall, 0 to 1.
        largest_flipped: The share of the pixels, 0 to 1, that may change sides, with labels or
            without; None: any that the other limits allow.
        existing: What to do if the file or its description is there: ``refuse``, ``replace``.
    """

    model: Path
    data: Path
    out: Path
    split: str = "train"
    pairs: int = PAIRS
    gsd_m: float | None = None
    largest_loss: float = LARGEST_LOSS
    largest_flipped: float | None = None
    existing: Existing = "refuse"


def check_quantisation(request: QuantisationRequest) -> None:
    """Let a request through that can be carried out.

    Raises:
        ConfigError: If the model is not an exported one in float32, the file has another ending or
            must not be replaced, or a number makes no sense.
        CheckpointError: If the model file cannot be used.
        MissingExtraError: If a package that this needs is not installed.
    """
    # The command's options need this file's numbers whatever the command is.
    from changedet.card import is_exported
    from changedet.export.request import item_path
    from changedet.storage.onnx_file import stated_facts

    check_all([ONNX, ONNX_RUNTIME])
    model, out = request.model, request.out
    if not is_exported(model):
        raise ConfigError(
            f"{model} is not an exported model; export it first (`changedet export`), and quantise "
            "the new file"
        )
    if stated_facts(model).is_int8:
        raise ConfigError(f"{model} is quantised already; give the file that it was made from")
    if out.suffix != ".onnx":
        raise ConfigError(f"a quantised model must end in .onnx, got {out.name!r}; rename it")
    if out.resolve() == model.resolve():
        raise ConfigError(f"{out} is the model itself; give the new file another name")
    for file in (out, item_path(out)):
        check_result_file(file, existing=request.existing)
    if request.pairs < _FEWEST_PAIRS:
        raise ConfigError(
            f"`pairs` must be {_FEWEST_PAIRS} or more, some to calibrate on and some to compare, "
            f"got {request.pairs}"
        )
    if not 0.0 <= request.largest_loss <= 1.0:
        raise ConfigError(
            "`largest_loss` is a difference of two F1 and must be between 0 and 1, got "
            f"{request.largest_loss:g}"
        )
    if request.largest_flipped is not None and not 0.0 <= request.largest_flipped <= 1.0:
        raise ConfigError(
            "`largest_flipped` is a share of the pixels and must be between 0 and 1, got "
            f"{request.largest_flipped:g}"
        )


@dataclass(frozen=True)
class QuantisationReport:
    """What was quantised, and what it changed.

    Attributes:
        out: The file.
        item: Its description as a STAC Item.
        size_bytes: Size of the file.
        layers: Number of convolutions.
        layers_in_8_bits: How many of them are computed in 8 bits.
        calibrated_on: Number of pairs that the ranges of values were measured on.
        compared_on: Number of other pairs, on which the scores were compared with those in float32.
        largest_difference: Of two scores of the graph.
        mean_difference: Of its scores.
        flipped_share: Share of the pixels that are changed by one and unchanged by the other.
        agreement: F1 of the mask, the one in float32 taken as the truth; of several kinds of change
            the lowest; None: none has a changed pixel.
        f1: Of the mask by the labels; None: there are none, or none with a change.
        f1_float32: The same in float32.
        openvino: The same comparison in OpenVINO, or why it failed there, so that OpenVINO will not
            be used for the file; None: it is not installed, so it will not be either.
    """

    out: Path
    item: Path
    size_bytes: int
    layers: int
    layers_in_8_bits: int
    calibrated_on: int
    compared_on: int
    largest_difference: float
    mean_difference: float
    flipped_share: float
    agreement: float | None
    f1: float | None
    f1_float32: float | None
    openvino: Difference | str | None
