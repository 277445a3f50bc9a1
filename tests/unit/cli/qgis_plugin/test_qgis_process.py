"""How the QGIS plugin runs and ends the command."""

import os
import sys
import time
from pathlib import Path

import pytest

from changedet_qgis.process import run_command

PROGRAM = """
import pathlib, signal, sys, time
here = pathlib.Path(sys.argv[1])
def end(number, frame):
    (here / "ended").write_text("cleanly")
    sys.exit(143)
signal.signal(signal.SIGTERM, end)
print("begun", flush=True)
time.sleep(60)
"""
# A wrapper that starts the command and does not pass signals on.
WRAPPER = "import subprocess, sys; subprocess.run([sys.executable, '-c', *sys.argv[1:]])"


def run(*words: object, hear=lambda text: None, is_cancelled=lambda: False):
    return run_command(
        [sys.executable, "-c", *map(str, words)],
        environment=os.environ,
        hear=hear,
        is_cancelled=is_cancelled,
    )


def test_lines_of_both_streams_and_words_of_any_kind_arrive():
    code = "import sys; print(sys.argv[1:]); print('größer', file=sys.stderr); sys.exit(3)"
    heard: list[str] = []
    words = ["a b", "$HOME", 'q"q', r"C:\x\n", "*", "é"]
    ended = run(code, *words, hear=heard.append)
    assert (ended.code, ended.cancelled) == (3, False)
    assert sorted(text.strip() for text in heard) == sorted([str(words), "größer"])


def test_lines_arrive_while_the_command_runs():
    code = "import time; print('first', flush=True); time.sleep(120)"
    heard: list[str] = []
    begin = time.monotonic()
    ended = run(code, hear=heard.append, is_cancelled=lambda: bool(heard))
    assert heard == ["first" + os.linesep]
    assert ended.cancelled
    assert time.monotonic() - begin < 90


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
@pytest.mark.parametrize("words", [(PROGRAM,), (WRAPPER, PROGRAM)], ids=["plain", "wrapped"])
def test_a_cancelled_command_may_clean_up(tmp_path: Path, words):
    heard: list[str] = []
    ended = run(*words, tmp_path, hear=heard.append, is_cancelled=lambda: bool(heard))
    assert ended.cancelled
    deadline = time.monotonic() + 60
    while not (tmp_path / "ended").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
def test_a_command_does_not_outlive_an_exception(tmp_path: Path):
    def fail(text: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(PROGRAM, tmp_path, hear=fail)
    assert (tmp_path / "ended").read_text() == "cleanly"


def test_what_the_command_leaves_behind_does_not_hold_qgis_up(tmp_path: Path):
    code = (
        "import subprocess, sys; "
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); print('done')"
    )
    heard: list[str] = []
    begin = time.monotonic()
    assert run(code, hear=heard.append).code == 0
    assert time.monotonic() - begin < 45
    assert [text.strip() for text in heard] == ["done"]


def test_a_command_that_cannot_be_started_is_an_error(tmp_path: Path):
    with pytest.raises(OSError, match="No such file"):
        run_command(
            [str(tmp_path / "none")], environment={}, hear=print, is_cancelled=lambda: False
        )
