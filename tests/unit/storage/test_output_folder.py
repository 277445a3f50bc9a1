import contextlib
from pathlib import Path

import pytest

from changedet.errors import ConfigError, DataError, StorageError
from changedet.storage.output_folder import (
    Existing,
    claimed,
    content_of,
    half_made,
    is_half_made,
    result_folder,
)


def write_results(out: Path, text: str, existing: Existing = "refuse") -> None:
    with (
        claimed(out, marker="done.json", existing=existing),
        result_folder(out, marker="done.json") as folder,
    ):
        assert not (out / "value.txt").exists() or (out / "value.txt").read_text() != text
        (folder / "value.txt").write_text(text)
        (folder / "inner").mkdir()
        (folder / "inner" / "more.txt").write_text(text)
        (folder / "done.json").write_text("{}")


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


RESULT = ["done.json", "inner", "inner/more.txt", "value.txt"]


def test_a_new_folder_appears_with_its_parents(tmp_path: Path):
    write_results(tmp_path / "a" / "b", "one")
    assert names(tmp_path / "a") == ["b", *(f"b/{name}" for name in RESULT)]


def test_an_empty_folder_is_filled_in_place(tmp_path: Path):
    out = tmp_path / "out"
    out.mkdir()
    inode = out.stat().st_ino
    write_results(out, "one")
    assert names(out) == RESULT
    assert out.stat().st_ino == inode


def test_the_current_folder_can_be_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    write_results(Path(), "one")
    assert names(tmp_path) == RESULT


def test_an_earlier_result_is_replaced_as_a_whole(tmp_path: Path):
    out = tmp_path / "out"
    write_results(out, "one")
    (out / "inner" / "old.txt").write_text("old")
    write_results(out, "two", existing="replace")
    assert names(out) == RESULT
    assert (out / "value.txt").read_text() == "two"


def test_the_users_own_files_stay(tmp_path: Path):
    out = tmp_path / "out"
    write_results(out, "one")
    (out / "notes.txt").write_text("mine")
    write_results(out, "two", existing="replace")
    assert names(out) == sorted([*RESULT, "notes.txt"])


def test_an_error_leaves_an_earlier_result_untouched(tmp_path: Path):
    out = tmp_path / "out"
    write_results(out, "one")

    def fail() -> None:
        with (
            claimed(out, marker="done.json", existing="replace"),
            result_folder(out, marker="done.json") as folder,
        ):
            (folder / "value.txt").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert names(out) == RESULT
    assert (out / "value.txt").read_text() == "one"


@pytest.mark.parametrize("existing", ["refuse", "replace"])
def test_a_folder_of_other_files_is_never_touched(tmp_path: Path, existing: Existing):
    (tmp_path / "thesis.doc").write_text("years of work")
    with pytest.raises(ConfigError, match=r"contains other files \(no done\.json among them\)"):
        write_results(tmp_path, "one", existing)
    assert names(tmp_path) == ["thesis.doc"]


def test_an_earlier_result_is_refused_unless_told(tmp_path: Path):
    write_results(tmp_path / "out", "one")
    with pytest.raises(
        ConfigError, match=r"contains the results of another run.*`existing=.replace.`"
    ):
        write_results(tmp_path / "out", "two")


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path: Path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(ConfigError, match=r"out is a file; give a folder"):
        write_results(tmp_path / "out", "one")


def test_the_content_of_a_folder_is_told_before_it_is_touched(tmp_path: Path):
    out = tmp_path / "out"
    assert content_of(out) == []
    assert not out.exists()
    (out / ".out.1.part").mkdir(parents=True)
    assert content_of(out) == []
    for name in ("b.txt", "a.txt", ".hidden"):
        (out / name).write_text("")
    assert [path.name for path in content_of(out)] == [".hidden", "a.txt", "b.txt"]
    with pytest.raises(DataError, match=r"a\.txt is a file; give a folder"):
        content_of(out / "a.txt", error=DataError)


def test_what_a_killed_run_left_behind_does_not_stand_in_the_way(tmp_path: Path):
    out = tmp_path / "out"
    (out / ".out.1.part").mkdir(parents=True)
    (out / ".out.1.part" / "half.png").write_text("half")
    write_results(out, "one")
    assert names(out) == RESULT


def test_a_place_that_cannot_be_written_is_an_error_of_storage(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match=r"cannot write to .*out "):
        write_results(tmp_path / "file" / "out", "one")


def test_the_folder_is_kept_from_other_runs_from_the_first_look_on(tmp_path: Path):
    out = tmp_path / "out"
    with (
        claimed(out, marker="done.json", existing="refuse"),
        pytest.raises(ConfigError, match=r"another run is writing to .*out "),
    ):
        write_results(out, "two")
    assert not out.exists()


@pytest.mark.parametrize("moved", range(5))
@pytest.mark.parametrize("earlier", ["one", None])
def test_a_kill_while_results_are_moved_is_made_good_by_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, earlier: str | None, moved: int
):
    out = tmp_path / "out"
    if earlier is not None:
        write_results(out, earlier)
    rename, done = Path.rename, []

    def fail_late(path: Path, target: Path) -> Path:
        done.append(path)
        if len(done) > moved:
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fail_late)
    # Six moves: the old marker, folder and file aside, the new ones in; three without old ones.
    with contextlib.suppress(KeyboardInterrupt):
        write_results(out, "two", existing="replace")
    monkeypatch.undo()
    with pytest.raises(ConfigError, match="results of another run"):
        write_results(out, "three")
    assert names(out) == RESULT
    assert (out / "value.txt").read_text() == (out / "inner" / "more.txt").read_text() == "two"


def test_a_half_made_folder_is_known_until_it_is_whole(tmp_path: Path):
    def fail() -> None:
        with half_made(tmp_path):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert is_half_made(tmp_path)
    assert content_of(tmp_path) == []
    with half_made(tmp_path):
        pass
    assert not is_half_made(tmp_path)
    assert names(tmp_path) == []
