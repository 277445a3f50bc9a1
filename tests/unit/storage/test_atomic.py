import errno
import os
import resource
import signal
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from changedet.errors import StorageError
from changedet.storage.atomic import remove_parts, sync_folder, write_bytes, write_text
from processes import Program


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_a_written_file_holds_the_content_and_nothing_is_left_beside_it(tmp_path):
    write_text(tmp_path / "new" / "a.txt", "größer")
    assert (tmp_path / "new" / "a.txt").read_text(encoding="utf-8") == "größer"
    assert names(tmp_path / "new") == ["a.txt"]


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.bin"
    write_bytes(path, b"old")

    def fail(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageError, match=r"cannot write .*a\.bin: No space left on device; make"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a.bin"]


def test_a_real_limit_of_the_file_size_keeps_the_old_file(tmp_path):
    path = tmp_path / "a.bin"
    write_bytes(path, b"old")
    code = (
        "from pathlib import Path; from changedet.storage.atomic import write_bytes\n"
        f"write_bytes(Path({str(path)!r}), bytes(100_000))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)),
    )
    assert "StorageError" in result.stderr
    assert "File too large" in result.stderr
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a.bin"]


def test_a_folder_that_is_a_file_is_a_storage_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        write_bytes(tmp_path / "file" / "a.bin", b"")


def write_for_ever(path: str) -> None:
    """Stand in for a kill in the middle of a write."""
    sync = os.fsync

    def kill(handle: int) -> None:
        sync(handle)
        os.kill(os.getpid(), signal.SIGKILL)

    os.fsync = kill
    write_bytes(Path(path), b"half of it")


def test_what_a_kill_left_is_used_up_by_the_next_write(tmp_path):
    path = tmp_path / "a.bin"
    write_bytes(path, b"old")
    program = Program(write_for_ever, str(path), folder=tmp_path / "printed")
    assert program.wait() == -signal.SIGKILL
    assert (tmp_path / ".a.bin.part").read_bytes() == b"half of it"
    assert path.read_bytes() == b"old"
    write_bytes(path, b"new")
    assert path.read_bytes() == b"new"
    assert sorted(names(tmp_path)) == ["a.bin", "printed"]


def test_writers_of_the_same_file_at_once_do_not_meet(tmp_path):
    contents = [bytes([number]) * 100_000 for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda content: write_bytes(tmp_path / "a.bin", content), contents * 10))
    assert (tmp_path / "a.bin").read_bytes() in contents
    assert names(tmp_path) == ["a.bin"]


def test_leftovers_are_removed_and_nothing_else(tmp_path):
    for name in (".a.part", "b.part", ".c", ".d.png.12-34.part"):
        (tmp_path / name).write_text("")
    (tmp_path / ".folder.part").mkdir()
    remove_parts(tmp_path)
    remove_parts(tmp_path / "missing")
    assert sorted(names(tmp_path)) == [".c", ".folder.part", "b.part"]


def test_the_folder_of_a_renamed_file_is_synced(tmp_path, monkeypatch):
    synced: list[bool] = []
    sync = os.fsync

    def note(handle: int) -> None:
        synced.append(stat.S_ISDIR(os.fstat(handle).st_mode))
        sync(handle)

    monkeypatch.setattr(os, "fsync", note)
    write_text(tmp_path / "a.txt", "text")
    assert synced == [False, True]


def test_a_file_system_that_syncs_no_folders_is_no_error_and_a_failing_disk_is_one(
    tmp_path, monkeypatch
):
    def fail(handle: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    number = errno.EINVAL
    sync_folder(tmp_path)
    number = errno.EIO
    with pytest.raises(OSError, match="Input/output error"):
        sync_folder(tmp_path)


def test_a_name_that_is_no_utf_8_is_written_out(tmp_path):
    write_text(tmp_path / "a.txt", "b\udcff")
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "b\\udcff"
