import pytest
import torch
import torch.nn.functional as F

from changedet.errors import ConfigError
from changedet.losses.distillation import TaughtLoss, soft_cross_entropy
from changedet.losses.loss_sum import add_sums
from changedet.losses.registry import LossOptions, build_pixel_losses
from changedet.losses.supervision import BranchLoss
from changedet.types import IGNORED, BranchOutput, ChangeMap, ChangeOutput

LEVELS = (0.25, 1.0)


def own_loss(level_weights=LEVELS):
    return BranchLoss(
        build_pixel_losses({"bce": 1.0}, LossOptions()),
        branch_weights={"fused": 1.0},
        level_weights=level_weights,
    )


def make_output(seed=0, pairs=2):
    generator = torch.Generator().manual_seed(seed)
    logits = [
        torch.randn(pairs, size, size, generator=generator).requires_grad_() for size in (4, 8)
    ]
    levels = tuple(ChangeMap.from_logit(logit) for logit in logits)
    branch = BranchOutput(change=levels[-1], level_changes=levels)
    return logits, ChangeOutput(score=levels[-1].score, branches={"fused": branch})


@pytest.fixture
def label():
    generator = torch.Generator().manual_seed(1)
    label = torch.randint(0, 2, (2, 8, 8), generator=generator, dtype=torch.uint8)
    label[:, :2] = IGNORED
    return label


@pytest.fixture
def taught():
    return torch.rand(2, 8, 8, generator=torch.Generator().manual_seed(2))


def test_the_total_is_the_mix_of_label_and_teacher(label, taught):
    _, output = make_output()
    loss = TaughtLoss(own_loss(), weight=0.3)
    terms = loss.combine(loss.sums(output, label, taught))
    own = own_loss()(output, label)
    coarse, fine = output.branches["fused"].level_changes
    small = F.interpolate(taught[:, None], (4, 4), mode="bilinear", align_corners=True)[:, 0]
    # Of four coarse rows the first lies on ignored ones alone.
    lessons = [
        F.binary_cross_entropy_with_logits(coarse.logit[:, 1:], small[:, 1:]),
        F.binary_cross_entropy_with_logits(fine.logit[:, 2:], taught[:, 2:]),
    ]
    lesson = LEVELS[0] * lessons[0] + LEVELS[1] * lessons[1]
    assert terms.terms["teacher"].item() == pytest.approx(lesson.item())
    assert terms.terms["fused"].item() == pytest.approx(own.terms["fused"].item())
    assert terms.total.item() == pytest.approx(0.7 * own.total.item() + 0.3 * lesson.item())


def test_a_student_that_says_what_the_teacher_says_is_left_alone(label, taught):
    logit = torch.logit(taught).requires_grad_()
    branch = BranchOutput(change=ChangeMap.from_logit(logit))
    output = ChangeOutput(score=branch.score, branches={"fused": branch})
    loss = TaughtLoss(own_loss(None), weight=1.0)
    loss.combine(loss.sums(output, label, taught)).total.backward()
    assert logit.grad.abs().max() < 1e-7
    other = loss.combine(loss.sums(output, label, 1.0 - taught)).total
    other.backward()
    assert logit.grad.abs().max() > 1e-3


def test_distances_are_taught_as_probabilities(label, taught):
    distance = (2.0 * taught).requires_grad_()
    branch = BranchOutput(change=ChangeMap.from_distance(distance))
    output = ChangeOutput(score=branch.score, branches={"fused": branch})
    loss = TaughtLoss(own_loss(None), weight=1.0)
    loss.combine(loss.sums(output, label, taught)).total.backward()
    assert distance.grad.abs().max() < 1e-5


def test_parts_of_a_batch_add_up_to_the_whole(label, taught):
    _, output = make_output()
    loss = TaughtLoss(own_loss(None), weight=0.5)
    whole = loss.sums(output, label, taught)

    def part(number):
        branch = output.branches["fused"]
        piece = BranchOutput(change=ChangeMap.from_logit(branch.logit[number : number + 1]))
        one = ChangeOutput(score=piece.score, branches={"fused": piece})
        return loss.sums(one, label[number : number + 1], taught[number : number + 1])

    first, second = part(0), part(1)
    joined = add_sums(first, second)
    total = loss.combine(whole).total.item()
    assert loss.combine(joined).total.item() == pytest.approx(total)
    # Of two processes each sees the loss of both.
    assert loss.combine(first, whole=joined).total.item() == pytest.approx(total)


def test_a_temperature_softens_both_and_keeps_gradients_of_one_size():
    logit = torch.tensor([[[2.0]]], requires_grad=True)
    taught = torch.tensor([[[0.9]]])
    counted = torch.ones(1, 1, 1, dtype=torch.bool)
    soft_cross_entropy(logit, taught, counted, temperature=4.0).value().backward()
    soft = torch.sigmoid(torch.logit(taught) / 4.0)
    expected = 4.0 * (torch.sigmoid(torch.tensor(0.5)) - soft)
    assert logit.grad.item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("weight", [0.0, 1.5])
def test_a_share_that_is_none_is_refused(weight):
    with pytest.raises(ConfigError, match=r"teacher\.weight must be above 0"):
        TaughtLoss(own_loss(), weight=weight)
