"""Several processes that train one model together, through torch.distributed."""

import contextlib
import json
import os
import pickle
import time
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Final, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch._C._distributed_c10d import GradBucket, PrefixStore, Store
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from changedet._version import __version__
from changedet.errors import ChangeDetError, ConfigError, TrainingError
from changedet.inference.devices import resolve_device
from changedet.losses.loss_sum import LossSum
from changedet.losses.lovasz import LovaszHinge
from changedet.losses.supervision import LossPart
from changedet.nn.shared_batch import Attendance, share_batches
from changedet.training.launch import VOICE, Launch
from changedet.training.ranks import Ranks

_Value = TypeVar("_Value")

#: How long processes look for each other at the start, in seconds.
MEETING_S: Final = 300.0
#: How long they wait for one that does not answer; that one has ended is noticed at once.
PATIENCE_S: Final = 1800.0
_LOOK_EVERY_S: Final = 0.1
# How long the first process, where it holds the store, waits for the others to ask it.
_LINGER_S: Final = 3.0
# Key of the process that tells the user what went wrong.
_TOLD: Final = "told"
# By which the processes of this program have found each other, by its address. Another training of
# the same program needs the same: a new one would begin while some still call the old one.
_STORES: Final[dict[tuple[str | None, str | None], Store]] = {}
# What gloo says, which has no errors of its own, where the other side is gone.
_LOST: Final = ("gloo", "connection closed", "connection reset", "timed out", "timeout", "socket")


def device_for(name: str, launch: Launch) -> torch.device:
    """Choose the device of one of several processes: each has the GPU of its own number.

    Args:
        name: As for :func:`resolve_device`.
        launch: The place of this process.

    Raises:
        ConfigError: If this machine has no such device, or fewer GPUs than processes.
    """
    if ":" in name:
        raise ConfigError(
            f"`device={name}` names one GPU, but {launch.local_world} processes on this machine "
            "train together, each on its own; use `device=cuda`"
        )
    device = resolve_device(name)
    if device.type == "mps":
        raise ConfigError("several processes cannot share an MPS device; use `device=cpu`")
    if device.type != "cuda":
        return device
    gpus = torch.cuda.device_count()
    if launch.local_world > gpus:
        raise ConfigError(
            f"{launch.local_world} processes on this machine train together, but it has {gpus} "
            f"GPU{'' if gpus == 1 else 's'}; start at most {gpus} on it, or use `device=cpu`"
        )
    if not dist.is_nccl_available():
        raise ConfigError(
            "this PyTorch has no NCCL, through which GPUs exchange gradients; install a build that "
            "has it, or use `device=cpu`"
        )
    return torch.device("cuda", launch.local_rank)


@contextlib.contextmanager
def joined(
    launch: Launch,
    *,
    device_name: str,
    meeting_s: float = MEETING_S,
    patience_s: float = PATIENCE_S,
) -> Iterator[tuple[Ranks, torch.device]]:
    """Join the other processes of a training, by NCCL on GPUs and gloo on CPUs, and leave again.

    Args:
        launch: The place of this process.
        device_name: Where to compute, as for :func:`device_for`.
        meeting_s: How long to look for the others, in seconds.
        patience_s: How long to wait for one that does not answer, in seconds.

    Returns:
        What the training asks of the others, and the device of this process.

    Raises:
        ConfigError: If the device is not there, the processes do not fit each other, or this one
            has joined others before.
        TrainingError: If they do not find each other, or one of them ends meanwhile.
    """
    if dist.is_initialized():
        raise ConfigError(
            "torch.distributed is initialised already in this process, which the training does by "
            "itself; remove init_process_group() before it, and start the program again after a "
            "training that has failed"
        )
    store = _meet(launch, meeting_s=meeting_s)
    patience = timedelta(seconds=patience_s)
    try:
        device = device_for(device_name, launch)
        _compare_programs(store, launch, device)
        if device.type == "cuda":
            torch.cuda.set_device(device)
        dist.init_process_group(
            "nccl" if device.type == "cuda" else "gloo",
            store=PrefixStore("processes", store),
            rank=launch.rank,
            world_size=launch.world,
            timeout=patience,
            device_id=device if device.type == "cuda" else None,
        )
        # Questions between hosts must not make them wait for their GPUs.
        hosts = dist.new_group(backend="gloo", timeout=patience)
        assert isinstance(hosts, dist.ProcessGroup)  # noqa: S101 - every process is in it
        yield _ManyProcesses(launch, store, hosts), device
        dist.barrier(group=hosts)
        dist.destroy_process_group()
    except ChangeDetError:
        _settle_voice(store, launch)
        _STORES.clear()
        raise
    except Exception as error:
        _settle_voice(store, launch)
        _STORES.clear()
        if not _is_of_connection(error):
            raise
        raise TrainingError(
            f"process {launch.rank} of {launch.world} has lost the others: one of them has ended, "
            f"was killed or did not answer for {patience_s / 60:g} minutes "
            f"({' '.join(str(error).split())[:160]}); start the training again with "
            '`mode="resume"`, or let torchrun restart it by itself'
        ) from error


