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
        ({"threshold_of": kinds}, "finds one kind of change and .* the kinds of change any, bu"),
        ({"threshold": 0.5, "reason": "why", "kind": "road"}, "finds one kind of change"),
    ):
        with pytest.raises(ConfigError, match=message):
            set_threshold(final, out, **options)
    with pytest.raises(ConfigError, match="exists"):
        set_threshold(final, twin, threshold_of=twin)
    assert not out.exists()


KINDS = (
    KindOfChange("any", 0.5, CHOSEN, temperature=1.5),
    KindOfChange("building", 0.4, CHOSEN, temperature=2.0),
)


@pytest.fixture
def models(tmp_path: Path) -> tuple[Path, Path]:
    """A final model whose kinds of change have other thresholds than those of its twin."""
    mine = (KindOfChange("any", 0.1), KindOfChange("building", 0.2))
    metrics = {"calibration": {"f1": 0.8}, "calibration_building": {"f1": 0.7}}
    return (
        write_model(tmp_path / "a.safetensors", threshold=0.1, kinds=mine, metrics=metrics),
        write_model(tmp_path / "b.safetensors", threshold=0.5, kinds=KINDS),
    )


def test_thresholds_of_all_kinds_are_taken_over_with_their_temperatures(models, tmp_path):
    final, twin = models
    card = set_threshold(final, tmp_path / "new.safetensors", threshold_of=twin)
    assert [(kind.threshold, kind.temperature) for kind in card.kinds] == [(0.5, 1.5), (0.4, 2.0)]
    assert card.threshold == 0.5
    assert card.kinds[1].threshold_selection.kind == "other"
    assert card.metrics == {}


def test_the_threshold_of_one_kind_is_set_and_the_others_stay(models, tmp_path):
    final, twin = models
    out = tmp_path / "new.safetensors"
    card = set_threshold(final, out, threshold_of=twin, kind="building")
    assert read_card(out) == card
    assert [(kind.threshold, kind.temperature) for kind in card.kinds] == [(0.1, None), (0.4, 2.0)]
    assert card.threshold == 0.1
    assert card.metrics == {"calibration": {"f1": 0.8}}
    by_hand = set_threshold(final, out, threshold=0.7, reason="why", existing="replace")
    assert (by_hand.threshold, by_hand.kinds[0].threshold, by_hand.kinds[1].threshold) == (
        *(0.7, 0.7),
        0.2,
    )
