import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from PIL import Image

from changedet.errors import ConfigError, DataError, ImageError
from changedet.raster.bands import choose_bands
from changedet.raster.open import is_same_source, open_raster
from changedet.raster.open_errors import is_raster_folder
from changedet.raster.sidecars import place_files, world_file_of

PIXELS = np.ones((1, 20, 30), np.uint8)


@pytest.fixture
def stack(tmp_path: Path) -> str:
    path = tmp_path / "stack.tif"
    pages = [Image.fromarray(np.full((20, 30), value, np.uint8)) for value in (1, 2, 3)]
    pages[0].save(path, save_all=True, append_images=pages[1:])
    return str(path)


@pytest.fixture
def layers(tmp_path: Path, write_raster: Callable[..., str]) -> str:
    bands = np.stack([np.full((20, 30), value, np.float32) for value in (1, 2)])
    path = tmp_path / "layers.nc"
    rasterio.shutil.copy(write_raster("bands.tif", bands), str(path), driver="netCDF")
    return str(path)


@pytest.mark.parametrize(("page", "value"), [("", 1), ("#1", 1), ("#2", 2), ("#3", 3)])
def test_a_page_of_a_tiff_is_picked_by_its_number(stack: str, page: str, value: int):
    with open_raster(f"{stack}{page}") as raster:
        assert (raster.read(1) == value).all()


@pytest.mark.parametrize(("layer", "value"), [("#1", 1), ("#2", 2), ("#Band2", 2)])
def test_a_layer_of_netcdf_is_picked_by_number_or_name(layers: str, layer: str, value: int):
    with open_raster(f"{layers}{layer}") as raster:
        assert (raster.read(1) == value).all()


def test_an_image_that_is_not_in_the_file_is_refused_with_those_that_are(stack: str, layers: str):
    with pytest.raises(ImageError, match=r"has no image '4'; it holds 3: .*tif#1 to .*tif#3"):
        open_raster(f"{stack}#4")
    with pytest.raises(ImageError, match=r"has no image 'red'; it holds .*nc#1 \(.*:Band1\)"):
        open_raster(f"{layers}#red")
    with pytest.raises(ImageError, match="has no layer 'red'; it holds those that gdalinfo lists"):
        open_raster(f'NETCDF:"{layers}":red')
    with pytest.raises(ImageError, match=r"no bands of its own; use one of its layers.*nc#1 \("):
        open_raster(layers)


def test_a_mark_in_the_name_of_a_file_is_no_page(write_raster: Callable[..., str]):
    with open_raster(write_raster("tile#2", PIXELS)) as raster:
        assert raster.count == 1
    with pytest.raises(ImageError, match=r"gone\.tif#2: no such file"):
        open_raster("gone.tif#2")


def test_one_file_is_told_from_another_by_any_name(tmp_path: Path, stack: str):
    link = tmp_path / "link.tif"
    link.symlink_to(stack)
    assert is_same_source(stack, str(link))
    assert is_same_source(stack, f"{link}#1")
    assert is_same_source(f"{stack}#2", f"{link}#2")
    assert not is_same_source(stack, f"{link}#2")
    assert not is_same_source(stack, str(tmp_path / "gone.tif"))


def test_a_mosaic_whose_source_is_gone_is_not_called_damaged(
    tmp_path: Path, write_raster: Callable[..., str]
):
    source = write_raster("source.tif", PIXELS)
    mosaic = tmp_path / "mosaic.vrt"
    rasterio.shutil.copy(source, str(mosaic), driver="VRT")
    open_raster(str(mosaic)).close()
    Path(source).unlink()
    with pytest.raises(ImageError, match=r"mosaic\.vrt: refers to .*source\.tif, which is not th"):
        open_raster(str(mosaic))


def test_archives_and_product_folders_are_told_what_to_give(
    tmp_path: Path, write_raster: Callable[..., str]
):
    archive = tmp_path / "both.zip"
    with zipfile.ZipFile(archive, "w") as written:
        written.write(write_raster("a.tif", PIXELS), "deep/a.tif")
        written.writestr("readme.txt", "")
    with pytest.raises(
        ImageError, match=r"is an archive.*: (/vsizip/\S*both\.zip/deep/a\.tif)"
    ) as no:
        open_raster(str(archive))
    with open_raster(str(no.value).rpartition(": ")[2]) as raster:
        assert raster.count == 1
    product = tmp_path / "S2A.SAFE"
    product.mkdir()
    with pytest.raises(ImageError, match=r"S2A\.SAFE: is a folder without MTD_\*\.xml; stack the"):
        open_raster(str(product))
    (product / "MTD_MSIL2A.xml").write_text("<x/>")
    with pytest.raises(ImageError, match=r"is a folder; give its description .*MTD_MSIL2A\.xml"):
        open_raster(str(product))
    store = tmp_path / "a.zarr"
    store.mkdir()
    with pytest.raises(ImageError, match="cannot read as Zarr"):
        open_raster(str(store))
    grid = tmp_path / "grid"
    grid.mkdir()
    assert not is_raster_folder(grid)
    (grid / "hdr.adf").touch()
    assert all(map(is_raster_folder, (product, store, grid)))
    with pytest.raises(ImageError, match=r"not several with commas.*gdalbuildvrt -separate"):
        open_raster(f"{product},b.tif")


def test_hundreds_of_bands_are_not_listed_one_by_one(write_raster: Callable[..., str]):
    path = write_raster("many.tif", np.ones((224, 8, 8), np.uint8))
    with open_raster(path) as raster, pytest.raises(ConfigError) as no:
        choose_bands(raster, None, channels=3, location=path)
    assert "has 224 bands" in str(no.value)
    assert "and 208 more" in str(no.value)
    assert len(str(no.value)) < 700


@pytest.mark.parametrize("name", ["a.pgw", "a.pngw", "a.wld", "a.PGW"])
def test_world_files_of_all_usual_names_are_found(tmp_path: Path, name: str):
    picture = tmp_path / "a.png"
    assert place_files(picture) == []
    assert world_file_of(picture) is None
    (tmp_path / name).write_text("0.5\n0\n0\n-0.5\n500000.25\n2499999.75\n")
    assert place_files(picture) == [tmp_path / name]
    assert world_file_of(picture) == ("0.5", "0", "0", "-0.5", "500000.25", "2499999.75")


def test_only_descriptions_that_hold_a_place_count(tmp_path: Path):
    picture, described = tmp_path / "a.png", tmp_path / "a.png.aux.xml"
    described.write_text("<PAMDataset><PAMRasterBand/></PAMDataset>")
    assert place_files(picture) == []
    described.write_text("<PAMDataset><GeoTransform>0, 1, 0, 0, 0, 1</GeoTransform></PAMDataset>")
    assert place_files(picture) == [described]


def test_arrays_of_coordinates_alone_are_refused(tmp_path: Path):
    from changedet.raster.alignment import require_placed

    path = tmp_path / "swath.tif"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(
            path, "w", driver="GTiff", count=1, dtype="uint8", height=20, width=30
        ) as swath:
            swath.write(PIXELS)
            swath.update_tags(ns="GEOLOCATION", X_DATASET="lon.tif", Y_DATASET="lat.tif")
        with rasterio.open(path) as swath, pytest.raises(DataError, match="gdalwarp -geoloc"):
            require_placed(swath, str(path))
