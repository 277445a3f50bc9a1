"""Binary cross-entropy, Dice and sums of losses."""

import pytest
import torch

from changedet.errors import ConfigError
from changedet.losses.contrastive import WeightedDoubleMargin
from changedet.losses.lovasz import lovasz_hinge
from changedet.losses.segmentation import PixelLossSum, WeightedTerm, bce, dice, logit_of
from changedet.types import IGNORED, ChangeMap

LOGIT = torch.tensor([[[2.0, -1.0], [0.5, 3.0]]])
LABEL = torch.tensor([[[1, 0], [0, 1]]], dtype=torch.uint8)


def test_cross_entropy_is_the_mean_log_probability_of_the_right_class():
    p = LOGIT.sigmoid().flatten()
    right = torch.stack([p[0], 1 - p[1], 1 - p[2], p[3]])
    assert bce(LOGIT, LABEL).value().item() == pytest.approx(-right.log().mean().item(), rel=1e-6)


def test_dice_is_one_minus_the_soft_f1():
    p = LOGIT.sigmoid().flatten()
    expected = 1 - (2 * (p[0] + p[3]) + 1) / (p.sum() + 2 + 1)
    assert dice(LOGIT, LABEL).value().item() == pytest.approx(expected.item(), rel=1e-6)


def test_a_sure_and_right_answer_costs_nearly_nothing():
    sure = torch.where(LABEL == 1, 20.0, -20.0)
    assert bce(sure, LABEL).value() < 1e-6
    assert dice(sure, LABEL).value() < 1e-6


@pytest.mark.parametrize("loss", [bce, dice, lovasz_hinge])
def test_ignored_pixels_change_nothing(loss):
    wider = torch.cat([LOGIT, torch.full((1, 2, 3), 7.0)], dim=2)
    label = torch.cat([LABEL, torch.full((1, 2, 3), IGNORED, dtype=torch.uint8)], dim=2)
    torch.testing.assert_close(loss(wider, label).value(), loss(LOGIT, LABEL).value())


@pytest.mark.parametrize("loss", [bce, dice])
def test_all_ignored_costs_nothing_and_has_a_gradient(loss):
    logit = LOGIT.clone().requires_grad_()
    cost = loss(logit, torch.full_like(LABEL, IGNORED)).value()
    cost.backward()
    assert cost.item() == pytest.approx(0.0, abs=1e-6)
    assert logit.grad.abs().max() == 0


@pytest.mark.parametrize("loss", [bce, dice])
def test_fractional_labels_count_by_their_fraction(loss):
    half = torch.full_like(LOGIT, 0.5)
    # At one half of each class, the best answer is undecided.
    assert bce(torch.zeros_like(LOGIT), half).value() < bce(LOGIT, half).value()
    assert loss(LOGIT, half).value().isfinite()


def weighted(losses, change):
    return losses.weigh({n: loss.value() for n, loss in losses(change, LABEL).items()})


def test_the_sum_weighs_its_terms_and_knows_which_are_of_distances():
    contrastive = WeightedDoubleMargin("l2", changed_share=0.5)
    total = PixelLossSum(
        {
            "wdmc": WeightedTerm(0.5, "distance", contrastive),
            "bce": WeightedTerm(2.0, "logit", bce),
            "dice": WeightedTerm(1.0, "logit", dice),
            "lovasz": WeightedTerm(3.0, "logit", lovasz_hinge),
        }
    )
    expected = (
        0.5 * contrastive(2 * LOGIT.sigmoid(), LABEL).value()
        + 2 * bce(LOGIT, LABEL).value()
        + dice(LOGIT, LABEL).value()
        + 3 * lovasz_hinge(LOGIT, LABEL).value()
    )
    torch.testing.assert_close(weighted(total, ChangeMap.from_logit(LOGIT)), expected)


def test_a_distance_without_logit_is_read_as_a_probability():
    loss = PixelLossSum({"bce": WeightedTerm(1.0, "logit", bce)})
    change = ChangeMap.from_distance(2 * LOGIT.sigmoid())
    expected = bce(LOGIT, LABEL).value()
    torch.testing.assert_close(weighted(loss, change), expected, rtol=1e-4, atol=1e-5)


def test_distances_of_0_and_2_have_finite_losses_and_gradients():
    distance = torch.tensor([[[0.0, 2.0]]], requires_grad=True)
    label = torch.tensor([[[1, 0]]], dtype=torch.uint8)
    cost = bce(logit_of(distance), label).value()
    cost.backward()
    assert cost.isfinite()
    assert distance.grad.isfinite().all()


def test_a_loss_of_weight_0_is_left_out():
    terms = {"bce": WeightedTerm(0.0, "logit", bce), "dice": WeightedTerm(1.0, "logit", dice)}
    loss = PixelLossSum(terms)
    assert {name: term.weight for name, term in loss.terms.items()} == {"dice": 1.0}
    change = ChangeMap.from_logit(LOGIT)
    torch.testing.assert_close(weighted(loss, change), dice(LOGIT, LABEL).value())


@pytest.mark.parametrize(
    "terms",
    [
        {},
        {"bce": WeightedTerm(0.0, "logit", bce)},
        {"bce": WeightedTerm(1.0, "logit", bce), "dice": WeightedTerm(-1.0, "logit", dice)},
    ],
)
def test_a_sum_without_a_weight_is_refused(terms):
    with pytest.raises(ConfigError, match=r"loss\.terms must have at least one weight above 0"):
        PixelLossSum(terms)
