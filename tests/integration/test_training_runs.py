"""Training runs in one process: what they leave behind, resuming, refusals."""

import csv
import json
import math
import multiprocessing
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import changedet
from changedet.card import read_card
from changedet.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    StorageError,
    TrainingError,
)
from changedet.evaluation.evaluate import EvaluationRequest, evaluate_model
from changedet.models.ensemble import Ensemble
from changedet.models.model_file import load_model, save_model
from changedet.models.registry import create_model
from changedet.training.callbacks import TrainingCallback
from changedet.training.run import TrainOutcome, TrainRequest, run_training
from stand_ins import TINY_NETWORK

pytestmark = pytest.mark.usefixtures("blank_charts")
TINY = (
    *TINY_NETWORK,
    "training.epochs=2",
    "training.batch_size=2",
    "training.validate_every=3",
    "training.checkpoint_every=1",
    "training.log_every=1",
)


def train(out: Path, data: Path, *, overrides=(), callbacks=(), **request) -> TrainOutcome:
    return run_training(
        TrainRequest(
            out=out,
            data=data,
            recipe=request.pop("recipe", "default"),
            overrides=(*TINY, *overrides),
            device="cpu",
            **request,
        ),
        callbacks=callbacks,
    )


def resume(out: Path, **request) -> TrainOutcome:
    return run_training(TrainRequest(out=out, device="cpu", mode="resume", **request))


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "checkpoints" / "last.safetensors")


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def assert_same_run(one: Path, other: Path) -> None:
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name
    for log in ("train.csv", "validation.csv"):
        assert rows(one / "logs" / log) == rows(other / "logs" / log)
    best = [load_file(run / "best.safetensors") for run in (one, other)]
    assert all(torch.equal(best[0][name], best[1][name]) for name in best[0])


class StopAt(TrainingCallback):
    """Fail hard, or ask to stop, when a step is reached."""

    def __init__(self, step: int, *, how: str) -> None:
        self.step = step
        self.how = how

    def on_batch(self, progress, *, pairs) -> None:
        if progress.step == self.step:
            if self.how == "crash":
                raise RuntimeError("power cut")
            signal.raise_signal(signal.SIGINT)


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory, pairs_folder) -> Path:
    out = tmp_path_factory.mktemp("runs") / "finished"
    train(out, pairs_folder)
    return out


def test_a_run_leaves_all_that_the_seed_asks_for(finished_run):
    # 7 pairs in batches of 2: 4 batches an epoch, validated at batch 3 and at the epoch's end.
    assert {path.name for path in (finished_run / "validation").glob("*.json")} == {
        "1_3_metric.json",
        "1_4_metric.json",
        "2_3_metric.json",
        "2_4_metric.json",
    }
    assert (finished_run / "validation" / "1_3_P_R.jpg").read_bytes()[:2] == b"\xff\xd8"
    assert list((finished_run / "validation" / "2_4_heatmaps").glob("*.png"))
    assert list((finished_run / "logs" / "tensorboard").iterdir())
    assert (finished_run / "config.yaml").is_file()
    log = rows(finished_run / "logs" / "train.csv")
    assert [(row["epoch"], row["batch"]) for row in log][:5] == [
        ("1", "1"),
        ("1", "2"),
        ("1", "3"),
        ("1", "4"),
        ("2", "1"),
    ]
    assert all(float(row["loss_fused"]) > 0 for row in log)


def test_the_best_model_is_named_by_the_epoch_and_batch_it_was_found_at(finished_run):
    validations = rows(finished_run / "logs" / "validation.csv")
    best = max(validations, key=lambda row: float(row["max_f1"]))
    name = f"best_{best['epoch']}_{best['batch']}.safetensors"
    assert (finished_run / "checkpoints" / name).is_file()
    stored = load_file(finished_run / "checkpoints" / name)
    copy = load_file(finished_run / "best.safetensors")
    assert all(torch.equal(stored[key], copy[key]) for key in stored)
    card = read_card(finished_run / "best.safetensors")
    assert card.metrics["validation"]["max_f1"] == pytest.approx(float(best["max_f1"]))
    assert f"epoch {best['epoch']}, batch {best['batch']}" in card.threshold_source
    chosen = card.threshold_selection
    assert (chosen.kind, chosen.data, chosen.split) == ("training", card.data_name, "val")
    assert (str(chosen.epoch), str(chosen.batch)) == (best["epoch"], best["batch"])
    assert card.weights_selection == (chosen,)
    assert card.selection_source == card.threshold_source


