"""Several trained networks as one of the same size: the mean of their weights."""

import copy
from collections.abc import Sequence

import torch

from changedet.errors import ConfigError
from changedet.models.base import ChangeModel


def mean_of_weights(models: Sequence[ChangeModel]) -> ChangeModel:
    """Average the weights of networks that were trained from one start (a uniform soup).

    Wortsman et al., Model soups: averaging weights of multiple fine-tuned models improves accuracy
    without increasing inference time, ICML 2022. Networks from different starts lie in different
    basins, and their mean is of no use.

    Args:
        models: Two networks or more of one architecture with the same options.

    Returns:
        A new network; running statistics of batch norm are averaged as well.

    Raises:
        ConfigError: If they are too few, or differ in architecture or options.
    """
    if len(models) < 2:
        raise ConfigError(f"a mean of weights needs two models or more, got {len(models)}")
    first = models[0]
    for other in models[1:]:
        if (other.architecture, other.options) != (first.architecture, first.options):
            raise ConfigError(
                "only weights of the same network can be averaged, but one model is "
                f"{_described(first, other)} and another {_described(other, first)}; average "
                'their scores (`average="scores"`)'
            )
    mean = copy.deepcopy(first)
    states = [model.state_dict() for model in models]
    with torch.no_grad():
        for name, value in mean.state_dict().items():
            stack = torch.stack([state[name] for state in states])
            # Counters of batches are no weights.
            is_weight = value.is_floating_point()
            value.copy_(stack.double().mean(dim=0) if is_weight else stack.amax(dim=0))
    return mean


def _described(model: ChangeModel, other: ChangeModel) -> str:
    """Name a network and those of its options in which the other one differs."""
    options = [
        f"{name} {value}"
        for name, value in model.options.items()
        if model.architecture != other.architecture or other.options.get(name) != value
    ]
    return f"{model.architecture} ({', '.join(options)})" if options else model.architecture
