import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray

from changedet.errors import DataError, StorageError
from changedet.raster.geo_grid import GeoGrid
from changedet.raster.score_store import ScoreFile, describe_size

GRID = GeoGrid("EPSG:32632", Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000), 12, 7)


def random_scores(grid: GeoGrid = GRID) -> NDArray[np.float32]:
    scores = np.random.default_rng(3).random(grid.shape, np.float32)
    scores[2, 1:4] = np.nan
    return scores


def test_rows_written_in_any_order_read_back_bit_by_bit(tmp_path: Path):
    scores = random_scores()
    with ScoreFile.create(tmp_path / "scores.raw", GRID) as file:
        for top in (8, 0, 4):
            file.write_rows(top, scores[top : top + 4])
        np.testing.assert_array_equal(file.read_rows(0, 12), [scores])
        np.testing.assert_array_equal(file.read_rows(5, 3), [scores[5:8]])
        assert file.read_rows(12, 0).shape == (1, 0, 7)
        file.write_rows(12, scores[:0])


def test_scores_of_another_type_or_layout_are_converted(tmp_path: Path):
    scores = random_scores()
    with ScoreFile.create(tmp_path / "scores.raw", GRID) as file:
        file.write_rows(0, scores.astype(">f8")[:, ::-1])
        np.testing.assert_array_equal(file.read_rows(0, 12), [scores[:, ::-1]])


def test_a_file_opened_again_holds_what_was_synced_and_takes_more(tmp_path: Path):
    scores = random_scores()
    path = tmp_path / "scores.raw"
    with ScoreFile.create(path, GRID) as file:
        file.write_rows(0, scores[:5])
        file.sync()
    with ScoreFile.open(path, GRID) as file:
        np.testing.assert_array_equal(file.read_rows(0, 5), [scores[:5]])
        assert not file.read_rows(5, 7).any(), "rows never written are 0"
        file.write_rows(5, scores[5:])
        np.testing.assert_array_equal(file.read_rows(0, 12), [scores])


def test_every_band_of_several_holds_what_a_file_of_its_own_would(tmp_path: Path):
    scores = np.random.default_rng(4).random((3, *GRID.shape), np.float32)
    path = tmp_path / "scores.raw"
    with ScoreFile.create(path, GRID, bands=3) as file:
        for top in (8, 0):
            file.write_rows(top, scores[:, top : top + 4])
        file.sync()
    with ScoreFile.open(path, GRID, bands=3) as file:
        assert not file.read_rows(4, 4).any(), "rows never written are 0"
        file.write_rows(4, scores[:, 4:8])
        np.testing.assert_array_equal(file.read_rows(3, 7), scores[:, 3:10])
    single = []
    for number, band in enumerate(scores):
        with ScoreFile.create(tmp_path / f"{number}.raw", GRID) as one:
            one.write_rows(0, band)
        single.append((tmp_path / f"{number}.raw").read_bytes())
    assert path.read_bytes() == b"".join(single)


def test_a_file_of_another_number_of_bands_is_refused(tmp_path: Path):
    path = tmp_path / "scores.raw"
    ScoreFile.create(path, GeoGrid(None, Affine.identity(), 36, 7)).close()
    with pytest.raises(DataError, match="does not contain 12x7 scores in 3 bands; remove"):
        ScoreFile.open(path, GRID, bands=3)


@pytest.mark.parametrize("shape", [(2, 7), (1, 2, 7), (2, 3, 7)])
def test_rows_of_another_number_of_bands_are_refused(tmp_path: Path, shape: tuple[int, ...]):
    with (
        ScoreFile.create(tmp_path / "scores.raw", GRID, bands=3) as file,
        pytest.raises(ValueError, match=r"3 band\(s\), got"),
    ):
        file.write_rows(0, np.zeros(shape, np.float32))


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_gdal_reads_several_bands_by_the_header(tmp_path: Path):
    scores = np.random.default_rng(4).random((3, *GRID.shape), np.float32)
    with ScoreFile.create(tmp_path / "scores.raw", GRID, bands=3) as file:
        file.write_rows(0, scores)
    with rasterio.open(tmp_path / "scores.raw") as dataset:
        np.testing.assert_array_equal(dataset.read(), scores)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_gdal_reads_the_file_by_its_header(tmp_path: Path):
    scores = random_scores()
    with ScoreFile.create(tmp_path / "scores.raw", GRID) as file:
        file.write_rows(0, scores)
    with rasterio.open(tmp_path / "scores.raw") as dataset:
        assert dataset.driver == "ENVI"
        assert dataset.dtypes == ("float32",)
        assert np.isnan(dataset.nodata)
        np.testing.assert_array_equal(dataset.read(1), scores)


def test_a_new_file_replaces_an_older_one_completely(tmp_path: Path):
    path = tmp_path / "scores.raw"
    path.write_bytes(b"\xff" * 5000)
    with ScoreFile.create(path, GRID) as file:
        assert not file.read_rows(0, 12).any()
    assert path.stat().st_size == 12 * 7 * 4


def test_room_for_all_scores_is_taken_at_once(tmp_path: Path):
    with ScoreFile.create(tmp_path / "scores.raw", GeoGrid(None, Affine.identity(), 512, 512)):
        assert (tmp_path / "scores.raw").stat().st_blocks * 512 >= 512 * 512 * 4


@pytest.mark.parametrize("content", [b"", b"\0" * (12 * 7 * 4 - 1), b"\0" * (12 * 7 * 4 + 4)])
def test_a_file_of_another_size_is_refused(tmp_path: Path, content: bytes):
    path = tmp_path / "scores.raw"
    ScoreFile.create(path, GRID).close()
    path.write_bytes(content)
    with pytest.raises(DataError, match="does not contain 12x7 scores; remove"):
        ScoreFile.open(path, GRID)


