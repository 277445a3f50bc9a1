"""timm, imported on first use and without the compiler that it drags in."""

import functools
import importlib
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FunctionType, ModuleType
from typing import Any

_COMPILER = "torch._dynamo"
_UTILS = f"{_COMPILER}.utils"
_lock = threading.Lock()


def load_timm() -> Any:  # noqa: ANN401 - timm has no types
    """Import timm.

    timm and torchvision, which it imports, load all of ``torch.compile`` only to mark one function
    as not to be compiled, and to be able to ask in RoI align whether compiling is supported. That
    takes nearly as long as importing torch itself. Here both happen when the function is called.
    """
    with _lock:
        if "timm" not in sys.modules and _COMPILER not in sys.modules:
            with _compiler_on_demand():
                importlib.import_module("timm")
    return importlib.import_module("timm")


@contextmanager
def _compiler_on_demand() -> Iterator[None]:
    """Let the compiler be imported by name, and load it only if more of it is used than that."""
    package, utils = ModuleType(_COMPILER), ModuleType(_UTILS)
    stubs = {_COMPILER: package, _UTILS: utils}

    def give(attribute: str, *, module: str) -> object:
        # Whoever goes through all modules asks each for its file, and wants nothing of this one.
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        _remove(stubs)
        return getattr(importlib.import_module(module), attribute)

    def disable(function: object = None, *options: object, **named: object) -> object:
        if isinstance(function, FunctionType):
            return _marked_on_demand(function, *options, **named)
        real: Any = give("disable", module=_COMPILER)
        return real(function, *options, **named)

    for name, stub in stubs.items():
        vars(stub)["__getattr__"] = functools.partial(give, module=name)
    vars(package).update(disable=disable, utils=utils, __path__=[])
    vars(utils)["is_compile_supported"] = _is_compile_supported
    sys.modules.update(stubs)
    try:
        yield
    finally:
        _remove(stubs)


def _remove(stubs: dict[str, ModuleType]) -> None:
    for name, stub in stubs.items():
        if sys.modules.get(name) is stub:
            del sys.modules[name]


def _is_compile_supported(device_type: object) -> object:
    return importlib.import_module(_UTILS).is_compile_supported(device_type)


def _marked_on_demand(function: FunctionType, *options: object, **named: object) -> Any:  # noqa: ANN401
    """Mark a function as not to be compiled; the mark is made when a compiler looks at it."""

    @functools.wraps(function)
    def unmarked(*args: Any, **arguments: Any) -> Any:  # noqa: ANN401
        import torch

        if not torch.compiler.is_compiling():
            return function(*args, **arguments)
        marked = importlib.import_module(_COMPILER).disable(function, *options, **named)
        return marked(*args, **arguments)

    return unmarked
