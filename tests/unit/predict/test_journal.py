import json
from pathlib import Path

import numpy as np
import pytest

from changedet.predict.journal import Journal
from changedet.raster.tile_plan import OpenRows

SETTINGS = {"model": "abc", "tiles": (256, 64), "shift": None}


def open_rows(seed: int = 0) -> OpenRows:
    rng = np.random.default_rng(seed)
    return OpenRows(12, rng.random((4, 6), dtype=np.float32))


def test_a_saved_state_is_taken_up_bit_by_bit(tmp_path: Path):
    Journal(tmp_path, SETTINGS, first_row=0).save(7, open_rows())
    journal = Journal(tmp_path, SETTINGS, first_row=0)
    assert journal.resume() == ()
    assert journal.next_row == 7
    assert journal.open_rows is not None
    assert journal.open_rows.top == 12
    np.testing.assert_array_equal(journal.open_rows.scores, open_rows().scores)


def test_other_settings_are_named_and_nothing_is_taken_up(tmp_path: Path):
    Journal(tmp_path, SETTINGS, first_row=0).save(7, open_rows())
    journal = Journal(tmp_path, {**SETTINGS, "model": "other", "aoi": 1}, first_row=2)
    assert journal.resume() == ("aoi", "model")
    assert journal.open_rows is None
    assert journal.next_row == 2


def test_without_an_earlier_run_there_is_nothing_to_take_up(tmp_path: Path):
    journal = Journal(tmp_path / "none", SETTINGS, first_row=3)
    assert journal.resume() is None
    assert (journal.next_row, journal.open_rows) == (3, None)


@pytest.mark.parametrize("damage", ["journal", "rows", "empty rows", "no rows", "foreign"])
def test_a_damaged_state_counts_as_none(tmp_path: Path, damage: str):
    Journal(tmp_path, SETTINGS, first_row=0).save(7, open_rows())
    rows = tmp_path / "open_rows_7.npy"
    if damage == "journal":
        (tmp_path / "journal.json").write_text('{"fingerprint": {')
    elif damage == "rows":
        rows.write_bytes(rows.read_bytes()[:50])
    elif damage == "empty rows":
        rows.write_bytes(b"")
    elif damage == "no rows":
        rows.unlink()
    else:
        (tmp_path / "journal.json").write_text(json.dumps([1, 2]))
    journal = Journal(tmp_path, SETTINGS, first_row=0)
    assert journal.resume() is None
    assert journal.open_rows is None


def test_only_the_newest_state_is_kept(tmp_path: Path):
    journal = Journal(tmp_path, SETTINGS, first_row=0)
    journal.save(1, open_rows(1))
    journal.save(2, open_rows(2))
    assert [path.name for path in tmp_path.glob("*.npy")] == ["open_rows_2.npy"]


def test_a_removed_state_is_none(tmp_path: Path):
    Journal(tmp_path, SETTINGS, first_row=0).save(7, open_rows())
    assert Journal.is_in(tmp_path)
    Journal.remove(tmp_path)
    assert not Journal.is_in(tmp_path)
    assert Journal(tmp_path, SETTINGS, first_row=0).resume() is None


@pytest.mark.parametrize("key", ["next_row", "top", "fingerprint", "open_rows", "sha256"])
@pytest.mark.parametrize("value", [None, 8, 10**400, "../open_rows_7.npy", [[[]]], {"model": 1}])
def test_a_state_with_a_changed_entry_is_discarded_and_that_is_said(tmp_path, key, value):
    Journal(tmp_path, SETTINGS, first_row=0).save(7, open_rows())
    record = json.loads((tmp_path / "journal.json").read_text())
    text = json.dumps({**record, key: "@"}).replace(
        '"@"', "1" + "0" * 400 if value == 10**400 else json.dumps(value)
    )
    (tmp_path / "journal.json").write_text(text)
    journal = Journal(tmp_path, SETTINGS, first_row=0)
    assert journal.resume() is None
    assert journal.open_rows is None
    assert journal.damage


def test_scores_that_changed_on_the_disk_are_not_taken_up(tmp_path):
    Journal(tmp_path, SETTINGS, first_row=0).save(7, open_rows())
    rows = tmp_path / "open_rows_7.npy"
    content = bytearray(rows.read_bytes())
    content[-5] ^= 1
    rows.write_bytes(content)
    journal = Journal(tmp_path, SETTINGS, first_row=0)
    assert journal.resume() is None
    assert journal.damage == "its checksum is another one"


def test_without_an_earlier_run_nothing_is_damaged(tmp_path):
    journal = Journal(tmp_path, SETTINGS, first_row=0)
    assert journal.resume() is None
    assert journal.damage is None
