"""Run a reader on many damaged inputs, each within 4 GB and ten seconds."""

import contextlib
import json
import mmap
import os
import resource
import shutil
import struct
import tempfile
import time
import traceback
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Literal, NamedTuple, Protocol

from changedet.errors import ChangeDetError

#: Address space of a worker. PyTorch alone maps as much, so its readers get this on top of it.
MEMORY_BYTES = 4 * 2**30
SECONDS = 10.0
#: A message longer than this is no line that anybody reads.
_LONGEST_MESSAGE = 2_100
#: Inputs of one worker, so that nothing that a library keeps adds up.
_INPUTS_OF_A_WORKER = 5_000
_STATE = struct.Struct("<qqqq")

Outcome = Literal["read", "refused"]


class Reader(Protocol):
    """One kind of input, and what reads it."""

    name: str
    needs_torch: bool
    refusals: tuple[type[BaseException], ...]

    def prepare(self, folder: Path) -> None:
        """Import what reads, and make the valid inputs that are then damaged."""

    def write(self, random: Random, folder: Path) -> Any:
        """Make an input in an empty folder, from the random source alone."""

    def read(self, source: Any) -> None:
        """Read it as the program does."""


@dataclass
class Tally:
    """What came of the inputs of a reader; ``next_seed`` is where to go on."""

    next_seed: int = 0
    read: int = 0
    refused: int = 0
    faults: int = 0


class Fault(NamedTuple):
    """An input that neither was read nor refused in a line."""

    reader: str
    seed: int
    what: str


def try_input(reader: Reader, seed: int, folder: Path) -> Outcome:
    """Make the input of a seed and read it.

    Raises:
        Exception: Whatever is no error for users; AssertionError for a message that is none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    source = reader.write(Random(f"{reader.name}:{seed}"), folder)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reader.read(source)
    except reader.refusals as error:
        message = str(error)
        assert message.strip(), "an error without a message"
        assert len(message) <= _LONGEST_MESSAGE, f"a message of {len(message)} characters"
        return "refused"
    return "read"


def run(reader: Reader, tally: Tally, *, count: int, until: float, failures: Path) -> list[Fault]:
    """Read so many inputs from ``tally.next_seed`` on, or until a time, in forked workers.

    Args:
        reader: What reads, prepared.
        tally: Is counted up.
        count: Inputs.
        until: Of ``time.monotonic``.
        failures: Folder that keeps inputs which failed.
    """
    faults: list[Fault] = []
    last = tally.next_seed + count
    while tally.next_seed < last and time.monotonic() < until:
        batch = min(_INPUTS_OF_A_WORKER, last - tally.next_seed)
        faults += _run_worker(reader, tally, batch, until=until, failures=failures)
    return faults


def _run_worker(
    reader: Reader, tally: Tally, count: int, *, until: float, failures: Path
) -> list[Fault]:
    """Fork one worker and watch it; it starts at ``tally.next_seed``."""
    shared = mmap.mmap(-1, _STATE.size)
    first = tally.next_seed
    shared[:] = _STATE.pack(first, 0, 0, 0)
    with tempfile.TemporaryDirectory(prefix="fuzz") as name:
        folder = Path(name)
        log = folder / "faults.jsonl"
        worker = os.fork()
        if worker == 0:
            _work(reader, shared, range(first, first + count), until=until, folder=folder)
        end = _watch(worker, shared)
        seed, read, refused, _ = _STATE.unpack(shared[:])
        tally.next_seed, tally.read, tally.refused = (
            seed,
            tally.read + read,
            tally.refused + refused,
        )
        faults = []
        if log.is_file():
            faults = [Fault(*json.loads(line)) for line in log.read_text().splitlines()]
        if end is not None:
            faults.append(Fault(reader.name, seed, end))
            tally.next_seed = seed + 1
        tally.faults += len(faults)
        for fault in faults:
            _keep(reader, fault, failures)
    return faults


def _work(reader: Reader, shared: mmap.mmap, seeds: range, *, until: float, folder: Path) -> None:
    """Read inputs in this worker, which ends here whatever happens."""
    status = 1
    try:
        _limit_memory(reader)
        # Libraries of C write where they like.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        counts = [0, 0, 0]
        for seed in seeds:
            shared[:] = _STATE.pack(seed, *counts)
            if time.monotonic() > until:
                break
            place = folder / "input"
            try:
                counts[0 if try_input(reader, seed, place) == "read" else 1] += 1
            # Whatever it is, it is a finding.
            except BaseException as error:
                counts[2] += 1
                line = "".join(traceback.format_exception(error)[-6:])[-3000:]
                with (folder / "faults.jsonl").open("a") as file:
                    file.write(json.dumps([reader.name, seed, line]) + "\n")
            shutil.rmtree(place, ignore_errors=True)
            shared[:] = _STATE.pack(seed + 1, *counts)
        status = 0
    finally:
        os._exit(status)


def _limit_memory(reader: Reader) -> None:
    limit = MEMORY_BYTES
    if reader.needs_torch:
        limit += int(Path("/proc/self/statm").read_text().split()[0]) * mmap.PAGESIZE
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _watch(worker: int, shared: mmap.mmap) -> str | None:
    """Wait for a worker; kill it over an input that takes too long. Says how it ended if badly."""
    seed, since = _STATE.unpack(shared[:])[0], _processor_seconds(worker)
    while True:
        done, status = os.waitpid(worker, os.WNOHANG)
        if done:
            if status == 0:
                return None
            number = os.waitstatus_to_exitcode(status)
            return f"the process ended with {number}"
        time.sleep(0.05)
        now = _STATE.unpack(shared[:])[0]
        used = _processor_seconds(worker)
        if now != seed:
            seed, since = now, used
        elif used - since > SECONDS:
            os.kill(worker, 9)
            os.waitpid(worker, 0)
            return f"took more than {SECONDS:g} seconds"


def _processor_seconds(process: int) -> float:
    """Time that a process has computed, whatever else the machine does."""
    with contextlib.suppress(OSError, IndexError):
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def _keep(reader: Reader, fault: Fault, failures: Path) -> None:
    """Make a failing input again where somebody can look at it."""
    place = failures / reader.name / str(fault.seed)
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    reader.write(Random(f"{reader.name}:{fault.seed}"), place)
    (place / "fault.txt").write_text(fault.what, errors="backslashreplace")


REFUSALS: tuple[type[BaseException], ...] = (ChangeDetError,)


def kinds_of(faults: Sequence[Fault]) -> dict[str, list[int]]:
    """Seeds of faults by the last line of what happened."""
    found: dict[str, list[int]] = {}
    for fault in faults:
        last = fault.what.strip().splitlines()[-1][:160]
        found.setdefault(f"{fault.reader}: {last}", []).append(fault.seed)
    return found
