import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from changedet.errors import ConfigError, DataError
from changedet.metrics.objects import (
    SIZE_CLASSES,
    ObjectCounter,
    count_false_positive_objects,
    object_result,
)


def counted(*pairs):
    counter = ObjectCounter()
    for prediction, label in pairs:
        counter.add(np.asarray(prediction, dtype=bool), np.asarray(label, dtype=np.uint8))
    return counter.compute()


def squares(*boxes, side=80):
    """An image with rectangles (top, left, height, width) in it."""
    image = np.zeros((side, side), dtype=np.uint8)
    for top, left, height, width in boxes:
        image[top : top + height, left : left + width] = 1
    return image


def groups_of(mask):
    """Collect the groups of touching pixels, one flood after the other."""
    left = {(int(row), int(column)) for row, column in np.argwhere(mask)}
    groups = []
    while left:
        edge, group = [left.pop()], set()
        while edge:
            row, column = edge.pop()
            group.add((row, column))
            around = {(row + down, column + right) for down in (-1, 0, 1) for right in (-1, 0, 1)}
            edge += around & left
            left -= around
        groups.append(frozenset(group))
    return groups


def by_hand(prediction, label):
    """Count matches over all pairs of objects, and objects by size."""
    predicted = groups_of(prediction & (label != 255))
    labelled = groups_of(label == 1)
    pairs = [(p, q) for p in predicted for q in labelled if 2 * len(p & q) >= len(p | q)]
    assert len({p for p, _ in pairs}) == len({q for _, q in pairs}) == len(pairs), "a tie"
    detected = frozenset().union(*predicted) if predicted else frozenset()
    sizes, found = [0] * 5, [0] * 5
    for group in labelled:
        place = next(
            number
            for number, size in enumerate(SIZE_CLASSES)
            if size.to_px is None or len(group) < size.to_px
        )
        sizes[place] += 1
        found[place] += 2 * len(group & detected) >= len(group)
    return len(pairs), len(predicted), sizes, found


labels = arrays(np.uint8, (7, 9), elements=st.sampled_from([0, 0, 1, 1, 255]))
masks = arrays(np.bool_, (7, 9))


@settings(deadline=None, max_examples=150)
@given(mask=masks, label=labels)
def test_counts_are_those_of_comparing_every_object_with_every_other(mask, label):
    counts = counted((mask, label))
    matched, predicted, sizes, found = by_hand(mask, label)
    assert counts.matched.tolist() == [matched]
    assert counts.predicted.tolist() == [predicted]
    assert counts.labelled.tolist() == [sizes]
    assert counts.found.tolist() == [found]


@settings(deadline=None, max_examples=100)
@given(label=labels, flips=arrays(np.uint8, (7, 9), elements=st.integers(0, 9)))
def test_no_object_matches_twice_even_where_prediction_and_label_nearly_agree(label, flips):
    mask = (label == 1) ^ (flips == 0)
    assert counted((mask, label)).matched[0] == by_hand(mask, label)[0]


def test_a_perfect_prediction_finds_everything():
    label = squares((2, 2, 4, 4), (20, 20, 12, 12), (40, 40, 36, 36))
    result = object_result(counted((label, label)))
    assert (result.f1, result.precision, result.recall) == (1.0, 1.0, 1.0)
    assert (result.matched, result.predicted, result.labelled) == (3, 3, 3)
    assert [entry.objects for entry in result.by_size] == [1, 1, 0, 1, 0]


def test_pixels_that_touch_at_a_corner_are_one_object():
    assert counted((np.eye(5), np.eye(5))).predicted.tolist() == [1]


def test_half_of_the_union_is_enough_and_less_is_not():
    label = squares((0, 0, 4, 4))
    half, less = squares((0, 0, 4, 8)), squares((0, 0, 4, 9))
    assert counted((half, label)).matched.tolist() == [1]
    assert counted((less, label)).matched.tolist() == [0]


def test_one_blob_over_many_objects_finds_their_pixels_but_matches_none():
    label = squares((0, 0, 10, 10), (0, 30, 10, 10), (30, 0, 10, 10))
    result = object_result(counted((squares((0, 0, 60, 60)), label)))
    assert (result.matched, result.precision, result.recall) == (0, 0.0, 0.0)
    assert (result.by_size[1].found, result.by_size[1].recall) == (3, 1.0)


def test_ignored_pixels_belong_to_no_object():
    label = squares((0, 0, 4, 4))
    label[:, 4:] = 255
    everywhere = np.ones_like(label)
    counts = counted((everywhere, label))
    # Predictions remain on the square and below it, where they are one object.
    assert counts.predicted.tolist() == [1]
    assert counted((everywhere, np.full_like(label, 255))).predicted.tolist() == [0]
    label[4:] = 255
    assert counted((everywhere, label)).matched.tolist() == [1]


