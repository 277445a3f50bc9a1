import pytest
import torch
import torch.nn.functional as F

from changedet.errors import ConfigError
from changedet.losses.contrastive import WeightedDoubleMargin
from changedet.losses.registry import LossOptions, build_pixel_losses
from changedet.losses.supervision import BranchLoss, resize_label
from changedet.types import IGNORED, BranchOutput, ChangeMap, ChangeOutput

CONTRASTIVE = WeightedDoubleMargin("l2", changed_share=0.3)
PIXEL_LOSSES = build_pixel_losses({"wdmc": 1.0}, LossOptions("l2", changed_share=0.3))
ALL_BRANCHES = {"position": 1.0, "channel": 1.0, "fused": 1.0}


def make_output(*, names=tuple(ALL_BRANCHES), sizes=(8,), seed=0):
    """A model's output with random distances, one level a size."""
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.zeros(2, 1, 1, 1)
    branches = {}
    for name in names:
        levels = tuple(
            ChangeMap.from_distance(2 * torch.rand(2, size, size, generator=generator))
            for size in sizes
        )
        branches[name] = BranchOutput(
            change=levels[-1], before=vectors, after=vectors, level_changes=levels
        )
    return ChangeOutput(score=branches["fused"].score, branches=branches)


@pytest.fixture
def label():
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 2, (2, 8, 8), generator=generator, dtype=torch.uint8)


def test_the_total_is_the_weighted_sum_of_the_branches(label):
    output = make_output()
    weights = {"position": 0.5, "channel": 2.0, "fused": 1.0}
    loss = BranchLoss(PIXEL_LOSSES, branch_weights=weights)(output, label)
    alone = {name: CONTRASTIVE(output.branches[name].distance, label).value() for name in weights}
    assert loss.terms == {name: pytest.approx(value.item()) for name, value in alone.items()}
    total = sum(weights[name] * alone[name].item() for name in weights)
    assert loss.total.item() == pytest.approx(total)


def test_a_branch_without_weight_is_not_needed(label):
    loss = BranchLoss(PIXEL_LOSSES, branch_weights={"position": 0.0, "channel": 0.0, "fused": 1.0})
    assert loss.branches == "fused"
    assert set(loss(make_output(names=("fused",)), label).terms) == {"fused"}


def test_several_branches_ask_the_model_for_all():
    assert BranchLoss(PIXEL_LOSSES, branch_weights=ALL_BRANCHES).branches == "all"


def test_a_branch_that_the_model_lacks_names_the_setting(label):
    loss = BranchLoss(PIXEL_LOSSES, branch_weights=ALL_BRANCHES)
    with pytest.raises(ConfigError, match=r"loss\.branch_weights gives 'position' a weight"):
        loss(make_output(names=("fused",)), label)


def test_levels_are_summed_with_their_weights_against_the_label_at_their_size(label):
    output = make_output(names=("fused",), sizes=(2, 4, 8))
    loss = BranchLoss(PIXEL_LOSSES, branch_weights={"fused": 1.0}, level_weights=(0.25, 0.0, 2.0))
    assert loss.levels == "all"
    coarse, _, fine = output.branches["fused"].levels
    expected = (
        0.25 * CONTRASTIVE(coarse, resize_label(label, 2, 2)).value()
        + 2 * CONTRASTIVE(fine, label).value()
    )
    assert loss(output, label).total.item() == pytest.approx(expected.item())


def test_without_level_weights_only_the_last_level_counts(label):
    loss = BranchLoss(PIXEL_LOSSES, branch_weights={"fused": 1.0})
    output = make_output(names=("fused",), sizes=(4, 8))
    assert loss.levels == "last"
    expected = CONTRASTIVE(output.branches["fused"].distance, label).value()
    assert loss(output, label).total.item() == pytest.approx(expected.item())


def test_another_number_of_levels_names_the_setting(label):
    loss = BranchLoss(PIXEL_LOSSES, branch_weights={"fused": 1.0}, level_weights=(1.0, 1.0))
    with pytest.raises(ConfigError, match=r"loss\.level_weights has 2 values.* 3 levels"):
        loss(make_output(names=("fused",), sizes=(2, 4, 8)), label)


@pytest.mark.parametrize("weights", [{}, {"fused": 0.0}, {"fused": 1.0, "channel": -1.0}])
def test_weights_that_train_nothing_are_refused(weights):
    with pytest.raises(ConfigError, match=r"loss\.branch_weights must be"):
        BranchLoss(PIXEL_LOSSES, branch_weights=weights)


def test_a_label_without_ignored_pixels_is_resized_bilinearly_with_fractions(label):
    plain = F.interpolate(
        label[:, None].float(), size=(3, 5), mode="bilinear", align_corners=True
    ).squeeze(1)
    resized = resize_label(label, 3, 5)
    torch.testing.assert_close(resized, plain)
    assert ((resized > 0) & (resized < 1)).any()


def test_ignored_pixels_do_not_leak_into_their_neighbours():
    label = torch.ones(1, 8, 8, dtype=torch.uint8)
    label[:, :, :4] = IGNORED
    resized = resize_label(label, 4, 4)
    counted = resized != IGNORED
    assert torch.allclose(resized[counted], torch.ones(()))
    assert (resized[:, :, 0] == IGNORED).all()
    assert counted[:, :, 2:].all()


def test_a_wholly_ignored_label_is_zero_at_every_level():
    output = make_output(names=("fused",), sizes=(2, 4, 8))
    loss = BranchLoss(PIXEL_LOSSES, branch_weights={"fused": 1.0}, level_weights=(1.0, 1.0, 1.0))
    label = torch.full((2, 8, 8), IGNORED, dtype=torch.uint8)
    assert loss(output, label).total.item() == 0


def test_only_the_total_has_a_graph(label):
    output = make_output(names=("fused",))
    output.branches["fused"].distance.requires_grad_()
    loss = BranchLoss(PIXEL_LOSSES, branch_weights={"fused": 1.0})(output, label)
    assert loss.total.requires_grad
    assert not loss.terms["fused"].requires_grad
