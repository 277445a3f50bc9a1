"""Networks without values: their structure and shapes alone, at no cost of memory."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import init
from torch.overrides import TorchFunctionMode

# What networks are initialised with. On "meta" there is nothing to be drawn, yet PyTorch computes
# it by rules in Python, for which it imports its compiler: a second of CPU time.
_DRAWING: Final = frozenset(
    {
        init.uniform_,
        init.normal_,
        init.trunc_normal_,
        init.xavier_uniform_,
        init.xavier_normal_,
        init.kaiming_uniform_,
        init.kaiming_normal_,
        Tensor.uniform_,
        Tensor.normal_,
    }
)


class _Undrawn(TorchFunctionMode):
    """Leaves tensors as they are that would be filled with random numbers."""

    def __torch_function__(  # noqa: PLR0917 - the signature that PyTorch calls
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """Call a function of PyTorch, unless it draws; then give back what it would have filled."""
        named = kwargs or {}
        if func in _DRAWING:
            return args[0] if args else named["tensor"]
        return func(*args, **named)


@contextmanager
def shapes_only() -> Iterator[None]:
    """Build networks on PyTorch's ``meta`` device, whose tensors have a shape and no values."""
    with torch.device("meta"), _Undrawn():
        yield
