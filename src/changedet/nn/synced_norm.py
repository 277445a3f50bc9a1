"""Batch norm over the batches of several processes, on CPUs too."""

from typing import Any, Protocol, cast

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

# Dimensions of a batch of maps: (B, C, H, W).
_OVER = (0, 2, 3)


class Share(Protocol):
    """The share that a process has in the batch that is computed.

    Attributes:
        own: Samples of it; 0: it only keeps step with the others, on values that must not count.
        whole: Samples of all processes.
    """

    own: int
    whole: int


class SyncedBatchNorm2d(nn.BatchNorm2d):
    """Batch norm whose mean and variance in training are those of all processes' batches together.

    N processes with a part of a batch each normalise as one process with the whole batch does, and
    all come to the same running statistics. PyTorch's ``SyncBatchNorm`` computes the same, but on
    GPUs only, and cannot leave out a process that has no share in a batch. Parameters and buffers,
    and their names, are those of the norm that it replaces.

    Args:
        norm: The norm that it replaces, whose parameters and buffers it takes over; an activation
            that belongs to it (``drop`` and ``act`` of timm's norms) comes along.
        share: That of this process.
    """

    def __init__(self, norm: nn.BatchNorm2d, share: Share) -> None:
        super().__init__(
            norm.num_features,
            eps=norm.eps,
            momentum=norm.momentum,
            affine=False,
            track_running_stats=norm.track_running_stats,
        )
        self.affine = norm.affine
        self.weight, self.bias = norm.weight, norm.bias
        self.running_mean, self.running_var = norm.running_mean, norm.running_var
        self.num_batches_tracked = norm.num_batches_tracked
        self.drop: nn.Module = getattr(norm, "drop", nn.Identity())
        self.act: nn.Module = getattr(norm, "act", nn.Identity())
        self.train(norm.training)
        # A compiler would trace through the exchange between processes.
        self._normalise = torch.compiler.disable(self._synced)  # type: ignore[no-untyped-call]
        self._share = share

    def forward(self, input: Tensor) -> Tensor:
        """Normalise maps, (B, C, H, W)."""
        normed = self._normalise(input) if self.training else super().forward(input)
        return cast("Tensor", self.act(self.drop(normed)))

    def _synced(self, input: Tensor) -> Tensor:
        if self._share.whole == 1 and input.numel() == self.num_features:
            # One value of a channel has no variance.
            return self._as_known(input)
        mean, variance, count = _shared_statistics(input, is_idle=not self._share.own)
        self._follow(mean, variance, count)
        normed: Tensor = _Normalise.apply(
            input, mean, variance, self.eps, count, not self._share.own
        )
        if not self.affine:
            return normed.to(input.dtype)
        shape = (1, -1, 1, 1)
        scaled = normed * self.weight.view(shape) + self.bias.view(shape)
        return scaled.to(input.dtype)

    def _as_known(self, input: Tensor) -> Tensor:
        return F.batch_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
        )

    def _follow(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        """Move the running statistics on, as :class:`torch.nn.BatchNorm2d` does."""
        if self.running_mean is None or self.running_var is None:
            return
        part = self.momentum
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if part is None:
                part = 1.0 / float(self.num_batches_tracked)
        with torch.no_grad():
            unbiased = variance * (count / (count - 1))
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), part or 0.0)
            self.running_var.lerp_(unbiased.to(self.running_var.dtype), part or 0.0)


def _shared_statistics(input: Tensor, *, is_idle: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and variance of each channel, (C,), float32, over all processes, and of how many values.

    Nothing is brought to the host, so that a GPU does not wait.
    """
    with torch.no_grad():
        maps = input.detach().float()
        variance, mean = torch.var_mean(maps, dim=_OVER, correction=0)
        count = 0 if is_idle else maps.numel() // maps.shape[1]
        # In double precision: counts stay exact, and sums do not depend on who adds them up.
        own = torch.cat([mean.double(), variance.double(), mean.new_tensor([count]).double()])
        parts = [torch.empty_like(own) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, own)
        table = torch.stack(parts)
        channels = mean.shape[0]
        counts = table[:, -1:]
        total = counts.sum()
        means, variances = table[:, :channels], table[:, channels:-1]
        whole_mean = (counts * means).sum(0) / total
        whole_variance = (counts * (variances + (means - whole_mean).square())).sum(0) / total
        return whole_mean.float(), whole_variance.float(), total


class _Normalise(torch.autograd.Function):
    """(x - mean) / sqrt(variance + eps), where both depend on x in all processes."""

    @staticmethod
    def forward(  # noqa: PLR0917 - as apply() calls it
        ctx: Any,  # noqa: ANN401
        input: Tensor,
        mean: Tensor,
        variance: Tensor,
        eps: float,
        count: Tensor,
        is_idle: bool,  # noqa: FBT001
    ) -> Tensor:
        scale = torch.rsqrt(variance + eps).view(1, -1, 1, 1)
        normed = (input.float() - mean.view(1, -1, 1, 1)) * scale
        ctx.save_for_backward(normed, scale, count)
        ctx.is_idle, ctx.dtype = is_idle, input.dtype
        return normed

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        (slope,) = slopes
        normed, scale, count = ctx.saved_tensors
        # Of Ioffe and Szegedy (Batch normalization, 2015): what changes the mean and the variance
        # changes every value of every process.
        sums = torch.stack([slope.sum(_OVER), (slope * normed).sum(_OVER)]).double()
        dist.all_reduce(sums)
        if ctx.is_idle:
            return torch.zeros_like(slope, dtype=ctx.dtype), None, None, None, None, None
        by_mean, by_scale = (sums / count).float().view(2, 1, -1, 1, 1)
        own = scale * (slope - by_mean - normed * by_scale)
        return own.to(ctx.dtype), None, None, None, None, None
