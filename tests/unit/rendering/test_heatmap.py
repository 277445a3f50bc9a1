"""The colours of heat maps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from changedet.rendering.heatmap import colour_scale, heatmap

COSINE, L2 = 0.2, 0.62


def colour(score, threshold):
    return heatmap(np.array([[score]]), threshold=threshold)[0, 0].tolist()


@pytest.mark.parametrize("threshold", [0.001, COSINE, 0.5, L2, 0.999])
def test_the_threshold_lies_in_the_middle_of_the_colours(threshold):
    assert colour(threshold, threshold) == colour(0.5, None)
    assert colour(0.0, threshold) == colour(0.0, None)
    assert colour(min(1.0, 2 * threshold), threshold) == colour(1.0, None)
    assert colour(1.0, threshold) == colour(1.0, None)


def test_a_changed_pixel_of_a_cosine_model_is_as_red_as_one_of_an_l2_model():
    # Both as far as their loss pushes them: the margin 0.8, and the largest distance of 2 (spec 2).
    assert colour(0.8 / 2, COSINE) == colour(2.0 / 2, L2) == [128, 0, 0]


@given(st.floats(0.0, 1.0), st.lists(st.floats(0.0, 1.0), min_size=2, max_size=2))
def test_a_higher_score_never_lies_lower_in_the_colours(threshold, scores):
    low, high = colour_scale(threshold).place(np.array(sorted(scores)))
    assert 0.0 <= low <= high <= 1.0


def test_without_a_threshold_the_colours_are_those_of_the_score():
    assert colour_scale(None).place(np.array([0.0, 0.3, 1.0])).tolist() == [0.0, 0.3, 1.0]
    assert colour_scale(0.0) == colour_scale(None)


def test_the_legend_names_all_three_scores():
    assert colour_scale(COSINE).describe() == (
        "blue 0, green 0.200 (the threshold), red 0.400 and above"
    )
