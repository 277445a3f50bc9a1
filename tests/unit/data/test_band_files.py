"""Images that are stored as one file per band."""

from pathlib import Path

import numpy as np
import pytest

from changedet.data.band_files import find_band_files
from changedet.data.index import index_pairs
from changedet.errors import DataError
from conftest import write_raster


@pytest.mark.parametrize(
    ("names", "image", "bands"),
    [
        (["B02.tif", "B03.tif", "B8A.tif", "B12.tif"], "", ["B02", "B03", "B8A", "B12"]),
        (["T32_2020_B02_10m.jp2", "T32_2020_B11_20m.jp2"], "T32_2020", ["B02", "B11"]),
        (["LC08_SR_B4.TIF", "LC08_SR_B3.TIF", "LC08_QA.TIF"], "LC08_SR", ["B3", "B4"]),
        (["s1_VV.tif", "s1_VH.tif"], "s1", ["VH", "VV"]),
        (["a_red.tif", "a_nir.tif", "a_green.tif"], "a", ["green", "nir", "red"]),
    ],
)
def test_names_of_bands_are_recognised_and_in_natural_order(names, image, bands):
    [stack] = find_band_files(map(Path, names))

    assert stack.image == image
    assert list(stack.files) == bands


@pytest.mark.parametrize(
    "names",
    [["1.tif", "2.tif"], ["tile_B1.tif"], ["B02.png", "B03.png"], ["x.tif", "y.tif", "B1.tif"]],
)
def test_other_names_are_images_of_their_own(names):
    assert find_band_files(map(Path, names)) == []


def write_bands(folder, *names, bands=1):
    folder.mkdir(parents=True)
    for number, name in enumerate(names):
        write_raster(folder / name, np.full((16, 16, bands), number + 1, np.uint8), tiled=False)


@pytest.mark.parametrize(
    ("before", "after"),
    [("train/A", "train/B"), ("A/x", "B/x"), ("rome/imgs_1", "rome/imgs_2"), ("2019", "2020")],
)
def test_a_data_set_of_band_files_is_refused_with_the_command(tmp_path, before, after):
    names = "t_B02.tif", "t_B03.tif"
    write_bands(tmp_path / before, *names)
    write_bands(tmp_path / after, *names)

    with pytest.raises(DataError, match=r"one file per band \(B02, B03\)") as error:
        index_pairs(tmp_path)
    for folder, part in ((before, "A"), (after, "B")):
        files = " ".join(str(tmp_path / folder / name) for name in names)
        command = f"gdalbuildvrt -separate -resolution highest stacked/{part}/t.vrt {files}"
        assert command in str(error.value)


def test_images_of_several_bands_may_be_called_as_they_like(tmp_path):
    for part in ("A", "B", "label"):
        write_bands(tmp_path / part, "t_B02.tif", "t_B03.tif", bands=1 if part == "label" else 3)

    assert len(index_pairs(tmp_path, channels=None).pairs) == 2
