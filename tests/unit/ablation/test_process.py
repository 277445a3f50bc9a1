"""Steps in processes of their own: failures and signals."""

import os
import signal
import sys
import threading
from pathlib import Path

import pytest

from changedet.ablation.process import StepProcesses, failure
from changedet.errors import StorageError

#: Says that it runs, then waits for a signal; SIGINT ends it at once with 130.
WAITS = """
import signal, sys, time
signal.signal(signal.SIGINT, lambda *_: sys.exit(130))
print("ready", flush=True)
time.sleep(60)
"""
STUBBORN = WAITS.replace("lambda *_: sys.exit(130)", "signal.SIG_IGN")


def program(script: str) -> StepProcesses:
    return StepProcesses((sys.executable, "-S", "-c", script))


def signal_when_ready(log: Path, *signals: int) -> threading.Thread:
    """Send signals to this process as soon as the step says that it runs."""

    def send() -> None:
        while not (log.is_file() and "ready" in log.read_text()):
            pass
        for number in signals:
            os.kill(os.getpid(), number)

    thread = threading.Thread(target=send)
    thread.start()
    return thread


def test_a_step_gets_its_job_and_what_it_writes_is_kept_behind_the_earlier(tmp_path):
    log = tmp_path / "new" / "log.txt"
    steps = program("import sys; print(sys.argv[1:])")
    assert steps.run("train", {"seed": 1}, log=log) is None
    assert steps.run("judge", {}, log=log) is None
    assert log.read_text() == "['train', '{\"seed\": 1}']\n['judge', '{}']\n"


def test_a_failed_step_says_its_last_line(tmp_path):
    steps = program("raise ValueError('no such thing')")
    reason = steps.run("train", {}, log=tmp_path / "log.txt")
    assert reason == "ValueError: no such thing"


def test_a_killed_step_is_told_from_one_that_failed():
    assert failure(-signal.SIGKILL, "") == "killed by SIGKILL, often because memory ran out"
    assert failure(-signal.SIGSEGV, "words") == "killed by SIGSEGV"
    assert failure(3, "\n \n") == "ended with exit status 3"
    assert len(failure(1, "x" * 5000)) == 300


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_reaches_the_step_as_ctrl_c_and_is_remembered(tmp_path, number):
    log = tmp_path / "log.txt"
    steps = program(WAITS)
    before = signal.getsignal(number)
    with steps.listening():
        thread = signal_when_ready(log, number)
        reason = steps.run("train", {}, log=log)
        thread.join()
    assert steps.stopped_by == number
    assert reason is not None
    assert signal.getsignal(number) is before


def test_the_third_signal_kills_a_step_that_does_not_listen(tmp_path):
    log = tmp_path / "log.txt"
    steps = program(STUBBORN)
    with steps.listening():

        def send() -> None:
            while not (log.is_file() and "ready" in log.read_text()):
                pass
            for count in (1, 2, 3):
                os.kill(os.getpid(), signal.SIGINT)
                # Signals of one number that wait together count once.
                while steps._signals < count:
                    pass

        thread = threading.Thread(target=send)
        thread.start()
        reason = steps.run("train", {}, log=log)
        thread.join()
    assert reason == "killed by SIGKILL, often because memory ran out"


def test_a_signal_between_two_steps_stops_the_next_one(tmp_path):
    steps = program("import time; time.sleep(60)")
    with steps.listening():
        os.kill(os.getpid(), signal.SIGINT)
        reason = steps.run("judge", {}, log=tmp_path / "log.txt")
    assert steps.stopped_by == signal.SIGINT
    assert reason is not None


def test_outside_of_the_main_thread_signals_are_left_alone(tmp_path):
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def work() -> None:
        with program("").listening():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]


def test_a_log_that_cannot_be_written_is_an_error_of_the_user(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match='resume with `mode="resume"`'):
        program("").run("train", {}, log=tmp_path / "file" / "log.txt")
