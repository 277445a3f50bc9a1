import sys

import numpy as np
import pytest
import torch
from PIL import Image

from changedet.errors import ConfigError
from changedet.metrics.counter import ScoreCounter
from changedet.rendering.plots import write_precision_recall_curve


def counted(score, label):
    counter = ScoreCounter()
    counter.update(torch.as_tensor(score)[None], torch.as_tensor(label)[None])
    return counter.compute()


@pytest.fixture
def hist():
    rng = np.random.default_rng(0)
    label = (rng.random((32, 32)) < 0.2).astype(np.uint8)
    return counted(rng.normal(np.where(label, 0.6, 0.4), 0.1).clip(0, 1), label)


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


@pytest.mark.parametrize(
    ("name", "kind"), [("3_1000_P_R.jpg", "JPEG"), ("curve.png", "PNG"), ("CURVE.JPEG", "JPEG")]
)
def test_the_ending_decides_the_kind_of_file(tmp_path, hist, name, kind):
    write_precision_recall_curve(tmp_path / name, hist, title="validation")

    with Image.open(tmp_path / name) as image:
        assert image.format == kind
        assert min(image.size) > 400


def test_an_ending_that_is_no_picture_is_refused(tmp_path, hist):
    with pytest.raises(ConfigError, match=r"\.png, \.jpg, \.jpeg, got 'curve.txt'"):
        write_precision_recall_curve(tmp_path / "curve.txt", hist, title="")

    assert list(tmp_path.iterdir()) == []


def test_another_curve_gives_another_picture(tmp_path, hist):
    better = counted(np.eye(32) * 0.5 + 0.2, np.eye(32, dtype=np.uint8))
    write_precision_recall_curve(tmp_path / "a.png", hist, title="t")
    write_precision_recall_curve(tmp_path / "b.png", better, title="t")
    write_precision_recall_curve(tmp_path / "again.png", hist, title="t")

    assert not np.array_equal(pixels(tmp_path / "a.png"), pixels(tmp_path / "b.png"))
    assert np.array_equal(pixels(tmp_path / "a.png"), pixels(tmp_path / "again.png"))


def test_the_chosen_threshold_is_marked(tmp_path, hist):
    write_precision_recall_curve(tmp_path / "a.png", hist, title="t")
    write_precision_recall_curve(tmp_path / "b.png", hist, title="t", threshold=0.25)

    assert not np.array_equal(pixels(tmp_path / "a.png"), pixels(tmp_path / "b.png"))


@pytest.mark.parametrize("value", [0, 255])
def test_without_a_changed_pixel_the_file_is_written_without_a_curve(tmp_path, hist, value):
    empty = counted(np.full((4, 4), 0.3), np.full((4, 4), value, dtype=np.uint8))
    write_precision_recall_curve(tmp_path / "empty.png", empty, title="t")
    write_precision_recall_curve(tmp_path / "curve.png", hist, title="t")

    def curve_pixels(name):
        blue = np.array([31, 111, 235])
        return (np.abs(pixels(tmp_path / name) - blue).max(axis=-1) < 20).sum()

    assert curve_pixels("empty.png") == 0
    assert curve_pixels("curve.png") > 200


def test_all_changed_and_one_pixel_draw_without_a_warning(tmp_path):
    hist = counted(np.array([[1.0]]), np.array([[1]], dtype=np.uint8))

    write_precision_recall_curve(tmp_path / "one.png", hist, title="t", threshold=1.0)


def test_a_title_is_text_and_not_mathematics(tmp_path, hist):
    write_precision_recall_curve(tmp_path / "a.png", hist, title="run_1 costs $x_{ and $5")


def test_drawing_uses_no_global_state(tmp_path, hist):
    write_precision_recall_curve(tmp_path / "a.png", hist, title="t")

    assert (
        "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()
    )
