from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from changedet.errors import ImageError
from changedet.raster.georeference import read_georeference

WEB_MERCATOR = (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 3857)
PIXEL_IS_AREA_ONLY = (1, 1, 0, 1, 1025, 0, 1, 1)


def write_tiff(
    path: Path,
    *,
    keys: tuple[int, ...] | None = WEB_MERCATOR,
    pixel_m: float = 0.5,
    origin: float = 100.0,
    **options: object,
) -> Path:
    tags = ImageFileDirectory_v2()
    tags.tagtype[33550] = tags.tagtype[33922] = 12
    tags[33550] = (pixel_m, pixel_m, 0.0)
    tags[33922] = (0.0, 0.0, 0.0, origin, 200.0, 0.0)
    if keys is not None:
        tags.tagtype[34735] = 3
        tags[34735] = keys
    Image.fromarray(np.zeros((8, 8, 3), dtype=np.uint8)).save(path, tiffinfo=tags, **options)
    return path


def test_files_on_one_grid_have_equal_tags(tmp_path: Path):
    first = read_georeference(write_tiff(tmp_path / "a.tif"))
    second = read_georeference(write_tiff(tmp_path / "b.tif", compression="tiff_lzw"))
    assert first is not None
    assert first == second


@pytest.mark.parametrize("change", [{"pixel_m": 0.6}, {"origin": 100.5}])
def test_another_pixel_size_or_origin_makes_a_difference(tmp_path: Path, change: dict[str, float]):
    here = read_georeference(write_tiff(tmp_path / "a.tif"))
    assert here != read_georeference(write_tiff(tmp_path / "b.tif", **change))


@pytest.mark.parametrize("keys", [None, PIXEL_IS_AREA_ONLY])
def test_a_raster_without_a_crs_counts_as_not_georeferenced(tmp_path: Path, keys):
    assert read_georeference(write_tiff(tmp_path / "a.tif", keys=keys)) is None


def test_big_tiff_is_read_too(tmp_path: Path):
    assert read_georeference(write_tiff(tmp_path / "a.tif", big_tiff=True)) is not None


def test_other_formats_have_no_georeference_whatever_they_are_called(tmp_path: Path):
    path = tmp_path / "really_a_png.tif"
    Image.fromarray(np.zeros((8, 8), dtype=np.uint8)).save(path, format="PNG")
    assert read_georeference(path) is None


def test_a_tiff_cut_short_is_named(tmp_path: Path):
    path = write_tiff(tmp_path / "a.tif")
    path.write_bytes(path.read_bytes()[:9])
    with pytest.raises(ImageError, match=r"a\.tif: the TIFF's tags cannot be read"):
        read_georeference(path)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(ImageError, match=r"gone\.tif"):
        read_georeference(tmp_path / "gone.tif")
