import threading

import pytest

from changedet.data.parallel import map_in_order


def test_results_come_in_the_order_of_the_items_however_long_each_takes():
    first_may_end = threading.Event()

    def work(item):
        if item == 0:
            first_may_end.wait(5)
        if item == 1:
            first_may_end.set()
        return item * 10

    assert list(map_in_order(work, range(2))) == [0, 10]


def test_the_first_error_in_order_is_raised_and_the_rest_is_dropped():
    begun = []

    def work(item):
        begun.append(item)
        if item in (1, 2):
            raise ValueError(str(item))
        return item

    with pytest.raises(ValueError, match="1"):
        list(map_in_order(work, range(10_000)))
    assert len(begun) < 10_000


def test_the_observer_hears_of_every_item():
    heard = []

    list(map_in_order(str, "abc", progress=lambda done, total: heard.append((done, total))))

    assert heard == [(1, 3), (2, 3), (3, 3)]
