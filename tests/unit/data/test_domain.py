"""What a data set's images are like is measured on files and scenes alike."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from PIL import Image

from changedet.data.domain import measure_gsd, measure_values
from changedet.data.pair import PairPaths
from changedet.data.pixel_sums import PixelSums, WideSums


def picture(path: Path, low: int, high: int, *, seed: int) -> Path:
    pixels = np.random.default_rng(seed).integers(low, high, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_values_are_those_of_both_dates_of_all_pairs(tmp_path: Path):
    pairs = [
        PairPaths(
            str(index),
            picture(tmp_path / f"b{index}.png", 50, 60, seed=index),
            picture(tmp_path / f"a{index}.png", 150, 160, seed=index + 9),
            None,
        )
        for index in range(3)
    ]
    for found in measure_values(pairs, channels=3) or ():
        assert found.low == 50
        assert 59 <= found.middle <= 150
        assert found.high == 159
    assert len(measure_values(pairs, channels=3) or ()) == 3
    assert measure_gsd(pairs) is None


def test_ground_sample_distances_are_those_of_georeferenced_files(tmp_path: Path):
    pairs = []
    for name, metres in (("fine", 0.5), ("coarse", 2.0)):
        path = tmp_path / f"{name}.tif"
        with rasterio.open(
            path,
            "w",
            driver="GTiff",
            width=20,
            height=20,
            count=3,
            dtype="uint8",
            crs="EPSG:32633",
            transform=Affine(metres, 0.0, 500_000.0, 0.0, -metres, 5_400_000.0),
        ) as raster:
            raster.write(np.zeros((3, 20, 20), np.uint8))
        pairs.append(PairPaths(name, path, path, None))
    low, high = measure_gsd(pairs) or (0.0, 0.0)
    assert low == pytest.approx(0.5, rel=1e-3)
    assert high == pytest.approx(2.0, rel=1e-3)


def test_percentiles_of_8_bit_are_exact_and_of_wider_types_near():
    pixels = np.random.default_rng(0).integers(0, 256, (200, 50, 2), dtype=np.uint8)
    exact = np.percentile(pixels.reshape(-1, 2), (1, 50, 99), axis=0, method="inverted_cdf").T
    halves = PixelSums.of(pixels[:100]) + PixelSums.of(pixels[100:])
    np.testing.assert_array_equal(halves.percentiles((1, 50, 99)), exact)
    wide = pixels.astype(np.float32)
    some = WideSums.of(wide[:100]) + WideSums.of(wide[100:])
    np.testing.assert_allclose(some.percentiles((1, 50, 99)), exact, atol=12)
    assert WideSums.of(np.zeros((0, 2))).percentiles((1,)) is None