def test_the_model_file_is_all_that_prediction_needs(finished_run, pairs_folder):
    card = read_card(finished_run / "best.safetensors")
    assert card.tile_px == 32
    assert 0 < card.threshold < 1
    assert card.recipe["training"]["epochs"] == 2
    assert len(set(card.normalisation.mean_before + card.normalisation.mean_after)) == 6
    detector = changedet.load(finished_run / "best.safetensors", device="cpu")
    from changedet.data.images import read_image

    before, after = (read_image(pairs_folder / "test" / d / "000.png") for d in "AB")
    assert detector.predict(before, after).mask.shape == (64, 64)


def test_metric_json_says_that_its_threshold_is_optimistic(finished_run):
    figures = json.loads((finished_run / "validation" / "2_4_metric.json").read_text())
    assert figures["note"].startswith("selection set, optimistic")
    assert figures["distance"] == pytest.approx(2 * figures["threshold"])
    stored = figures["stored_threshold"]
    assert f"green {stored:.3f} (the threshold)" in figures["heatmaps"]


@pytest.mark.parametrize("step", [1, 3, 4, 6])
@pytest.mark.parametrize("how", ["crash", "ctrl-c"])
def test_a_stopped_and_resumed_run_equals_one_that_was_not(
    finished_run, pairs_folder, tmp_path, step, how
):
    out = tmp_path / "run"
    if how == "crash" and step == 1:
        step = 2  # nothing is saved before the first batch is done, so there is nothing to resume
    try:
        outcome = train(out, pairs_folder, callbacks=[StopAt(step, how=how)])
        assert (how, outcome.signal) == ("ctrl-c", signal.SIGINT)
    except RuntimeError:
        assert how == "crash"
    outcome = resume(out)
    assert outcome.signal is None
    assert_same_run(finished_run, out)


PYRAMID = (
    "model.encoder=test_efficientnet",
    "model.encoder_weights=none",
    "model.decoder_width=8",
    "data.crop_px=64",
    "data.workers=0",
    "augmentation.paste=0.5",
    "training.epochs=2",
    "training.batch_size=2",
    "training.checkpoint_every=1",
    "training.validate_every_epochs=2",
)


def train_pyramid(out, data, *, callbacks=(), overrides=()):
    request = TrainRequest(
        out=out, data=data, recipe="pyramid_small", overrides=(*PYRAMID, *overrides), device="cpu"
    )
    return run_training(request, callbacks=callbacks)


def test_a_resumed_pyramid_ends_with_the_averaged_weights_of_one_that_was_not(
    pairs_folder, tmp_path
):
    averaged = ("training.ema_decay=0.999",)
    train_pyramid(tmp_path / "whole", pairs_folder, overrides=averaged)
    with pytest.raises(RuntimeError):
        train_pyramid(
            tmp_path / "cut",
            pairs_folder,
            callbacks=[StopAt(3, how="crash")],
            overrides=averaged,
        )
    resume(tmp_path / "cut")
    assert_same_run(tmp_path / "whole", tmp_path / "cut")
    model, card = load_model(tmp_path / "cut" / "best.safetensors")
    assert card.architecture == "siamese_pyramid"
    assert card.normalisation.mean_before == pytest.approx((123.675, 116.28, 103.53))
    last = load_file(tmp_path / "cut" / "checkpoints" / "last.safetensors")
    # What is judged and kept is the average, not the last step's weights.
    for name, value in model.state_dict().items():
        assert torch.equal(value, last[f"average.{name}"]), name
    assert not torch.equal(last["model.predict.weight"], last["average.predict.weight"])


