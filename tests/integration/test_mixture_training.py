"""A network of several kinds of change, trained on a mixture of data sets."""

import csv
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from changedet.card import read_card
from changedet.errors import ConfigError
from changedet.models.model_file import load_model
from changedet.training.callbacks import TrainingCallback
from changedet.training.run import TrainOutcome, TrainRequest, run_training
from conftest import write_split_folders
from stand_ins import TINY_PYRAMID

pytestmark = pytest.mark.usefixtures("blank_charts")
TINY = (
    *TINY_PYRAMID,
    "data.working_gsd_m=[0.5, 1.0]",
    "training.epochs=2",
    "training.validate_every_epochs=1",
    "training.batch_size=4",
    "training.checkpoint_every=1",
)


@pytest.fixture(scope="module")
def mixture(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("mixture")
    write_split_folders(folder / "towns", counts=(4, 2, 0))
    write_split_folders(folder / "fields", counts=(3, 1, 0), size_px=96)
    path = folder / "mixture.yaml"
    path.write_text(
        "sets:\n"
        "  towns: {data: towns, kind: building, also_changed: any, gsd_m: 0.5, weight: 1.5,"
        " region: Texas, terms: research only}\n"
        "  fields: {data: fields, kind: cropland, gsd_m: 2}\n"
    )
    return path


def train(out: Path, data: Path, *, overrides=(), callbacks=(), **request) -> TrainOutcome:
    return run_training(
        TrainRequest(
            out=out,
            data=data,
            recipe="pyramid_small",
            overrides=(*TINY, *overrides),
            device="cpu",
            **request,
        ),
        callbacks=callbacks,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory, mixture) -> Path:
    out = tmp_path_factory.mktemp("runs") / "finished"
    train(out, mixture)
    return out


def rows(run: Path, name: str) -> list[dict[str, str]]:
    with (run / "logs" / name).open() as file:
        return list(csv.DictReader(file))


def test_the_model_file_says_what_the_mixture_taught(finished):
    card = read_card(finished / "best.safetensors")
    assert [kind.name for kind in card.kinds] == ["any", "building", "cropland"]
    of_any, building, cropland = card.kinds
    assert of_any.threshold is None
    assert building.threshold_selection.split == "val"
    assert building.temperature > 0
    assert 0 < cropland.threshold <= 1
    assert card.working_gsd_m == (0.5, 1.0)
    assert card.domain.gsd_m == (0.5, 2.0)
    assert card.domain.region == "Texas"
    assert "towns: research only" in card.licence_note
    assert set(card.metrics["validation"]["sets"]) == {"towns", "fields"}
    model, _ = load_model(finished / "best.safetensors")
    assert model.kinds == ("any", "building", "cropland")


def test_every_set_is_validated_by_itself(finished):
    found = rows(finished, "validation_sets.csv")
    assert [(row["epoch"], row["set"], row["images"]) for row in found] == [
        ("1", "towns", "2"),
        ("1", "fields", "1"),
        ("2", "towns", "2"),
        ("2", "fields", "1"),
    ]
    last = [float(row["f1"]) for row in found[2:]]
    chosen = rows(finished, "validation.csv")[1]
    assert float(chosen["max_f1"]) == pytest.approx(sum(last) / 2)


class PowerCut(TrainingCallback):
    def on_batch(self, progress, *, pairs) -> None:
        if progress.step == 3:
            raise RuntimeError("power cut")


def test_a_resumed_run_ends_with_the_very_same_weights(finished, mixture, tmp_path):
    out = tmp_path / "run"
    with pytest.raises(RuntimeError, match="power cut"):
        train(out, mixture, callbacks=[PowerCut()])
    run_training(TrainRequest(out=out, device="cpu", mode="resume"))
    first, second = (load_file(run / "checkpoints" / "last.safetensors") for run in (finished, out))
    assert all(torch.equal(first[name], second[name]) for name in first)
    for log in ("train.csv", "validation.csv", "validation_sets.csv"):
        assert rows(finished, log) == rows(out, log)


def test_kinds_that_a_model_file_does_not_know_start_from_those_it_does(
    finished, mixture, tmp_path
):
    path = tmp_path / "towns.yaml"
    towns = mixture.parent / "towns"
    path.write_text(f"sets: {{towns: {{data: {towns}, kind: building}}}}\n")
    out = tmp_path / "run"
    train(out, path, init=finished / "best.safetensors", overrides=["optimizer.lr=1e-12"])
    before, _ = load_model(finished / "best.safetensors")
    after, card = load_model(out / "best.safetensors")
    assert [kind.name for kind in card.kinds] == ["building"]
    torch.testing.assert_close(
        after.state_dict()["predict.weight"], before.state_dict()["predict.weight"][1:2]
    )


@pytest.mark.parametrize(
    ("kinds", "message"),
    [
        ("[any, building]", r"fields .* labels the kind of change 'cropland', which model\.kinds"),
        ("[any, building, cropland, road]", r"no data set .* teaches .*'road' \(model\.kinds\)"),
    ],
)
def test_kinds_and_data_sets_that_do_not_fit_are_told(mixture, tmp_path, kinds, message):
    with pytest.raises(ConfigError, match=message):
        train(tmp_path / "run", mixture, overrides=[f"model.kinds={kinds}"])


def test_one_data_set_teaches_one_kind(mixture, tmp_path):
    with pytest.raises(ConfigError, match=r"model\.kinds names 2 .*one data set"):
        train(tmp_path / "run", mixture.parent / "towns", overrides=["model.kinds=[any, building]"])


def test_a_network_that_compares_embeddings_takes_sets_of_one_kind(mixture, tmp_path):
    with pytest.raises(ConfigError, match=r"dasnet finds one kind of change.*siamese_pyramid"):
        run_training(
            TrainRequest(
                out=tmp_path / "run",
                data=mixture,
                recipe="dasnet",
                overrides=("model.encoder_weights=none", "data.crop_px=64"),
                device="cpu",
            )
        )


@pytest.mark.parametrize(
    ("recipe", "way_out"),
    [("dasnet_v2_l2", "set model.attention=none"), ("tinycd", "choose another model.name")],
)
def test_tiles_of_one_size_and_a_working_range_contradict_each_other(
    mixture, tmp_path, recipe, way_out
):
    with pytest.raises(ConfigError, match=rf"data\.working_gsd_m resamples.*{way_out}"):
        run_training(
            TrainRequest(
                out=tmp_path / "run",
                data=mixture,
                recipe=recipe,
                overrides=("data.working_gsd_m=[1, 2]",),
                device="cpu",
            )
        )
