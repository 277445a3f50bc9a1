"""DASNet-V2: DASNet with a decoder, so that distances are taken at full resolution (spec 1.4)."""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from changedet.models.base import Features
from changedet.models.dasnet import DASNet
from changedet.models.decoder import UpDecoder
from changedet.models.option_types import Channels, DropShare, Width
from changedet.types import Activation, Attention, Branch, Distance, Head, Upsampling


class DASNetV2(DASNet):
    """Encode, attend, decode, compare.

    One decoder lifts the embedding of every branch; each of its levels can be supervised.

    Args:
        distance: How embeddings are compared.
        attention: Which attentions the dual head uses; a plain head has none.
        head: ``"dual"`` has three branches, ``"plain"`` the fused one only.
        head_width: Channels of the embeddings; None is a quarter of the encoder's.
        encoder: Any timm backbone whose stride is a power of two.
        in_channels: Channels of the images.
        dropout: Share of channels dropped before each branch's last convolution in training.
        activation: Of the decoder: leaky as in the public code, or ReLU as the DASNet-V2 document
            states.
        upsampling: Of the decoder: ``"transposed"`` convolutions as in the document, or
            ``"resize"``, whose score maps are free of checkerboards.

    Raises:
        ConfigError: If an option has a value that does not exist.
    """

    architecture: ClassVar[str] = "dasnet_v2"

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
        activation: Activation = "leaky_relu",
        upsampling: Upsampling = "transposed",
    ) -> None:
        super().__init__(
            distance=distance,
            attention=attention,
            head=head,
            head_width=head_width,
            encoder=encoder,
            in_channels=in_channels,
            dropout=dropout,
        )
        self.options |= {"activation": activation, "upsampling": upsampling}
        self.decoder = UpDecoder(
            self.head.width, stride=self.stride, activation=activation, upsampling=upsampling
        )

    def embed(self, images: Tensor, *, branches: Sequence[Branch]) -> Features:
        """Give each branch's decoder levels, coarse to fine, the last one (B, 32, H, W)."""
        embeddings = super().embed(images, branches=branches)
        return {name: self.decoder(embedding) for name, (embedding,) in embeddings.items()}