def test_the_views_that_validation_averages_go_with_the_model(pairs_folder, tmp_path):
    # Half of a tile of 64 is still a multiple of the stride, 32.
    once = ("training.epochs=1", "data.crop_px=64", "data.test_time=scales")
    train_pyramid(tmp_path / "run", pairs_folder, overrides=once)
    model = tmp_path / "run" / "best.safetensors"
    card = read_card(model)
    assert card.test_time == "scales"

    def average_precision(**options) -> float:
        request = EvaluationRequest(
            model, pairs_folder, tmp_path / "out", split="val", existing="replace", **options
        )
        return evaluate_model(request).best_threshold.average_precision

    judged = card.metrics["validation"]["average_precision"]
    assert average_precision() == pytest.approx(judged, abs=1e-9)
    assert average_precision(test_time="none") != pytest.approx(judged, abs=1e-9)


def test_deep_supervision_needs_a_weight_for_each_level(pairs_folder, tmp_path):
    with pytest.raises(ConfigError, match=r"has 2 values, but the model has 5 levels"):
        train_pyramid(tmp_path, pairs_folder, overrides=["loss.level_weights=[1, 1]"])
    weights = "loss.level_weights=[0.2, 0.2, 0.2, 0.2, 1]"
    train_pyramid(tmp_path / "run", pairs_folder, overrides=[weights])


def test_the_encoders_statistics_need_8_bit_images_of_three_bands(pairs_folder, tmp_path):
    with pytest.raises(ConfigError, match="is for 8-bit images of 3 channels"):
        train_pyramid(
            tmp_path, pairs_folder, overrides=["model.in_channels=1", "augmentation.saturation=0"]
        )


def test_a_crop_of_which_one_pixel_would_be_left_is_refused(pairs_folder, tmp_path):
    with pytest.raises(ConfigError, match=r"data.crop_px must be at least 64 .* got 32"):
        train_pyramid(tmp_path, pairs_folder, overrides=["data.crop_px=32"])


def test_a_crop_that_the_network_cannot_take_is_refused_with_one_it_can(pairs_folder, tmp_path):
    with pytest.raises(ConfigError, match=r"multiple of 32.* got 100; set it to 96 or 128.*=96`"):
        train_pyramid(tmp_path, pairs_folder, overrides=["data.crop_px=100"])


def test_a_missing_validation_split_is_named_with_its_setting(own_pairs_folder, tmp_path):
    shutil.rmtree(own_pairs_folder / "val")
    with pytest.raises(DataError, match=r"no split 'val'; .*train, test \(`data.val_split=NAME`"):
        train_pyramid(tmp_path / "run", own_pairs_folder)


def test_worker_processes_change_nothing(finished_run, pairs_folder, tmp_path):
    train(tmp_path / "run", pairs_folder, overrides=["data.workers=2"])
    # Python would wait for them at its end, and they outlive the signal that it sends.
    assert multiprocessing.active_children() == []
    assert_same_run(finished_run, tmp_path / "run")


def test_another_seed_gives_another_model(finished_run, pairs_folder, tmp_path):
    train(tmp_path / "run", pairs_folder, overrides=["training.seed=1"])
    with pytest.raises(AssertionError):
        assert_same_run(finished_run, tmp_path / "run")


def test_accumulated_batches_give_the_step_of_one_large_batch(pairs_folder, tmp_path):
    # Without batch norm's coupling inside a batch the two would be equal; it stays close in eval
    # statistics, so what is compared is the number of optimiser steps and the logged positions.
    train(tmp_path / "run", pairs_folder, overrides=["training.accumulate=3"])
    state = weights(tmp_path / "run")
    steps = {float(v) for k, v in state.items() if k.endswith(".step")}
    assert steps == {4.0}  # per epoch: batches 1-3, then the left-over batch 4


def test_a_finished_run_resumes_to_itself_and_can_be_extended(finished_run, pairs_folder, tmp_path):
    out = tmp_path / "run"
    train(out, pairs_folder, overrides=["schedule.kind=constant"])
    before = weights(out)
    resume(out)
    assert all(torch.equal(before[k], v) for k, v in weights(out).items())
    outcome = resume(out, overrides=("training.epochs=3",))
    assert (outcome.progress.epoch, outcome.progress.batch) == (3, 4)
    assert len(rows(out / "logs" / "train.csv")) == 12


