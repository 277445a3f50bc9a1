from collections.abc import Iterator

import numpy as np
import pytest

from changedet.baselines.ir_mad import ir_mad_chi_square
from changedet.baselines.names import list_baselines
from changedet.baselines.registry import create_baseline
from changedet.baselines.scene import SceneFit, fit_pointwise
from changedet.baselines.standardise import standardise
from changedet.errors import DataError
from changedet.raster.geo_grid import Window
from changedet.raster.pair import PairPixels

SQUARE = np.s_[40:80, 60:110]
POINTWISE = ["difference", "cva", "ir_mad"]


def make_scene(
    shape: tuple[int, int] = (150, 200), bands: int = 4
) -> tuple[np.ndarray, np.ndarray]:
    """Values as of 16 bit, mixed and scaled at the second date, with a square of other values."""
    rng = np.random.default_rng(0)
    before = rng.normal(3000, 400, (*shape, bands))
    mixing = np.eye(bands) + rng.uniform(-0.2, 0.2, (bands, bands))
    after = 0.4 * before @ mixing + 900 + rng.normal(0, 10, before.shape)
    after[SQUARE] = rng.normal(2600, 300, after[SQUARE].shape)
    return before.round().astype(np.float32), after.round().astype(np.float32)


class Scene:
    """A scene in memory that counts what is read of it."""

    def __init__(self, before: np.ndarray, after: np.ndarray, valid: np.ndarray | None = None):
        self.before, self.after = before, after
        self.valid = np.ones(before.shape[:2], bool) if valid is None else valid
        self.reads: list[Window] = []

    def read(self, window: Window) -> PairPixels:
        self.reads.append(window)
        part = np.s_[window.top : window.bottom, window.left : window.right]
        return PairPixels(
            self.before[part].copy(), self.after[part].copy(), self.valid[part].copy()
        )

    def windows(self, size: int) -> list[Window]:
        return list(self._cut(size))

    def _cut(self, size: int) -> Iterator[Window]:
        height, width = self.valid.shape
        for top in range(0, height, size):
            for left in range(0, width, size):
                yield Window(top, left, min(size, height - top), min(size, width - left))


def fit(name: str, scene: Scene, *, size: int = 64, **options) -> tuple[SceneFit, list[str]]:
    said: list[str] = []
    baseline = create_baseline(name, channels=scene.before.shape[2], encoder_weights=None)
    found = baseline.fit_scene(scene.read, scene.windows(size), say=said.append, **options)
    return found, said


@pytest.mark.parametrize("name", ["difference", "cva", "deep_difference"])
def test_a_scene_of_one_window_is_an_image(name):
    before, after = make_scene(bands=3)
    found, _ = fit(name, Scene(before, after), size=256)
    expected = create_baseline(name).score(before, after)
    np.testing.assert_allclose(found.score(before, after), expected, atol=1e-5)


def test_the_magnitude_of_ir_mad_is_the_root_of_an_images_chi_square():
    before, after = make_scene()
    found, _ = fit("ir_mad", Scene(before, after), size=256)
    pair = standardise(before, after)
    expected = ir_mad_chi_square(pair.before, pair.after)
    magnitude = found.magnitude(*found.statistics.standardise(before, after, pair.known))
    np.testing.assert_allclose(magnitude**2, expected, rtol=1e-4)


def test_a_few_extreme_pixels_do_not_hide_the_change():
    before, after = make_scene()
    after[3, ::50] = 8000
    scene = Scene(before, after)
    found, _ = fit("ir_mad", scene)
    mask = found.score(before, after) >= 0.5
    assert mask[SQUARE].mean() > 0.8
    assert mask[:30].mean() < 0.01


@pytest.mark.parametrize("name", POINTWISE)
def test_how_a_scene_is_cut_makes_no_difference(name):
    scene = Scene(*make_scene())
    whole, _ = fit(name, scene, size=512)
    cut, _ = fit(name, scene, size=37)
    score, expected = (found.score(scene.before, scene.after) for found in (cut, whole))
    np.testing.assert_allclose(score, expected, atol=1e-4)
    assert ((score >= 0.5) == (expected >= 0.5)).mean() > 0.999


def test_ir_mad_finds_the_change_and_says_how_it_went():
    scene = Scene(*make_scene())
    found, said = fit("ir_mad", scene)
    mask = found.score(scene.before, scene.after) >= 0.5
    truth = np.zeros(mask.shape, bool)
    truth[SQUARE] = True
    assert 2 * (mask & truth).sum() / (mask.sum() + truth.sum()) > 0.9
    text = "\n".join(said)
    assert "IR-MAD converged after" in text
    assert "over 30,000 of 30,000 pixels (100 %)" in text
    assert "canonical correlations 0.9" in text
    assert "Otsu's threshold over the scene" in text
    figures = found.figures
    assert (figures["pixels"], figures["sampled_pixels"]) == (30_000, 30_000)
    assert figures["converged"]
    assert len(figures["canonical_correlations"]) == 4
    assert figures["otsu_magnitude"] > 0