def test_a_file_of_another_shape_and_the_same_size_is_refused(tmp_path: Path):
    path = tmp_path / "scores.raw"
    ScoreFile.create(path, GRID).close()
    with pytest.raises(DataError, match="does not contain 7x12 scores"):
        ScoreFile.open(path, GeoGrid(None, Affine.identity(), 7, 12))


@pytest.mark.parametrize("lost", ["scores.raw", "scores.raw.hdr"])
def test_a_lost_file_is_named(tmp_path: Path, lost: str):
    path = tmp_path / "scores.raw"
    ScoreFile.create(path, GRID).close()
    (tmp_path / lost).unlink()
    with pytest.raises(DataError, match=r"scores\.raw: No such file or directory; remove"):
        ScoreFile.open(path, GRID)


@pytest.mark.parametrize(("top", "count"), [(-1, 2), (11, 2), (0, 13)])
def test_rows_outside_the_grid_are_refused(tmp_path: Path, top: int, count: int):
    with ScoreFile.create(tmp_path / "scores.raw", GRID) as file:
        with pytest.raises(ValueError, match="do not lie inside a grid of 12 rows"):
            file.read_rows(top, count)
        with pytest.raises(ValueError, match="do not lie inside a grid of 12 rows"):
            file.write_rows(top, np.zeros((count, 7), np.float32))


def test_rows_of_another_width_are_refused(tmp_path: Path):
    with (
        ScoreFile.create(tmp_path / "scores.raw", GRID) as file,
        pytest.raises(ValueError, match="must have 7 columns"),
    ):
        file.write_rows(0, np.zeros((2, 6), np.float32))


def test_a_file_cut_short_behind_our_back_is_a_storage_error(tmp_path: Path):
    path = tmp_path / "scores.raw"
    with ScoreFile.create(path, GRID) as file:
        os.truncate(path, 40)
        with pytest.raises(StorageError, match=r"scores\.raw: the file is shorter than it was"):
            file.read_rows(0, 12)


def test_a_missing_folder_is_a_storage_error(tmp_path: Path):
    with pytest.raises(StorageError, match="No such file or directory; make room"):
        ScoreFile.create(tmp_path / "none" / "scores.raw", GRID)


def test_a_header_that_cannot_be_written_leaves_nothing(tmp_path: Path):
    (tmp_path / "scores.raw.hdr").mkdir()
    with pytest.raises(StorageError, match=r"scores\.raw\.hdr"):
        ScoreFile.create(tmp_path / "scores.raw", GRID)
    assert [path.name for path in tmp_path.iterdir()] == ["scores.raw.hdr"]


def test_a_disk_that_cannot_reserve_room_is_used_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "not supported")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with ScoreFile.create(tmp_path / "scores.raw", GRID) as file:
        file.write_rows(0, random_scores())
        np.testing.assert_array_equal(file.read_rows(0, 12), [random_scores()])


def test_no_room_for_all_scores_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", fail)
    with pytest.raises(StorageError, match=r"cannot reserve 0.0 MB for .*: No space"):
        ScoreFile.create(tmp_path / "scores.raw", GRID)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_rows_for_which_there_is_no_room_are_a_storage_error():
    path = Path("/dev/full")
    with (
        ScoreFile(path, GRID, path.open("r+b", buffering=0)) as file,
        pytest.raises(StorageError, match="No space left on device; make room"),
    ):
        file.write_rows(0, random_scores())


FULL = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from affine import Affine
from changedet.errors import StorageError
from changedet.raster.geo_grid import GeoGrid
from changedet.raster.score_store import ScoreFile, describe_size

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
path, when = Path(sys.argv[1]), sys.argv[2]
grid = GeoGrid(None, Affine.identity(), 100, 100)
if when == "writing":
    file = ScoreFile.create(path, grid)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    if when == "creating":
        ScoreFile.create(path, grid)
    else:
        file.write_rows(0, np.ones((100, 100), np.float32))
except StorageError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("when", "said"), [("creating", "cannot reserve 0.0 MB"), ("writing", "cannot write")]
)
def test_a_full_disk_is_one_line_that_says_what_to_do(tmp_path: Path, when: str, said: str):
    command = [sys.executable, "-c", FULL, str(tmp_path / "scores.raw"), when]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert output.count("\n") == 1
    assert said in output
    assert "File too large; make room or choose another folder" in output
    assert when == "writing" or list(tmp_path.iterdir()) == []


def test_a_failed_sync_is_a_storage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with ScoreFile.create(tmp_path / "scores.raw", GRID) as file:
        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(StorageError, match="No space left on device; make room"):
            file.sync()


def test_threads_do_not_disturb_each_other(tmp_path: Path):
    grid = GeoGrid(None, Affine.identity(), 64, 300)
    scores = random_scores(grid)
    with ScoreFile.create(tmp_path / "scores.raw", grid) as file:

        def write_and_read(top: int) -> None:
            for row in range(top, 64, 4):
                file.write_rows(row, scores[row : row + 1])
                read.append((row, file.read_rows(row, 1)))

        read: list[tuple[int, NDArray[np.float32]]] = []
        threads = [threading.Thread(target=write_and_read, args=(top,)) for top in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(read) == 64
        for row, values in read:
            np.testing.assert_array_equal(values[0, 0], scores[row])
        np.testing.assert_array_equal(file.read_rows(0, 64), [scores])


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0.0 MB"), (1_250_000, "1.2 MB"), (8e8, "800.0 MB"), (3.26e9, "3.3 GB")]
)
def test_sizes_are_in_units_that_show_them(size: float, text: str):
    assert describe_size(size) == text