def test_the_best_score_is_remembered_on_resume(pairs_folder, tmp_path):
    out = tmp_path / "run"
    train(out, pairs_folder, overrides=["schedule.kind=constant"])
    best = max(float(row["max_f1"]) for row in rows(out / "logs" / "validation.csv"))
    outcome = resume(out, overrides=("training.epochs=3",))
    assert outcome.progress.best_f_score >= best


def test_start_epoch_without_resume_starts_the_schedule_there(pairs_folder, tmp_path):
    out = tmp_path / "run"
    overrides = ["schedule.kind=table", "schedule.steps=[[1, 0.01], [2, 0.001]]"]
    train(out, pairs_folder, overrides=overrides, start_epoch=2)
    log = rows(out / "logs" / "train.csv")
    assert {row["epoch"] for row in log} == {"2"}
    assert {float(row["learning_rate"]) for row in log} == {0.001}


def test_training_starts_from_the_weights_of_init(finished_run, pairs_folder, tmp_path):
    source = finished_run / "best.safetensors"
    out = tmp_path / "run"
    train(out, pairs_folder, overrides=["optimizer.lr=1e-12", "training.epochs=1"], init=source)
    started, _ = load_model(source)
    ended, _ = load_model(out / "best.safetensors")
    for (name, one), (_, other) in zip(
        started.named_parameters(), ended.named_parameters(), strict=True
    ):
        assert torch.allclose(one, other, atol=1e-6), name


def test_init_of_another_architecture_is_refused(finished_run, pairs_folder, tmp_path):
    with pytest.raises(CheckpointError, match="does not fit the settings"):
        train(
            tmp_path / "run",
            pairs_folder,
            overrides=["model.head_width=24"],
            init=finished_run / "best.safetensors",
        )


def test_an_ensemble_is_refused_as_a_start_before_the_data_is_read(finished_run, tmp_path):
    model, card = load_model(finished_run / "best.safetensors")
    ensemble = Ensemble([model, create_model(card.architecture, **card.options)])
    path = tmp_path / "both.safetensors"
    of_both = replace(card, architecture="ensemble", options=ensemble.options)
    save_model(path, ensemble, of_both)
    with pytest.raises(ConfigError, match="an ensemble, which cannot be trained further"):
        train(tmp_path / "run", tmp_path / "no_data", init=path)


@pytest.mark.parametrize(
    "recipe", ["dasnet", "dasnet_v2_l2_multi_scale", "dasnet_v2_l2_plain_head"]
)
def test_every_kind_of_recipe_trains(pairs_folder, tmp_path, recipe):
    out = tmp_path / "run"
    outcome = train(out, pairs_folder, recipe=recipe, overrides=["training.epochs=1"])
    assert outcome.progress.step == 4
    terms = rows(out / "logs" / "train.csv")[-1]
    assert bool(terms["loss_position"]) == (recipe != "dasnet_v2_l2_plain_head")
    card = read_card(out / "best.safetensors")
    assert card.normalisation.bands == "bgr"
    assert card.normalisation.std_before == (1.0, 1.0, 1.0)


def test_training_learns_the_tiny_task(pairs_folder, tmp_path):
    jitter = [f"augmentation.{name}=0" for name in ("brightness", "contrast", "saturation", "hue")]
    overrides = [
        *jitter,
        "training.epochs=20",
        "training.checkpoint_every=100",
        "training.validate_every=100",
        "training.validate_every_epochs=10",
        "optimizer.lr=3e-3",
        "model.dropout=0",
        "data.crop_px=64",
        "data.cache=memory",
    ]
    outcome = train(tmp_path / "run", pairs_folder, overrides=overrides)
    assert outcome.progress.best_f_score > 0.8
    log = rows(tmp_path / "run" / "logs" / "train.csv")
    assert float(log[-1]["loss"]) < 0.5 * float(log[0]["loss"])


def test_a_folder_with_another_run_is_refused(finished_run, pairs_folder):
    with pytest.raises(ConfigError, match='already contains a run; use `mode="resume"`'):
        train(finished_run, pairs_folder)


