"""Find the device that a name means, if this machine has it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from changedet._optional import TORCH
from changedet.errors import ConfigError

if TYPE_CHECKING:
    import torch

_PREFERRED = ("cuda", "mps", "cpu")
# The last two are known to PyTorch and not used here: they are refused as absent.
_NAMES: Final = re.compile(r"auto|(cpu|cuda|mps|xpu|meta)(:\d+)?")


def check_device_name(name: str) -> None:
    """Refuse a name that no device has, without PyTorch.

    Raises:
        ConfigError: If it is unknown.
    """
    if not _NAMES.fullmatch(name):
        raise ConfigError(
            f"unknown device {name!r}; use auto, {', '.join(_PREFERRED)} or, for one of several "
            "GPUs, for example cuda:1"
        )


def resolve_device(name: str) -> torch.device:
    """Turn a device's name into a device that is there.

    Args:
        name: ``auto`` (the first there is of CUDA, MPS, CPU) or a name as torch writes it.

    Raises:
        ConfigError: If the name is unknown or the machine has no such device.
        MissingExtraError: If PyTorch is not installed.
    """
    check_device_name(name)
    TORCH.check()
    import torch

    if name == "auto":
        return next(device for device in map(torch.device, _PREFERRED) if _is_there(device))
    device = torch.device(name)
    if not _is_there(device):
        raise ConfigError(f"this machine has no device {name!r}; use auto or cpu")
    return device


def _is_there(device: torch.device) -> bool:
    import torch

    if device.type == "cuda":
        return (device.index or 0) < torch.cuda.device_count()
    if device.type == "mps":
        return torch.backends.mps.is_available()
    return device.type == "cpu"
