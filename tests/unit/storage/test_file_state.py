import os

import pytest

from changedet.storage.file_state import file_state


@pytest.mark.parametrize("size", [0, 1, 65_536, 70_000, 1_048_576, 5_000_000])
def test_another_byte_at_either_end_is_another_state_and_the_same_bytes_are_not(tmp_path, size):
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(size))
    state = file_state(path)
    assert state is not None
    assert state == file_state(path)
    for place in {0, size - 1} if size else ():
        with path.open("r+b") as file:
            file.seek(place)
            file.write(b"x")
        os.utime(path, ns=(state.changed_ns, state.changed_ns))
        again = file_state(path)
        assert again[:2] == state[:2]
        assert again.sample != state.sample


def test_every_byte_of_a_small_file_is_seen(tmp_path):
    path = tmp_path / "a.bin"
    found = set()
    for place in range(0, 1_000_000, 99_991):
        path.write_bytes(bytes(place) + b"x" + bytes(999_999 - place))
        found.add(file_state(path).sample)
    assert len(found) == 11


def test_a_file_that_is_not_there_has_no_state(tmp_path):
    assert file_state(tmp_path / "a.bin") is None
    assert file_state(tmp_path) is None
