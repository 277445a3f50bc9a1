"""Processes that train together stop in the middle of a validation together."""

from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest

from changedet.training import validation
from changedet.training.trainer import StopRequested
from changedet.training.validation import RunValidator


class Told:
    """Another process was asked to stop when this one had scored so many pairs."""

    rank = 0
    is_main = True

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
            on_score(SimpleNamespace(number=number, score=None))

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