@pytest.mark.parametrize(
    ("pixels", "place"),
    [(1, 0), (63, 0), (64, 1), (255, 1), (256, 2), (1023, 2), (1024, 3), (4095, 3), (4096, 4)],
)
def test_sizes_fall_into_their_class(pixels, place):
    label = np.zeros((1, 5000), dtype=np.uint8)
    label[0, :pixels] = 1
    assert np.flatnonzero(counted((label, label)).labelled[0]).tolist() == [place]


def test_size_classes_can_be_read_in_pixels_and_square_metres():
    assert [size.text for size in SIZE_CLASSES] == [
        "< 64",
        "64-255",
        "256-1023",
        "1024-4095",
        ">= 4096",
    ]
    assert SIZE_CLASSES[1].area_m2(0.5) == (16.0, 64.0)
    assert SIZE_CLASSES[-1].area_m2(2.0) == (16384.0, None)


def test_undefined_figures_are_nan_and_never_zero():
    nothing = np.zeros((8, 8))
    empty = object_result(counted((nothing, nothing), (nothing, nothing)))
    assert np.isnan([empty.f1, empty.precision, empty.recall]).all()
    assert np.isnan(empty.intervals["f1"]).all()
    assert np.isnan(empty.by_size[0].recall)
    missed = object_result(counted((nothing, np.eye(8))))
    assert (missed.f1, missed.recall) == (0.0, 0.0)
    assert np.isnan(missed.precision)
    false_alarm = object_result(counted((np.eye(8), nothing)))
    assert (false_alarm.f1, false_alarm.precision) == (0.0, 0.0)
    assert np.isnan(false_alarm.recall)


def test_objects_are_pooled_over_images_rather_than_averaged():
    one, three = squares((0, 0, 4, 4)), squares((0, 0, 4, 4), (20, 0, 4, 4), (40, 0, 4, 4))
    result = object_result(counted((one, one), (np.zeros_like(three), three)))
    assert result.recall == pytest.approx(1 / 4)
    assert result.f1 == pytest.approx(2 / 5)


def test_intervals_come_from_drawing_images_and_follow_the_seed():
    hit = squares((0, 0, 4, 4))
    counts = counted(*[(hit, hit)] * 6, *[(np.zeros_like(hit), hit)] * 6)
    result = object_result(counts, seed=1)
    low, high = result.intervals["recall"]
    # The draws of 12 coins: 95 % lie within about 0.5 +- 0.28.
    assert 0.15 < low < 0.35
    assert 0.65 < high < 0.85
    assert result.by_size[0].interval == (low, high)
    assert object_result(counts, seed=1).intervals == result.intervals
    assert object_result(counts, seed=2, level=0.5).intervals["recall"] != (low, high)


def test_a_single_image_has_no_interval():
    result = object_result(counted((np.eye(8), np.eye(8))))
    assert np.isnan(result.intervals["f1"]).all()


def test_a_subset_keeps_the_rows_asked_for():
    hit = squares((0, 0, 4, 4))
    counts = counted((hit, hit), (np.zeros_like(hit), hit))
    assert object_result(counts.subset([1])).recall == 0.0
    assert object_result(counts.subset([0])).recall == 1.0
    assert counts.subset([]).images == 0
    with pytest.raises(DataError, match=r"in \[0, 2\), got 2 to 2"):
        counts.subset([2])


def test_wrong_input_is_refused_in_words():
    with pytest.raises(DataError, match=r"\(H, W\), got \(2, 2\) and \(2, 3\)"):
        counted((np.zeros((2, 2)), np.zeros((2, 3))))
    with pytest.raises(DataError, match="no image was counted"):
        object_result(ObjectCounter().compute())
    counts = counted((np.eye(2), np.eye(2)))
    for wrong in ({"resamples": 0}, {"level": 1.0}):
        with pytest.raises(ConfigError, match="resamples must be positive and level"):
            object_result(counts, **wrong)


def test_false_positive_objects_are_those_without_a_changed_pixel():
    label = squares((10, 10, 10, 10))
    label[60:] = 255
    found = squares((12, 19, 4, 6), (10, 40, 2, 2), (12, 42, 2, 2), (40, 40, 1, 1), (65, 5, 3, 3))
    # One overlaps the change, two touch at a corner and are one, one is ignored.
    assert count_false_positive_objects(found.astype(bool), label) == 2
    assert count_false_positive_objects(np.zeros_like(label, dtype=bool), label) == 0
    # Beside a change is not on it.
    assert count_false_positive_objects(squares((10, 20, 3, 3)).astype(bool), label) == 1
