import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from changedet.losses.lovasz import LovaszHinge, lovasz_hinge
from changedet.types import IGNORED

pixels = st.lists(
    st.tuples(
        st.floats(-4, 4, width=32),
        st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0, float(IGNORED)]),
    ),
    min_size=1,
    max_size=9,
)


def jaccard_loss(wrong, changed):
    """1 - IoU if exactly the pixels of ``wrong`` are classified wrongly."""
    union = changed | wrong
    return len(wrong) / len(union) if union else 0.0


def brute_force(logits, labels):
    """Berman et al. 2018, definition 1: the set function at each prefix of the sorted errors."""
    counted = [i for i, label in enumerate(labels) if label != IGNORED]
    changed = {i for i in counted if labels[i] >= 0.5}
    error = {i: max(0.0, 1 - (logits[i] if i in changed else -logits[i])) for i in counted}
    loss, wrong = 0.0, set()
    for i in sorted(counted, key=lambda i: -error[i]):
        before = jaccard_loss(wrong, changed)
        wrong.add(i)
        loss += error[i] * (jaccard_loss(wrong, changed) - before)
    return loss


@settings(deadline=None)
@given(pixels)
def test_the_loss_is_the_lovasz_extension_of_the_jaccard_loss(drawn):
    logits, labels = zip(*drawn, strict=True)
    loss = lovasz_hinge(torch.tensor([[logits]]), torch.tensor([[labels]])).value()
    assert loss.item() == pytest.approx(brute_force(logits, labels), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_gradients_are_those_of_finite_differences(seed):
    rng = torch.Generator().manual_seed(seed)
    label = torch.tensor([[[1, 0, 0, 1], [1, 0, IGNORED, 0]]], dtype=torch.uint8)
    # No two hinges lie closer than 0.2, none closer than 0.1 to its kink: the step crosses nothing.
    logit = (0.4 * torch.randperm(8, generator=rng) - 1.3).reshape(label.shape)
    logit.requires_grad_()
    lovasz_hinge(logit, label).value().backward()
    step = 2**-6
    for index in itertools.product(*map(range, label.shape)):
        up, down = logit.detach().clone(), logit.detach().clone()
        up[index] += step
        down[index] -= step
        slopes = (lovasz_hinge(up, label).value() - lovasz_hinge(down, label).value()) / (2 * step)
        assert logit.grad[index].item() == pytest.approx(slopes.item(), abs=1e-4), index


def test_at_confident_logits_it_is_one_minus_iou_of_the_wrong_pixels():
    # One of two changed pixels found, one false alarm: IoU 1/3. A margin of exactly 1 from 0 on
    # the wrong side makes every hinge 2.
    logit = torch.tensor([[[1.0, -1.0, 1.0, -1.0]]])
    label = torch.tensor([[[1, 1, 0, 0]]], dtype=torch.uint8)
    assert lovasz_hinge(logit, label).value().item() == pytest.approx(2 * (1 - 1 / 3))


def test_it_bounds_one_minus_iou_from_above():
    rng = torch.Generator().manual_seed(3)
    label = (torch.rand(4, 16, 16, generator=rng) < 0.2).to(torch.uint8)
    logit = torch.randn(4, 16, 16, generator=rng) + label
    predicted, changed = logit > 0, label == 1
    iou = (predicted & changed).sum() / (predicted | changed).sum()
    assert lovasz_hinge(logit, label).value() >= 1 - iou


def test_a_right_answer_beyond_the_margin_costs_nothing_and_trains_nothing():
    label = torch.tensor([[[1, 0, 1]]], dtype=torch.uint8)
    logit = torch.tensor([[[1.5, -1.0, 3.0]]], requires_grad=True)
    loss = lovasz_hinge(logit, label).value()
    loss.backward()
    assert loss.item() == 0
    assert logit.grad.eq(0).all()


def test_the_images_of_a_batch_are_one_set_of_pixels():
    rng = torch.Generator().manual_seed(1)
    logit = torch.randn(3, 4, 4, generator=rng)
    label = (torch.rand(3, 4, 4, generator=rng) < 0.3).to(torch.uint8)
    label[2] = 0
    together = lovasz_hinge(logit, label).value()
    as_one = lovasz_hinge(logit.reshape(1, 12, 4), label.reshape(1, 12, 4)).value()
    one_by_one = [lovasz_hinge(logit[i : i + 1], label[i : i + 1]).value() for i in range(3)]
    assert together.item() == pytest.approx(as_one.item())
    assert together.item() != pytest.approx(sum(one_by_one).item() / 3, rel=0.01)


def test_ignored_pixels_change_neither_the_loss_nor_other_gradients():
    rng = torch.Generator().manual_seed(2)
    kept = torch.randn(1, 2, 6, generator=rng, requires_grad=True)
    label = torch.tensor([[[1, 0, 0, 1, 0, 0], [0, 0, 1, 1, 0, 0]]], dtype=torch.uint8)
    alone = lovasz_hinge(kept, label).value()
    (expected,) = torch.autograd.grad(alone, kept)
    others = torch.tensor([[[-9.0, 9.0, 0.0, 2.0, math.inf, 1.0]]], requires_grad=True)
    all_ignored = torch.full((1, 1, 6), IGNORED, dtype=torch.uint8)
    among = lovasz_hinge(
        torch.cat([kept, others], dim=1), torch.cat([label, all_ignored], dim=1)
    ).value()
    gradient, of_ignored = torch.autograd.grad(among, [kept, others])
    assert among.item() == pytest.approx(alone.item())
    assert torch.allclose(gradient, expected)
    assert of_ignored.eq(0).all()


def test_all_ignored_is_zero_and_trains_nothing():
    logit = torch.randn(2, 3, 3, requires_grad=True)
    loss = lovasz_hinge(logit, torch.full((2, 3, 3), IGNORED, dtype=torch.uint8)).value()
    loss.backward()
    assert loss.item() == 0
    assert logit.grad.eq(0).all()


def test_without_any_change_only_the_worst_false_alarm_counts():
    logit = torch.tensor([[[-3.0, 0.5, -0.5, 2.0]]])
    assert lovasz_hinge(logit, torch.zeros(1, 1, 4, dtype=torch.uint8)).value().item() == 3.0


def test_descent_on_the_loss_alone_finds_the_changed_pixels():
    rng = torch.Generator().manual_seed(0)
    label = (torch.rand(2, 8, 8, generator=rng) < 0.2).to(torch.uint8)
    logit = torch.zeros(2, 8, 8, requires_grad=True)
    optimizer = torch.optim.SGD([logit], lr=2.0)
    for _ in range(200):
        optimizer.zero_grad()
        lovasz_hinge(logit, label).value().backward()
        optimizer.step()
    assert torch.equal(logit > 0, label == 1)


def test_the_loss_is_float32_under_autocast():
    label = torch.randint(0, 2, (1, 4, 4), dtype=torch.uint8)
    loss = lovasz_hinge(torch.randn(1, 4, 4).bfloat16(), label).value()
    assert loss.dtype == torch.float32


@pytest.mark.parametrize("ignored", [(), (0,), (0, 1)])
def test_processes_that_exchange_their_errors_have_the_loss_and_gradient_of_the_whole_batch(
    ignored,
):
    torch.manual_seed(0)
    # Shares of one, two and one of four maps; of some nothing counts.
    shares = [[0], [1, 3], [2]]
    logit = torch.randn(4, 5, 6)
    label = (torch.rand(4, 5, 6) < 0.3).to(torch.uint8)
    label[:, 0] = IGNORED
    for share in ignored:
        label[shares[share]] = IGNORED
    said, losses = [], []

    class HeardError(Exception):
        pass

    def hear(tensor):
        said.append(tensor)
        raise HeardError

    for share in shares:
        with pytest.raises(HeardError):
            lovasz_hinge(logit[share], label[share], gather=hear)
    parts = [logit[share].requires_grad_() for share in shares]
    for own, part in enumerate(parts):
        loss = LovaszHinge()
        loss.gather = lambda tensor, own=own: (said, own)
        losses.append(loss(part, label[shares[own]]))
    assert sum(int(loss.count) for loss in losses) == 1
    whole = losses[0] + losses[1] + losses[2]
    expected = logit.clone().requires_grad_()
    together = lovasz_hinge(expected, label).value()
    together.backward()
    for loss in losses:
        value = loss.value(whole.detach())
        assert value.item() == pytest.approx(together.item(), rel=1e-6)
        value.backward()
    for part, share in zip(parts, shares, strict=True):
        torch.testing.assert_close(part.grad, expected.grad[share])
