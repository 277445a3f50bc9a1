"""Run the parts in order of worth, each in a separate process, until the budget is spent."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gpu.collect import collect
from gpu.job import Job, read_json, write_json
from gpu.schedule import Part, fits, part_named, share_of

_ROOT = Path(__file__).parents[2]
#: Where this package and that of the tree are found.
_PATHS = (_ROOT / "src", _ROOT / "benchmarks")
_PROGRAM = (sys.executable, "-m", "gpu.parts")
_INTERRUPTED = 130
_TOO_LATE = 124
_SKIPPED = "skipped"
_DONE = "done"
#: A rehearsal's networks are tiny, and so are its times.
_REHEARSAL_LEAST, _REHEARSAL_MOST = 0.1, 0.4
#: Parts keep their own deadline; this much later, or with the budget, they are ended.
_GRACE_S = 20.0
#: Asked to stop, a part has so long until it is killed.
_PATIENCE_S = 5.0
#: Of the budget, for what lies behind the last part's deadline.
_RESERVE_S = 8.0
_COLLECT_EVERY_S = 10.0


@dataclass(frozen=True)
class Plan:
    """What was asked for.

    Attributes:
        budget_s: Seconds for everything.
        parts: Names of the parts, in order of worth.
        data: Folder of CLCD.
        out: Folder from which results are fetched.
        work: Folder for everything else; what is finished there is not done again.
        weights: ImageNet weights of a ResNet-50.
        material: Folder with the first weights of the part ``cropland``.
        teachers: Model files that teach its students.
        device: As for ``changedet --device``.
        seed: Seed of the trainings.
        commit: Commit of the code, for the record.
        is_rehearsal: Whether tiny networks stand in.
        program: What is started with a part's name and job.
    """

    budget_s: float
    parts: tuple[str, ...]
    data: Path
    out: Path
    work: Path
    weights: Path | None = None
    material: Path | None = None
    teachers: tuple[Path, ...] = ()
    device: str = "auto"
    seed: int = 0
    commit: str = "unknown"
    is_rehearsal: bool = False
    program: Sequence[str] = _PROGRAM


def run_plan(plan: Plan) -> int:
    """Run it.

    Returns:
        Exit status: 0, 1 if a part failed, 130 after Ctrl-C.
    """
    run = _Run(plan)
    run.collect()
    for name in plan.parts:
        part = _sized(part_named(name), is_rehearsal=plan.is_rehearsal)
        status = run.part(part)
        run.collect()
        if status == _INTERRUPTED:
            say("stopped; the same command goes on")
            return _INTERRUPTED
    return run.status


class _Run:
    """The state of a plan, on disk in ``work/plan.json``."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.status = 0
        self.ends = time.time() + plan.budget_s
        self._state_path = plan.work / "plan.json"
        plan.work.mkdir(parents=True, exist_ok=True)
        self.state: dict[str, Any] = read_json(self._state_path) or {
            "begun": datetime.now(UTC).isoformat(timespec="seconds"),
            "card": _card(),
            "plan": {},
        }
        self.state |= {"commit": plan.commit, "seed": plan.seed}

    def part(self, part: Part) -> int:
        """Run a part, or say why not.

        Returns:
            130 if everything is to end, else anything.
        """
        left_s = self.ends - _RESERVE_S - time.time()
        if self.state["plan"].get(part.name, {}).get("status") == _DONE:
            say(f"{part.name}: done before")
            return 0
        if not fits(left_s, part):
            reason = f"needs {part.least_s:.0f} s, {max(0.0, left_s):.0f} s are left"
            self._note(part, _SKIPPED, reason=reason)
            return 0
        share_s = share_of(left_s, part)
        say(f"{part.name}: begins with {share_s:.0f} of {left_s:.0f} s")
        started = time.time()
        status = self._run(self._job(part, started + share_s))
        seconds = round(time.time() - started, 1)
        if status == 0:
            self._note(part, _DONE, seconds=seconds)
        elif status == _INTERRUPTED:
            self._note(part, "stopped", seconds=seconds)
        else:
            self.status = 1
            late = status == _TOO_LATE
            reason = "did not end in time" if late else _last_line(self._log(part.name))
            self._note(part, "failed", seconds=seconds, reason=reason)
        return status

    def collect(self) -> None:
        """Bring out what there is; a full disk must not end the plan."""
        write_json(self._state_path, self.state)
        try:
            collect(self.plan.work, self.plan.out, self.state)
        except OSError as error:
            say(f"cannot write {self.plan.out}: {error}")

    def _job(self, part: Part, deadline: float) -> Job:
        plan = self.plan
        return Job(
            part=part.name,
            data=str(plan.data.resolve()),
            work=str(plan.work.resolve()),
            deadline=deadline,
            weights=None if plan.weights is None else str(plan.weights.resolve()),
            material=None if plan.material is None else str(plan.material.resolve()),
            teachers=tuple(str(path.resolve()) for path in plan.teachers),
            device=plan.device,
            seed=plan.seed,
            is_rehearsal=plan.is_rehearsal,
        )

    def _run(self, job: Job) -> int:
        with self._log(job.part).open("ab") as log:
            process = subprocess.Popen(
                [*self.plan.program, job.part, job.to_json()],
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,
            )
        try:
            return self._wait(process, min(job.deadline + _GRACE_S, self.ends - _PATIENCE_S - 1.0))
        except KeyboardInterrupt:
            return _INTERRUPTED
        finally:
            _end_group(process)

    def _log(self, name: str) -> Path:
        return self.plan.work / f"{name}.log"

    def _wait(self, process: "subprocess.Popen[bytes]", kill_at: float) -> int:
        collect_at = time.time() + _COLLECT_EVERY_S
        while process.poll() is None:
            time.sleep(0.1)
            now = time.time()
            if now >= kill_at:
                return _TOO_LATE
            if now >= collect_at:
                self.collect()
                collect_at = time.time() + _COLLECT_EVERY_S
        return int(process.returncode)

    def _note(self, part: Part, status: str, **more: object) -> None:
        self.state["plan"][part.name] = {"status": status, **more}
        say(f"{part.name}: {status} {' '.join(str(value) for value in more.values())}".rstrip())


def say(message: str) -> None:
    """Print a line with the time."""
    print(f"{datetime.now(UTC):%H:%M:%S} {message}", flush=True)


def _environment() -> dict[str, str]:
    """Environment of a part: the tree's own package first, output at once."""
    paths = [*map(str, _PATHS), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}


def _sized(part: Part, *, is_rehearsal: bool) -> Part:
    if not is_rehearsal:
        return part
    least_s, most_s = part.least_s * _REHEARSAL_LEAST, part.most_s * _REHEARSAL_MOST
    return replace(part, least_s=least_s, most_s=most_s)


def _end_group(process: "subprocess.Popen[bytes]") -> None:
    """End a part and all that it started: asked first, then killed."""
    for number in (signal.SIGINT, signal.SIGKILL):
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=_PATIENCE_S)
    # Readers of images may outlive the part.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text("utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1].strip()[:300] if lines else "no message"


def _card() -> str:
    """Name of the GPU, without loading PyTorch into this process."""
    command = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return "a CPU"
    return found.stdout.strip()