class _ManyProcesses:
    """One of several processes, see :class:`.ranks.Ranks`."""

    def __init__(self, launch: Launch, store: Store, hosts: dist.ProcessGroup) -> None:
        self.rank = launch.rank
        self.world = launch.world
        self.is_main = launch.is_main
        self._store = store
        self._hosts = hosts
        self._attendance = Attendance(rank=launch.rank, world=launch.world)
        self._waits = 0

    def any(self, flag: bool) -> bool:  # noqa: FBT001
        return self.highest(int(flag)) > 0

    def highest(self, number: int) -> int:
        value = torch.tensor(number)
        dist.all_reduce(value, op=dist.ReduceOp.MAX, group=self._hosts)
        return int(value)

    def gather(self, value: _Value) -> list[_Value]:
        values: list[_Value] = [value] * self.world
        dist.all_gather_object(values, value, group=self._hosts)
        return values

    def from_main(self, compute: Callable[[], _Value]) -> _Value:
        if self.is_main:
            value = compute()
            # As bytes, which the method takes as well.
            self._store.set(self._next_key(), pickle.dumps(value))  # type: ignore[arg-type]
            return value
        key = self._next_key()
        self._wait_for(key)
        found: _Value = pickle.loads(self._store.get(key))
        return found

    def after_main(self, compute: Callable[[], _Value]) -> _Value:
        key = self._next_key()
        if not self.is_main:
            self._wait_for(key)
        value = compute()
        if self.is_main:
            self._store.set(key, "done")
        return value

    def whole(self, sums: Mapping[LossPart, LossSum]) -> Mapping[LossPart, LossSum]:
        # In double precision counts stay exact, and so, in effect, do sums of a few float32.
        table = torch.stack(
            [
                torch.stack([loss.total.detach().double(), loss.count.detach().double()])
                for loss in sums.values()
            ]
        )
        dist.all_reduce(table)
        return {
            part: LossSum(row[0].to(loss.total.dtype), row[1].to(loss.count.dtype), loss.smoothing)
            for (part, loss), row in zip(sums.items(), table, strict=True)
        }

    def _gather_parts(self, own: Tensor) -> tuple[list[Tensor], int]:
        """Exchange tensors (rows, n), n in proportion to the samples that a process has."""
        share = self._attendance
        samples = [
            max(1, len(range(rank, share.whole, share.world))) for rank in range(share.world)
        ]
        each = own.shape[1] // samples[self.rank]
        padded = own.new_zeros(own.shape[0], each * max(samples))
        padded[:, : own.shape[1]] = own
        parts = [torch.empty_like(padded) for _ in samples]
        dist.all_gather(parts, padded)
        whole = [part[:, : each * count] for part, count in zip(parts, samples, strict=True)]
        return whole, self.rank

    def copy_from_main(self, tensors: Iterable[Tensor]) -> None:
        for tensor in tensors:
            dist.broadcast(tensor, src=0)

    def wrap(self, module: nn.Module, *, sync_batch_norm: bool) -> nn.Module:
        share_batches(module, self._attendance, sync_batch_norm=sync_batch_norm)
        for part in module.modules():
            if isinstance(part, LovaszHinge):
                part.gather = self._gather_parts
        # The strides are those of channels-last weights of one pixel; the other name of the option
        # came with PyTorch 2.15.
        for message in ("Grad strides do not match", ".broadcast_buffers. is deprecated"):
            warnings.filterwarnings("ignore", message=message)
        wrapped = DistributedDataParallel(
            module,
            # Statistics of batch norms are those of the main process when they are used.
            broadcast_buffers=False,
            # A network may compute maps that the loss does not use. It also keeps the layout of
            # what is added up, and with it the order of sums, the same from the first batch on.
            find_unused_parameters=True,
        )
        wrapped.register_comm_hook(None, _add_up)
        return wrapped

    def apart(self, module: nn.Module) -> contextlib.AbstractContextManager[None]:
        assert isinstance(module, DistributedDataParallel)  # noqa: S101 - what wrap() gave
        held: contextlib.AbstractContextManager[None] = module.no_sync()
        return held

    def attend(self, *, own: int, whole: int) -> None:
        self._attendance.own, self._attendance.whole = own, whole

    def _next_key(self) -> str:
        self._waits += 1
        return f"main/{self._waits}"

    def _wait_for(self, key: str) -> None:
        """Wait for the main process, which may measure for hours; the store ends with it."""
        while not self._store.check([key]):
            if self._store.check([_TOLD]):
                raise TrainingError("another process has failed")
            time.sleep(_LOOK_EVERY_S)


