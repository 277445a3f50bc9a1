"""Networks that need no training, and settings of one that trains in seconds."""

from pathlib import Path

import torch
from torch import Tensor, nn

from changedet.card import ModelCard
from changedet.kinds import KindOfChange
from changedet.models.base import ChangeModel
from changedet.models.model_file import save_model
from changedet.models.registry import create_model
from changedet.types import ChangeOutput, Normalisation, Precision

#: The smallest network that trains, without weights from anywhere, on crops of 32 pixels.
TINY_NETWORK = (
    "model.encoder=test_efficientnet",
    "model.encoder_weights=none",
    "model.head_width=16",
    "data.crop_px=32",
    "data.workers=0",
)

#: The same of a Siamese pyramid, for images of 64 pixels and more.
TINY_PYRAMID = (
    "model.encoder=test_efficientnet",
    "model.encoder_weights=none",
    "model.decoder_width=8",
    "data.crop_px=64",
    "data.tile_px=64",
    "data.normalisation=mean_std",
    "data.test_time=none",
    "data.workers=0",
)


def output_of(score: Tensor) -> ChangeOutput:
    """What a network would give for these scores, (B, H, W)."""
    return ChangeOutput(score=score, branches={})


class Difference(nn.Module):
    """Stands in for a trained network: the score is the mean difference of the two dates.

    It notes the batches that it was given, as ``shapes``, and whether it was in training mode.
    """

    def __init__(self, *, stride: int = 8, fixed_tile: bool = False, in_channels: int = 3) -> None:
        super().__init__()
        self.stride = stride
        self.fixed_tile = fixed_tile
        self.in_channels = in_channels
        self.shapes: list[tuple[int, ...]] = []
        self.modes: list[bool] = []

    @property
    def tiles(self) -> int:
        """How many it was given, in all batches."""
        return sum(shape[0] for shape in self.shapes)

    def forward(self, before: Tensor, after: Tensor, *, branches: str) -> ChangeOutput:
        assert branches == "fused"
        assert before.shape[-1] % self.stride == before.shape[-2] % self.stride == 0
        self.shapes.append(tuple(before.shape))
        self.modes.append(self.training)
        return output_of(self.score((after - before).abs().mean(1, keepdim=True))[:, 0])

    def score(self, difference: Tensor) -> Tensor:
        return difference


class BlurredDifference(Difference):
    """The same, but a pixel's score depends on the 3 pixels around it, as with a network."""

    def score(self, difference: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(difference, 7, stride=1, padding=3)


def untrained_network(
    name: str = "dasnet", *, seed: int = 0, in_channels: int = 3, **options: object
) -> ChangeModel:
    """A real network of 0.1 million weights, whose scores spread although it never learnt.

    Its batch norm has seen some batches; with the statistics that it begins with, all scores are
    next to zero.
    """
    torch.manual_seed(seed)
    settings = {"encoder": "test_efficientnet", "head_width": 8, "attention": "none", **options}
    network = create_model(name, in_channels=in_channels, **settings).train()
    with torch.no_grad():
        for _ in range(10):
            network(*torch.randn(2, 2, in_channels, 32, 32))
    return network.eval()


def untrained_scene_model() -> tuple[ChangeModel, ModelCard]:
    """An untrained network for rasters of three bands, which works in tiles of 64 pixels."""
    network = untrained_network("dasnet")
    stats = Normalisation((120.0,) * 3, (120.0,) * 3, (60.0,) * 3, (60.0,) * 3)
    return network, ModelCard("dasnet", network.options, stats, tile_px=64, threshold=0.3)


def lively_network(name: str, *, seed: int = 0, **options: object) -> ChangeModel:
    """Any network of the registry, as small as it gets, whose scores spread.

    Batch norm has seen some batches, and outputs of the last layer are far from one another.
    """
    torch.manual_seed(seed)
    network = create_model(name, **{**_SMALL.get(name, _TINY_ENCODER), **options}).train()
    with torch.no_grad():
        for _ in range(5):
            network(*torch.randn(2, 2, network.in_channels, 64, 64))
        for part in ("predict.weight", "head.weight"):
            if part in dict(network.named_parameters()):
                network.get_parameter(part).mul_(8)
    return network.eval()


_TINY_ENCODER = {"encoder": "test_efficientnet"}
_SMALL = {"tinycd": {}, "bit": {}}


def write_network(
    path: Path, network: ChangeModel, *, precision: Precision = "float32", **fields: object
) -> Path:
    """Write a model file of any network; ``fields`` are those of its card, others than usual."""
    channels = network.in_channels
    usual = {
        "normalisation": Normalisation(
            *((value,) * channels for value in (120.0, 110.0, 60.0, 50.0))
        ),
        "tile_px": 64,
        "threshold": 0.5,
    }
    card = ModelCard(
        architecture=network.architecture, options=network.options, **{**usual, **fields}
    )
    save_model(path, network, card, precision=precision)
    return path


def write_kinds_model(
    path: Path, *, working_gsd_m: tuple[float, float] | None = None, **fields: object
) -> Path:
    """Write a network that tells three kinds of change apart, a third of the scores of each.

    Args:
        path: The model file.
        working_gsd_m: Ground sample distances at which it works.
        fields: Of the card, others than usual.
    """
    torch.manual_seed(0)
    network = create_model(
        "siamese_pyramid",
        encoder="test_efficientnet",
        decoder_width=8,
        kinds=("any", "building", "cropland"),
    ).train()
    with torch.no_grad():
        for _ in range(10):
            network(*torch.randn(2, 2, 3, 32, 32))
    kinds = (
        KindOfChange("any", threshold=0.1),
        KindOfChange("building", threshold=0.2),
        KindOfChange("cropland", threshold=0.3),
    )
    card = ModelCard(
        architecture=network.architecture,
        options=network.options,
        normalisation=Normalisation(*((value,) * 3 for value in (120.0, 120.0, 60.0, 60.0))),
        tile_px=64,
        kinds=kinds,
        working_gsd_m=working_gsd_m,
        **{"threshold": kinds[0].threshold, **fields},
    )
    save_model(path, network.eval(), card)
    return path


class Broken(Difference):
    """Stands in for a network that went wrong: a score of every tile is no finite number."""

    def __init__(self, value: float, **options: int) -> None:
        super().__init__(**options)
        self.value = value

    def score(self, difference: Tensor) -> Tensor:
        scores = difference.clone()
        scores[..., 0, 0] = self.value
        return scores
