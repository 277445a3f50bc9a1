import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from changedet.errors import ConfigError
from changedet.losses.contrastive import (
    DEFAULT_MARGINS,
    ClassWeights,
    Margins,
    WeightedDoubleMargin,
    class_weights,
    double_margin,
)
from changedet.types import IGNORED

pixels = st.lists(
    st.tuples(st.floats(0, 2, width=32), st.sampled_from([0.0, 0.25, 1.0, float(IGNORED)])),
    min_size=1,
    max_size=12,
)


def loop_loss(pairs, margins, weights):
    """Spec 2 by hand."""
    costs = []
    for distance, label in pairs:
        if label == IGNORED:
            continue
        pull = max(distance - margins.unchanged, 0.0) ** 2
        push = max(margins.changed - distance, 0.0) ** 2
        costs.append(weights.unchanged * (1 - label) * pull + weights.changed * label * push)
    return sum(costs) / len(costs) if costs else 0.0


@given(pixels, st.sampled_from(["l2", "cosine"]), st.floats(0.05, 0.95))
def test_loss_is_what_plain_loops_give(pairs, distance, share):
    distances = torch.tensor([[d for d, _ in pairs]])
    labels = torch.tensor([[y for _, y in pairs]])
    weights = ClassWeights(1 / (1 - share), 1 / share)
    loss = WeightedDoubleMargin(distance, changed_share=share)(distances, labels).value()
    expected = loop_loss(pairs, DEFAULT_MARGINS[distance], weights)
    assert loss.item() == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_margins_are_those_of_the_specification():
    assert DEFAULT_MARGINS["l2"] == (0.3, 2.2)
    assert DEFAULT_MARGINS["cosine"] == (0.1, 0.8)


def test_without_a_share_both_classes_weigh_one():
    distance, label = torch.tensor([1.0, 1.0]), torch.tensor([0, 1], dtype=torch.uint8)
    loss = WeightedDoubleMargin("l2", changed_share=None)(distance, label).value()
    assert loss.item() == pytest.approx((0.7**2 + 1.2**2) / 2)


def test_other_margins_can_be_given():
    loss = WeightedDoubleMargin("l2", changed_share=None, margins=Margins(0.0, 1.0))
    assert loss(torch.tensor([0.5]), torch.tensor([1])).value().item() == pytest.approx(0.25)


def test_ignored_pixels_count_neither_in_the_sum_nor_in_the_mean():
    distance = torch.tensor([0.9, 1.7, 0.4])
    kept = torch.tensor([0, 1, 1], dtype=torch.uint8)
    padded = torch.cat([kept, torch.full((5,), IGNORED, dtype=torch.uint8)])
    loss = WeightedDoubleMargin("l2", changed_share=0.2)
    alone = loss(distance, kept).value()
    among = loss(torch.cat([distance, torch.linspace(0, 2, 5)]), padded).value()
    assert among.item() == pytest.approx(alone.item())


def test_all_ignored_is_zero_and_trains_nothing():
    distance = torch.rand(2, 3, 3, requires_grad=True)
    label = torch.full((2, 3, 3), IGNORED, dtype=torch.uint8)
    loss = WeightedDoubleMargin("l2", changed_share=0.2)(distance, label).value()
    loss.backward()
    assert loss.item() == 0
    assert distance.grad.eq(0).all()


def test_gradients_push_changed_pixels_apart_and_pull_the_others_together():
    distance = torch.tensor([1.0, 1.0, 0.2], requires_grad=True)
    label = torch.tensor([1, 0, 0], dtype=torch.uint8)
    WeightedDoubleMargin("l2", changed_share=0.3)(distance, label).value().backward()
    assert distance.grad[0] < 0 < distance.grad[1]
    assert distance.grad[2] == 0


def test_the_loss_is_float32_under_autocast():
    distance = torch.rand(1, 4, 4).bfloat16()
    label = torch.randint(0, 2, (1, 4, 4), dtype=torch.uint8)
    loss = double_margin(distance, label, margins=DEFAULT_MARGINS["l2"]).value()
    assert loss.dtype == torch.float32


@given(st.floats(0.001, 0.999))
def test_class_weights_balance_the_classes(share):
    weights = class_weights(share)
    assert share * weights.changed == pytest.approx((1 - share) * weights.unchanged)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1, math.nan])
def test_a_share_without_one_of_the_classes_names_the_setting(share):
    with pytest.raises(ConfigError, match=r"set loss\.changed_share \(0"):
        WeightedDoubleMargin("l2", changed_share=share)


def test_an_unknown_distance_is_refused():
    with pytest.raises(ConfigError, match="distance must be one of l2, cosine, got 'l1'"):
        WeightedDoubleMargin("l1", changed_share=None)