def _add_up(state: None, bucket: GradBucket) -> torch.futures.Future[Tensor]:
    """Add gradients up: each process has divided its loss by the sums of all of them."""
    work = dist.all_reduce(bucket.buffer(), async_op=True)
    assert work is not None  # noqa: S101 - for types: every process is in the group

    def first(done: torch.futures.Future[list[Tensor]]) -> Tensor:
        return done.value()[0]

    return work.get_future().then(first)


def _meet(launch: Launch, *, meeting_s: float) -> Store:
    """Find the other processes.

    Raises:
        TrainingError: If they cannot be found.
    """
    patience = timedelta(seconds=meeting_s)
    address = os.environ.get("MASTER_ADDR"), os.environ.get("MASTER_PORT")
    try:
        if address not in _STORES:
            found = rendezvous("env://", launch.rank, launch.world, timeout=patience)
            _STORES[address], _, _ = next(found)
        store = _STORES[address]
        store.set_timeout(patience)
        return _agree_on_round(PrefixStore("changedet", store), launch, meeting_s=meeting_s)
    except (RuntimeError, OSError, ValueError) as error:
        _STORES.clear()
        raise TrainingError(
            f"process {launch.rank} of {launch.world} has not found the others at "
            f"{':'.join(map(str, address))} within "
            f"{meeting_s:g} seconds ({' '.join(str(error).split())[:160]}); start all of them, and "
            "see that this address is that of the first machine and can be reached"
        ) from error


def _agree_on_round(store: Store, launch: Launch, *, meeting_s: float) -> Store:
    """Give the part of a store that the processes of this start have for themselves.

    torchrun keeps the store when it starts processes again, with all that those before have left
    in it. So the first process names the round, and answers those that have called it by that name.

    Raises:
        RuntimeError: If somebody does not call or answer.
    """
    own, end = uuid.uuid4().hex, time.monotonic() + meeting_s
    if launch.is_main:
        store.set("round", own)
        callers = [
            _look_up(store, f"{own}/caller/{rank}", end=end) for rank in range(1, launch.world)
        ]
        store.set(f"{own}/answer", json.dumps(callers))
        return PrefixStore(own, store)
    while time.monotonic() < end:
        name = _look_up(store, "round", end=end)
        store.set(f"{name}/caller/{launch.rank}", own)
        answer = f"{name}/answer"
        # The name may still be that of a start before, even of fewer processes.
        if store.check([answer]) and own in json.loads(store.get(answer)):
            return PrefixStore(name, store)
        time.sleep(_LOOK_EVERY_S)
    raise RuntimeError("process 0 has not answered")


def _look_up(store: Store, key: str, *, end: float) -> str:
    """Wait for a value without being deaf to signals, as the store's own waiting is.

    Raises:
        RuntimeError: If it is not there when the clock says ``end``.
    """
    while not store.check([key]):
        if time.monotonic() > end:
            raise RuntimeError(f"nobody has said {key.rpartition('/')[2]!r}")
        time.sleep(_LOOK_EVERY_S)
    return str(store.get(key).decode())


def _compare_programs(store: Store, launch: Launch, device: torch.device) -> None:
    """Refuse processes of other versions, or on another kind of device.

    Raises:
        ConfigError: In all processes, if there is one.
    """
    own = f"changedet {__version__} with PyTorch {torch.__version__} on {device.type}"
    store.set(f"program/{launch.rank}", own)
    programs = [store.get(f"program/{rank}").decode() for rank in range(launch.world)]
    for rank, other in enumerate(programs):
        if other != programs[0]:
            raise ConfigError(
                f"process 0 is {programs[0]}, but process {rank} is {other}; all must be the same: "
                "install one version everywhere, or set `device`"
            )


def _settle_voice(store: Store, launch: Launch) -> None:
    """Agree on the process that tells the user what has ended the training: the first to ask."""
    own = str(launch.rank)
    try:
        VOICE.is_chosen = store.compare_set(_TOLD, "", own).decode() == own
    except (RuntimeError, OSError):
        # Whoever held the store is gone: better told twice than never.
        VOICE.is_chosen = True
    with contextlib.suppress(RuntimeError, OSError):
        store.set(f"ended/{launch.rank}", "yes")
        # Without torchrun the first process holds the store, which the others still ask.
        if launch.is_main and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
            store.set_timeout(timedelta(seconds=_LINGER_S))
            store.wait([f"ended/{rank}" for rank in range(launch.world)])


def _is_of_connection(error: Exception) -> bool:
    if isinstance(error, dist.DistError):
        return True
    return any(word in str(error).lower() for word in _LOST)
