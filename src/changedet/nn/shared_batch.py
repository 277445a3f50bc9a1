"""Layers that look at a whole batch of which each of several processes has a share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from changedet.nn.synced_norm import SyncedBatchNorm2d


class Attendance:
    """The share that this process has in the batch that is computed: every N-th sample.

    Attributes:
        rank: Number of this process, from 0.
        world: Number of processes, N.
        own: Samples of it; 0: it only keeps step with the others, on values that must not count.
        whole: Samples of all processes.
    """

    def __init__(self, *, rank: int, world: int) -> None:
        self.rank = rank
        self.world = world
        self.own = 1
        self.whole = world


class SharedDropout(nn.Module):
    """Dropout that drops of a share of a batch what it drops there of the whole batch.

    All processes draw for the whole batch from the same state and take their own part, so that what
    is dropped does not depend on how many processes there are. Several stacks of a batch may lie
    behind each other, as those of two dates.

    Args:
        drop: ``Dropout``, ``Dropout2d``, or timm's ``DropPath``.
        attendance: Of this process.
    """

    def __init__(self, drop: nn.Module, attendance: Attendance) -> None:
        super().__init__()
        self.drop = drop
        self._attendance = attendance
        # Trailing dimensions along which a draw is repeated.
        self._drawn_dimensions = {"DropPath": 1, "Dropout2d": 2}.get(type(drop).__name__)

    def forward(self, input: Tensor) -> Tensor:
        """Drop from (B, ...) in training."""
        if not self.training:
            return input
        share = self._attendance
        stacks = input.shape[0] // max(share.own, 1)
        drawn = self._drawn_dimensions or input.dim()
        shape = [stacks * share.whole, *input.shape[1:drawn], *[1] * (input.dim() - drawn)]
        is_last = input.dim() == 4 and input.is_contiguous(memory_format=torch.channels_last)
        layout = torch.channels_last if is_last and drawn == 4 else torch.contiguous_format
        ones = torch.empty(
            shape, dtype=input.dtype, device=input.device, memory_format=layout
        ).fill_(1.0)
        kept: Tensor = self.drop(ones)
        kept = kept.reshape(stacks, share.whole, *shape[1:])
        own = kept[:, share.rank :: share.world] if share.own else kept[:, :1]
        return input * own.flatten(0, 1)


def share_batches(module: nn.Module, attendance: Attendance, *, sync_batch_norm: bool) -> None:
    """Make the layers inside a module that look at a whole batch do so; names and values stay.

    Args:
        module: A network, or what contains one.
        attendance: Of this process.
        sync_batch_norm: Whether batch norms are among those layers.
    """
    for name, child in module.named_children():
        if isinstance(child, SharedDropout | SyncedBatchNorm2d):
            continue
        if isinstance(child, nn.BatchNorm2d):
            if sync_batch_norm:
                setattr(module, name, SyncedBatchNorm2d(child, attendance))
        elif type(child).__name__ in {"Dropout", "Dropout2d", "DropPath"}:
            setattr(module, name, SharedDropout(child, attendance))
        else:
            share_batches(child, attendance, sync_batch_norm=sync_batch_norm)
