"""Runs that learn from a teacher, and runs on several splits: what they leave behind, resuming."""

import csv
import json
import signal

import pytest
import torch
from safetensors.torch import load_file

from changedet.card import read_card
from changedet.errors import ConfigError, DataError
from changedet.evaluation.evaluate import EvaluationRequest, evaluate_model
from changedet.evaluation.set_threshold import set_threshold
from changedet.training.callbacks import TrainingCallback
from changedet.training.run import TrainRequest, run_training

pytestmark = pytest.mark.usefixtures("blank_charts")
TINY = (
    "model.encoder=test_efficientnet",
    "model.encoder_weights=none",
    "model.decoder_width=8",
    "loss.level_weights=null",
    "data.crop_px=64",
    "data.test_time=none",
    "data.workers=0",
    "training.epochs=2",
    "training.batch_size=4",
    "training.log_every=1",
    "training.checkpoint_every=1",
    "training.validate_every_epochs=1",
)


def train(out, data, *overrides, callbacks=(), say=lambda message: None):
    return run_training(
        TrainRequest(
            out=out, data=data, recipe="pyramid_small", overrides=(*TINY, *overrides), device="cpu"
        ),
        callbacks=callbacks,
        say=say,
    )


class StopAt(TrainingCallback):
    def __init__(self, step):
        self.step = step

    def on_batch(self, progress, *, pairs):
        if progress.step == self.step:
            signal.raise_signal(signal.SIGINT)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory, pairs_folder):
    out = tmp_path_factory.mktemp("taught") / "teacher"
    train(out, pairs_folder, "training.seed=7", "training.epochs=1")
    return out / "best.safetensors"


def columns(run):
    with (run / "logs" / "train.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_taught_run_learns_from_the_teacher_and_resumes_exactly(teacher, pairs_folder, tmp_path):
    taught = (f"teacher.models={teacher}", "teacher.weight=0.8", "augmentation.paste=0.5")
    said = []
    train(tmp_path / "whole", pairs_folder, *taught, say=said.append)
    assert any(line.startswith(f"teacher: {teacher}; 80 % of the loss") for line in said)
    row = columns(tmp_path / "whole")[0]
    total = 0.2 * float(row["loss_fused"]) + 0.8 * float(row["loss_teacher"])
    assert float(row["loss"]) == pytest.approx(total, rel=1e-5)

    cut = tmp_path / "cut"
    outcome = train(cut, pairs_folder, *taught, callbacks=[StopAt(3)])
    assert outcome.signal == signal.SIGINT
    run_training(TrainRequest(out=cut, device="cpu", mode="resume"))
    first, second = (
        load_file(run / "checkpoints" / "last.safetensors") for run in (tmp_path / "whole", cut)
    )
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert columns(tmp_path / "whole") == columns(cut)

    stored = json.loads((cut / "run.json").read_text())["teachers"]
    assert [entry["model"] for entry in stored] == [str(teacher)]
    # The student itself needs no teacher any more.
    assert read_card(cut / "best.safetensors").recipe["teacher"]["weight"] == 0.8


def test_a_teacher_that_was_replaced_meanwhile_ends_the_resuming(teacher, pairs_folder, tmp_path):
    own = tmp_path / "teacher.safetensors"
    own.write_bytes(teacher.read_bytes())
    run = tmp_path / "run"
    train(run, pairs_folder, f"teacher.models={own}", callbacks=[StopAt(1)])
    train(tmp_path / "other", pairs_folder, "training.seed=8", "training.epochs=1")
    own.write_bytes((tmp_path / "other" / "best.safetensors").read_bytes())
    before = (run / "checkpoints" / "last.safetensors").read_bytes()
    with pytest.raises(ConfigError, match="is another file than when this run started"):
        run_training(TrainRequest(out=run, device="cpu", mode="resume"))
    assert (run / "checkpoints" / "last.safetensors").read_bytes() == before


def test_an_untaught_run_has_no_column_of_a_teacher(teacher):
    assert "loss_teacher" not in columns(teacher.parent)[0]


def test_a_run_on_train_and_val_takes_both_and_chooses_nothing(pairs_folder, tmp_path):
    said = []
    run = tmp_path / "run"
    outcome = train(run, pairs_folder, "data.train_split=train+val", say=said.append)
    # 7 and 2 pairs in batches of 4.
    assert outcome.progress.step == 2 * 3
    assert any("trained on train+val" in line for line in said)
    assert any(line.startswith("no split is left to choose anything on") for line in said)
    assert not any("leak: val" in line or "leak: train" in line for line in said)
    # That of the last epoch, whatever its figures.
    last = load_file(run / "checkpoints" / "last.safetensors")
    best = load_file(run / "best.safetensors")
    assert all(torch.equal(best[name], last[f"model.{name}"]) for name in best)
    card = read_card(run / "best.safetensors")
    assert (card.threshold, card.weights_selection) == (None, ())
    assert card.metrics["validation"]["note"] == "training set, optimistic"
    note = json.loads((run / "validation" / "2_3_metric.json").read_text())["note"]
    assert note == "training set, optimistic: these images are trained on"
    # Also where it is judged later: these are no new images to it.
    judged = evaluate_model(
        EvaluationRequest(
            run / "best.safetensors", pairs_folder, tmp_path / "out", split="val", threshold=0.5
        )
    )
    assert judged.fixed_threshold.note == "training set, optimistic"


def test_copies_among_the_splits_that_are_trained_on_are_no_leak_but_those_of_the_test_are(
    own_pairs_folder, tmp_path
):
    for folder in ("A", "B", "label"):
        image = own_pairs_folder / "val" / folder / "000.png"
        (own_pairs_folder / "train" / folder / "copy.png").write_bytes(image.read_bytes())
        (own_pairs_folder / "test" / folder / "copy.png").write_bytes(image.read_bytes())
    said = []
    train(tmp_path / "run", own_pairs_folder, "data.train_split=train+val", say=said.append)
    leaks = [line for line in said if "leak" in line]
    assert len(leaks) == 1
    assert "leak: test: 1 of 2 pairs have an image in common with training pairs" in leaks[0]


def test_a_split_of_the_list_that_is_not_there_is_named(pairs_folder, tmp_path):
    with pytest.raises(DataError, match=r"no split 'extra'; .*`data\.train_split=NAME`"):
        train(tmp_path / "run", pairs_folder, "data.train_split=train+extra")


def test_a_kind_that_the_settings_name_can_be_asked_for(pairs_folder, tmp_path):
    named = ("model.kinds=[cropland]", "training.epochs=1")
    train(tmp_path / "run", pairs_folder, *named)
    card = read_card(tmp_path / "run" / "best.safetensors")
    assert [kind.name for kind in card.kinds] == ["cropland"]
    assert card.for_kind("cropland").threshold == card.for_kind(None).threshold == card.threshold
    assert card.threshold is not None
    assert card.kinds[0].threshold_selection == card.threshold_selection
    with pytest.raises(ConfigError, match="does not know the kind of change 'building'"):
        card.for_kind("building")

    train(tmp_path / "all", pairs_folder, *named, "data.train_split=train+val")
    set_threshold(tmp_path / "all", tmp_path / "final.safetensors", threshold_of=tmp_path / "run")
    final = read_card(tmp_path / "final.safetensors")
    assert final.for_kind("cropland").threshold == final.threshold == card.threshold
