"""Write a network as an ONNX graph: stored values in, scores out."""

from __future__ import annotations

import copy
import io
import warnings
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from changedet._optional import ONNX
from changedet._version import __version__
from changedet.errors import ExportError
from changedet.nn.normaliser import normalise
from changedet.raster.grid import round_up
from changedet.storage.onnx_file import INPUT, OPSETS, OUTPUT

if TYPE_CHECKING:
    from changedet.card import ModelCard
    from changedet.models.base import ChangeModel
    from changedet.types import ChangeOutput

#: Height and width of the traced image in strides: they differ, so that none stands for the other.
_TRACED_STRIDES: Final = (4, 5)
#: Of 10^9 operations: behind them is what floats are rounded to.
_DIGITS: Final = 9


class StoredToScores(nn.Module):
    """A network together with what lies around it: its normalisation, and all kinds of change.

    Args:
        model: The network, in evaluation mode.
        card: What is known of it.
        kind: Place of the only kind of change that is wanted; None: all.
    """

    def __init__(self, model: ChangeModel, card: ModelCard, *, kind: int | None = None) -> None:
        super().__init__()
        self.model = model
        self.normalisation = card.normalisation
        self.kinds = model.kinds if kind is None else (model.kinds[kind],)
        self._wanted = None if kind is None else (kind,)

    def forward(self, image: Tensor) -> Tensor:
        """Score (B, 2 C, H, W) stored values, before first; returns (B, K, H, W) in [0, 1]."""
        first, second = image.chunk(2, dim=1)
        before, after = normalise(first, second, self.normalisation)
        output: ChangeOutput = self.model(before, after, branches="fused", kinds=self._wanted)
        score = output.score.float()
        return score.reshape(-1, len(self.kinds), score.shape[-2], score.shape[-1])


def tile_of(model: ChangeModel, card: ModelCard) -> int | None:
    """Give the side of the only tile that a graph of the network takes; None: it takes any."""
    return round_up(card.tile_px, model.stride) if model.fixed_tile else None


def count_operations(network: StoredToScores, *, tile_px: int | None) -> tuple[float, float]:
    """Count the operations of a graph in one view of a pair (2 x MAC), without computing anything.

    Convolutions, matrix products and attention count, as is usual.

    Args:
        network: In evaluation mode.
        tile_px: Height and width where they are fixed.

    Returns:
        10^9 operations of a million pixels, and of a pair besides, whatever its size.
    """
    shapes = copy.deepcopy(network).to("meta")
    sides = [tile_px] if tile_px else [count * network.model.stride for count in _TRACED_STRIDES]
    counts = []
    for side in sides:
        image = torch.zeros(1, 2 * network.model.in_channels, side, side, device="meta")
        with torch.inference_mode(), FlopCounterMode(display=False) as counter:
            shapes(image)
        counts.append(counter.get_total_flops() / 1e9)
    if len(sides) == 1:
        return 0.0, round(counts[0], _DIGITS)
    mpx = [side**2 / 1e6 for side in sides]
    growth = (counts[1] - counts[0]) / (mpx[1] - mpx[0])
    rest = counts[0] - growth * mpx[0]
    return round(growth, _DIGITS), round(max(0.0, rest), _DIGITS)


def make_graph(network: StoredToScores, *, tile_px: int | None) -> Any:  # noqa: ANN401
    """Trace a network into an ONNX model without metadata.

    Batch, height and width are free; a network whose result depends on the tile's size keeps one.

    Args:
        network: In evaluation mode, on the CPU.
        tile_px: Height and width where they are fixed.

    Returns:
        The model, an ``onnx.ModelProto``.

    Raises:
        ExportError: If a part of the network has no counterpart in ONNX.
        MissingExtraError: If onnx is not installed.
    """
    onnx = ONNX.load()
    model = network.model
    sides = [tile_px or count * model.stride for count in _TRACED_STRIDES]
    names = {0: "batch"} if tile_px else {0: "batch", 2: "height", 3: "width"}
    written = io.BytesIO()
    try:
        # Tracing warns of every comparison of sizes; the parity check sees what they lead to.
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                network,
                (torch.zeros(2, 2 * model.in_channels, *sides),),
                written,  # type: ignore[arg-type]  # this exporter writes to files in memory, too
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_axes={INPUT: names, OUTPUT: names},
                opset_version=OPSETS.start,
                # The other exporter takes a minute for what this one does in a second.
                dynamo=False,
            )
    except (RuntimeError, torch.onnx.errors.OnnxExporterError) as error:
        reason = " ".join(str(error).split())
        raise ExportError(
            f"this {model.architecture} cannot be written as ONNX: {reason[:400]}; predict with "
            "its model file, or train another encoder or decoder"
        ) from error
    proto = onnx.load_from_string(written.getvalue())
    _state_shapes(proto, kinds=len(network.kinds), tile_px=tile_px)
    proto.producer_name, proto.producer_version = "changedet", __version__
    onnx.checker.check_model(proto)
    return proto


def _state_shapes(proto: Any, *, kinds: int, tile_px: int | None) -> None:  # noqa: ANN401
    """Name the output's dimensions, which tracing leaves open."""
    dimensions = proto.graph.output[0].type.tensor_type.shape.dim
    for dimension, stated in zip(
        dimensions, ("batch", kinds, tile_px or "height", tile_px or "width"), strict=True
    ):
        if isinstance(stated, int):
            dimension.dim_value = stated
        else:
            dimension.dim_param = stated
