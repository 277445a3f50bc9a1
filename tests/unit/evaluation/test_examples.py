import pytest

from changedet.evaluation.examples import choose_pairs
from changedet.metrics.confusion import Confusion


def with_f1(percent: int) -> Confusion:
    return Confusion(tp=percent, fp=100 - percent, fn=100 - percent, tn=7)


NOTHING = Confusion(tp=0, fp=0, fn=0, tn=9)


def test_worst_median_and_best_pairs_are_chosen_by_their_f1():
    order = [50, 10, 90, 30, 70, 20, 80, 40, 60]
    chosen = choose_pairs([with_f1(percent) for percent in order], 6)
    assert [(choice.kind, round(100 * choice.f1)) for choice in chosen] == [
        ("worst", 10),
        ("worst", 20),
        ("median", 40),
        ("median", 50),
        ("best", 80),
        ("best", 90),
    ]
    assert [order[choice.number] for choice in chosen] == [10, 20, 40, 50, 80, 90]


@pytest.mark.parametrize("count", range(12))
def test_as_many_as_asked_are_chosen_and_none_twice(count: int):
    counts = [with_f1(percent) for percent in range(0, 100, 11)]
    chosen = choose_pairs(counts, count)
    assert len(chosen) == min(count, len(counts))
    assert len({choice.number for choice in chosen}) == len(chosen)
    assert [choice.f1 for choice in chosen] == sorted(choice.f1 for choice in chosen)


def test_pairs_without_any_change_only_fill_up():
    counts = [NOTHING, with_f1(40), NOTHING, with_f1(20)]
    assert [choice.number for choice in choose_pairs(counts, 2)] == [3, 1]
    filled = choose_pairs(counts, 3)
    assert [(choice.number, choice.kind) for choice in filled] == [
        (3, "worst"),
        (1, "best"),
        (0, "no_change"),
    ]


def test_equal_pairs_are_chosen_in_their_order():
    counts = [with_f1(50)] * 9
    assert [choice.number for choice in choose_pairs(counts, 3)] == [0, 4, 8]
