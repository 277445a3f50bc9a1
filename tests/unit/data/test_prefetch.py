import threading

import pytest

from changedet.data.prefetch import load_ahead, room_for


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
