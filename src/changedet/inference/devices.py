"""Find the device that a name means, if this machine has it."""

import torch

from changedet.errors import ConfigError

_PREFERRED = ("cuda", "mps", "cpu")


def resolve_device(name: str) -> torch.device:
    """Turn a device's name into a device that is there.

    Args:
        name: ``auto`` (the first there is of CUDA, MPS, CPU) or a name as torch writes it.

    Raises:
        ConfigError: If the name is unknown or the machine has no such device.
    """
    if name == "auto":
        return next(device for device in map(torch.device, _PREFERRED) if _is_there(device))
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(
            f"unknown device {name!r}; use auto, {', '.join(_PREFERRED)} or, for one of several "
            "GPUs, for example cuda:1"
        ) from error
    if not _is_there(device):
        raise ConfigError(f"this machine has no device {name!r}; use auto or cpu")
    return device


def _is_there(device: torch.device) -> bool:
    if device.type == "cuda":
        return (device.index or 0) < torch.cuda.device_count()
    if device.type == "mps":
        return torch.backends.mps.is_available()
    return device.type == "cpu"
