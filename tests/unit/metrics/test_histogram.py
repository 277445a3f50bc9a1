import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from changedet.errors import ConfigError, DataError
from changedet.metrics.counter import ScoreCounter
from changedet.metrics.histogram import (
    GRID_THRESHOLDS,
    PAPER_THRESHOLDS,
    ScoreHistogram,
)
from changedet.metrics.host_counter import HostScoreCounter


def detected(hist, threshold):
    """Counted pixels at or above a threshold: unchanged and changed, each (N,)."""
    column = hist.columns_of([threshold])[0]
    return hist.unchanged[:, column:].sum(axis=1), hist.changed[:, column:].sum(axis=1)


@settings(max_examples=40, deadline=None)
@given(
    score=hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4)),
        elements=st.floats(0, 1, width=32) | st.sampled_from([*GRID_THRESHOLDS, 1 / 3]),
    ),
    threshold=st.sampled_from([*GRID_THRESHOLDS, *PAPER_THRESHOLDS, 1 / 3]),
    seed=st.integers(0, 99),
)
def test_counts_at_every_threshold_equal_a_plain_comparison(score, threshold, seed):
    label = np.random.default_rng(seed).choice([0, 1, 255], size=score.shape).astype(np.uint8)
    counter = ScoreCounter(extra_thresholds=[1 / 3])
    counter.update(torch.from_numpy(score), torch.from_numpy(label))

    unchanged, changed = detected(counter.compute(), threshold)

    is_detected = score >= np.float32(threshold)
    assert unchanged.tolist() == (is_detected & (label == 0)).sum(axis=(1, 2)).tolist()
    assert changed.tolist() == (is_detected & (label == 1)).sum(axis=(1, 2)).tolist()


def test_a_score_on_an_edge_is_at_or_above_it(count):
    score = [[0.5, np.nextafter(np.float32(0.5), np.float32(0.0))]]

    _, changed = detected(count(score, [[1, 1]]), 0.5)

    assert changed.tolist() == [1]


def test_scores_of_zero_and_one_are_counted_in_the_first_and_the_last_reachable_bin(count):
    hist = count([[0.0, 1.0]], [[1, 1]])

    assert hist.changed[0, 0] == 1
    assert hist.changed[0, hist.columns_of([1.0])[0]] == 1
    assert detected(hist, PAPER_THRESHOLDS[-1])[1].tolist() == [0]


def test_rounding_beyond_the_ends_is_taken_as_the_ends(count):
    hist = count([[-1e-7, 1.0000002]], [[1, 1]])

    assert hist.changed[0, 0] == 1
    assert hist.changed[0, hist.columns_of([1.0])[0]] == 1


def test_ignored_pixels_are_in_neither_count(count):
    hist = count([[0.2, 0.7], [0.1, 0.9]], [[255, 0], [1, 255]])

    assert hist.unchanged.sum() == 1
    assert hist.changed.sum() == 1


def test_an_image_that_is_ignored_throughout_is_a_row_of_zeros(count):
    hist = count([[[0.2]], [[0.3]]], [[[255]], [[1]]])

    assert hist.images == 2
    assert hist.unchanged[0].sum() + hist.changed[0].sum() == 0


def test_batches_give_the_same_rows_as_one_batch(noisy):
    score, label = (torch.from_numpy(array) for array in noisy())
    whole, parts = ScoreCounter(), ScoreCounter()
    whole.update(score, label)
    for start in (0, 4):
        parts.update(score[start : start + 4], label[start : start + 4])

    expected, got = whole.compute(), parts.compute()

    assert np.array_equal(got.changed, expected.changed)
    assert np.array_equal(got.unchanged, expected.unchanged)
    assert np.array_equal(got.lowest, expected.lowest)
    assert np.array_equal(got.highest, expected.highest)


def test_counting_goes_on_after_a_result_was_taken(noisy):
    score, label = (torch.from_numpy(array) for array in noisy())
    counter = ScoreCounter()
    counter.update(score, label)
    first = counter.compute()
    counter.update(score, label)

    assert first.images == 6
    assert counter.compute().images == 12


def test_counts_are_whole_numbers_of_64_bits(count):
    hist = count([[0.2]], [[1]])

    assert hist.changed.dtype == hist.unchanged.dtype == np.int64


def test_half_precision_and_other_label_types_are_understood():
    counter = ScoreCounter()
    counter.update(torch.tensor([[[0.5, 0.25]]], dtype=torch.bfloat16), torch.tensor([[[1, 0]]]))
    counter.update(torch.tensor([[[0.5, 0.25]]]), torch.tensor([[[True, False]]]))

    assert detected(counter.compute(), 0.5)[1].tolist() == [1, 1]


def test_counting_needs_no_gradient_and_may_cross_inference_mode():
    counter = ScoreCounter()
    with torch.inference_mode():
        counter.update(torch.tensor([[[0.5]]]), torch.tensor([[[1]]]))
    counter.update(torch.tensor([[[0.5]]], requires_grad=True), torch.tensor([[[1]]]))

    assert counter.compute().changed.sum() == 2


def test_without_a_batch_there_are_no_rows():
    hist = ScoreCounter().compute()

    assert hist.images == 0
    assert hist.changed.shape == (0, hist.edges.shape[0])


@pytest.mark.parametrize("score", [float("nan"), float("inf"), -0.1, 1.3])
def test_a_score_that_is_none_is_refused(count, score):
    with pytest.raises(DataError, match=r"1 scores are NaN or outside \[0, 1\]"):
        count([[0.5, score]], [[1, 0]])


def test_nan_is_refused_under_an_ignored_pixel_too(count):
    with pytest.raises(DataError, match="NaN"):
        count([[0.5, float("nan")]], [[1, 255]])


