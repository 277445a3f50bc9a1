import multiprocessing
import os
import signal
from pathlib import Path

import pytest

from changedet.errors import ConfigError, StorageError
from changedet.storage import lock
from changedet.storage.lock import LOCK, let_go, only_run, take
from processes import Program


def test_a_second_run_is_refused_and_the_folder_of_an_idle_one_goes(tmp_path: Path):
    out = tmp_path / "new" / "run"
    with only_run(out):
        assert [path.name for path in out.iterdir()] == [LOCK]
        with pytest.raises(ConfigError, match=r"another run is writing to .*run \(`out`\); wait"):
            only_run(out).__enter__()
    assert list(tmp_path.iterdir()) == []


def test_what_was_written_stays_and_the_lock_goes(tmp_path: Path):
    with only_run(tmp_path / "run"):
        (tmp_path / "run" / "result.txt").write_text("")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["result.txt"]
    with only_run(tmp_path / "run"):
        pass


def test_a_folder_is_locked_under_all_its_names(tmp_path: Path):
    (tmp_path / "run").mkdir()
    (tmp_path / "alias").symlink_to("run")
    with only_run(tmp_path / "run"), pytest.raises(ConfigError, match="another run"):
        only_run(tmp_path / "alias").__enter__()


def hold(out: str) -> None:
    with only_run(Path(out)):
        # As the loader of a training does: workers, which may outlive it.
        if os.fork() == 0:
            signal.pause()
        Path(out, "is_held").touch()
        signal.pause()


def test_a_kill_frees_the_folder_at_once_though_a_worker_lives_on(tmp_path: Path):
    program = Program(hold, str(tmp_path / "run"), folder=tmp_path / "printed")
    program.wait_until((tmp_path / "run" / "is_held").exists)
    with pytest.raises(ConfigError, match="another run"):
        only_run(tmp_path / "run").__enter__()
    program.kill()
    try:
        assert (tmp_path / "run" / LOCK).exists()
        with only_run(tmp_path / "run"):
            pass
        os.killpg(program.pid, 0)  # the worker is still there
    finally:
        os.killpg(program.pid, signal.SIGKILL)


def enter(out: Path) -> None:
    with only_run(out):
        pass


def test_a_forked_copy_does_not_take_the_lock_away(tmp_path: Path):
    run = only_run(tmp_path / "run")
    run.__enter__()
    child = os.fork()
    if child == 0:
        run.__exit__(None, None, None)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert (tmp_path / "run" / LOCK).exists()
    fresh = multiprocessing.get_context("fork").Process(target=enter, args=(tmp_path / "run",))
    fresh.start()
    fresh.join()
    assert fresh.exitcode == 1
    run.__exit__(None, None, None)
    assert list(tmp_path.iterdir()) == []


def test_a_run_may_wait_for_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    handle = take(tmp_path / LOCK)
    assert handle is not None
    monkeypatch.setattr(lock.time, "sleep", lambda _: let_go(handle))
    with only_run(tmp_path, patience_s=60.0):
        pass


def test_a_lock_that_was_replaced_meanwhile_is_taken_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    real, calls = lock._lock, []

    def replaced_at_first(handle: int) -> bool:
        calls.append(handle)
        if len(calls) == 1:
            (tmp_path / LOCK).unlink()
        return real(handle)

    monkeypatch.setattr(lock, "_lock", replaced_at_first)
    handle = take(tmp_path / LOCK)
    assert handle is not None
    assert len(calls) == 2
    assert take(tmp_path / LOCK) is None
    let_go(handle)


def test_where_there_are_no_locks_a_run_is_not_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(handle: int, how: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(lock.fcntl, "flock", refuse)
    with only_run(tmp_path / "run"):
        (tmp_path / "run" / "result.txt").write_text("")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["result.txt"]


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="file is a file; give a folder"):
        enter(tmp_path / "file")
    with pytest.raises(StorageError, match=r"cannot write to .*run \(`out`\): Not a directory"):
        enter(tmp_path / "file" / "run")
