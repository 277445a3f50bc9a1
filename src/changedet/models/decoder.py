"""The decoder that lifts embeddings to full resolution (spec 1.4)."""

from itertools import pairwise

from torch import Tensor, nn

from changedet.errors import ConfigError
from changedet.nn.blocks import UpBlock
from changedet.types import Activation, Upsampling

#: Channels of the last level, and the fewest of any (spec 1.4).
OUT_CHANNELS = 32


class UpDecoder(nn.Module):
    """Double the resolution until it is the image's, one block a step.

    Attributes:
        channels: Channels of each level, coarse to fine; 256, 128, 32 for width 512 at stride 8.

    Args:
        width: Channels of the embedding.
        stride: Image pixels per embedding pixel, a power of two.
        activation: After each block's batch norm.
        upsampling: How a block doubles the resolution, see :class:`changedet.nn.blocks.UpBlock`.

    Raises:
        ConfigError: If the stride is no power of two above 1, or there is no such block.
    """

    def __init__(
        self,
        width: int,
        *,
        stride: int,
        activation: Activation,
        upsampling: Upsampling = "transposed",
    ) -> None:
        super().__init__()
        self.channels = decoder_channels(width, stride=stride)
        sizes = (width, *self.channels)
        self.blocks = nn.ModuleList(
            UpBlock(before, after, activation=activation, upsampling=upsampling)
            for before, after in pairwise(sizes)
        )

    def forward(self, embedding: Tensor) -> tuple[Tensor, ...]:
        """Lift (B, width, h, w); returns every level, coarse to fine, the last (B, 32, H, W)."""
        levels = []
        for block in self.blocks:
            embedding = block(embedding)
            levels.append(embedding)
        return tuple(levels)


def decoder_channels(width: int, *, stride: int) -> tuple[int, ...]:
    """Halve the channels with every step, but never below 32; the last level has 32.

    Raises:
        ConfigError: If the stride is no power of two above 1.
    """
    steps = stride.bit_length() - 1
    if stride < 2 or stride != 1 << steps:
        raise ConfigError(
            f"the decoder needs an encoder whose stride is a power of two, got {stride}; "
            "choose another encoder, or model dasnet"
        )
    inner = tuple(max(width >> step, OUT_CHANNELS) for step in range(1, steps))
    return (*inner, OUT_CHANNELS)
