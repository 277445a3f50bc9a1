"""The steps of an ablation in the process of a test, noted as they are done."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from changedet.ablation import worker as step
from changedet.ablation.process import StepProcesses


class StepsHere:
    """Does each step in this process and notes it; ``fails`` says why a step does not work."""

    def __init__(self) -> None:
        self.done: list[tuple[str, str]] = []
        self.fails = lambda name, job: None

    def run(self, processes: StepProcesses, name, job, *, log: Path) -> str | None:
        self.done.append((name, job.get("source") or job["folder"]))
        log.parent.mkdir(parents=True, exist_ok=True)
        log.touch()
        reason = self.fails(name, job)
        if reason is None:
            with torch.random.fork_rng():
                status = step.main([name, json.dumps(job)])
            reason = None if status == 0 else f"exit status {status}"
        return reason

    def names(self, kind: str) -> list[str]:
        return [f"{Path(p).parent.name}/{Path(p).name}" for name, p in self.done if name == kind]


@contextlib.contextmanager
def steps_here() -> Iterator[StepsHere]:
    """Let all steps of the block be done in this process."""
    here = StepsHere()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            StepProcesses, "run", lambda self, name, job, log: here.run(self, name, job, log=log)
        )
        yield here
