from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from changedet.errors import ConfigError
from changedet.experiment.calibration import CalibrationRequest, calibrate_model
from changedet.experiment.ensembling import build_ensemble
from changedet.experiment.seen_before import was_chosen_on
from changedet.inference.detector import load
from changedet.models.model_file import (
    ModelCard,
    load_model,
    read_card,
    read_parameter_count,
    read_precision,
    save_model,
)
from changedet.models.registry import create_model
from changedet.types import Normalisation, Precision

CHOSEN = "max-F1 on split 'val' of town (9 images), epoch {epoch}, batch 1"
CARD = ModelCard(
    "dasnet",
    {},
    Normalisation((120.0,) * 3, (120.0,) * 3, (60.0,) * 3, (60.0,) * 3),
    tile_px=32,
    threshold=0.3,
    test_time="mirror",
    data_name="town",
    licence_note="as the data",
    recipe={"name": "own", "data": {"train_split": "train", "val_split": "val"}},
)


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Path]:
    """Write a model file whose card differs from CARD in what is given."""

    def write(name: str, *, seed: int = 0, precision: Precision = "float32", **changes) -> Path:
        torch.manual_seed(seed)
        network = create_model("dasnet", encoder="resnet18", head_width=8, attention="none")
        card = replace(CARD, options=network.options, **changes)
        path = tmp_path / f"{name}.safetensors"
        save_model(path, network, card, precision=precision)
        return path

    return write


def make_pair() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    before, after = generator.integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    return before, after


def test_the_file_scores_by_the_mean_of_its_members(make, tmp_path):
    first, second = make("first"), make("second", seed=1)
    out = tmp_path / "both.safetensors"
    report = build_ensemble([first, second], out)
    scores = [load(path, device="cpu").predict(*make_pair()).score for path in (first, second)]
    assert np.abs(scores[0] - scores[1]).max() > 0.01
    together = load(out, device="cpu").predict(*make_pair()).score
    np.testing.assert_allclose(together, np.mean(scores, axis=0), atol=1e-6)
    assert report.parameters == read_parameter_count(out) == 2 * read_parameter_count(first)
    assert report.size_bytes == out.stat().st_size


def test_the_card_says_what_holds_for_all_members_and_whose_it_is(make, tmp_path):
    first = make("first", selection_source=CHOSEN.format(epoch=3), metrics={"val": {"f1": 0.5}})
    second = make(
        "second", selection_source=CHOSEN.format(epoch=7), tile_px=64, licence_note="as the town"
    )
    card = build_ensemble([first, second], tmp_path / "both.safetensors").card
    assert card == read_card(tmp_path / "both.safetensors")
    assert card.threshold is None
    assert card.threshold_source is None
    assert card.test_time == "mirror"
    assert card.tile_px == 64
    assert card.licence_note == "as the data; as the town"
    assert card.metrics == {"members": [{"val": {"f1": 0.5}}, {}]}
    assert [recipe["name"] for recipe in card.recipe["members"]] == ["own", "own"]
    assert "epoch 3" in card.selection_source
    assert "epoch 7" in card.selection_source
    assert was_chosen_on(card.selection_source, data_name="town", split="val")


def test_views_that_differ_are_left_to_the_calibration(make, tmp_path):
    models = [make("first"), make("second", test_time="scales")]
    assert build_ensemble(models, tmp_path / "both.safetensors").card.test_time == "none"


@pytest.mark.parametrize(
    ("precisions", "expected"),
    [(("float16", "float16"), "float16"), (("float16", "float32"), "float32")],
)
def test_rounded_weights_stay_as_they_are(make, tmp_path, precisions, expected):
    models = [make(name, precision=name) for name in set(precisions)]
    if len(models) == 1:
        models.append(make("other", seed=1, precision=precisions[1]))
    out = tmp_path / "both.safetensors"
    assert build_ensemble(models, out).precision == read_precision(out) == expected
    ensemble = load_model(out)[0]
    for number, path in enumerate(models):
        for name, value in load_model(path)[0].state_dict().items():
            assert torch.equal(ensemble.state_dict()[f"members.{number}.{name}"], value), name


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data_name": "village"}, "share their data set: .*first.* has town, .* has village"),
        ({"pixel_type": "uint16"}, "type of pixel values"),
        ({"normalisation": replace(CARD.normalisation, mean_after=(1.0, 2.0, 3.0))}, "share their"),
        ({"source_bands": (3, 2, 1)}, "share their bands"),
        ({"blocks": {"gap_px": 0, "scenes": []}}, "blocks of scenes"),
        ({"recipe": {"data": {"train_split": "all", "val_split": "val"}}}, r"data\.train_split"),
        ({"recipe": {"data": {"train_split": "train", "val_split": "v"}}}, r"data\.val_split"),
    ],
)
def test_models_that_were_trained_on_other_things_are_refused(make, tmp_path, changes, words):
    with pytest.raises(ConfigError, match=words):
        build_ensemble([make("first"), make("second", **changes)], tmp_path / "both.safetensors")
    assert not (tmp_path / "both.safetensors").exists()


def test_a_file_given_twice_is_refused(make, tmp_path):
    path = make("first")
    same = tmp_path / "." / "first.safetensors"
    with pytest.raises(ConfigError, match="given twice"):
        build_ensemble([path, make("second"), same], tmp_path / "both.safetensors")


def test_an_existing_file_is_replaced_only_on_demand(make, tmp_path):
    models = [make("first"), make("second", seed=1)]
    out = make("mine")
    before = out.read_bytes()
    with pytest.raises(ConfigError, match="--overwrite"):
        build_ensemble(models, out)
    assert out.read_bytes() == before
    build_ensemble(models, out, existing="replace")
    assert read_card(out).architecture == "ensemble"


def test_an_ensemble_is_calibrated_like_any_model(make, tmp_path, pairs_folder):
    out = tmp_path / "both.safetensors"
    build_ensemble([make("first"), make("second", seed=1)], out)
    report = calibrate_model(
        CalibrationRequest(model=out, out=out, data=pairs_folder, device="cpu", existing="replace")
    )
    card = read_card(out)
    assert report.before.threshold is None
    assert card.threshold == report.after.threshold
    assert card.architecture == "ensemble"
    assert "calibration" in card.metrics
    assert card.metrics["members"] == [{}, {}]
