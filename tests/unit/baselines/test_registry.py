from functools import cache

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from changedet.baselines.names import list_baselines
from changedet.baselines.registry import Baseline, create_baseline
from changedet.errors import ConfigError, DataError

SQUARE = np.s_[16:48, 40:72]


@cache
def baseline(name: str, channels: int = 3) -> Baseline:
    return create_baseline(name, channels=channels)


def make_pair(
    channels: int = 3, dtype: str = "uint8", scale: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Patches of noise, the same in other light, and a square of other, finer patches."""
    rng = np.random.default_rng(1)
    patches = rng.integers(40, 160, (8, 12, channels)).repeat(8, axis=0).repeat(8, axis=1)
    before = patches + rng.integers(0, 8, patches.shape)
    after = 1.2 * patches + rng.integers(0, 8, patches.shape) + 5
    finer = rng.integers(100, 255, (16, 16, channels)).repeat(2, axis=0).repeat(2, axis=1)
    after[SQUARE] = finer
    return (before * scale).astype(dtype), (after * scale).astype(dtype)


@pytest.mark.parametrize("name", list_baselines())
@pytest.mark.parametrize(
    ("channels", "dtype", "scale"),
    [(3, "uint8", 1), (1, "uint8", 1), (4, "uint16", 200), (3, "float32", 1)],
)
def test_what_changed_scores_higher_than_what_did_not(name, channels, dtype, scale):
    score = baseline(name, channels).score(*make_pair(channels, dtype, scale))
    assert score.shape == (64, 96)
    assert score.dtype == np.float32
    assert ((score >= 0) & (score <= 1)).all()
    outside = np.ones(score.shape, bool)
    outside[SQUARE] = False
    assert (score[outside] >= 0.5).mean() < 0.2
    # A pixel of the square may be as it was by chance, in one band above all.
    assert mannwhitneyu(score[SQUARE], score[outside], axis=None).statistic > 0.8 * 1024 * 5120


@pytest.mark.parametrize("name", list_baselines())
def test_nothing_has_changed_between_equal_dates(name):
    before, _ = make_pair()
    assert not baseline(name).score(before, before.copy()).any()


@pytest.mark.parametrize("name", list_baselines())
def test_another_exposure_is_no_change(name):
    before = make_pair()[0].astype(np.float64)
    assert not baseline(name).score(before, 0.5 * before + 30).any()


@pytest.mark.parametrize("name", list_baselines())
def test_swapping_the_dates_leaves_the_score_unchanged(name):
    before, after = make_pair()
    forth, back = baseline(name).score(before, after), baseline(name).score(after, before)
    assert back == pytest.approx(forth, abs=1e-3)


@pytest.mark.parametrize("name", list_baselines())
@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (2, 2), (7, 3)])
def test_tiny_images_have_scores(name, shape):
    rng = np.random.default_rng(0)
    before, after = rng.integers(0, 256, (2, *shape, 3), dtype=np.uint8)
    score = baseline(name).score(before, after)
    assert score.shape == shape
    assert ((score >= 0) & (score <= 1)).all()


@pytest.mark.parametrize("name", list_baselines())
@pytest.mark.parametrize(("first", "second"), [(0, 0), (9, 200)])
def test_constant_images_hold_no_change(name, first, second):
    before, after = (np.full((16, 16, 3), value, np.uint8) for value in (first, second))
    assert not baseline(name).score(before, after).any()


@pytest.mark.parametrize("name", list_baselines())
def test_pixels_that_are_no_numbers_score_0(name):
    before, after = make_pair(dtype="float32")
    before[:4, :4, 1], after[60:, 90:] = np.nan, np.inf
    score = baseline(name).score(before, after)
    assert np.isfinite(score).all()
    assert not score[:4, :4].any()
    assert not score[60:, 90:].any()
    assert score[SQUARE].max() > 0.5


@pytest.mark.parametrize("name", [name for name in list_baselines() if name != "deep_difference"])
def test_pixels_that_are_no_numbers_have_no_say_in_the_others_scores(name):
    before, after = make_pair(dtype="float32")
    holes = np.random.default_rng(3).random(before.shape[:2]) < 0.7
    torn = [np.where(holes[..., None], np.nan, date) for date in (before, after)]
    score = baseline(name).score(*torn)
    assert not score[holes].any()
    kept = [date[~holes][None] for date in (before, after)]
    np.testing.assert_array_equal(score[~holes], baseline(name).score(*kept)[0])


@pytest.mark.parametrize("name", list_baselines())
def test_dates_without_a_single_number_hold_no_change(name):
    nothing = np.full((16, 16, 3), np.nan, np.float32)
    assert not baseline(name).score(nothing, nothing).any()


def test_baselines_say_what_they_are():
    assert list_baselines() == ["difference", "cva", "ir_mad", "deep_difference"]
    plain, deep = baseline("cva"), baseline("deep_difference")
    assert (plain.name, plain.title, plain.in_channels) == ("cva", "change vector analysis", None)
    assert plain.options == {}
    assert deep.in_channels == 3
    assert deep.options == {"encoder": "tf_efficientnet_lite0", "encoder_weights": "package"}
    assert "untrained on change" in deep.title


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("diffrence", {}, "baseline 'diffrence' does not exist; did you mean 'difference'"),
        ("xyz", {}, "there are: difference, cva, ir_mad, deep_difference"),
        ("cva", {"encoder": "resnet18"}, "baseline 'cva' has no encoder.*or use deep_difference"),
        ("ir_mad", {"encoder_weights": "hub"}, "baseline 'ir_mad' has no encoder"),
    ],
)
def test_what_does_not_exist_is_refused(name, options, message):
    with pytest.raises(ConfigError, match=message):
        create_baseline(name, **options)


def test_images_that_do_not_fit_are_refused():
    image = np.zeros((8, 8, 3), np.uint8)
    for before, after in ((image, image[:4]), (image[..., 0], image[..., 0]), (image[:0],) * 2):
        with pytest.raises(DataError, match="must have the same shape"):
            baseline("cva").score(before, after)
    with pytest.raises(DataError, match=r"made for 3 channel\(s\).*`channels=1`"):
        baseline("deep_difference").score(image[..., :1], image[..., :1])
