import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from changedet.data.index import PairPaths
from changedet.data.pixel_sums import PixelSums, WideSums
from changedet.data.statistics import measure_normalisation
from changedet.errors import DataError, ImageError


@pytest.fixture
def pairs(tmp_path):
    """Three pairs of different sizes and brightness."""
    rng = np.random.default_rng(0)
    written = []
    for number, (height, width) in enumerate([(8, 8), (5, 9), (16, 3)]):
        paths = []
        for date, highest in (("before", 200), ("after", 90)):
            pixels = rng.integers(0, highest - 10 * number, (height, width, 3), dtype=np.uint8)
            paths.append(tmp_path / f"{number}_{date}.png")
            Image.fromarray(pixels).save(paths[-1])
        written.append(PairPaths(str(number), paths[0], paths[1], None))
    return written


def pixels_of(paths):
    images = [np.asarray(Image.open(path)).reshape(-1, 3) for path in paths]
    return np.concatenate(images).astype(np.float64)


def test_means_and_deviations_are_those_of_all_pixels_by_date(pairs):
    before, after = (pixels_of([p[date] for p in pairs]) for date in (1, 2))

    statistics = measure_normalisation(pairs)

    assert statistics.bands == "rgb"
    np.testing.assert_allclose(statistics.mean_before, before.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(statistics.mean_after, after.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(statistics.std_before, before.std(axis=0), rtol=1e-12)
    np.testing.assert_allclose(statistics.std_after, after.std(axis=0), rtol=1e-12)


def test_bgr_lists_the_same_figures_in_reverse(pairs):
    rgb, bgr = measure_normalisation(pairs), measure_normalisation(pairs, bands="bgr")

    assert bgr.bands == "bgr"
    assert bgr.mean_before == rgb.mean_before[::-1]
    assert bgr.std_after == rgb.std_after[::-1]


def test_the_scale_of_means_leaves_the_deviation_at_one(pairs):
    statistics = measure_normalisation(pairs, scale="mean")

    assert statistics.std_before == statistics.std_after == (1.0, 1.0, 1.0)
    assert statistics.mean_before == measure_normalisation(pairs).mean_before


def test_a_constant_band_cannot_be_divided_by_but_its_mean_can_be_taken(tmp_path):
    path = tmp_path / "flat.png"
    Image.new("RGB", (4, 4), (7, 8, 9)).save(path)
    pairs = [PairPaths("flat", path, path, None)]

    with pytest.raises(DataError, match="set the scale to 'mean'"):
        measure_normalisation(pairs)
    assert measure_normalisation(pairs, scale="mean").mean_after == (7.0, 8.0, 9.0)


def test_no_pairs_are_an_error():
    with pytest.raises(DataError, match="no pairs"):
        measure_normalisation([])


def test_a_broken_image_is_named(pairs):
    pairs[1].after.write_bytes(b"no image")

    with pytest.raises(ImageError, match="1_after"):
        measure_normalisation(pairs)


def test_an_observer_hears_of_every_pair(pairs):
    heard = []

    measure_normalisation(pairs, progress=lambda done, total: heard.append((done, total)))

    assert heard == [(1, 3), (2, 3), (3, 3)]


@given(st.lists(st.integers(0, 255), min_size=2, max_size=30), st.integers(1, 29))
def test_sums_of_parts_are_the_sums_of_the_whole(values, cut):
    image = np.array(values, dtype=np.uint8).reshape(1, -1, 1)
    cut = min(cut, len(values) - 1)

    whole = PixelSums.of(image)

    assert PixelSums.of(image[:, :cut]) + PixelSums.of(image[:, cut:]) == whole
    assert whole.means[0] == pytest.approx(np.mean(values), rel=1e-12)
    assert whole.deviations[0] == pytest.approx(np.std(values), rel=1e-9, abs=1e-9)


@given(
    st.lists(st.floats(-1e4, 1e4, width=32), min_size=2, max_size=30),
    st.integers(0, 29),
    st.sampled_from([0.0, 1e6]),
)
def test_wide_sums_of_parts_are_those_of_the_whole_whatever_the_offset(values, cut, offset):
    pixels = np.array(values, dtype=np.float64)[:, None] + offset
    cut = min(cut, len(values))

    joined = WideSums.of(pixels[:cut]) + WideSums.of(pixels[cut:])

    assert joined.pixels == len(values)
    assert joined.means[0] == pytest.approx(pixels.mean(), rel=1e-12, abs=1e-9)
    assert joined.deviations[0] == pytest.approx(pixels.std(), rel=1e-6, abs=1e-6)


def test_wide_sums_of_nothing_add_nothing():
    nothing, some = WideSums.of(np.zeros((0, 2))), WideSums.of(np.ones((3, 2)))
    assert nothing + nothing == nothing
    assert nothing + some == some + nothing == some


def test_rounding_errors_of_a_constant_band_are_no_variation():
    class Constant:
        """A date of float values that are all 0.1."""

        def sum_pixels(self, *, channels):
            sums = WideSums(1000, (0.1,) * channels, (1000 * 1e-20,) * channels)
            return sums, sums

    with pytest.raises(DataError, match="set the scale to 'mean'"):
        measure_normalisation([Constant()])
