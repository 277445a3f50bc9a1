"""The one door to optional packages."""

import importlib
from types import ModuleType

from changedet.errors import MissingExtraError


def require(module: str, *, extra: str) -> ModuleType:
    """Import an optional package.

    Args:
        module: Dotted name to import.
        extra: The extra of this package that installs it.

    Raises:
        MissingExtraError: If it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"{module!r} is not installed; get it in the checkout of changedet with: "
            f"pip install '.[{extra}]'"
        ) from error
