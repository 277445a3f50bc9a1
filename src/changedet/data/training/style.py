"""Give a pair the look of another one: its statistics, or the amplitudes of its low frequencies.

What is taken over is how images look at large (brightness, contrast, cast, haze, shading), not
what they show. The pair's own side of the comparison is always that of both dates together: a
date that was brought to the other pair's look by itself would lose what sets it apart from its
partner, which may be the very change that is labelled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from changedet.data.training.stored_values import stored_as
from changedet.types import IGNORED

if TYPE_CHECKING:
    import numpy.typing as npt

    from changedet.data.training.sample import PairSample

# What is nearly flat has no look to give and none to lose: no contrast is changed by more.
_LARGEST_GAIN = 3.0


def swap_statistics(sample: PairSample, donor: PairSample, *, amount: float) -> PairSample:
    """Give both dates the mean and the spread of those of another pair, channel by channel.

    Adaptive instance normalisation (Huang and Belongie, ICCV 2017) on stored values. Each date
    takes over the statistics of the donor's date of the same name, so that the difference in look
    between the donor's dates comes along.

    Args:
        sample: (C, h, w) images, uint8 or float32.
        donor: A sample of as many channels in the same type.
        amount: How far to go, in [0, 1].

    Returns:
        A copy; label and index are the sample's.
    """
    first, second = _moments(sample.before, sample.label), _moments(sample.after, sample.label)
    mean = (first.mean + second.mean) / 2.0
    apart = (first.mean - second.mean) / 2.0
    spread = np.sqrt((first.spread**2 + second.spread**2) / 2.0 + apart**2)

    def restyled(image: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
        wanted = _moments(reference, donor.label)
        gain = 1.0 + amount * (_limited(wanted.spread, spread) - 1.0)
        offset = mean + amount * (wanted.mean - mean) - gain * mean
        factor, shift = (torch.from_numpy(each).float()[:, None, None] for each in (gain, offset))
        return stored_as(image, image.float().mul(factor).add_(shift))

    return sample._replace(
        before=restyled(sample.before, donor.before), after=restyled(sample.after, donor.after)
    )


def swap_amplitudes(
    sample: PairSample, donor: PairSample, *, amount: float, reach: float
) -> PairSample:
    """Give both dates the low-frequency amplitudes of another pair and keep the phases.

    Fourier domain adaptation (Yang and Soatto, CVPR 2020), where the amplitudes of a pair are the
    mean of those of its dates. Both dates are filtered in the same way: what is equal in both
    stays equal.

    Args:
        sample: (C, h, w) images, uint8 or float32.
        donor: A sample of the same shape and type.
        amount: How far to go, in [0, 1].
        reach: Highest frequency that is exchanged along each axis, as a share of the image's side
            (the paper's beta), in [0, 0.5].

    Returns:
        A copy; label and index are the sample's.
    """
    height, width = sample.label.shape
    lines, columns = int(reach * height), int(reach * width)
    low = np.s_[:, np.arange(-lines, lines + 1)[:, None], np.arange(columns + 1)]

    before, after, *others = (
        np.fft.rfft2(image.numpy())
        for image in (sample.before, sample.after, donor.before, donor.after)
    )
    own, wanted = (
        (np.abs(one[low]) + np.abs(other[low])) / 2.0 for one, other in ((before, after), others)
    )
    gain = 1.0 + amount * (_limited(wanted, own) - 1.0)

    def filtered(image: torch.Tensor, spectrum: npt.NDArray[np.complex128]) -> torch.Tensor:
        spectrum[low] *= gain
        values = np.fft.irfft2(spectrum, s=(height, width))
        return stored_as(image, torch.from_numpy(values))

    return sample._replace(
        before=filtered(sample.before, before), after=filtered(sample.after, after)
    )


class _Moments(NamedTuple):
    """Mean and standard deviation per channel, (C,)."""

    mean: npt.NDArray[np.float64]
    spread: npt.NDArray[np.float64]


def _moments(image: torch.Tensor, label: torch.Tensor) -> _Moments:
    """Measure the labelled pixels: those without data are not; all where none is labelled."""
    values = image.numpy().reshape(len(image), -1)
    is_seen = label.numpy().ravel() != IGNORED
    if is_seen.any() and not is_seen.all():
        values = values[:, is_seen]
    return _Moments(values.mean(axis=1, dtype=np.float64), values.std(axis=1, dtype=np.float64))


def _limited(
    wanted: npt.NDArray[np.float64], own: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Divide, with the quotient kept in bounds; 1 where there is nothing to multiply."""
    gain = np.divide(wanted, own, out=np.ones_like(wanted), where=own > 0.0)
    return gain.clip(1.0 / _LARGEST_GAIN, _LARGEST_GAIN)
