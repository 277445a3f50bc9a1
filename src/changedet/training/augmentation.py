"""The variation of training samples that settings ask for; no PyTorch."""

from changedet.data.training.augmentation import Augmentation
from changedet.training.config import ExperimentConfig
from changedet.types import PixelType


def build_augmentation(config: ExperimentConfig, *, pixel_type: PixelType) -> Augmentation:
    """Make the variation of training samples.

    Raises:
        ConfigError: If images of so many channels and such values cannot be varied like that.
    """
    augmentation = Augmentation(
        **config.augmentation.model_dump(), changed_crops=config.data.changed_crops
    )
    augmentation.check_channels(config.model.in_channels, pixel_type=pixel_type)
    return augmentation
