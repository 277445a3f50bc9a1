"""Rasters whose headers say what cannot be."""

import pytest
import rasterio
from affine import Affine

from changedet.errors import ImageError
from changedet.raster.open import open_raster, reading
from changedet.raster.pair import PairOptions, RasterPair

VRT = (
    '<VRTDataset rasterXSize="{width}" rasterYSize="{height}">\n<SRS>EPSG:32633</SRS>\n'
    "<GeoTransform>{place}</GeoTransform>\n"
    '<VRTRasterBand dataType="Byte" band="1"/></VRTDataset>'
)


def write_vrt(folder, *, width=8, height=8, place="500000, 2, 0, 5000000, 0, -2"):
    path = folder / "a.vrt"
    path.write_text(VRT.format(width=width, height=height, place=place))
    return str(path)


@pytest.mark.parametrize(
    "place",
    [
        "500000, 0, 0, 5000000, 0, 0",
        "500000, 0, 0, 5000000, 0, -2",
        "500000, 2, 2, 5000000, 2, 2",
        "500000, nan, 0, 5000000, 0, -2",
        "inf, 2, 0, 5000000, 0, -2",
        "500000, 1e300, 0, 5000000, 0, -1e300",
    ],
)
def test_pixels_without_a_size_are_refused(tmp_path, place):
    path = write_vrt(tmp_path, place=place)
    with pytest.raises(ImageError, match=r"a\.vrt: its pixels have no size"):
        open_raster(path)
    with pytest.raises(ImageError, match=r"its pixels have no size"):
        RasterPair(path, path, PairOptions(channels=1))


def test_more_pixels_than_there_are_is_refused(tmp_path):
    path = write_vrt(tmp_path, width=2_000_000_000, height=2_000_000_000)
    with pytest.raises(ImageError, match="claims 2,000,000,000 x 2,000,000,000 pixels"):
        open_raster(path)


@pytest.mark.parametrize(("count", "interleave"), [(1, "band"), (20, "pixel")])
def test_blocks_that_fill_the_memory_are_refused(tmp_path, count, interleave):
    side = 65_536 if count == 1 else 8_192
    with rasterio.open(
        tmp_path / "a.tif",
        "w",
        driver="GTiff",
        width=100_000,
        height=100_000,
        count=count,
        dtype="uint8",
        tiled=True,
        blockxsize=side,
        blockysize=side,
        interleave=interleave,
        sparse_ok=True,
        bigtiff=True,
        transform=Affine(2, 0, 5e5, 0, -2, 5e6),
    ):
        pass
    with pytest.raises(ImageError, match=rf"in blocks of {side:,} x {side:,} pixels, too large"):
        open_raster(str(tmp_path / "a.tif"))


def test_messages_of_gdal_that_are_no_text_are_no_traceback(tmp_path, monkeypatch):
    def fail(*_args, **_options):
        b"\xff".decode()

    monkeypatch.setattr("rasterio.open", fail)
    with pytest.raises(ImageError, match=r"a\.vrt: cannot be opened"):
        open_raster(write_vrt(tmp_path))


@pytest.mark.parametrize("fault", [MemoryError(), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no")])
def test_what_goes_wrong_once_a_raster_is_open_is_one_line(fault):
    with pytest.raises(ImageError, match=r"a\.tif: pixels cannot be read"), reading("a.tif"):
        raise fault
