"""What a step of an ablation says to the process that started it."""

import json
import os
import signal
import time

import pytest

from changedet.ablation import worker as step


def test_a_mistake_within_a_step_is_one_line_and_its_exit_status(caplog, monkeypatch):
    job = {
        "folder": "x",
        "source": "baseline:diference",
        "device": "cpu",
        "label": {},
        "splits": {},
    }
    assert step.main(["judge", json.dumps(job)]) == 2
    assert "diference" in caplog.messages[-1]
    assert "\n" not in caplog.messages[-1]

    def interrupt(**job) -> int:
        raise KeyboardInterrupt

    monkeypatch.setitem(step._STEPS, "judge", interrupt)
    assert step.main(["judge", "{}"]) == 130


def test_a_step_that_has_lost_its_ablation_stops_as_on_ctrl_c(monkeypatch):
    monkeypatch.setattr(step, "_LOOK_EVERY_S", 0.01)
    parents = iter([7, 7])
    monkeypatch.setattr(os, "getppid", lambda: next(parents, 1))
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012 - the signal comes meanwhile
            step.stop_without(7)
            time.sleep(60)
    finally:
        signal.signal(signal.SIGINT, former)
