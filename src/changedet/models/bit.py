"""BIT: two dates compared by a transformer over a few semantic tokens.

Chen, Qi and Shi, Remote sensing image change detection with transformers, IEEE TGRS 2022
(arXiv:2103.00208). Own code after the paper.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from changedet.kinds import ANY
from changedet.models.base import EncoderModel, Levels
from changedet.models.option_checks import check_options
from changedet.models.option_types import Channels, DropShare, Kinds, LayerCount, TokenCount, Width
from changedet.nn.blocks import ConvNormAct
from changedet.nn.classifier import classified, expect_little_change
from changedet.nn.encoder import LevelEncoder
from changedet.types import Branch, BranchOutput

#: The fourth of a ResNet's five stages, which is kept at stride 8 by dilation (section III-D).
_STAGE_STRIDE = 16
_DILATED_STRIDE = 8
#: Where tokens are read from and written to.
_TOKEN_STRIDE = 4
_HEADS = 8
#: Channels of each head, in the encoder and in the decoder of the transformer.
_ENCODER_HEAD_WIDTH = 64
_DECODER_HEAD_WIDTH = 8
_ENCODER_LAYERS = 1


class BIT(EncoderModel):
    """Describe each date by a few tokens, relate them, and write them back into its pixels.

    The encoder's map of each date is brought to stride 4 and ``decoder_width`` channels. A token is
    a mean over all positions, weighted by a learnt attention map. A transformer encoder relates the
    tokens of both dates with one another; a transformer decoder lets every pixel of a date look at
    the date's tokens. A small convolutional network classifies the absolute difference of the two
    dates at full size, so the order of the dates plays no part after the tokens' encoder.

    Tokens are means over the whole tile, so results depend on the tile.

    Args:
        encoder: Any timm backbone; what is coarser than stride 16 is cut off, and the level of that
            stride is dilated to stride 8 where the backbone can.
        in_channels: Channels of the images.
        decoder_width: Channels of tokens and pixels.
        tokens: Tokens of each date.
        decoder_layers: Layers of the transformer's decoder.
        dropout: Share of channels dropped before the classifier in training; the paper has none.
        kinds: Kinds of change that are told apart, each by an output of its own of the last
            convolution.

    Raises:
        ConfigError: If an option has a value that does not exist.
    """

    architecture: ClassVar[str] = "bit"
    per_kind: ClassVar[tuple[str, ...]] = ("predict.weight", "predict.bias")
    least_strides: ClassVar[int] = 2
    encoder: LevelEncoder

    def __init__(
        self,
        *,
        encoder: str = "resnet18",
        in_channels: Channels = 3,
        decoder_width: Width = 32,
        tokens: TokenCount = 4,
        decoder_layers: LayerCount = 8,
        dropout: DropShare = 0.0,
        kinds: Kinds = (ANY,),
    ) -> None:
        options = {
            "encoder": encoder,
            "in_channels": in_channels,
            "decoder_width": decoder_width,
            "tokens": tokens,
            "decoder_layers": decoder_layers,
            "dropout": dropout,
            "kinds": list(kinds),
        }
        check_options(options)
        super().__init__(
            LevelEncoder(
                encoder,
                in_channels=in_channels,
                wanted=(_STAGE_STRIDE,),
                output_stride=_DILATED_STRIDE,
            ),
            options=options,
        )
        width = decoder_width
        self.reduce = nn.Conv2d(self.encoder.channels[-1], width, kernel_size=3, padding=1)
        self.attend = nn.Conv2d(width, tokens, kernel_size=1, bias=False)
        self.token_places = nn.Parameter(torch.randn(1, 2 * tokens, width))
        self.relate = nn.ModuleList(
            _Layer(width, _ENCODER_HEAD_WIDTH) for _ in range(_ENCODER_LAYERS)
        )
        self.write = nn.ModuleList(
            _Layer(width, _DECODER_HEAD_WIDTH) for _ in range(decoder_layers)
        )
        self.refine = ConvNormAct(width, width)
        self.dropout = nn.Dropout2d(dropout)
        self.predict = nn.Conv2d(width, len(kinds), kernel_size=3, padding=1)
        expect_little_change(self.predict)

    def compare(
        self, before: Tensor, after: Tensor, *, branches: Sequence[Branch], levels: Levels
    ) -> Mapping[str, BranchOutput]:
        """Encode both dates as one batch, write tokens into them and classify the difference."""
        both = torch.cat([before, after]).contiguous(memory_format=torch.channels_last)
        size = (before.shape[-2], before.shape[-1])
        places = (size[0] // _TOKEN_STRIDE, size[1] // _TOKEN_STRIDE)
        maps = self.reduce(F.interpolate(self.encoder(both)[-1], size=places, mode="nearest"))
        pixels = maps.flatten(2).transpose(1, 2)
        weights = self.attend(maps).flatten(2).softmax(dim=-1)
        # The tokens of both dates stand side by side while they are related.
        tokens = torch.cat((weights @ pixels).chunk(2), dim=1) + self.token_places
        for layer in self.relate:
            tokens = layer(tokens, tokens)
        tokens = torch.cat(tokens.chunk(2, dim=1))
        for layer in self.write:
            pixels = layer(pixels, tokens)
        first, second = pixels.transpose(1, 2).unflatten(2, places).chunk(2)
        apart = F.interpolate(
            (first - second).abs(), size=size, mode="bilinear", align_corners=False
        )
        logits = self.predict(self.dropout(self.refine(apart)))
        return {"fused": classified(logits, levels=levels)}


class _Layer(nn.Module):
    """A layer of a transformer: look at a context, then a perceptron; each added to what was there.

    Args:
        width: C of the (B, N, C) sequence and of the (B, M, C) context.
        head_width: Channels of each head.
    """

    def __init__(self, width: int, head_width: int) -> None:
        super().__init__()
        inner = _HEADS * head_width
        self.look_norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, inner, bias=False)
        self.key = nn.Linear(width, inner, bias=False)
        self.value = nn.Linear(width, inner, bias=False)
        self.out = nn.Linear(inner, width)
        self.think = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 2 * width),
            nn.GELU(),
            nn.Linear(2 * width, width),
        )

    def forward(self, sequence: Tensor, context: Tensor) -> Tensor:
        asking, asked = self.look_norm(sequence), self.look_norm(context)
        query, key, value = (
            projected.unflatten(2, (_HEADS, -1)).transpose(1, 2)
            for projected in (self.query(asking), self.key(asked), self.value(asked))
        )
        seen = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        sequence = sequence + self.out(seen)
        thought: Tensor = self.think(sequence)
        return sequence + thought
