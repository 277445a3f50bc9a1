"""The one door to optional packages."""

import gc
import importlib
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Final, NamedTuple

from changedet.errors import MissingExtraError

#: Extras that another one brings along.
_IMPLIED: Final = {
    "train": {"torch"},
    "smp": {"torch"},
    "export": {"torch", "onnx"},
    "ray": {"batch"},
    **{f"lite{size}": {"train", "torch"} for size in (0, 1, 2)},
}


class Requirement(NamedTuple):
    """An optional package: the name to import, and the extra of this package that installs it."""

    module: str
    extra: str

    @property
    def is_installed(self) -> bool:
        """Whether it is there; it is not imported."""
        if self.module in sys.modules:
            return sys.modules[self.module] is not None
        return importlib.util.find_spec(self.module) is not None

    def check(self) -> None:
        """Refuse to go on without the package, which is not imported.

        Raises:
            MissingExtraError: If it is not installed.
        """
        check_all([self])

    def load(self, part: str = "") -> ModuleType:
        """Import the package, or a part of it such as ``".encoders"``, see :func:`require`."""
        return require(self.module + part, extra=self.extra)


def check_all(requirements: Sequence[Requirement]) -> None:
    """Refuse to go on without packages, which are not imported.

    Raises:
        MissingExtraError: If some are not installed, naming the extras that bring them all.
    """
    missing = [requirement for requirement in requirements if not requirement.is_installed]
    if missing:
        raise _missing(missing)


@contextmanager
def explained_imports() -> Iterator[None]:
    """Say of a package that turns out to be missing which extra installs it.

    For imports of whole parts of this package, such as training, that stand on an extra.

    Raises:
        MissingExtraError: In place of the error of an import.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        known = [requirement for requirement in _ALL if requirement.module == package]
        if not known:
            raise
        raise _missing(known) from error


@contextmanager
def large_imports() -> Iterator[None]:
    """Do not look for garbage while large packages are imported.

    They make millions of objects that stay, and going through those again and again would take a
    quarter of the time of importing PyTorch and timm.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


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
        raise _missing([Requirement(module, extra)]) from error


def _missing(requirements: Sequence[Requirement]) -> MissingExtraError:
    extras = {requirement.extra for requirement in requirements}
    implied = set().union(*(_IMPLIED.get(extra, set()) for extra in extras))
    *others, last = [repr(requirement.module) for requirement in requirements]
    said = (
        f"{', '.join(others)} and {last} are not installed; get them"
        if others
        else (f"{last} is not installed; get it")
    )
    wanted = ",".join(sorted(extras - implied))
    return MissingExtraError(f"{said} in the checkout of changedet with: pip install '.[{wanted}]'")


#: Networks: training them, and computing with model files.
TORCH = Requirement("torch", "torch")
#: Charts.
MATPLOTLIB = Requirement("matplotlib", "train")
#: Figures of a training as it goes on.
TENSORBOARD = Requirement("tensorboard", "train")
#: Decoders and encoders of segmentation networks.
SEGMENTATION_MODELS = Requirement("segmentation_models_pytorch", "smp")
#: Runtimes that compute exported models.
ONNX_RUNTIME = Requirement("onnxruntime", "onnx")
OPENVINO = Requirement("openvino", "openvino")
#: The viewer.
FASTAPI = Requirement("fastapi", "view")
UVICORN = Requirement("uvicorn", "view")
RIO_TILER = Requirement("rio_tiler", "view")
#: Writes exported models.
ONNX = Requirement("onnx", "export")
#: Archives of scenes: manifests as Parquet, results on object stores, clusters.
PARQUET = Requirement("pyarrow", "batch")
FSSPEC = Requirement("fsspec", "batch")
RAY = Requirement("ray", "ray")
#: What an import may find missing.
_ALL = (
    TORCH,
    MATPLOTLIB,
    TENSORBOARD,
    SEGMENTATION_MODELS,
    *(Requirement(module, "torch") for module in ("torchvision", "timm", "huggingface_hub")),
    ONNX_RUNTIME,
    OPENVINO,
    ONNX,
    FASTAPI,
    UVICORN,
    RIO_TILER,
    Requirement("starlette", "view"),
    Requirement("pyarrow", "parquet"),
    FSSPEC,
    RAY,
)
