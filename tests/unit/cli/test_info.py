import dataclasses
import json
import re

import pytest

from changedet.card import ModelCard
from changedet.cli.info import info
from changedet.errors import CheckpointError
from changedet.models.model_file import load_model, save_model
from changedet.models.registry import create_model
from changedet.selection import Selection
from changedet.types import CDD_NORMALISATION, Normalisation


@pytest.fixture
def path(tmp_path):
    model = create_model("dasnet", encoder="test_efficientnet", head_width=8)
    card = ModelCard(
        architecture="dasnet",
        options=model.options,
        normalisation=CDD_NORMALISATION,
        threshold=0.375,
        threshold_selection=Selection("other", text="best F1 on val"),
        weights_selection=(Selection("other", text="best epoch of ten"),),
        metrics={"val": {"f1": 0.91234}},
        data_name="a [real] city",
        licence_note="research only",
    )
    save_model(tmp_path / "model.safetensors", model, card)
    return tmp_path / "model.safetensors"


def test_the_table_says_what_the_model_is_and_how_it_was_made(path, capsys):
    info(str(path), full=True)
    table = capsys.readouterr().out
    for stated in (
        "dasnet",
        "encoder: test_efficientnet",
        "BGR",
        "87.72, 100.2, 90.43; 120.24",
        "0.3750",
        "best F1 on val",
        "best epoch of ten",
        "val.f1: 0.9123",
        "a [real] city",
        "research only",
        "changedet 0.",
    ):
        assert stated in table


def test_by_default_it_says_what_a_user_needs(path, capsys):
    info(str(path))
    table = capsys.readouterr().out
    for stated in ("dasnet on test_efficientnet", "3 bands of uint8 (BGR)", "a [real] city"):
        assert stated in table
    assert re.search(r"threshold\W+0\.3750 \(best F1 on val\)", table)
    for left_out in ("mean before", "87.72", "val.f1", "label encoding"):
        assert left_out not in table
    assert "--full" in table


def test_a_run_and_a_name_are_found(path, tmp_path, capsys, monkeypatch):
    run = tmp_path / "run"
    run.mkdir()
    path.rename(run / "best.safetensors")
    info(str(run))
    assert "dasnet on" in capsys.readouterr().out
    monkeypatch.setenv("CHANGEDET_MODELS", str(run))
    info("best")
    assert "dasnet on" in capsys.readouterr().out


def test_json_is_all_that_is_printed(path, capsys):
    info(str(path), as_json=True)
    card = json.loads(capsys.readouterr().out)
    assert card["architecture"] == "dasnet"
    assert card["threshold"] == pytest.approx(0.375)
    assert card["normalisation"]["bands"] == "bgr"
    assert card["metrics"] == {"val": {"f1": 0.91234}}
    assert card["threshold_selection"] == {"kind": "other", "text": "best F1 on val"}
    assert card["threshold_source"] == "best F1 on val"
    assert card["selection_source"] == "best epoch of ten"
    assert card["parameters"] > 9e4


def test_a_file_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "notes.safetensors"
    path.write_text("nothing")
    with pytest.raises(CheckpointError, match="is truncated or not a safetensors file"):
        info(str(path))


def test_the_order_of_channels_is_shown_for_three_of_them_and_bands_where_they_are_known(
    path, tmp_path, capsys
):
    info(str(path), full=True)
    table = capsys.readouterr().out
    assert "channel order" in table
    assert "bands of the rasters" not in table

    model = create_model("dasnet", encoder="test_efficientnet", head_width=8, in_channels=4)
    card = ModelCard(
        architecture="dasnet",
        options=model.options,
        normalisation=Normalisation((1.0,) * 4, (1.0,) * 4, (2.0,) * 4, (2.0,) * 4),
        source_bands=(4, 3, 2, 8),
        source_bands_after=(1, 2, 3, 4),
        blocks={
            "gap_px": 64,
            "scenes": [
                {
                    "name": "town",
                    "before": "a.tif",
                    "crs": None,
                    "transform": [1, 0, 0, 0, -1, 0],
                    "training": [[0, 0, 9, 9]] * 37,
                    "validation": [[0, 9, 9, 9]] * 5,
                }
            ],
        },
        data_name="town",
    )
    save_model(tmp_path / "four.safetensors", model, card)
    info(str(tmp_path / "four.safetensors"), full=True)
    table = capsys.readouterr().out
    assert "channel order" not in table
    assert "bands of the rasters" in table
    assert "4, 3, 2, 8; after: 1, 2, 3, 4" in table
    assert "town (37 blocks of scenes, 5 for validation)" in table


def test_the_type_of_the_weights_and_the_test_time_augmentation_are_stated(path, capsys):
    info(str(path), full=True)
    table = capsys.readouterr().out
    assert re.search(r"weights stored as\W+float32", table)
    assert re.search(r"test-time augmentation\W+none", table)

    model, card = load_model(path)
    save_model(path, model, dataclasses.replace(card, test_time="turns"), precision="float16")
    info(str(path), as_json=True)
    card = json.loads(capsys.readouterr().out)
    assert (card["test_time"], card["precision"]) == ("turns", "float16")
