import pytest
import torch

from changedet.errors import ConfigError
from changedet.losses.registry import LOSSES, LossOptions, build_pixel_losses
from changedet.types import ChangeMap


def test_an_unknown_loss_names_the_nearest():
    with pytest.raises(ConfigError, match=r"loss 'dise' does not exist; did you mean 'dice'\?"):
        build_pixel_losses({"dise": 1.0}, LossOptions())


@pytest.mark.parametrize("name", sorted(LOSSES))
@pytest.mark.parametrize("make", [ChangeMap.from_distance, ChangeMap.from_logit])
def test_every_loss_goes_with_distances_and_with_logits(name, make):
    losses = build_pixel_losses({name: 1.0}, LossOptions("l2", changed_share=0.3))
    label = torch.tensor([[[1, 0], [0, 1]]], dtype=torch.uint8)
    leaf = torch.tensor([[[1.9, 0.3], [0.4, 0.2]]], requires_grad=True)
    losses(make(leaf), label)[name].value().backward()
    # The missed pixel is pushed towards change.
    assert leaf.grad[0, 1, 1] < 0


def test_a_loss_of_weight_0_is_not_even_made():
    # Made, it would ask for a share of changed pixels between 0 and 1.
    options = LossOptions("l2", changed_share=0.0)
    assert set(build_pixel_losses({"bce": 1.0, "wdmc": 0.0}, options).terms) == {"bce"}
    with pytest.raises(ConfigError, match=r"loss\.changed_share"):
        build_pixel_losses({"bce": 1.0, "wdmc": 1.0}, options)


def test_without_any_weight_the_weights_are_shown():
    with pytest.raises(ConfigError, match=r"got \{'bce': 0\.0\}"):
        build_pixel_losses({"bce": 0.0}, LossOptions())
