import subprocess
import sys

import numpy as np
import pytest

from changedet.baselines.names import list_baselines
from changedet.errors import ConfigError
from changedet.inference.baseline_scorer import (
    BaselineScorer,
    open_baseline,
)
from changedet.inference.scorer import SceneFitted
from changedet.raster.geo_grid import Window
from changedet.raster.nodata import fill_gaps
from changedet.raster.pair import PairPixels
from changedet.selection import Selection

WINDOWS = [Window(top, left, 48, 64) for top in (0, 48) for left in (0, 64)]
HOLE = np.s_[10:20, 30:50]


def make_scene() -> PairPixels:
    rng = np.random.default_rng(0)
    patches = rng.normal(3000, 500, (12, 16, 3)).repeat(8, 0).repeat(8, 1)
    before = (patches + rng.normal(0, 20, patches.shape)).astype(np.float32)
    after = (0.5 * patches + 400 + rng.normal(0, 20, patches.shape)).astype(np.float32)
    after[40:60, 70:100] = rng.normal(2500, 300, (20, 30, 3))
    valid = np.ones(before.shape[:2], bool)
    valid[HOLE] = False
    before[HOLE], after[HOLE] = 0, 0
    return PairPixels(before, after, valid)


def fitted(name: str) -> BaselineScorer:
    scene = make_scene()

    def read(window: Window) -> PairPixels:
        part = np.s_[window.top : window.bottom, window.left : window.right]
        return PairPixels(*(array[part].copy() for array in scene))

    method = open_baseline(f"baseline:{name}", encoder_weights=None)
    assert isinstance(method, SceneFitted)
    return method.fit(read, WINDOWS)


@pytest.mark.parametrize("name", list_baselines())
def test_a_fitted_baseline_scores_tiles_and_says_what_a_caller_must_know(name):
    scorer = fitted(name)
    before, after, valid = make_scene()
    scores = scorer.score([before[:64, :64], before[32:, 64:]], [after[:64, :64], after[32:, 64:]])
    assert scores.shape == (2, 64, 64)
    assert scores.dtype == np.float32
    assert ((scores >= 0) & (scores <= 1)).all()
    assert scores[1, 8:28, 6:36].mean() > 2 * scores[0][valid[:64, :64]].mean()
    card = scorer.card
    assert (scorer.in_channels, scorer.stride, scorer.fixed_tile) == (3, 1, False)
    assert (card.architecture, card.threshold) == (f"baseline:{name}", 0.5)
    assert card.threshold_selection == Selection("otsu_scene")
    assert scorer.measured["pixels"] == valid.sum()


@pytest.mark.parametrize("name", list_baselines())
def test_missing_pixels_count_as_unchanged_once_they_hold_the_means_of_the_card(name):
    scorer = fitted(name)
    filled = fill_gaps(make_scene(), scorer.card.normalisation)
    score = scorer.score([filled.before], [filled.after])[0]
    assert score[13:17, 36:44].max() < 0.5


def test_the_old_name_is_still_understood():
    assert open_baseline("floor:cva").card == open_baseline("baseline:cva").card


def test_unfitted_an_image_is_measured_by_itself():
    before, after, _ = make_scene()
    method = open_baseline("baseline:cva")
    scores = method.score([before[:48], before[48:]], [after[:48], after[48:]])
    for found, part in zip(scores, (np.s_[:48], np.s_[48:]), strict=True):
        np.testing.assert_array_equal(found, method.baseline.score(before[part], after[part]))
    assert (method.card.threshold, method.card.threshold_selection) == (0.5, Selection("otsu"))


def test_unknown_methods_and_options_are_refused():
    with pytest.raises(ConfigError, match="baseline 'irmad' does not exist; did you mean 'ir_mad'"):
        open_baseline("baseline:irmad")
    with pytest.raises(ConfigError, match="baseline 'cva' has no encoder"):
        open_baseline("baseline:cva", encoder="resnet18")


def test_methods_without_an_encoder_need_no_pytorch():
    program = (
        "import sys; from changedet.inference.baseline_scorer import open_baseline; "
        "open_baseline('baseline:ir_mad'); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
