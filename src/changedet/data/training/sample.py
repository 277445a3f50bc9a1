"""What a network is trained on: one square of two dates and its label."""

from typing import NamedTuple

import torch


class PairSample(NamedTuple):
    """One training sample; torch's default collate stacks many of them.

    ``before`` and ``after`` are (C, h, w) as stored, uint8 or float32, ``label`` is uint8 (h, w)
    in {0, 1, IGNORED}, or (K, h, w) for K kinds of change, ``index`` is the
    pair's place in the list of pairs, int64 ().
    """

    before: torch.Tensor
    after: torch.Tensor
    label: torch.Tensor
    index: torch.Tensor  # type: ignore[assignment]  # hides tuple.index, which no one calls
