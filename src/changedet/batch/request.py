"""What to do with an archive of scenes, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, TypeAlias, get_args

from changedet.choices import check_choice
from changedet.errors import ChangeDetError, ConfigError
from changedet.predict.request import SceneRequest
from changedet.storage.output_folder import Existing

EngineName: TypeAlias = Literal["local", "ray"]


class WorkersError(ChangeDetError):
    """No worker can do anything: they do not start, or none of them can write."""

    exit_code: ClassVar[int] = 1


@dataclass(frozen=True)
class BatchRequest:
    """An archive's results, how they are made, and on what.

    Attributes:
        common: Model and settings of all items; its rasters and its folder count for nothing.
        out: Folder, or an address that fsspec knows such as ``s3://bucket/folder``.
        engine: ``local``: processes of this machine; ``ray``: actors of a Ray cluster.
        address: Of the Ray cluster: ``auto``, the one that this machine belongs to, or
            ``ray://HOST:10001``; None: a new one on this machine.
        workers: How many there are; None: as many as there is room for.
        threads: Threads of a worker on this machine; None: the cores divided by the workers.
        num_cpus: Cores that Ray sets aside for a worker; it computes with as many threads.
        num_gpus: GPUs that Ray sets aside for a worker; less than 1: workers share one.
        attempts: How often an item is tried, where another attempt may succeed.
        back_off_s: Pause before the second attempt, in seconds; twice as long before each next.
        timeout_s: An item that shows no sign of life for so long is given up, in seconds.
        scratch: Folder of each worker's machine for results on their way to an address; None: the
            system's folder for temporary files.
        split_mpx: Larger scenes are cut into blocks of about so many millions of pixels, which
            several workers score; 0: scenes stay whole. The results are the same.
        existing: What to do with results of another model: ``refuse``, ``replace``.

    Raises:
        ConfigError: If a number or a name makes no sense.
    """

    common: SceneRequest
    out: str
    engine: EngineName = "local"
    address: str | None = None
    workers: int | None = None
    threads: int | None = None
    num_cpus: float = 1.0
    num_gpus: float = 0.0
    attempts: int = 3
    back_off_s: float = 5.0
    timeout_s: float = 300.0
    scratch: Path | None = None
    split_mpx: float = 200.0
    existing: Existing = "refuse"

    def __post_init__(self) -> None:
        check_choice("`engine`", self.engine, get_args(EngineName))
        for name in ("workers", "threads", "attempts"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"`{name}` must be at least 1, got {value}")
        for name in ("num_cpus", "timeout_s"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"`{name}` must be above 0, got {getattr(self, name):g}")
        for name in ("num_gpus", "back_off_s", "split_mpx"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"`{name}` must not be below 0, got {getattr(self, name):g}")
        if self.num_gpus > 1 and self.num_gpus != int(self.num_gpus):
            raise ConfigError(
                f"`num_gpus` is a share of one GPU or a whole number of them, got {self.num_gpus:g}"
            )
        self._check_engine()

    def _check_engine(self) -> None:
        """Refuse settings that the engine does not know: they would do nothing."""
        if self.address is not None and self.engine != "ray":
            raise ConfigError("`address` is of a Ray cluster; add `engine=ray` or remove it")
        if self.engine != "ray" and (self.num_cpus, self.num_gpus) != (1.0, 0.0):
            raise ConfigError(
                "`num_cpus` and `num_gpus` are what Ray sets aside for a worker; on this machine "
                "`workers` and `threads` say how much is used: set these, or `engine=ray`"
            )
        if self.engine == "ray" and self.threads is not None:
            raise ConfigError(
                "`threads` is of workers on this machine; a worker on Ray computes with as many as "
                "`num_cpus`: set that instead"
            )
