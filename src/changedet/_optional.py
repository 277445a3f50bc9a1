"""The one door to optional packages."""

import importlib
import importlib.util
from types import ModuleType
from typing import NamedTuple

from changedet.errors import MissingExtraError


class Requirement(NamedTuple):
    """An optional package: the name to import, and the extra of this package that installs it."""

    module: str
    extra: str

    def check(self) -> None:
        """Refuse to go on without the package, which is not imported.

        Raises:
            MissingExtraError: If it is not installed.
        """
        if importlib.util.find_spec(self.module) is None:
            raise _missing(self.module, self.extra)

    def load(self, part: str = "") -> ModuleType:
        """Import the package, or a part of it such as ``".encoders"``, see :func:`require`."""
        return require(self.module + part, extra=self.extra)


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
        raise _missing(module, extra) from error


def _missing(module: str, extra: str) -> MissingExtraError:
    return MissingExtraError(
        f"{module!r} is not installed; get it in the checkout of changedet with: "
        f"pip install '.[{extra}]'"
    )


#: Decoders and encoders of segmentation networks.
SEGMENTATION_MODELS = Requirement("segmentation_models_pytorch", "smp")
