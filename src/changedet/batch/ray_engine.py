"""Workers as actors of a Ray cluster."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from changedet._optional import RAY
from changedet._version import __version__
from changedet.baselines.names import is_baseline
from changedet.batch.engine import Alive, Event, Finished, Lost, Ready, Refused
from changedet.batch.pulse import BEAT_S
from changedet.batch.ray_worker import RayWorker
from changedet.errors import ConfigError

if TYPE_CHECKING:
    from changedet.batch.request import BatchRequest
    from changedet.batch.runner import Setup
    from changedet.batch.task import Task

_LONGEST_REASON: Final = 300
_CONNECT_S: Final = 10.0
# Read when Ray is loaded; what the user has set stays.
_ENVIRONMENT: Final = {
    # Nothing about the user's work goes anywhere.
    "RAY_USAGE_STATS_ENABLED": "0",
    # Half a minute is too little to start what belongs to a node where other work is going on.
    "RAY_py_gcs_connect_timeout_s": "120",
    "RAY_agent_register_timeout_ms": "300000",
}
# Where Ray writes down the cluster that a machine belongs to.
_CURRENT: Final = Path("/tmp/ray/ray_current_cluster")


@dataclass
class _Actor:
    handle: Any
    host: str = ""
    is_ready: bool = False
    is_asked: bool = False
    asked_at: float = field(default_factory=time.monotonic)


class RayEngine:
    """Starts each worker as an actor, wherever the cluster has room.

    Args:
        setup: What workers are started with.
        request: Which cluster, and what a worker takes of it.

    Raises:
        ConfigError: If there is no cluster, it is of another version, or has no room.
        MissingExtraError: If Ray is not installed.
    """

    def __init__(self, setup: Setup, request: BatchRequest) -> None:
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        self._ray = RAY.load()
        self._errors = RAY.load(".exceptions")
        self._setup = setup
        self._request = request
        self._is_ours = not self._ray.is_initialized()
        if self._is_ours:
            self._connect(request.address)
        self._actors: dict[str, _Actor] = {}
        self._refs: dict[Any, tuple[str, Literal["facts", "start", "run", "pulse"]]] = {}
        self._started = 0
        self._model: Any = None
        try:
            if self.capacity() < 1:
                raise self._has_no_room()
            if not is_baseline(str(setup.common.model)):
                self._model = self._ray.put(Path(str(setup.common.model)).read_bytes())
        except BaseException:
            self.close()
            raise
        self._class = self._ray.remote(RayWorker).options(
            num_cpus=request.num_cpus,
            num_gpus=request.num_gpus,
            # One of them answers while the other one works.
            max_concurrency=2,
            max_restarts=0,
            max_task_retries=0,
        )

    def capacity(self) -> int:
        """Say how many workers the machines have room for that are there now."""
        if self._request.workers is not None:
            return self._request.workers
        wanted = {"CPU": self._request.num_cpus, "GPU": self._request.num_gpus}
        room = 0
        for node in self._ray.nodes():
            if node["Alive"]:
                has = node["Resources"]
                room += min(
                    int(has.get(name, 0.0) / number + 1e-6)
                    for name, number in wanted.items()
                    if number
                )
        return room

    def start_worker(self) -> str:
        """Start an actor, see :class:`changedet.batch.engine.Engine`."""
        self._started += 1
        name = f"worker {self._started}"
        handle = self._class.remote()
        self._actors[name] = _Actor(handle)
        # First what is there, in plain values: nothing else is understood by other versions.
        self._refs[handle.facts.remote()] = (name, "facts")
        return name

    def give(self, worker: str, tasks: Sequence[Task]) -> None:
        """Send tasks to an actor."""
        self._refs[self._actors[worker].handle.run.remote(tuple(tasks))] = (worker, "run")

    def stop_worker(self, worker: str) -> None:
        """Kill an actor."""
        actor = self._forget(worker)
        if actor is not None:
            with contextlib.suppress(Exception):  # it may be dead, or its machine
                self._ray.kill(actor.handle, no_restart=True)

    def wait(self, timeout_s: float) -> list[Event]:
        """Wait for what the actors answer."""
        self._ask_for_pulses()
        if not self._refs:
            time.sleep(timeout_s)
            return []
        refs = list(self._refs)
        ready, rest = self._ray.wait(refs, num_returns=1, timeout=timeout_s, fetch_local=False)
        if ready and rest:
            more, _ = self._ray.wait(rest, num_returns=len(rest), timeout=0, fetch_local=False)
            ready += more
        events = [self._answer(ref) for ref in ready]
        return [event for event in events if event is not None]

    def close(self) -> None:
        """Kill all actors, and leave the cluster."""
        for name in list(self._actors):
            self.stop_worker(name)
        if self._is_ours:
            self._ray.shutdown()

    def _connect(self, address: str | None) -> None:
        _check_reachable(address)
        # Its own pages are worth a dozen processes only where a cluster is to stay.
        own = {"include_dashboard": False} if address is None else {}
        try:
            self._ray.init(
                # Without an address Ray would join any cluster that has left a trace here, such as
                # one that was killed.
                address=address or "local",
                logging_level=logging.ERROR,
                log_to_driver=False,
                **own,
            )
        except Exception as error:  # Ray raises plain ones, too
            if address is not None and isinstance(error, ConnectionError):
                raise ConfigError(_no_cluster(address, _first_line(error))) from error
            hint = "check the address and the log files of Ray in /tmp/ray/session_latest/logs"
            if address is None:
                hint = (
                    "run the command again where the machine is busy, or see the log files of Ray "
                    "in /tmp/ray/session_latest/logs"
                )
            if "version" in str(error).lower():
                hint = "use one version of Ray and Python on all machines"
            raise ConfigError(f"Ray does not start ({_first_line(error)}); {hint}") from error

    def _has_no_room(self) -> ConfigError:
        request = self._request
        has = self._ray.cluster_resources()
        return ConfigError(
            f"no machine of the Ray cluster has room for a worker of {request.num_cpus:g} CPUs and "
            f"{request.num_gpus:g} GPUs (all together have {has.get('CPU', 0):g} and "
            f"{has.get('GPU', 0):g}); lower `num_cpus` or `num_gpus`, or add machines"
        )

    def _ask_for_pulses(self) -> None:
        now = time.monotonic()
        for name, actor in self._actors.items():
            if actor.is_ready and not actor.is_asked and now - actor.asked_at >= BEAT_S:
                actor.is_asked, actor.asked_at = True, now
                self._refs[actor.handle.pulse.remote()] = (name, "pulse")

    def _answer(self, ref: Any) -> Event | None:  # noqa: ANN401
        entry = self._refs.pop(ref, None)
        if entry is None:  # of an actor that was lost in the same round
            return None
        name, question = entry
        actor = self._actors[name]
        try:
            answer = self._ray.get(ref)
        except self._errors.RayError as error:
            self.stop_worker(name)
            return self._lost(name, error)
        match question:
            case "facts":
                return self._check_version(name, actor, answer)
            case "start":
                if answer is not None:
                    self.stop_worker(name)
                    return Refused(name, answer)
                actor.is_ready = True
                return Ready(name, where=actor.host)
            case "run":
                return Finished(name, answer)
        actor.is_asked = False
        return Alive(name, answer)

    def _check_version(self, name: str, actor: _Actor, facts: dict[str, str]) -> Event | None:
        actor.host = facts["host"]
        if facts["version"] == __version__:
            self._refs[actor.handle.start.remote(self._setup, self._model)] = (name, "start")
            return None
        self.stop_worker(name)
        return Refused(
            name,
            ConfigError(
                f"{facts['host']} has changedet {facts['version']} and this machine {__version__}; "
                "install the same version on all machines of the cluster"
            ),
        )

    def _lost(self, name: str, error: Exception) -> Event:
        text = " ".join(str(error).split())
        if "No module named 'changedet" in text:
            return Refused(
                name,
                ConfigError(
                    "a machine of the Ray cluster has no changedet, or an older one: install "
                    f"changedet {__version__} there, in the Python that Ray was started with"
                ),
            )
        return Lost(name, _reason(text))

    def _forget(self, worker: str) -> _Actor | None:
        for ref in [ref for ref, (name, _) in self._refs.items() if name == worker]:
            del self._refs[ref]
        return self._actors.pop(worker, None)


def _check_reachable(address: str | None) -> None:
    """Refuse an address at which nobody listens: Ray itself would try for minutes.

    Raises:
        ConfigError: If there is no cluster.
    """
    found = address
    if address == "auto":
        found = os.environ.get("RAY_ADDRESS")
        if found is None and _CURRENT.is_file():
            # Stays behind where a cluster was not stopped.
            found = _CURRENT.read_text(encoding="utf-8").strip()
    host, _, port = (found or "").removeprefix("ray://").rpartition(":")
    if "/" in host or not (host and port.isdecimal()):
        return
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S):
            pass
    except (OSError, OverflowError) as error:
        raise ConfigError(_no_cluster(address, f"{found}: {error}")) from error


def _no_cluster(address: str | None, reason: str) -> str:
    return (
        f"there is no Ray cluster at `address={address}` ({reason}); start one with ray start on "
        "each machine, or leave the address out for one on this machine"
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0].rstrip(". ")[:_LONGEST_REASON]


def _reason(text: str) -> str:
    """Shorten what Ray says of an actor that died."""
    _, _, after = text.partition("The actor is dead because ")
    short = (after or text)[:_LONGEST_REASON].rstrip(". ")
    return f"its actor died: {short}"
