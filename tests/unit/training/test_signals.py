"""Signals go to a handler for the time being, then to whoever had them before."""

import signal
import threading

import pytest

from changedet.training.signals import signals_to

NUMBERS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture
def host():
    """What another program has set up for these signals: it notes them."""
    noted: list[int] = []
    former = {number: signal.signal(number, lambda n, _: noted.append(n)) for number in NUMBERS}
    yield noted
    for number, handler in former.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", NUMBERS)
def test_signals_reach_the_handler_and_afterwards_their_former_one(host, number):
    caught: list[int] = []
    with signals_to(caught.append):
        signal.raise_signal(number)
        signal.raise_signal(number)
    signal.raise_signal(number)
    assert (caught, host) == ([number, number], [number])


def test_once_gives_all_signals_back_after_the_first(host):
    caught: list[int] = []
    with signals_to(caught.append, once=True):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGHUP)
    assert (caught, host) == ([signal.SIGINT], NUMBERS)


def test_outside_of_the_main_thread_signals_stay_where_they_are(host):
    caught: list[int] = []
    handlers = []

    def embed():
        with signals_to(caught.append):
            handlers.extend(signal.getsignal(number) for number in NUMBERS)

    before = [signal.getsignal(number) for number in NUMBERS]
    thread = threading.Thread(target=embed)
    thread.start()
    thread.join()
    assert handlers == before
    signal.raise_signal(signal.SIGINT)
    assert (caught, host) == ([], [signal.SIGINT])


def test_a_closed_terminal_stays_ignored_as_nohup_wants_it(host):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    caught: list[int] = []
    with signals_to(caught.append):
        signal.raise_signal(signal.SIGHUP)
    assert (caught, host) == ([], [])
