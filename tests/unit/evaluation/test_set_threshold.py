from pathlib import Path

import pytest

from changedet.card import ModelCard, read_card, read_precision
from changedet.errors import ConfigError
from changedet.evaluation.set_threshold import set_threshold
from changedet.kinds import KindOfChange
from changedet.models.model_file import load_model, save_model
from changedet.selection import Selection
from changedet.types import Normalisation
from stand_ins import untrained_network

STATS = Normalisation((120.0,) * 3, (120.0,) * 3, (60.0,) * 3, (60.0,) * 3)
CHOSEN = Selection("training", data="clcd", split="val", images=120, epoch=3, batch=45)


def write_model(path: Path, **card) -> Path:
    network = untrained_network("dasnet")
    save_model(path, network, ModelCard("dasnet", network.options, STATS, tile_px=32, **card))
    return path


@pytest.fixture
def final(tmp_path: Path) -> Path:
    recipe = {"data": {"train_split": "train+val", "val_split": "val"}}
    metrics = {"validation": {"max_f1": 0.9}, "calibration": {"f1": 0.8}}
    return write_model(
        tmp_path / "final.safetensors", data_name="clcd", recipe=recipe, metrics=metrics
    )


@pytest.fixture
def twin(tmp_path: Path) -> Path:
    recipe = {"data": {"train_split": "train", "val_split": "val"}}
    return write_model(
        tmp_path / "twin.safetensors",
        data_name="clcd",
        recipe=recipe,
        threshold=0.31,
        threshold_selection=CHOSEN,
        test_time="mirror",
    )


def test_the_threshold_of_another_model_comes_with_where_it_is_from(final, twin, tmp_path):
    card = set_threshold(final, tmp_path / "new.safetensors", threshold_of=twin, precision="int8")
    assert read_card(tmp_path / "new.safetensors") == card
    assert (card.threshold, card.test_time) == (0.31, "mirror")
    assert card.threshold_source == (
        "that of twin.safetensors, a model trained on split 'train'; there max-F1 on split 'val' "
        "of clcd (120 images), epoch 3, batch 45"
    )
    chosen = card.threshold_selection
    assert (chosen.kind, chosen.data, chosen.split, chosen.images) == ("other", "clcd", "val", 120)
    assert card.metrics == {"validation": {"max_f1": 0.9}}
    assert read_precision(tmp_path / "new.safetensors") == "int8"
    before, after = (load_model(path)[0] for path in (final, tmp_path / "new.safetensors"))
    assert before.parameter_count == after.parameter_count


def test_a_number_needs_a_reason_which_the_card_then_states(final, tmp_path):
    out = tmp_path / "new.safetensors"
    with pytest.raises(ConfigError, match="needs a `reason`"):
        set_threshold(final, out, threshold=0.4)
    assert not out.exists()
    card = set_threshold(final, out, threshold=0.0, reason="everything is looked at by hand")
    assert card.threshold == 0.0
    assert card.threshold_source == "set by the user: everything is looked at by hand"
    assert card.test_time == "none"


def test_views_that_are_asked_for_win(final, twin, tmp_path):
    card = set_threshold(
        final, tmp_path / "new.safetensors", threshold_of=twin, test_time="flips", reason="why"
    )
    assert card.test_time == "flips"
    assert card.threshold_source.endswith("batch 45; why")


def test_what_cannot_be_meant_is_refused(final, twin, tmp_path):
    out = tmp_path / "new.safetensors"
    kinds = write_model(
        tmp_path / "kinds.safetensors",
        threshold=0.5,
        kinds=(KindOfChange("any", 0.5), KindOfChange("building", 0.4)),
    )
    for options, message in (
        ({}, "either"),
        ({"threshold": 0.5, "threshold_of": twin}, "either"),
        ({"threshold": 1.5, "reason": "why"}, "score in"),
        ({"threshold_of": final}, "has no threshold to take over"),
        ({"threshold_of": kinds}, "for each of its kinds of change"),
    ):
        with pytest.raises(ConfigError, match=message):
            set_threshold(final, out, **options)
    with pytest.raises(ConfigError, match="exists"):
        set_threshold(final, twin, threshold_of=twin)
    assert not out.exists()
