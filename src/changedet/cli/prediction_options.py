"""The options of ``changedet predict``, for other commands that predict on rasters."""

import inspect
from collections.abc import Callable
from typing import Any, Final

from changedet.cli.predict import predict

# What is of one scene, or means something else elsewhere.
_OWN: Final = frozenset({"ctx", "before", "after", "out", "overwrite", "progress", "quiet"})


def with_prediction_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command that takes ``**settings`` the options of ``changedet predict`` in their place.

    Args:
        command: Gets them by their names.
    """
    own = inspect.signature(command, eval_str=True)
    shared = inspect.signature(predict, eval_str=True)
    rest = [one for one in own.parameters.values() if one.kind is not one.VAR_KEYWORD]
    shared_ones = [one for name, one in shared.parameters.items() if name not in _OWN]
    # The model first, the commands' own options, then what is seldom given.
    first = [one.name for one in rest].index("out")
    parameters = [*rest[: first + 1], *shared_ones, *rest[first + 1 :]]
    changed: Any = command
    changed.__signature__ = own.replace(parameters=parameters)
    changed.__annotations__ = {one.name: one.annotation for one in parameters}
    return command
