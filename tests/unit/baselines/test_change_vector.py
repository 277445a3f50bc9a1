import numpy as np
import pytest

from changedet.baselines.change_vector import change_vector_magnitude
from changedet.baselines.difference import mean_absolute_difference


def test_the_change_vector_is_measured_by_its_length_the_difference_by_its_mean():
    before = np.zeros((1, 3, 2), np.uint8)
    after = np.array([[[3, 4], [0, 8], [0, 0]]], np.uint8)
    assert change_vector_magnitude(before, after)[0] == pytest.approx([5.0, 8.0, 0.0])
    assert mean_absolute_difference(before, after)[0] == pytest.approx([3.5, 4.0, 0.0])


@pytest.mark.parametrize("measure", [change_vector_magnitude, mean_absolute_difference])
def test_unsigned_values_do_not_wrap_around(measure):
    bright, dark = np.full((2, 2, 1), 250, np.uint8), np.full((2, 2, 1), 10, np.uint8)
    assert measure(bright, dark) == pytest.approx(240.0)
    assert measure(dark, bright) == pytest.approx(240.0)
