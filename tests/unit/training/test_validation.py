"""Processes that train together share a validation, and stop in the middle of it together."""

import threading
from unittest.mock import MagicMock

import numpy as np
import pytest

from changedet.inference.counting import ScoredPair
from changedet.metrics.histogram import ScoreHistogram
from changedet.training import validation
from changedet.training.ranks import OneProcess
from changedet.training.trainer import StopRequested
from changedet.training.validation import RunValidator


class Told(OneProcess):
    """Another process was asked to stop when this one had scored so many pairs."""

    def __init__(self, *, after: int) -> None:
        self.after = after
        self.answers: list[bool] = []

    def any(self, flag: bool) -> bool:  # noqa: FBT001
        self.answers.append(flag)
        return flag or len(self.answers) > self.after


@pytest.mark.parametrize("after", [0, 2])
def test_a_stop_of_another_process_stops_this_one_at_the_same_pair(tmp_path, monkeypatch, after):
    for name in ("describe_model", "TorchScorer", "PairReader", "choose_heatmaps"):
        monkeypatch.setattr(validation, name, MagicMock())

    def count(*arguments: object, on_score, **options: object) -> None:
        for number in range(5):
            on_score(ScoredPair(number, MagicMock(), None, MagicMock()))

    monkeypatch.setattr(validation, "count_scores", count)
    ranks = Told(after=after)
    validator = RunValidator(
        MagicMock(),
        [MagicMock()] * 5,
        MagicMock(**{"training.batch_size": 2}),
        facts=MagicMock(),
        device=MagicMock(),
        folder=tmp_path,
        should_stop=lambda: False,
        ranks=ranks,
    )
    with pytest.raises(StopRequested):
        validator(MagicMock(epoch=1, batch=1))
    assert ranks.answers == [False] * (after + 1)


class Thread(OneProcess):
    """One of several threads that take the place of processes."""

    def __init__(self, rank, world, meeting, table):
        self.rank, self.world, self.is_main = rank, world, rank == 0
        self._meeting, self._table = meeting, table
        self.asked = 0

    def gather(self, value):
        self._table[self.rank] = value
        self._meeting.wait(60)
        values = list(self._table)
        self._meeting.wait(60)
        return values

    def any(self, flag):
        self.asked += 1
        return any(self.gather(flag))


def run_in_threads(world, work):
    """Call a function in several threads at once, each with its rank, and give what they gave."""
    meeting, table, given = threading.Barrier(world), [None] * world, [None] * world
    ranks = [Thread(rank, world, meeting, table) for rank in range(world)]

    def run(rank):
        try:
            given[rank] = work(ranks[rank])
        except BaseException as error:
            given[rank] = error
            meeting.abort()

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(world)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    for found in given:
        if isinstance(found, BaseException):
            raise found
    return ranks, given


PAIRS = 21
EDGES = np.array([0.0, 0.5], np.float32)


@pytest.fixture
def counting(monkeypatch):
    """Make validations count the number of a pair as its changed pixels, without any network."""
    for name in ("describe_model", "TorchScorer", "PairReader", "choose_heatmaps"):
        monkeypatch.setattr(validation, name, MagicMock())
    validation.PairReader.return_value.read_ahead = lambda pairs: pairs
    batches = []

    def count(scorer, pairs, *, batch_size, mode, on_score):
        batches.append([pairs[n : n + batch_size] for n in range(0, len(pairs), batch_size)])
        for number in range(len(pairs)):
            on_score(ScoredPair(number, MagicMock(), None, MagicMock()))
        counts = np.array([[0, pair] for pair in pairs], np.int64)
        ones = np.ones_like(counts)
        low = np.array([0.1 * min(pairs), 0.6], np.float32)
        return ScoreHistogram(EDGES, ones, counts, low, low + max(pairs))

    monkeypatch.setattr(validation, "count_scores", count)
    monkeypatch.setattr(validation, "judge", lambda histogram: MagicMock(histogram=histogram))
    monkeypatch.setattr(validation, "by_set", lambda pairs: {})
    return batches


def validator_of(ranks, folder, *, pairs=PAIRS, should_stop=lambda: False):
    return RunValidator(
        MagicMock(),
        list(range(pairs)),
        MagicMock(**{"training.batch_size": 2}),
        facts=MagicMock(),
        device=MagicMock(),
        folder=folder,
        should_stop=should_stop,
        ranks=ranks,
    )


@pytest.mark.parametrize("world", [1, 2, 3, 5])
def test_processes_share_the_pairs_and_all_get_the_counts_of_all_in_order(
    tmp_path, counting, world
):
    ranks, given = run_in_threads(
        world, lambda own: validator_of(own, tmp_path)(MagicMock(epoch=1, batch=1))
    )
    for result in given:
        assert result.histogram.changed[:, 1].tolist() == list(range(PAIRS))
        assert result.histogram.images == PAIRS
        assert result.histogram.lowest[0] == 0.0
        # That of the process which has the last pairs; of three it has no others.
        assert result.histogram.highest[0] == np.float32(20.0 if world < 3 else 21.6)
    # The same pairs lie in one batch however many processes there are; one of five has none.
    assert sorted(batch for batches in counting for batch in batches) == [
        list(range(8)),
        list(range(8, 16)),
        list(range(16, 21)),
    ]
    # All ask each other equally often, or they would wait for one another for ever.
    assert len({one.asked for one in ranks}) == 1


def test_one_process_that_is_asked_stops_all_of_them(tmp_path, counting):
    def work(own):
        def asked():
            return own.rank == 1 and own.asked == 3

        with pytest.raises(StopRequested):
            validator_of(own, tmp_path, should_stop=asked)(MagicMock(epoch=1, batch=1))
        return own.asked

    _, asked = run_in_threads(3, work)
    assert asked == [4, 4, 4]
