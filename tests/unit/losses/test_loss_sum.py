"""Losses in parts: what is computed of the pieces of a batch adds up to that of the batch."""

import pytest
import torch

from changedet.losses.loss_sum import LossSum, add_sums
from changedet.losses.lovasz import lovasz_hinge
from changedet.losses.registry import LOSSES, LossOptions, build_pixel_losses
from changedet.losses.supervision import BranchLoss
from changedet.types import IGNORED, BranchOutput, ChangeMap, ChangeOutput

OPTIONS = LossOptions("l2", changed_share=0.2)
#: All but the Lovász hinge, which needs all pixels at once.
IN_PARTS = sorted(set(LOSSES) - {"lovasz"})
TIGHT = {"rtol": 1e-6, "atol": 1e-7}


@pytest.fixture
def label():
    """Four images; in the first two nearly all is ignored, in the others nothing is."""
    generator = torch.Generator().manual_seed(1)
    label = torch.randint(0, 2, (4, 16, 16), generator=generator, dtype=torch.uint8)
    label[0] = IGNORED
    label[1, 2:] = IGNORED
    return label


def make_maps(kind, size=16, *, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logit = torch.randn(4, size, size, generator=generator)
    return (2 * logit.sigmoid() if kind == "distance" else logit).requires_grad_()


@pytest.mark.parametrize("name", IN_PARTS)
def test_two_halves_add_up_to_the_batch(name, label):
    loss = LOSSES[name].build(OPTIONS)
    maps = make_maps(LOSSES[name].takes)
    whole = loss(maps, label).value()
    halves = loss(maps[:2], label[:2]) + loss(maps[2:], label[2:])
    torch.testing.assert_close(halves.value(), whole, **TIGHT)
    (expected,) = torch.autograd.grad(whole, maps)
    (gradient,) = torch.autograd.grad(halves.value(), maps)
    torch.testing.assert_close(gradient, expected, **TIGHT)


@pytest.mark.parametrize("name", IN_PARTS)
def test_a_mean_of_the_halves_means_would_be_another_loss(name, label):
    loss = LOSSES[name].build(OPTIONS)
    maps = make_maps(LOSSES[name].takes)
    halves = [loss(maps[:2], label[:2]).value(), loss(maps[2:], label[2:]).value()]
    whole = loss(maps, label).value()
    assert sum(halves).item() / 2 != pytest.approx(whole.item(), rel=1e-3)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_shares_of_processes_have_the_whole_loss_and_add_up_to_its_gradient(name, label):
    # Each process knows its own graph and, of the others, numbers alone.
    loss = LOSSES[name].build(OPTIONS)
    maps = make_maps(LOSSES[name].takes)
    parts = [loss(maps[half], label[half]) for half in (slice(0, 2), slice(2, 4))]
    whole = (parts[0] + parts[1]).detach()
    together = parts[0] + parts[1]
    (expected,) = torch.autograd.grad(together.value(), maps, retain_graph=True)
    shares = [part.value(whole) for part in parts]
    for share in shares:
        torch.testing.assert_close(share, together.value(), **TIGHT)
    gradients = [torch.autograd.grad(share, maps, retain_graph=True)[0] for share in shares]
    torch.testing.assert_close(gradients[0] + gradients[1], expected, **TIGHT)


def test_the_lovasz_hinge_of_parts_is_the_mean_of_those_that_hold_a_pixel(label):
    logit = make_maps("logit")
    parts = [lovasz_hinge(logit[i : i + 1], label[i : i + 1]) for i in range(4)]
    joined = parts[0] + parts[1] + parts[2] + parts[3]
    expected = torch.stack([part.value() for part in parts[1:]]).mean()
    torch.testing.assert_close(joined.value(), expected, **TIGHT)
    assert joined.value().item() != pytest.approx(lovasz_hinge(logit, label).value().item(), 1e-2)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_a_part_without_a_counted_pixel_changes_nothing(name, label):
    loss = LOSSES[name].build(OPTIONS)
    maps = make_maps(LOSSES[name].takes)
    counted = loss(maps[1:], label[1:])
    torch.testing.assert_close((loss(maps[:1], label[:1]) + counted).value(), counted.value())


def make_output(rows, leaves):
    """An output of the images ``rows`` whose maps are parts of the leaves."""
    branches = {}
    for branch in ("position", "channel", "fused"):
        levels = tuple(ChangeMap.from_logit(leaf[rows]) for leaf in leaves[branch])
        branches[branch] = BranchOutput(change=levels[-1], level_changes=levels)
    return ChangeOutput(score=branches["fused"].score, branches=branches)


@pytest.mark.parametrize("level_weights", [None, (0.25, 0.0, 1.0)])
def test_halves_add_up_over_branches_levels_and_losses(label, level_weights):
    loss = BranchLoss(
        build_pixel_losses({"wdmc": 0.5, "bce": 2.0, "dice": 1.0}, OPTIONS),
        branch_weights={"position": 0.3, "channel": 1.0, "fused": 2.0},
        level_weights=level_weights,
    )
    leaves = {
        branch: [make_maps("logit", size, seed=seed) for size in (4, 8, 16)]
        for seed, branch in enumerate(("position", "channel", "fused"))
    }
    flat = [leaf for maps in leaves.values() for leaf in maps]
    whole = loss(make_output(slice(None), leaves), label)
    halves = (slice(0, 2), slice(2, 4))
    sums = [loss.sums(make_output(half, leaves), label[half]) for half in halves]
    joined = loss.combine(add_sums(*sums))
    torch.testing.assert_close(joined.total, whole.total, **TIGHT)
    torch.testing.assert_close(joined.terms, whole.terms, **TIGHT)

    def gradients(total):
        return torch.autograd.grad(
            total, flat, retain_graph=True, allow_unused=True, materialize_grads=True
        )

    expected = gradients(whole.total)
    assert any(gradient.abs().max() > 0 for gradient in expected)
    torch.testing.assert_close(gradients(joined.total), expected, **TIGHT)
    # As two processes: each with its own graph and the numbers of both.
    both = {part: loss_sum.detach() for part, loss_sum in add_sums(*sums).items()}
    shares = [loss.combine(part, whole=both).total for part in sums]
    added = [first + second for first, second in zip(*map(gradients, shares), strict=True)]
    torch.testing.assert_close(tuple(added), expected, **TIGHT)
    torch.testing.assert_close(shares[0], whole.total, **TIGHT)


def test_counts_of_many_pixels_are_exact():
    # In float32, 2^24 + 1 is 2^24.
    part = LossSum(torch.tensor(1.0), torch.tensor(2**24, dtype=torch.int64))
    one = LossSum(torch.tensor(0.0), torch.tensor(1, dtype=torch.int64))
    assert (part + one).count.item() == 2**24 + 1
