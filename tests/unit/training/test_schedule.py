import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from changedet.errors import ConfigError
from changedet.training.config import load_config
from changedet.training.schedule import CosineSchedule, TableSchedule, build_schedule

# Spec 3, every row of the table with both of its ends.
SPEC_TABLE = {
    "dasnet": {1: 1e-4, 40: 1e-4, 41: 1e-5, 60: 1e-5},
    "dasnet_v2_l2": {
        1: 1e-4,
        20: 1e-4,
        21: 5e-5,
        40: 5e-5,
        41: 1e-5,
        60: 1e-5,
        61: 5e-6,
        70: 5e-6,
        71: 1e-6,
        80: 1e-6,
    },
    "dasnet_v2_cosine": {1: 1e-4, 20: 1e-4, 21: 5e-5, 41: 1e-5, 61: 5e-6, 70: 5e-6},
    "dasnet_v2_l2_short": {20: 1e-4, 21: 5e-5, 45: 1e-5},
}


@pytest.mark.parametrize("recipe", SPEC_TABLE)
def test_faithful_recipes_follow_the_seed_s_table(recipe):
    schedule = build_schedule(load_config(recipe))
    assert {e: schedule(e, 0.5) for e in SPEC_TABLE[recipe]} == SPEC_TABLE[recipe]


def test_the_seed_s_hole_at_epochs_51_to_60_is_closed():
    # The public code falls to 1e-6 at steps 500k-600k, which are epochs 51-60 (spec 7).
    schedule = build_schedule(load_config("dasnet_v2_l2"))
    assert {schedule(epoch, 0.0) for epoch in range(51, 61)} == {1e-5}


def test_a_table_that_ends_too_early_is_refused():
    with pytest.raises(ConfigError, match=r"ends at epoch 60 but training\.epochs is 61"):
        TableSchedule(((40, 1e-4), (60, 1e-5)), 61)


@pytest.mark.parametrize("steps", [(), ((3, 0.1), (3, 0.2)), ((5, 0.1), (2, 0.2)), ((0, 0.1),)])
def test_a_table_whose_epochs_do_not_rise_is_refused(steps):
    with pytest.raises(ConfigError, match=r"schedule\.steps"):
        TableSchedule(steps, 1)


@given(
    epochs=st.integers(1, 50),
    position=st.floats(0, 1, exclude_max=True),
    share=st.floats(0, 0.99),
)
def test_cosine_stays_between_its_ends(epochs, position, share):
    schedule = CosineSchedule(1.0, epochs, warmup_epochs=share * epochs, final=0.1)
    done = position * epochs
    rate = schedule(1 + math.floor(done), done % 1)
    lowest = 0.01 if done < share * epochs else 0.1
    assert lowest <= rate <= 1.0


def test_cosine_rises_to_the_peak_then_falls_to_the_end():
    schedule = CosineSchedule(2.0, 10, warmup_epochs=2.0, final=0.5)
    assert schedule(2, 0.0) == pytest.approx(1.0)
    assert schedule(3, 0.0) == pytest.approx(2.0)
    assert schedule(7, 0.0) == pytest.approx(1.25)
    assert schedule(11, 0.0) == pytest.approx(0.5)


def test_a_warm_up_longer_than_the_training_is_refused():
    with pytest.raises(ConfigError, match=r"schedule\.warmup_epochs must be in \[0, 3\]"):
        CosineSchedule(1.0, 3, warmup_epochs=4)


def test_a_warm_up_may_last_the_whole_training():
    assert CosineSchedule(1.0, 1, warmup_epochs=1)(1, 0.5) == pytest.approx(0.5)
