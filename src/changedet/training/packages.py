"""The packages that a training needs, told before any of them is imported."""

from changedet._optional import MATPLOTLIB, TENSORBOARD, check_all
from changedet.models.options import packages_of
from changedet.models.weight_packages import weight_package
from changedet.training.config import ExperimentConfig


def check_packages(config: ExperimentConfig, *, is_resumed: bool = False) -> None:
    """Refuse a training whose packages are not installed.

    Args:
        config: Its settings.
        is_resumed: Whether it has its first weights already.

    Raises:
        MissingExtraError: Naming the extras that install all of them.
    """
    model = config.model
    weights = () if is_resumed else weight_package(model.encoder, model.encoder_weights)
    check_all((*packages_of(model.name), MATPLOTLIB, TENSORBOARD, *weights))
