"""Which of the processes that train together this one is, as torchrun says it; imports no torch."""

import contextlib
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from changedet.errors import ConfigError

# What torchrun names the job where nobody has named it.
_UNNAMED_JOB: Final = "none"
# Where the time at which a process began stands behind its name in /proc/PID/stat.
_BEGAN: Final = 19


@dataclass(frozen=True)
class Launch:
    """A place among the processes that train one model together; by default there is one.

    Attributes:
        rank: Number of this process, from 0.
        world: Number of processes, on all machines.
        local_rank: Number of this process on its machine, from 0; its GPU has that number.
        local_world: Number of processes on this machine.
        restarts: How often torchrun has started all processes again after one of them ended.
        job: Name of the job that torchrun was given or has made up; None: it has none.
        launcher: Tells the torchrun on this machine from any other; None: it was not torchrun. It
            stays while it starts its processes again.
    """

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    local_world: int = 1
    restarts: int = 0
    job: str | None = None
    launcher: str | None = None

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes files and prints."""
        return self.rank == 0


ALONE = Launch()


def read_launch(environ: Mapping[str, str] = os.environ) -> Launch:
    """Read the place of this process from the variables that torchrun sets.

    Other launchers may set the same ones: ``RANK``, ``WORLD_SIZE``, ``MASTER_ADDR`` and
    ``MASTER_PORT``, and where a machine has several processes also ``LOCAL_RANK`` and
    ``LOCAL_WORLD_SIZE``.

    Raises:
        ConfigError: If they are incomplete or make no sense.
    """
    world = _number(environ, "WORLD_SIZE", default=1)
    restarts = _number(environ, "TORCHELASTIC_RESTART_COUNT", default=0)
    job, launcher = environ.get("TORCHELASTIC_RUN_ID"), None
    if job is not None:
        launcher = _launcher()
        job = None if job == _UNNAMED_JOB else job
    if world <= 1:
        return Launch(restarts=restarts, job=job, launcher=launcher)
    missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if not environ.get(name)]
    if missing:
        raise ConfigError(
            f"WORLD_SIZE is {world}, so {world} processes are to train together, but "
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not set; start them "
            "with torchrun, or unset WORLD_SIZE"
        )
    launch = Launch(
        rank=_number(environ, "RANK", default=0),
        world=world,
        local_rank=_number(environ, "LOCAL_RANK", default=0),
        local_world=_number(environ, "LOCAL_WORLD_SIZE", default=1),
        restarts=restarts,
        job=job,
        launcher=launcher,
    )
    if launch.rank >= world or launch.local_rank >= launch.local_world:
        raise ConfigError(
            f"RANK {launch.rank} of WORLD_SIZE {world} and LOCAL_RANK {launch.local_rank} of "
            f"LOCAL_WORLD_SIZE {launch.local_world} cannot be: ranks count from 0; start all "
            "processes with torchrun"
        )
    return launch


def check_batch(batch_size: int, *, world: int) -> None:
    """Refuse more processes than a batch has samples.

    Args:
        batch_size: Samples of a batch, of all processes together.
        world: Number of processes.

    Raises:
        ConfigError: If there would be nothing for one to do.
    """
    if world > batch_size:
        raise ConfigError(
            f"{world} processes share batches of {batch_size} (training.batch_size is that "
            f"of all together), so some would have none; set `training.batch_size={world}` "
            f"or more, or start at most {batch_size}"
        )


def _launcher() -> str:
    """Name the process that has started this one."""
    parent = os.getppid()
    began = ""
    with contextlib.suppress(OSError, IndexError):
        # The name of a program, in parentheses, may hold anything.
        stat = Path(f"/proc/{parent}/stat").read_text(encoding="utf-8", errors="replace")
        began = stat.rpartition(")")[2].split()[_BEGAN]
    return f"{socket.gethostname()}:{parent}:{began}"


def _number(environ: Mapping[str, str], name: str, *, default: int) -> int:
    text = environ.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdecimal()):
        raise ConfigError(
            f"the environment variable {name} must be a whole number, got {text!r}; start the "
            "training with torchrun, or unset it"
        )
    return int(text)


class Voice:
    """Decides which of the processes tells the user what went wrong, so that one does.

    Attributes:
        is_chosen: Whether the processes have agreed on this one; None before they have found each
            other, when what is wrong is wrong in all of them, and the first one tells.
    """

    def __init__(self) -> None:
        self.is_chosen: bool | None = None

    def is_heard(self, environ: Mapping[str, str] = os.environ) -> bool:
        """Tell whether this process is to print its error."""
        if self.is_chosen is not None:
            return self.is_chosen
        try:
            return read_launch(environ).is_main
        except ConfigError:
            return environ.get("RANK", "0") in ("", "0")


#: That of this process.
VOICE = Voice()
