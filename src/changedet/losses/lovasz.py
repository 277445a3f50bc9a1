"""Lovász hinge: a convex stand-in for 1 - IoU of the changed class (Berman et al., CVPR 2018)."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from changedet.losses.loss_sum import LossSum
from changedet.types import IGNORED

#: Gives a tensor (3, n) of every process, in their order, and which of them is one's own; n may
#: differ between processes.
Gather = Callable[[Tensor], tuple[Sequence[Tensor], int]]

#: Share of changed pixels from which a fractional label counts as changed.
_CHANGED_FROM = 0.5


class LovaszHinge(nn.Module):
    """The loss of :func:`lovasz_hinge`, over the pixels of all processes where there are several.

    Attributes:
        gather: Exchanges errors between processes; None: one has the whole batch.
    """

    def __init__(self) -> None:
        super().__init__()
        self.gather: Gather | None = None

    def forward(self, logit: Tensor, label: Tensor) -> LossSum:
        """Return the loss of one map, see :func:`lovasz_hinge`."""
        return lovasz_hinge(logit, label, gather=self.gather)


def lovasz_hinge(logit: Tensor, label: Tensor, *, gather: Gather | None = None) -> LossSum:
    """Bound 1 - IoU of the changed class from above, by a sum of weighted hinges.

    It is the Lovász extension of 1 - IoU at ``max(0, 1 - sign * logit)`` (Berman et al. 2018,
    section 3 and algorithm 1). All pixels of the batch make up one set, so an image without change
    adds its false alarms to the union and needs no special case; in a batch without any change the
    loss is the worst hinge. It is 0 (with a graph) where every pixel is ignored or at least 1 on
    its own side of 0.

    It cannot be put together from sums over parts of a batch: the weight of each pixel depends on
    the order of the errors of all of them. Processes with a part each therefore exchange their
    errors with ``gather``, and sort those of all.

    Args:
        logit: (B, H, W), float, positive where changed.
        label: (B, H, W), 0 unchanged to 1 changed, or ``IGNORED``; a fraction of one half and more
            counts as changed, since a set knows no fractions.
        gather: Exchanges errors with the processes that have the other parts of the batch.

    Returns:
        The loss of the batch, and 1 for the one set that it is; 0 of a set without a pixel that
        counts. At logit 0 everywhere the loss is 1. With ``gather`` it is the share of these
        pixels, and the shares of all processes add up to the loss of the batch.
    """
    logit = logit.float()
    counted = label != IGNORED
    changed = counted & (label >= _CHANGED_FROM)
    hinge = torch.where(counted, 1.0 - torch.where(changed, logit, -logit), 0.0).clamp(min=0.0)
    if gather is None:
        loss = (hinge * _share_of_each_error(hinge.detach(), changed)).sum()
        return LossSum(loss, counted.any().long())
    parts, own = gather(torch.stack([hinge.detach(), changed, counted]).flatten(1))
    hinges, changes, _ = torch.cat(list(parts), dim=1)
    growth = _share_of_each_error(hinges, changes > 0)
    before = sum(part.shape[1] for part in parts[:own])
    mine = growth[before : before + parts[own].shape[1]]
    # The batch is one set: the first process that has any pixel of it counts it.
    has_pixels = torch.stack([part[2].any() for part in parts])
    is_first = has_pixels[own] & (has_pixels.cumsum(0)[own] == 1)
    return LossSum((hinge.flatten() * mine).sum(), is_first.long())


def _share_of_each_error(hinge: Tensor, changed: Tensor) -> Tensor:
    """By how much 1 - IoU grows as each pixel joins the wrong ones, the worst first.

    A missed pixel leaves the intersection (growth 1 / union), a false alarm enlarges the union
    (growth IoU / union, of the IoU before it); this form has no difference of two nearly equal
    numbers. Ignored pixels have no hinge, so they come after every pixel that costs anything.
    """
    order = hinge.flatten().argsort(descending=True)
    missed = changed.flatten()[order]
    # Whole numbers: sums of ones in float32 end at 2^24, and are not repeatable on a GPU.
    found = missed.sum() - missed.cumsum(0)
    union = missed.sum() + (~missed).cumsum(0)
    # The first false alarm where nothing changed ends an IoU of 1.
    iou_before = torch.where(union > 1, found / (union - 1).clamp(min=1), 1.0)
    growth = torch.where(missed, 1.0, iou_before) / union.clamp(min=1)
    return torch.empty_like(growth).scatter_(0, order, growth).reshape(hinge.shape)