def test_overwrite_spares_a_folder_that_is_no_run(pairs_folder, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigError, match="contains no run that could be replaced"):
        train(tmp_path, pairs_folder, mode="overwrite")
    assert (tmp_path / "thesis.txt").is_file()


def test_overwrite_replaces_a_run(finished_run, pairs_folder, tmp_path):
    out = tmp_path / "run"
    train(out, pairs_folder, overrides=["training.seed=9", "training.epochs=1"])
    train(out, pairs_folder, mode="overwrite")
    assert_same_run(finished_run, out)


def test_a_resumed_run_keeps_its_settings(finished_run):
    with pytest.raises(ConfigError, match=r"optimizer\.lr was 0\.0003, now 0\.1"):
        resume(finished_run, overrides=("optimizer.lr=0.1",))


def test_resuming_where_no_run_is_says_so(tmp_path):
    with pytest.raises(ConfigError, match="contains no run to resume"):
        resume(tmp_path)


def test_resuming_a_run_without_a_checkpoint_says_so(finished_run, tmp_path):
    for name in ("config.yaml", "run.json"):
        (tmp_path / name).write_bytes((finished_run / name).read_bytes())
    with pytest.raises(CheckpointError, match="no checkpoint"):
        resume(tmp_path)


def test_a_cut_checkpoint_is_refused(finished_run, tmp_path):
    for name in ("config.yaml", "run.json"):
        (tmp_path / name).write_bytes((finished_run / name).read_bytes())
    target = tmp_path / "checkpoints" / "last.safetensors"
    target.parent.mkdir()
    target.write_bytes((finished_run / "checkpoints" / "last.safetensors").read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="not a readable checkpoint"):
        resume(tmp_path)


def test_data_is_needed_for_a_new_run(tmp_path):
    with pytest.raises(ConfigError, match="`data=DIR`"):
        run_training(TrainRequest(out=tmp_path / "run"))


def test_labels_without_change_name_the_setting(own_pairs_folder, tmp_path, blank_labels):
    blank_labels(own_pairs_folder / "train")
    with pytest.raises(DataError, match=r"`loss\.changed_share=0\.1`"):
        train(tmp_path / "run", own_pairs_folder)
    assert not (tmp_path / "run").exists()
    outcome = train(
        tmp_path / "run2",
        own_pairs_folder,
        overrides=["loss.changed_share=0.1", "training.epochs=1"],
    )
    assert outcome.progress.step == 2


def test_a_validation_split_without_change_names_the_setting(
    own_pairs_folder, tmp_path, blank_labels
):
    blank_labels(own_pairs_folder / "val")
    with pytest.raises(DataError, match=r"`data\.val_split=NAME`"):
        train(tmp_path / "run", own_pairs_folder)
    assert not (tmp_path / "run").exists()


def test_a_crop_larger_than_the_images_is_said(own_pairs_folder, tmp_path):
    said: list[str] = []
    request = TrainRequest(
        out=tmp_path / "run",
        data=own_pairs_folder,
        overrides=(*TINY, "data.crop_px=96", "training.epochs=1"),
        device="cpu",
    )
    run_training(request, say=said.append)
    assert any("data.crop_px is 96" in line and "64x64" in line for line in said)


def test_a_run_without_a_checkpoint_is_not_offered_to_be_resumed(pairs_folder, tmp_path):
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(
        ConfigError, match='without a checkpoint; use `mode="overwrite"` to replace it'
    ):
        train(tmp_path, pairs_folder)


def test_a_loss_that_is_no_number_stops_with_the_batch_s_files(pairs_folder, tmp_path):
    overrides = ["optimizer.lr=1e30", "training.clip_norm=null", "schedule.kind=constant"]
    with pytest.raises(TrainingError, match=r"not finite.*files: .*train/A/00\d\.png") as error:
        train(tmp_path / "run", pairs_folder, overrides=overrides)
    assert error.value.exit_code == 1
    saved = load_file(tmp_path / "run" / "checkpoints" / "last.safetensors")
    assert all(torch.isfinite(v).all() for k, v in saved.items() if "running" not in k)


