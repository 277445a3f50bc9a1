import threading

import pytest

from changedet.data.parallel import load_ahead, map_in_order, room_for


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


def test_results_come_in_order_although_loaded_in_the_background():
    callers = set()

    def load(number: int) -> int:
        callers.add(threading.current_thread())
        return number * number

    assert list(load_ahead(load, range(50))) == [number * number for number in range(50)]
    assert threading.current_thread() not in callers


def test_no_more_than_asked_is_loaded_ahead():
    taken = []

    def items():
        for number in range(100):
            taken.append(number)
            yield number

    loading = load_ahead(lambda number: number, items(), ahead=5)
    assert next(loading) == 0
    assert len(taken) == 5
    loading.close()


def test_an_error_surfaces_at_its_own_turn():
    def load(number: int) -> int:
        if number == 2:
            raise ValueError("third one is broken")
        return number

    loading = load_ahead(load, range(5))
    assert [next(loading), next(loading)] == [0, 1]
    with pytest.raises(ValueError, match="third one is broken"):
        next(loading)


def test_no_thread_is_left_behind_when_the_reader_stops_early():
    before = threading.active_count()
    loading = load_ahead(lambda number: number, range(100))
    next(loading)
    loading.close()
    assert threading.active_count() == before


def test_the_larger_the_images_the_fewer_are_read_in_advance():
    assert room_for((256, 256)) == 16
    assert room_for((4096, 4096)) == 2
    assert room_for((30_000, 30_000)) == 1
