"""Lovász hinge: a convex stand-in for 1 - IoU of the changed class (Berman et al., CVPR 2018)."""

import torch
from torch import Tensor

from changedet.losses.loss_sum import LossSum
from changedet.types import IGNORED

#: Share of changed pixels from which a fractional label counts as changed.
_CHANGED_FROM = 0.5


def lovasz_hinge(logit: Tensor, label: Tensor) -> LossSum:
    """Bound 1 - IoU of the changed class from above, by a sum of weighted hinges.

    It is the Lovász extension of 1 - IoU at ``max(0, 1 - sign * logit)`` (Berman et al. 2018,
    section 3 and algorithm 1). All pixels of the batch make up one set, so an image without change
    adds its false alarms to the union and needs no special case; in a batch without any change the
    loss is the worst hinge. It is 0 (with a graph) where every pixel is ignored or at least 1 on
    its own side of 0.

    It cannot be put together from parts of a batch: the weight of each pixel depends on the order
    of the errors of all of them. Several processes, each with a part, get the mean of the losses
    of their parts, those in which every pixel is ignored left out; it is a bound on the mean of
    the parts' 1 - IoU, and not the loss of one process with the whole batch.

    Args:
        logit: (B, H, W), float, positive where changed.
        label: (B, H, W), 0 unchanged to 1 changed, or ``IGNORED``; a fraction of one half and more
            counts as changed, since a set knows no fractions.

    Returns:
        The loss of the batch, and 1 for the one set that it is; 0 of a set without a pixel that
        counts. At logit 0 everywhere the loss is 1.
    """
    logit = logit.float()
    counted = label != IGNORED
    changed = counted & (label >= _CHANGED_FROM)
    hinge = torch.where(counted, 1.0 - torch.where(changed, logit, -logit), 0.0).clamp(min=0.0)
    loss = (hinge * _share_of_each_error(hinge.detach(), changed)).sum()
    return LossSum(loss, counted.any().long())


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