def test_a_refused_batch_leaves_no_trace():
    counter = ScoreCounter()
    with pytest.raises(DataError):
        counter.update(torch.tensor([[[0.5, float("nan")]]]), torch.tensor([[[1, 0]]]))

    hist = counter.compute()

    assert hist.images == 0
    assert (hist.highest < 0).all()


@pytest.mark.parametrize(
    ("score", "label", "message"),
    [
        ([[[0.5, float("nan")]]], [[[1, 0]]], r"1 scores are NaN or outside \[0, 1\]"),
        ([[[0.5, 1.3]]], [[[1, 255]]], r"1 scores are NaN or outside \[0, 1\]"),
        ([[[0.5, float("inf")]]], [[[1, 2]]], r"got also \[2\] in 1 pixels"),
        ([[0.5]], [[1]], r"must both be \(B, H, W\)"),
    ],
)
def test_in_main_memory_the_same_is_refused_and_leaves_no_trace(score, label, message):
    counter = HostScoreCounter()
    with pytest.raises(DataError, match=message):
        counter.update(np.array(score, np.float32), np.array(label, np.uint8))

    hist = counter.compute()

    assert hist.images == 0
    assert hist.changed.shape == (0, hist.edges.shape[0])
    assert (hist.highest < 0).all()


def test_an_undecoded_label_is_refused_with_its_values(count):
    with pytest.raises(DataError, match=r"\[2, 254\] in 3 pixels"):
        count([[0.5, 0.5, 0.5, 0.1]], [[2, 254, 254, 1]])


@pytest.mark.parametrize(
    ("score_shape", "label_shape"), [((1, 4, 4), (1, 4, 5)), ((4, 4), (4, 4)), ((2, 4, 4), (4, 4))]
)
def test_shapes_that_do_not_fit_are_refused(score_shape, label_shape):
    with pytest.raises(DataError, match=r"must both be \(B, H, W\)"):
        ScoreCounter().update(torch.zeros(score_shape), torch.zeros(label_shape))


@pytest.mark.parametrize("threshold", [-0.1, 1.5, float("nan")])
def test_an_extra_threshold_must_be_a_score(threshold):
    with pytest.raises(ConfigError, match=r"score in \[0, 1\]"):
        ScoreCounter(extra_thresholds=[threshold])


def test_a_threshold_that_was_not_counted_is_refused_with_the_remedy(count):
    hist = count([[0.5]], [[1]])

    with pytest.raises(ConfigError, match=r"extra_thresholds=\[0.1234\]"):
        hist.columns_of([0.5, 0.1234])


def test_a_threshold_beyond_the_last_edge_is_refused(count):
    with pytest.raises(ConfigError, match="was not counted"):
        count([[0.5]], [[1]]).columns_of([7.0])


def test_a_subset_keeps_the_rows_asked_for_in_their_order(count, noisy):
    hist = count(*noisy())

    part = hist.subset([4, 0, 0])

    assert np.array_equal(part.changed, hist.changed[[4, 0, 0]])
    assert np.array_equal(part.unchanged, hist.unchanged[[4, 0, 0]])


def test_an_empty_subset_has_no_images(count):
    assert count([[0.5]], [[1]]).subset([]).images == 0


@pytest.mark.parametrize("index", [-1, 1])
def test_a_subset_of_rows_that_are_not_there_is_refused(count, index):
    with pytest.raises(DataError, match=r"in \[0, 1\)"):
        count([[0.5]], [[1]]).subset([index])


def test_merging_equals_counting_together(count, noisy):
    score, label = noisy()
    whole = count(score, label)

    merged = count(score[:2], label[:2]).merge(count(score[2:], label[2:]))

    for name in ("edges", "changed", "unchanged", "lowest", "highest"):
        assert np.array_equal(getattr(merged, name), getattr(whole, name))


def test_merging_counts_with_other_edges_is_refused(count):
    with pytest.raises(DataError, match="different edges"):
        count([[0.5]], [[1]]).merge(count([[0.5]], [[1]], extra_thresholds=[0.123]))


def test_merging_with_a_histogram_without_score_ranges_drops_them(count):
    hist = count([[0.5]], [[1]])
    bare = ScoreHistogram(hist.edges, hist.unchanged, hist.changed)

    assert hist.merge(bare).lowest is None


def test_a_histogram_of_shapes_that_do_not_fit_is_refused():
    with pytest.raises(DataError, match="one column per edge"):
        ScoreHistogram(
            edges=np.zeros(3, dtype=np.float32),
            unchanged=np.zeros((2, 3), dtype=np.int64),
            changed=np.zeros((2, 4), dtype=np.int64),
        )


@pytest.mark.cuda
def test_counts_on_the_gpu_equal_those_on_the_cpu(count, noisy):
    score, label = noisy()

    expected, got = count(score, label), count(score, label, device="cuda")

    for name in ("edges", "changed", "unchanged", "lowest", "highest"):
        assert np.array_equal(getattr(got, name), getattr(expected, name))


def test_a_scene_counted_in_strips_gives_the_counts_of_one_pass(monkeypatch):
    rng = np.random.default_rng(5)
    score = torch.from_numpy(rng.random((2, 37, 11), dtype=np.float32))
    label = torch.from_numpy(rng.choice(np.array([0, 1, 255], np.uint8), (2, 37, 11)))
    whole, strips = ScoreCounter(), ScoreCounter()
    whole.update(score, label)
    monkeypatch.setattr("changedet.metrics.counter._COUNTED_AT_ONCE_PX", 5 * 22)
    strips.update(score, label)
    for name in ("unchanged", "changed", "lowest", "highest"):
        assert np.array_equal(getattr(whole.compute(), name), getattr(strips.compute(), name))
