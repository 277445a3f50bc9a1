"""Counted cost of a network."""

import pytest
import torch
from torch import nn

from changedet.errors import ConfigError
from changedet.evaluation.cost import measure_cost
from changedet.models.registry import create_model
from changedet.storage.results import to_plain

TINY = {"encoder": "test_efficientnet", "head_width": 16}


def test_operations_are_two_for_each_multiplication_of_every_convolution():
    model = create_model("dasnet_v2", **TINY, attention="none")
    counted = [0]

    def count(module, inputs, output):
        weights = module.weight.numel() * output.shape[0]
        # Each weight meets every place of the output, or of the input where it is transposed.
        seen = inputs[0] if isinstance(module, nn.ConvTranspose2d) else output
        counted[0] += 2 * weights * seen.shape[-2] * seen.shape[-1]

    kinds = (nn.Conv2d, nn.ConvTranspose2d)
    hooks = [m.register_forward_hook(count) for m in model.modules() if isinstance(m, kinds)]
    model.eval()
    with torch.no_grad():
        model(torch.zeros(1, 3, 64, 64), torch.zeros(1, 3, 64, 64))
    for hook in hooks:
        hook.remove()
    assert measure_cost(model, side_px=64).gflop == pytest.approx(counted[0] / 1e9, rel=1e-9)


def test_the_cost_grows_with_the_area_unless_the_model_attends():
    model = create_model("dasnet_v2", **TINY, attention="none")
    small, large = (measure_cost(model, side_px=side) for side in (64, 128))
    assert large.gflop == pytest.approx(4.0 * small.gflop, rel=0.01)
    assert large.parameters == small.parameters
    attending = create_model("dasnet_v2", **TINY, attention="dual")
    small, large = (measure_cost(attending, side_px=side) for side in (256, 512))
    assert large.gflop > 4.02 * small.gflop


def test_measuring_leaves_the_model_as_it_was():
    model = create_model("dasnet", **TINY)
    model.encoder.eval()
    modes = [module.training for module in model.modules()]
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    measure_cost(model, side_px=64)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


def test_coarser_views_cost_less_in_the_shapes_in_which_they_are_scored():
    model = create_model("siamese_pyramid", encoder="test_efficientnet", decoder_width=16)
    plain, scaled, few = (
        measure_cost(model, side_px=256, test_time=views)
        for views in ("none", "scales", "coarse_few")
    )
    assert few.gflop == pytest.approx((0.75**2 + 0.5**2) * plain.gflop, rel=0.01)
    assert scaled.views == 3
    assert scaled.gflop == pytest.approx((1 + 0.75**2 + 0.5**2) * plain.gflop, rel=0.01)


def test_parameters_are_those_of_the_module():
    model = create_model("dasnet", **TINY)
    cost = measure_cost(model, side_px=64)
    assert cost.parameters == sum(value.numel() for value in model.parameters())
    assert to_plain(cost) == {
        "parameters": cost.parameters,
        "gflop": cost.gflop,
        "side_px": 64,
        "views": 1,
    }


def test_every_view_of_test_time_augmentation_costs_as_much_as_the_first():
    model = create_model("dasnet", **TINY)
    plain, turned = (
        measure_cost(model, side_px=64, test_time=views) for views in ("none", "turns")
    )
    assert (plain.views, turned.views) == (1, 8)
    assert turned.gflop == pytest.approx(8 * plain.gflop)
    assert turned.parameters == plain.parameters


def test_images_that_the_model_cannot_take_are_refused():
    model = create_model("dasnet", **TINY)
    with pytest.raises(ConfigError, match="3 channels, got 4"):
        measure_cost(model, side_px=64, channels=4)
    with pytest.raises(ConfigError, match="multiples of 8"):
        measure_cost(model, side_px=60)
