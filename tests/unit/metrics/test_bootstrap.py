import math

import numpy as np
import pytest

from changedet.errors import ConfigError
from changedet.metrics.bootstrap import bootstrap_intervals
from changedet.metrics.confusion import FIGURES, Confusion, confusion_at, per_image


def test_every_figure_lies_inside_its_interval(count, noisy):
    hist = count(*noisy((20, 8, 8)))
    confusion = confusion_at(hist, 0.5)

    intervals = bootstrap_intervals(hist, 0.5)

    assert tuple(intervals) == FIGURES
    for name, (low, high) in intervals.items():
        assert low < getattr(confusion, name) < high


@pytest.mark.parametrize("name", FIGURES)
def test_intervals_are_those_of_drawing_whole_images_one_by_one(count, noisy, name):
    hist = count(*noisy((12, 8, 8)))
    images = per_image(hist, 0.5)

    interval = bootstrap_intervals(hist, 0.5, resamples=4000)[name]

    rng = np.random.default_rng(1)
    draws = [[images[row] for row in rng.integers(0, 12, size=12)] for _ in range(2000)]
    values = [getattr(Confusion(*map(sum, zip(*draw, strict=True))), name) for draw in draws]
    expected = np.quantile(values, [0.025, 0.975])
    # Two samples of one distribution: its outer quantiles scatter by a few percent of its width.
    assert interval == pytest.approx(expected, abs=0.15 * np.ptp(expected))


def test_images_and_not_pixels_are_drawn(count):
    # One image is all found, the other all missed: with pixels the interval would be narrow.
    score = np.stack([np.full((32, 32), 0.9), np.full((32, 32), 0.1)])

    low, high = bootstrap_intervals(count(score, np.ones_like(score)), 0.5)["recall"]

    assert (low, high) == (0.0, 1.0)


def test_the_seed_decides_the_draws(count, noisy):
    hist = count(*noisy())

    first, again = (bootstrap_intervals(hist, 0.5, seed=3) for _ in range(2))

    assert first == again
    assert first != bootstrap_intervals(hist, 0.5, seed=4)


def test_a_higher_level_gives_a_wider_interval(count, noisy):
    hist = count(*noisy())

    narrow, wide = (bootstrap_intervals(hist, 0.5, level=level)["f1"] for level in (0.5, 0.99))

    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_equal_images_leave_no_doubt(count, noisy):
    score, label = noisy((1, 8, 8))
    hist = count(np.repeat(score, 5, axis=0), np.repeat(label, 5, axis=0))

    low, high = bootstrap_intervals(hist, 0.5)["f1"]

    assert low == pytest.approx(high)
    assert low == pytest.approx(confusion_at(hist, 0.5).f1)


@pytest.mark.parametrize("images", [0, 1])
def test_fewer_than_two_images_give_no_interval(count, noisy, images):
    hist = count(*noisy()).subset(range(images))

    assert all(math.isnan(end) for ends in bootstrap_intervals(hist, 0.5).values() for end in ends)


def test_a_figure_that_is_undefined_in_every_draw_has_no_interval(count):
    hist = count(np.full((3, 2, 2), 0.1), np.zeros((3, 2, 2)))

    intervals = bootstrap_intervals(hist, 0.5)

    assert all(math.isnan(end) for end in intervals["f1"])
    assert intervals["overall_accuracy"] == (1.0, 1.0)


def test_draws_in_which_a_figure_is_undefined_are_left_out(count):
    # Only the first image has change: draws without it have no recall.
    label = np.zeros((3, 2, 2))
    label[0] = 1

    assert bootstrap_intervals(count(label * 0.9, label), 0.5)["recall"] == (1.0, 1.0)


@pytest.mark.parametrize("options", [{"resamples": 0}, {"level": 0.0}, {"level": 1.0}])
def test_settings_without_meaning_are_refused(count, options):
    with pytest.raises(ConfigError, match="must be positive"):
        bootstrap_intervals(count([[0.5]], [[1]]), 0.5, **options)