def test_a_run_that_is_stopped_early_says_so():
    _, said = fit("ir_mad", Scene(*make_scene()), max_iterations=2)
    assert any(line.startswith("warning: IR-MAD not converged after 2 iter") for line in said)


def test_large_scenes_are_fitted_to_a_sample_whose_share_is_told():
    scene, said = Scene(*make_scene()), []
    sampled = fit_pointwise(None, scene.read, scene.windows(64), say=said.append, sampled_px=2000)
    whole, _ = fit("ir_mad", scene)
    assert 1800 <= sampled.figures["sampled_pixels"] < 4000
    assert any(f"{sampled.figures['sampled_pixels']:,} of 30,000 pixels" in line for line in said)
    score, expected = (one.score(scene.before, scene.after) for one in (sampled, whole))
    assert ((score >= 0.5) == (expected >= 0.5)).mean() > 0.98


@pytest.mark.parametrize("name", POINTWISE)
def test_pixels_without_data_count_nowhere(name):
    before, after = make_scene()
    clean, _ = fit(name, Scene(before[50:], after[50:]), size=64)
    valid = np.ones(before.shape[:2], bool)
    valid[:20] = False
    torn_before, torn_after = before.copy(), after.copy()
    torn_before[:20], torn_after[20:50, :, 1] = 1e6, np.nan
    torn_after[20, 3] = np.inf
    torn = Scene(torn_before, torn_after, valid)
    found, _ = fit(name, torn, size=64)
    assert found.figures["pixels"] == 100 * 200
    # Cut differently, so equal but for the rounding of sums.
    score, expected = (one.score(before[50:], after[50:]) for one in (found, clean))
    np.testing.assert_allclose(score, expected, atol=1e-4)
    assert not found.score(torn_before, torn_after)[20:50].any()


@pytest.mark.parametrize("name", list_baselines())
def test_a_scene_without_common_data_is_refused(name):
    before, after = make_scene((40, 40), bands=3)
    scene = Scene(before, after, np.zeros((40, 40), bool))
    with pytest.raises(DataError, match="no pixel has data in both dates"):
        fit(name, scene)


@pytest.mark.parametrize("name", list_baselines())
def test_equal_dates_hold_no_change_and_the_user_is_told(name):
    before, _ = make_scene((40, 40), bands=3)
    found, said = fit(name, Scene(before, before))
    assert not found.score(before, before).any()
    assert "warning: all pixels differ by the same amount" in said[-1]
    assert found.figures["otsu_magnitude"] is None


def test_constant_and_repeated_bands_add_nothing_to_ir_mad_and_are_told():
    before, after = make_scene(bands=3)
    plain, _ = fit("ir_mad", Scene(before, after))
    more = [
        np.concatenate([date, date[..., :1], np.full_like(date[..., :1], 7)], axis=2)
        for date in (before, after)
    ]
    found, said = fit("ir_mad", Scene(*more))
    assert "warning: channel 5 of before has only one value and is ignored" in said
    assert any(line.startswith("only 3 of 5 combinations of bands") for line in said)
    score, expected = found.score(*more), plain.score(before, after)
    assert ((score >= 0.5) == (expected >= 0.5)).mean() > 0.999


def test_one_band_is_enough():
    before, after = make_scene(bands=1)
    for name in POINTWISE:
        found, _ = fit(name, Scene(before, after))
        mask = found.score(before, after) >= 0.5
        assert mask[SQUARE].mean() > 5 * mask.mean() / 2


def test_a_date_without_any_contrast_is_refused_by_ir_mad_alone():
    before, after = make_scene((40, 40))
    scene = Scene(before, np.full_like(after, 3))
    with pytest.raises(DataError, match="IR-MAD has nothing to correlate"):
        fit("ir_mad", scene)
    assert fit("cva", scene)[0].figures["otsu_magnitude"] > 0


def test_deep_differences_take_their_threshold_from_windows_over_the_scene(monkeypatch):
    scene = Scene(*make_scene(bands=3))
    monkeypatch.setattr("changedet.baselines.scene.WINDOWED_PX", 3 * 64**2)
    found, said = fit("deep_difference", scene, size=64)
    assert found.figures["pixels"] == 30_000
    assert 0 < found.figures["threshold_pixels"] < 3 * 64**2 + 1
    assert any("the threshold is taken from" in line for line in said)


def test_a_threshold_that_divides_what_is_all_alike_is_warned_of():
    rng = np.random.default_rng(0)
    before, after = rng.normal(100, 10, (2, 80, 90, 3)).astype(np.float32)
    _, said = fit("cva", Scene(before, after))
    assert any("form no two groups" in text and "warning" in text for text in said)
    _, said = fit("cva", Scene(*make_scene()))
    assert not any("form no two groups" in text for text in said)