def test_a_full_disk_keeps_the_last_checkpoint(pairs_folder, tmp_path, monkeypatch):
    out = tmp_path / "run"
    import changedet.storage.atomic as atomic

    real = atomic.os.fsync

    def fill_up(handle: int) -> None:
        if (out / "checkpoints" / "last.safetensors").exists():
            raise OSError(28, "No space left on device")
        real(handle)

    monkeypatch.setattr(atomic.os, "fsync", fill_up)
    with pytest.raises(StorageError, match="No space left on device") as error:
        train(out, pairs_folder)
    assert error.value.exit_code == 1
    monkeypatch.undo()
    assert not list(out.rglob("*.part"))
    assert math.isfinite(resume(out).progress.best_f_score)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.val_split=dev"], "dev"),
        (["data.benchmark=LEVIR"], "LEVIR-CD"),
        (["data.tile_px=64", "model.attention=dual"], r"data\.tile_px is 64 but data\.crop_px 32"),
        (["model.encoder_weights=/no/such.pth"], "no/such.pth"),
    ],
)
def test_settings_that_do_not_fit_are_one_clear_line(pairs_folder, tmp_path, overrides, message):
    with pytest.raises(changedet.ChangeDetError, match=message):
        train(tmp_path / "run", pairs_folder, overrides=overrides)


def test_an_init_that_is_no_model_leaves_no_folder_behind(pairs_folder, tmp_path):
    (tmp_path / "garbage.pth").write_text("garbage")
    with pytest.raises(
        CheckpointError, match=r"garbage\.pth is truncated or not a safetensors file"
    ):
        train(tmp_path / "run", pairs_folder, init=tmp_path / "garbage.pth")
    assert not (tmp_path / "run").exists()


def test_weights_that_are_not_there_cost_nobody_an_earlier_run(pairs_folder, tmp_path):
    out = tmp_path / "run"
    train(out, pairs_folder, overrides=["training.epochs=1"])
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    for target, mode in ((out, "overwrite"), (tmp_path / "other", "new")):
        with pytest.raises(CheckpointError, match=r"such\.pth"):
            train(target, pairs_folder, overrides=["model.encoder_weights=/no/such.pth"], mode=mode)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert not (tmp_path / "other").exists()


def test_a_start_epoch_past_the_end_is_refused(pairs_folder, tmp_path):
    with pytest.raises(ConfigError, match=r"`start_epoch` must be in \[1, 2\]"):
        train(tmp_path / "run", pairs_folder, start_epoch=3)


def test_resuming_at_an_epoch_keeps_weights_optimiser_and_best_score(pairs_folder, tmp_path):
    out = tmp_path / "run"
    table = ["schedule.kind=table", "schedule.steps=[[1, 0.01], [2, 1.0e-12]]"]
    train(out, pairs_folder, overrides=table)
    before, log = weights(out), rows(out / "logs" / "train.csv")
    best = max(float(row["max_f1"]) for row in rows(out / "logs" / "validation.csv"))
    outcome = resume(out, start_epoch=2)
    again = rows(out / "logs" / "train.csv")[len(log) :]
    # The second epoch once more: its batches, its learning rate, steps that count on.
    assert [(row["epoch"], row["batch"]) for row in again] == [("2", str(b)) for b in (1, 2, 3, 4)]
    assert {float(row["learning_rate"]) for row in again} == {1e-12}
    assert [int(row["step"]) for row in again] == [9, 10, 11, 12]
    after = weights(out)
    for name in before:
        if name.startswith("model.") and "running" not in name and "num_batches" not in name:
            assert torch.allclose(before[name], after[name], atol=1e-6), name
    assert {float(after[name]) for name in after if name.endswith(".step")} == {12.0}
    assert outcome.progress.best_f_score >= best


def test_resuming_at_an_epoch_past_the_end_is_refused(finished_run):
    with pytest.raises(ConfigError, match=r"`start_epoch` must be in \[1, 2\]"):
        resume(finished_run, start_epoch=3)


def test_another_recipe_than_the_run_s_is_refused_by_its_name(finished_run):
    with pytest.raises(ConfigError, match="leave out the recipe"):
        resume(finished_run, recipe="dasnet_v2_cosine")
