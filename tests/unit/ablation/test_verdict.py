"""Rules by which claims are judged."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from changedet.ablation.estimates import Estimate
from changedet.ablation.verdict import (
    judge_at_most,
    judge_cleaner,
    judge_correlation,
    judge_difference,
    judge_lower,
    not_run,
)
from changedet.storage.results import to_plain


def measured(low: float, high: float, seeds: int = 2) -> Estimate:
    return Estimate((low + high) / 2, None, low, high, seeds)


@pytest.mark.parametrize(
    ("low", "high", "claimed", "verdict"),
    [
        (0.01, 0.05, 0.027, "holds"),
        (-0.05, -0.01, 0.027, "does not hold"),
        (-0.01, 0.05, 0.027, "within noise"),
        (-0.05, -0.001, -0.002, "holds"),
        (0.001, 0.05, -0.002, "does not hold"),
        (-0.01, 0.01, -0.002, "within noise"),
        (0.0, 0.05, 0.027, "within noise"),
        (-0.05, 0.0, 0.027, "within noise"),
    ],
)
def test_a_difference_is_judged_by_its_sign_and_its_interval(low, high, claimed, verdict):
    assert judge_difference(measured(low, high), claimed, epochs=(1, 1)).verdict == verdict


@given(
    st.floats(-0.5, 0.5),
    st.floats(0.0, 0.5),
    st.floats(0.001, 0.5),
)
def test_turning_rows_and_claim_round_keeps_the_verdict(low, width, claimed):
    there = judge_difference(measured(low, low + width), claimed, epochs=(1, 1)).verdict
    assert judge_difference(measured(-low - width, -low), -claimed, epochs=(1, 1)).verdict == there


def test_whether_the_claimed_size_is_met_is_said_besides():
    assert "inside" in judge_difference(measured(0.01, 0.05), 0.027, epochs=(60, 45)).why
    missed = judge_difference(measured(0.001, 0.003), 0.027, epochs=(60, 45))
    assert missed.verdict == "holds"
    assert "claimed +2.70, which lies outside" in missed.why
    assert missed.why.endswith("; 60 and 45 epochs")


def test_one_seed_is_named_as_such():
    assert "one seed" in judge_difference(measured(0.01, 0.05, seeds=1), 0.02, epochs=(1, 1)).why
    assert "one seed" not in judge_difference(measured(0.01, 0.05), 0.02, epochs=(1, 1)).why


def test_without_a_figure_there_is_no_verdict():
    nothing = Estimate(math.nan, None, math.nan, math.nan, 0)
    assert judge_difference(nothing, 0.1, epochs=(1, 1)).verdict == "not run"
    assert judge_correlation(nothing).verdict == "not run"
    assert to_plain(not_run("no data")) == {
        "verdict": "not run",
        "why": "no data",
        "measured": None,
    }


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.2, 0.9, "holds"), (-0.9, -0.2, "does not hold"), (-0.1, 0.9, "within noise")],
)
def test_figures_rise_together_where_the_interval_lies_above_0(low, high, verdict):
    finding = judge_correlation(measured(low, high))
    assert finding.verdict == verdict
    assert to_plain(finding)["measured"]["low"] == low


@pytest.mark.parametrize(
    ("ours", "theirs", "verdict"),
    [
        ([1.0, 2.0], [3.0, 4.0], "holds"),
        ([1.0, 3.5], [3.0, 4.0], "within noise"),
        ([4.0, 5.0], [3.0, 4.0], "does not hold"),
        ([3.0], [3.0], "does not hold"),
    ],
)
def test_a_cost_is_lower_where_every_run_needs_less(ours, theirs, verdict):
    assert judge_lower(ours, theirs, unit="GB").verdict == verdict


@pytest.mark.parametrize(
    ("ours", "theirs", "verdict"),
    [
        ([2.8440], [2.8441], "within noise"),
        ([2.8441], [2.8440], "within noise"),
        ([2.7], [2.8], "holds"),
        ([2.9], [2.8], "does not hold"),
    ],
)
def test_costs_that_differ_by_less_than_the_tolerance_are_noise(ours, theirs, verdict):
    assert judge_lower(ours, theirs, unit="GB", tolerance=0.02).verdict == verdict


@pytest.mark.parametrize(
    ("low", "high", "false_positives", "contrast"),
    [
        (-2.0, -1.0, "holds", "does not hold"),
        (1.0, 2.0, "does not hold", "holds"),
        (-1.0, 2.0, "within noise", "within noise"),
        (math.nan, math.nan, "not run", "not run"),
    ],
)
def test_heat_maps_are_cleaner_with_fewer_false_positives_and_a_sharper_contrast(
    low, high, false_positives, contrast
):
    for quantity, verdict in (("false_positive_objects", false_positives), ("contrast", contrast)):
        found = judge_cleaner(measured(low, high, seeds=1), quantity, ours=3.0, theirs=4.5)
        assert found.verdict == verdict
        if verdict != "not run":
            assert found.why.startswith("3 against 4.5 ")
            assert "one seed" in found.why


@pytest.mark.parametrize(
    ("values", "verdict"),
    [([0.05, 0.1], "holds"), ([0.05, 0.2], "within noise"), ([0.11, 0.2], "does not hold")],
)
def test_a_limit_holds_where_every_run_keeps_it(values, verdict):
    assert judge_at_most(values, 0.1).verdict == verdict
