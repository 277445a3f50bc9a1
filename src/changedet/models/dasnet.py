"""DASNet: distances of dual-attention embeddings at the encoder's resolution (spec 1.3)."""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from changedet.models.base import EmbeddingModel, Features
from changedet.models.heads import build_head
from changedet.models.option_types import Channels, DropShare, Width
from changedet.nn.encoder import TimmEncoder
from changedet.types import Attention, Branch, Distance, Head


class DASNet(EmbeddingModel):
    """Encode, attend, compare (Chen et al., DASNet, JSTARS 2021).

    Branch distances are at 1 / stride of the image; the fused one is resized to it.

    Args:
        distance: How embeddings are compared.
        attention: Which attentions the dual head uses; a plain head has none.
        head: ``"dual"`` has three branches, ``"plain"`` the fused one only.
        head_width: Channels of the embeddings; None is a quarter of the encoder's.
        encoder: Any timm backbone.
        in_channels: Channels of the images.
        dropout: Share of channels dropped before each branch's last convolution in training.

    Raises:
        ConfigError: If an option has a value that does not exist.
    """

    architecture: ClassVar[str] = "dasnet"

    def __init__(
        self,
        *,
        distance: Distance = "l2",
        attention: Attention = "dual",
        head: Head = "dual",
        head_width: Width | None = None,
        encoder: str = "resnet50",
        in_channels: Channels = 3,
        dropout: DropShare = 0.1,
    ) -> None:
        encoder_net = TimmEncoder(encoder, in_channels=in_channels)
        head_net = build_head(
            encoder_net.out_channels,
            kind=head,
            width=head_width,
            attention=attention,
            dropout=dropout,
        )
        super().__init__(
            encoder_net,
            options={
                "distance": distance,
                "attention": head_net.attention,
                "head": head,
                "head_width": head_net.width,
                "encoder": encoder,
                "in_channels": in_channels,
                "dropout": dropout,
            },
        )
        self.head = head_net

    def embed(self, images: Tensor, *, branches: Sequence[Branch]) -> Features:
        """Give each branch's embedding, (B, head_width, H / stride, W / stride)."""
        embeddings = self.head(self.encoder(images), branches=branches)
        return {name: (embedding,) for name, embedding in embeddings.items()}
