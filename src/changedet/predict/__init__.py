"""Change maps as files: image pairs, whole rasters, folders of both.

The package can be called: ``changedet.predict(before, after, model=...)`` is
:func:`changedet.predict.anything.predict`.
"""

import sys
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    """A package that is also the function of its name."""

    def __call__(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401
        """Predict, see :func:`changedet.predict.anything.predict`."""
        # It needs much that a subpackage alone does not.
        from changedet.predict.anything import predict

        return predict(*args, **options)


sys.modules[__name__].__class__ = _Callable
