"""What a training prints while it runs."""

import pytest

from changedet.cli.progress import TrainingDisplay
from changedet.training.callbacks import LogRow
from changedet.training.checkpoint import TrainingPosition

ROW = LogRow(
    step=20,
    epoch=3,
    batch=20,
    learning_rate=5e-6,
    losses={"loss": 0.5, "fused": 0.25},
    f_score=None,
    best_f_score=0.9,
)


@pytest.mark.parametrize("is_terminal", [True, False])
def test_every_row_of_the_log_shows_its_learning_rate(monkeypatch, capsys, is_terminal):
    if is_terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
    with TrainingDisplay() as display:
        assert display.console.is_terminal == is_terminal
        display.on_start(TrainingPosition(), batches=40, epochs=3)
        display.on_log(ROW)
    line = "epoch 3 batch 20 lr 5e-06 loss 0.5000 fused 0.2500 f-score - best 0.9000"
    assert line in capsys.readouterr().err
