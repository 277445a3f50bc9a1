import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from numpy.typing import NDArray
from rio_cogeo.cogeo import cog_validate

from changedet.errors import StorageError
from changedet.raster.cog import MaskCounts, read_strips, write_mask_cog, write_score_cog
from changedet.raster.geo_grid import GeoGrid
from changedet.raster.score_store import ScoreFile

UTM = "EPSG:32632"
TRANSFORM = Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000)
PIXELS = "ignore::rasterio.errors.NotGeoreferencedWarning"
TAGS = {"CHANGEDET_MODEL": "abc <x & y>", "TIFFTAG_SOFTWARE": "changedet"}


def blobs(height: int, width: int) -> NDArray[np.float32]:
    """Smooth scores with noise, and no data in a corner that does not lie along blocks."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    noise = np.random.default_rng(5).random((height, width), np.float32)
    scores = (0.45 + 0.45 * np.sin(x / 37) * np.cos(y / 53) + 0.1 * noise).astype(np.float32)
    scores[: height // 5, width // 3 :] = np.nan
    return scores


@contextmanager
def score_file(
    folder: Path, scores: NDArray[np.float32], crs: str | None = UTM
) -> Iterator[ScoreFile]:
    transform = TRANSFORM if crs else Affine.identity()
    bands = 1 if scores.ndim == 2 else len(scores)
    grid = GeoGrid(crs, transform, *scores.shape[-2:])
    with ScoreFile.create(folder / "scores.raw", grid, bands=bands) as file:
        file.write_rows(0, scores)
        yield file
    for name in (file.path, file.path.with_name(f"{file.path.name}.hdr")):
        name.unlink()


def strict_errors(path: Path) -> tuple[list[str], list[str]]:
    _, errors, warnings = cog_validate(path, strict=True, quiet=True)
    return errors, warnings


def test_scores_are_a_valid_cog_with_every_bit_and_its_place_on_earth(tmp_path: Path):
    scores = blobs(1100, 1300)
    scores[700:760, 40:90] = -np.float32(np.nan)
    path = tmp_path / "score.tif"
    with score_file(tmp_path, scores) as file:
        write_score_cog(file, path, tags=TAGS)
    assert [found.name for found in tmp_path.iterdir()] == ["score.tif"]
    assert strict_errors(path) == ([], [])
    with rasterio.open(path) as dataset:
        assert dataset.read(1).tobytes() == scores.tobytes()
        assert dataset.crs.to_epsg() == 32632
        assert dataset.transform == TRANSFORM
        assert np.isnan(dataset.nodata)
        assert dataset.block_shapes == [(512, 512)]
        assert dataset.compression.value == "DEFLATE"
        assert dataset.tags(ns="IMAGE_STRUCTURE")["PREDICTOR"] == "3"
        assert dataset.descriptions == ("change score",)
        assert dataset.overviews(1) == [2, 4]
        assert TAGS.items() <= dataset.tags().items()


@pytest.mark.parametrize(("stated", "threads"), [("1", "1"), ("3", "3"), ("", "ALL_CPUS")])
def test_no_more_threads_compress_than_the_user_allows_and_the_files_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stated: str, threads: str
):
    asked = []
    copy = rasterio.shutil.copy

    def watched(*words: object, **options: object) -> None:
        if options["driver"] == "COG":
            asked.append(options["NUM_THREADS"])
        copy(*words, **options)

    with score_file(tmp_path, blobs(1100, 1300)) as file:
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
        write_score_cog(file, tmp_path / "one.tif", tags=TAGS)
        monkeypatch.setenv("OMP_NUM_THREADS", stated)
        monkeypatch.setattr(rasterio.shutil, "copy", watched)
        write_score_cog(file, tmp_path / "score.tif", tags=TAGS)
    assert asked == [threads]
    assert (tmp_path / "score.tif").read_bytes() == (tmp_path / "one.tif").read_bytes()


def test_overviews_of_scores_are_averages_of_the_pixels_with_data(tmp_path: Path):
    scores = blobs(1024, 1024)
    with score_file(tmp_path, scores) as file:
        write_score_cog(file, tmp_path / "score.tif", tags={})
    with rasterio.open(tmp_path / "score.tif", overview_level=0) as overview:
        small = overview.read(1)
    blocks = scores.reshape(512, 2, 512, 2).transpose(0, 2, 1, 3).reshape(512, 512, 4)
    has_data = ~np.isnan(blocks).all(-1)
    np.testing.assert_array_equal(np.isnan(small), ~has_data)
    np.testing.assert_allclose(small[has_data], np.nanmean(blocks[has_data], -1), atol=1e-6)


def test_a_mask_is_a_valid_cog_with_colours_and_exact_counts(tmp_path: Path):
    scores = blobs(1100, 1300)
    path = tmp_path / "mask.tif"
    with score_file(tmp_path, scores) as file:
        (counts,) = write_mask_cog(file, path, threshold=0.6, tags=TAGS)
    assert [found.name for found in tmp_path.iterdir()] == ["mask.tif"]
    assert strict_errors(path) == ([], [])
    no_data = np.isnan(scores)
    wanted = np.where(no_data, 255, scores >= np.float32(0.6))
    with rasterio.open(path) as dataset:
        np.testing.assert_array_equal(dataset.read(1), wanted)
        assert dataset.dtypes == ("uint8",)
        assert dataset.nodata == 255
        assert dataset.crs.to_epsg() == 32632
        assert dataset.transform == TRANSFORM
        assert dataset.overviews(1) == [2, 4]
        colours = dataset.colormap(1)
        assert colours[0][:3] == (255, 255, 255)
        assert colours[1][0] > 200 > 100 > max(colours[1][1:3])
        assert colours[255][3] == 0
        assert TAGS.items() <= dataset.tags().items()
    assert counts == MaskCounts(
        int((wanted == 1).sum()), int((wanted == 0).sum()), int(no_data.sum())
    )


def test_overviews_of_a_mask_hold_the_most_frequent_value(tmp_path: Path):
    scores = np.zeros((1024, 1024), np.float32)
    scores[0:2, 0:2] = [[1, 1], [1, 0]]
    scores[0:2, 2:4] = [[1, 0], [0, 0]]
    scores[0:2, 4:6] = [[np.nan, np.nan], [np.nan, 1]]
    scores[0:2, 6:8] = np.nan
    with score_file(tmp_path, scores) as file:
        write_mask_cog(file, tmp_path / "mask.tif", threshold=0.5, tags={})
    with rasterio.open(tmp_path / "mask.tif", overview_level=0) as overview:
        assert overview.read(1)[0, :5].tolist() == [1, 0, 1, 255, 0]


def test_a_score_that_equals_the_threshold_in_float32_is_changed(tmp_path: Path):
    third = np.float32(0.3)
    row = np.array([[np.nextafter(third, np.float32(0)), third, 1.0]], np.float32)
    with score_file(tmp_path, row) as file:
        (counts,) = write_mask_cog(file, tmp_path / "mask.tif", threshold=0.3, tags={})
    assert counts == MaskCounts(changed=2, unchanged=1, nodata=0)


@pytest.mark.filterwarnings(PIXELS)
def test_without_a_crs_the_files_have_pixel_coordinates_only(tmp_path: Path):
    with score_file(tmp_path, blobs(40, 30), crs=None) as file:
        write_score_cog(file, tmp_path / "score.tif", tags={})
        write_mask_cog(file, tmp_path / "mask.tif", threshold=0.5, tags={})
    for name in ("score.tif", "mask.tif"):
        with rasterio.open(tmp_path / name) as dataset:
            assert dataset.crs is None
            assert dataset.transform.is_identity


def test_a_scene_without_any_data_is_written_too(tmp_path: Path):
    scores = np.full((600, 530), np.nan, np.float32)
    with score_file(tmp_path, scores) as file:
        write_score_cog(file, tmp_path / "score.tif", tags={})
        (counts,) = write_mask_cog(file, tmp_path / "mask.tif", threshold=0.5, tags={})
    assert counts == MaskCounts(changed=0, unchanged=0, nodata=600 * 530)
    assert strict_errors(tmp_path / "score.tif") == ([], [])
    with rasterio.open(tmp_path / "mask.tif") as dataset:
        assert (dataset.read(1) == 255).all()


def test_a_relative_path_and_a_folder_with_odd_characters_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path / "über #1 {a},b&c"
    folder.mkdir()
    monkeypatch.chdir(folder)
    with score_file(Path(), blobs(20, 30)) as file:
        write_score_cog(file, Path("score.tif"), tags={})
        write_mask_cog(file, Path("mask.tif"), threshold=0.5, tags={})
    assert sorted(path.name for path in folder.iterdir()) == ["mask.tif", "score.tif"]


def test_the_callers_gdal_settings_do_not_hide_the_header(tmp_path: Path):
    with (
        rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"),
        score_file(tmp_path, blobs(20, 30)) as file,
    ):
        write_score_cog(file, tmp_path / "score.tif", tags={})
    assert (tmp_path / "score.tif").is_file()


def test_what_a_killed_run_left_is_cleared_away_and_the_old_file_replaced(tmp_path: Path):
    path = tmp_path / "score.tif"
    path.write_bytes(b"old")
    (tmp_path / ".score.tif.part").mkdir()
    (tmp_path / ".score.tif.part" / "score.tif").write_bytes(b"half")
    with score_file(tmp_path, blobs(20, 30)) as file:
        write_score_cog(file, path, tags={})
    assert [found.name for found in tmp_path.iterdir()] == ["score.tif"]
    with rasterio.open(path) as dataset:
        assert dataset.shape == (20, 30)


@pytest.mark.parametrize("max_pixels", [1, 70, 1_000_000])
def test_strips_put_together_are_the_scene(tmp_path: Path, max_pixels: int):
    scores = blobs(23, 30)
    with score_file(tmp_path, scores) as file:
        strips = list(read_strips(file, max_pixels=max_pixels))
    ends = np.cumsum([rows.shape[1] for _, rows in strips])
    assert [top for top, _ in strips] == [0, *ends[:-1]]
    assert all(rows.size <= max(max_pixels, 30) for _, rows in strips)
    np.testing.assert_array_equal(np.concatenate([rows for _, rows in strips], axis=1), [scores])


def test_strips_of_several_bands_put_together_are_the_scene(tmp_path: Path):
    scores = np.stack([blobs(23, 30), blobs(23, 30)[::-1], blobs(23, 30)[:, ::-1]])
    with score_file(tmp_path, scores) as file:
        strips = list(read_strips(file, max_pixels=500))
    assert len(strips) > 3
    assert all(rows.size <= 500 for _, rows in strips)
    np.testing.assert_array_equal(np.concatenate([rows for _, rows in strips], axis=1), scores)


def test_every_band_of_several_is_what_a_file_of_its_own_would_hold(tmp_path: Path):
    first = blobs(700, 1300)
    scores = np.stack([first, first[::-1], first[:, ::-1]])
    together, alone = tmp_path / "together", tmp_path / "alone"
    with score_file(tmp_path, scores) as file:
        write_score_cog(file, together / "score.tif", tags=TAGS)
        counts = write_mask_cog(file, together / "mask.tif", threshold=0.6, tags=TAGS)
    assert strict_errors(together / "score.tif") == ([], [])
    assert strict_errors(together / "mask.tif") == ([], [])
    for number, band in enumerate(scores, 1):
        with score_file(tmp_path, band) as file:
            write_score_cog(file, alone / "score.tif", tags=TAGS)
            expected = write_mask_cog(file, alone / "mask.tif", threshold=0.6, tags=TAGS)
        assert expected == counts[number - 1 : number]
        for name in ("score.tif", "mask.tif"):
            for level in ({}, {"overview_level": 0}, {"overview_level": 1}):
                with (
                    rasterio.open(together / name, **level) as several,
                    rasterio.open(alone / name, **level) as one,
                ):
                    assert several.count == 3
                    assert several.read(number).tobytes() == one.read(1).tobytes()
                    assert several.nodatavals[number - 1] == pytest.approx(one.nodata, nan_ok=True)
                    assert several.tags().items() >= TAGS.items()


def write_both(file: ScoreFile, folder: Path) -> list[str]:
    with pytest.raises(StorageError) as score_error:
        write_score_cog(file, folder / "score.tif", tags={})
    with pytest.raises(StorageError) as mask_error:
        write_mask_cog(file, folder / "mask.tif", threshold=0.5, tags={})
    messages = [str(score_error.value), str(mask_error.value)]
    assert all("make room or choose another folder" in text.lower() for text in messages)
    assert not any("\n" in text for text in messages)
    return messages


def test_a_nearly_full_disk_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out = tmp_path / "out"
    with score_file(tmp_path, np.zeros((1000, 1000), np.float32)) as file:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
        score, mask = write_both(file, out)
    assert "cannot write" in score
    assert "score.tif: it takes about 2.8 MB and 0.0 MB are free; make room or" in score
    assert "mask.tif: it takes about " in mask
    assert "disk full" not in score + mask
    assert list(out.iterdir()) == []


def test_a_file_that_reads_back_differently_never_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    copy = rasterio.shutil.copy

    def lose_a_block(source: str, product: str, **options: object) -> None:
        copy(source, product, **options)
        if options["driver"] == "COG":
            with rasterio.open(product, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as dataset:
                dataset.write(np.ones((1, 1), dataset.dtypes[0]), 1, window=((699, 700), (9, 10)))

    with score_file(tmp_path, np.zeros((700, 600), np.float32)) as file:
        monkeypatch.setattr(rasterio.shutil, "copy", lose_a_block)
        for message in write_both(file, tmp_path / "out"):
            assert "does not contain what was written to it; is the disk full?" in message
    assert list((tmp_path / "out").iterdir()) == []


def test_a_folder_in_the_place_of_the_file_is_a_storage_error(tmp_path: Path):
    (tmp_path / "score.tif").mkdir()
    with (
        score_file(tmp_path, blobs(20, 30)) as file,
        pytest.raises(StorageError, match=r"score\.tif"),
    ):
        write_score_cog(file, tmp_path / "score.tif", tags={})
    assert [found.name for found in tmp_path.iterdir()] == ["score.tif"]


def test_a_full_disk_is_suspected_only_where_it_may_be_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "file").write_bytes(b"")
    with score_file(tmp_path, blobs(20, 30)) as file:
        with pytest.raises(StorageError, match="Not a directory; check the folder or choose an"):
            write_score_cog(file, tmp_path / "file" / "score.tif", tags={})
        # The same from GDAL, which has only words for it.
        kept = file.path.rename(tmp_path / "moved")
        with pytest.raises(StorageError, match=r"No such file.*; check the folder or choose an"):
            write_mask_cog(file, tmp_path / "mask.tif", threshold=0.5, tags={})
        kept.rename(file.path)
        full = OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
        monkeypatch.setattr(os, "fsync", Mock(side_effect=full))
        with pytest.raises(StorageError, match="quota exceeded; make room or choose another"):
            write_score_cog(file, tmp_path / "score.tif", tags={})


FULL = """
import resource, signal, sys
from pathlib import Path
from affine import Affine
from changedet.errors import StorageError
from changedet.raster.cog import write_mask_cog, write_score_cog
from changedet.raster.geo_grid import GeoGrid
from changedet.raster.score_store import ScoreFile

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
folder = Path(sys.argv[1])
grid = GeoGrid("EPSG:32632", Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000), 1024, 1024)
file = ScoreFile.open(folder / "scores.raw", grid)
for limit in map(int, sys.argv[2:]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        write_score_cog(file, folder / "out" / "score.tif", tags={})
    except StorageError as error:
        print(error)
    try:
        write_mask_cog(file, folder / "out" / "mask.tif", threshold=0.5, tags={})
    except StorageError as error:
        print(error)
    assert list((folder / "out").iterdir()) == []
"""


def test_a_full_disk_is_found_out_wherever_writing_stops(tmp_path: Path):
    scores = np.random.default_rng(7).random((1024, 1024), np.float32)
    with score_file(tmp_path, scores) as file:
        write_mask_cog(file, tmp_path / "mask.tif", threshold=0.5, tags={})
        size = (tmp_path / "mask.tif").stat().st_size
        # From the first bytes, over the temporary files, to the very last bytes of the product.
        limits = [100, 3000, size // 4, size // 2, size - 10_000, size - 1]
        command = [sys.executable, "-c", FULL, str(tmp_path), *map(str, limits)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 2 * len(limits)
    assert all(line.startswith("cannot write ") for line in lines)
    assert all(
        line.lower().endswith("make room or choose another folder, then run the command again")
        for line in lines
    )
