"""Cards of both formats are read, and what is no card is refused in one line."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from changedet.card import ModelCard, read_card
from changedet.data.index import PairIndex
from changedet.data.pair import PairPaths
from changedet.errors import CheckpointError, ConfigError
from changedet.evaluation.leakage import optimism_note
from changedet.selection import Selection
from changedet.types import CDD_NORMALISATION, Normalisation

RELEASED_CARD = Path(__file__).parent / "old_cards" / "pyramid_small_clcd.json"
RELEASED = Path(__file__).parents[3] / "models" / "pyramid_small_clcd.safetensors"
CARD = ModelCard("dasnet", {}, CDD_NORMALISATION, threshold=0.3)
BEST = Selection("training", data="TOWN", split="val", images=2, epoch=3, batch=40)
CALIBRATED = Selection(
    "calibration",
    data="TOWN",
    split="test",
    images=2,
    mode="whole",
    test_time="coarse_few",
    precision="int8",
)
SCENE = {
    "name": "town",
    "before": "a.tif",
    "crs": None,
    "transform": [1, 0, 0, 0, -1, 0],
    "training": [[0, 0, 64, 64]],
    "validation": [],
}


def write(path: Path, values: object) -> Path:
    """Write a file with these values as its card."""
    save_file({"a": np.zeros(1, np.float32)}, path, {"changedet": json.dumps(values)})
    return path


def format_1(**fields: Any) -> dict[str, Any]:
    values = {**CARD.to_dict(), "format_version": 1}
    del values["threshold_selection"], values["weights_selection"]
    return {**values, "threshold_source": None, "selection_source": None, **fields}


def note(card: ModelCard, *, data: str, split: str) -> str | None:
    """Say what is written beside figures of a split at the model's own threshold."""
    pairs = (PairPaths("1", Path("A/1"), Path("B/1"), Path("label/1")),)
    index = PairIndex(root=Path("x"), layout="lists", name=data, splits={split: pairs})
    return optimism_note(card, index, split=split, seen=None, threshold=card.threshold_selection)


@pytest.mark.parametrize(
    ("threshold", "weights"),
    [(None, ()), (BEST, (BEST,)), (CALIBRATED, (BEST, Selection("other", text="somebody")))],
)
def test_who_chose_is_read_as_it_was_written(tmp_path, threshold, weights):
    values = {
        **CARD.to_dict(),
        "threshold_selection": threshold and threshold.to_dict(),
        "weights_selection": [chosen.to_dict() for chosen in weights],
    }
    card = read_card(write(tmp_path / "m.safetensors", values))
    assert (card.threshold_selection, card.weights_selection) == (threshold, weights)
    assert card.to_dict() == values


@pytest.mark.parametrize("split", ["val", "bob's val", 'the "best"', 'it\'s "it"', "a\\b\n"])
@pytest.mark.parametrize(
    "data",
    [
        "TOWN",
        "tiles (12 images), old",
        "tiles (12 images)",
        "a; b (1 image), epoch 1, batch 2",
        'ville d\'été, "neuve"',
    ],
)
def test_sentences_of_format_1_are_read_back_whatever_the_names_hold(tmp_path, data, split):
    best = Selection("training", data=data, split=split, images=12, epoch=3, batch=40)
    again = Selection("training", data=data, split=split, images=1, epoch=5, batch=1)
    calibrated = Selection(
        "calibration",
        data=data,
        split=split,
        images=12,
        mode="grid",
        test_time="none",
        precision="float32",
    )
    # As they were written: always in the plural.
    one = f"max-F1 on split {split!r} of {data} (1 images), epoch 5, batch 1"
    written = format_1(
        threshold_source=calibrated.describe(), selection_source=f"{best.describe()}; {one}"
    )
    card = read_card(write(tmp_path / "m.safetensors", written))
    assert card.format_version == 1
    assert card.threshold_selection == calibrated
    assert card.weights_selection == (best, again)
    assert note(card, data=data, split=split) == "selection set, optimistic"
    assert note(card, data=data, split="other") is None


@pytest.mark.parametrize(
    ("sentence", "selection"),
    [
        ("given by hand", Selection("user")),
        ("given by hand when converted", Selection("conversion")),
        ("best F1 on val", Selection("other", text="best F1 on val")),
        ("max-F1 on split '\\x' of TOWN (2 images)", None),
        ("max-F1 on split 'val' of TOWN", None),
        (
            "max-F1 on split 'val' of TOWN (2 images)",
            Selection("split", data="TOWN", split="val", images=2),
        ),
        (
            "max-F1 on split 'val' of TOWN (2 images), by vote",
            Selection(
                "split",
                data="TOWN",
                split="val",
                images=2,
                text="max-F1 on split 'val' of TOWN (2 images), by vote",
            ),
        ),
        ("", ""),
    ],
)
def test_other_sentences_of_format_1_keep_their_words(tmp_path, sentence, selection):
    card = read_card(write(tmp_path / "m.safetensors", format_1(threshold_source=sentence)))
    expected = Selection("other", text=sentence) if selection is None else selection
    assert card.threshold_selection == (expected or None)
    ours = selection is not None and selection != "" and selection.kind in ("user", "conversion")
    assert card.threshold_source == (selection.describe() if ours else sentence or None)


def test_in_the_oldest_files_the_threshold_was_chosen_with_the_weights(tmp_path):
    def weights(**fields: Any) -> tuple[Selection, ...]:
        return read_card(write(tmp_path / "m.safetensors", format_1(**fields))).weights_selection

    best = BEST.describe()
    assert weights(threshold_source=best) == (BEST,)
    assert weights(threshold_source=best, metrics={"calibration": {"f1": 0.5}}) == ()
    assert weights(threshold_source="given by hand when converted") == ()
    assert weights(threshold_source=CALIBRATED.describe(), selection_source=best) == (BEST,)


@pytest.mark.parametrize("version", [1, 2])
def test_the_released_file_tells_what_it_told_in_format_1(tmp_path, version):
    # Its card as it was before what its images are like was added.
    old = write(tmp_path / "m.safetensors", json.loads(RELEASED_CARD.read_text()))
    card = read_card(old if version == 1 else RELEASED)
    assert card.format_version == version
    assert (card.domain is None) == (version == 1)
    assert card.threshold_source == (
        "max-F1 on split 'val' of clcd (120 images), calibrated with mode whole, "
        "test-time augmentation coarse_few, int8 weights"
    )
    assert card.selection_source == (
        "max-F1 on split 'val' of clcd (120 images), epoch 100, batch 45; "
        "max-F1 on split 'val' of clcd (120 images), epoch 60, batch 45"
    )
    assert card.threshold_selection.precision == "int8"
    assert [chosen.epoch for chosen in card.weights_selection] == [100, 60]
    assert note(card, data="CLCD", split="val") == "selection set, optimistic"
    assert note(card, data="CLCD", split="test") is None


def test_the_released_file_says_what_its_images_are_like():
    domain = read_card(RELEASED).domain
    assert domain.describe() == "cropland change, Guangdong, China, pixels of 0.5 to 2 m"
    assert len(domain.values) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 3}, "its format 3 is newer than 2"),
        ({"format_version": "two"}, "card that cannot be read"),
        ({"threshold": "0.5"}, r"threshold: Input should be a valid number"),
        ({"threshold": True}, r"threshold: Input should be a valid number"),
        ({"threshold": 1.5}, r"`threshold` must be a score in \[0, 1\], got 1\.5"),
        ({"tile_px": 64.5}, "tile_px: Input should be a valid integer"),
        ({"options": []}, "options: Input should be an object"),
        ({"architecture": None}, "architecture: Input should be a valid string"),
        ({"source_bands": ["red"]}, r"source_bands\.0: Input should be a valid integer"),
        ({"threshold_selection": "somebody"}, "threshold_selection: Input should be an object"),
        ({"threshold_selection": {"kind": "split"}}, "of kind split lacks data, split, images"),
        ({"weights_selection": [{"kind": "user", "who": 1}]}, r"weights_selection\.0\.who: "),
        ({"threshold_source": "in format 2"}, "threshold_source: Unexpected"),
        ({"label": {"kind": "binary"}}, r"label\.changed: Field required"),
        ({"recipe": {"data": "all"}}, r"recipe\.data: Input should be an object"),
        ({"blocks": {"gap_px": 4}}, r"blocks\.scenes: Field required"),
        (
            {"blocks": {"gap_px": 4, "scenes": [{**SCENE, "training": [[0, 0, 64]]}]}},
            r"blocks\.scenes\.0\.training\.0\.3: Field required",
        ),
        ({"normalisation": {"mean_before": [1.0]}}, "std_after: Field required"),
    ],
)
def test_a_card_with_values_of_another_kind_is_refused_in_one_line(tmp_path, change, message):
    path = write(tmp_path / "m.safetensors", {**CARD.to_dict(), **change})
    with pytest.raises(CheckpointError, match=message) as caught:
        read_card(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change", [{"threshold_source": 5}, {"selection_source": ["x"]}, {"metrics": 5}]
)
def test_so_is_one_of_format_1(tmp_path, change):
    path = write(tmp_path / "m.safetensors", format_1(**{"threshold_source": "x", **change}))
    with pytest.raises(CheckpointError, match="card that cannot be read"):
        read_card(path)


@pytest.mark.parametrize("text", ["[]", "3", "null", "{}", "{", "[" * 100_000, '{"a": "\\ud800"}'])
def test_what_is_no_card_at_all_is_refused(tmp_path, text):
    path = tmp_path / "m.safetensors"
    save_file({"a": np.zeros(1, np.float32)}, path, {"changedet": text})
    with pytest.raises(CheckpointError, match="card that cannot be read"):
        read_card(path)


@pytest.mark.parametrize(
    ("field", "values", "message"),
    [
        ("mean_before", [float("nan"), 0.0, 0.0], "means of both dates must be finite"),
        ("mean_after", [float("inf"), 0.0, 0.0], "means of both dates must be finite"),
        ("std_before", [1.0, 0.0, 1.0], "must be finite and above 0"),
        ("std_after", [1.0, -1.0, 1.0], "must be finite and above 0"),
        ("std_after", [1.0, float("nan"), 1.0], "must be finite and above 0"),
        ("std_after", [1.0, 1.0], "same number of channels"),
    ],
)
def test_statistics_that_no_image_can_be_normalised_by_are_refused(
    tmp_path, field, values, message
):
    values = {**vars(CDD_NORMALISATION), field: values}
    path = write(tmp_path / "m.safetensors", {**CARD.to_dict(), "normalisation": values})
    with pytest.raises(CheckpointError, match=message):
        read_card(path)
    with pytest.raises(ConfigError, match=message):
        Normalisation(**values)


def test_a_card_is_read_without_torch():
    code = "import sys; from changedet.card import read_card; print('torch' in sys.modules)"
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


LOOK = {
    "name": "town",
    "bands": 3,
    "mean": [0.5, -1.0],
    "whitening": [1.0, 0.2, 3.0],
    "usual": 1.3,
    "middle": 0.8,
    "windows": 40,
    "held_out": 20,
}


def with_look(**fields: Any) -> dict[str, Any]:
    domain = {"gsd_m": None, "change": "roofs", "region": None, "values": None}
    return {
        **CARD.to_dict(),
        "domain": {**domain, "is_generated": False, "sets": [{**LOOK, **fields}]},
    }


def test_the_looks_of_training_sets_are_read_as_they_were_written(tmp_path):
    card = read_card(write(tmp_path / "m.safetensors", with_look()))
    assert card.domain is not None
    (look,) = card.domain.sets
    assert (look.name, look.whitening, look.usual) == ("town", (1.0, 0.2, 3.0), 1.3)
    assert json.loads(json.dumps(card.to_dict())) == with_look()


def test_a_card_without_looks_is_written_as_it_always_was(tmp_path):
    values = with_look()
    del values["domain"]["sets"]
    card = read_card(write(tmp_path / "m.safetensors", values))
    assert json.loads(json.dumps(card.to_dict())) == values


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"mean": [0.5, 1e300]}, "finite"),
        ({"mean": [0.5, None]}, "domain.sets.0.mean.1"),
        ({"whitening": [1.0, 0.2]}, "triangle"),
        ({"mean": [], "whitening": []}, "triangle"),
        ({"mean": [0.0] * 49}, "domain.sets.0.mean"),
        ({"whitening": [0.0] * 5000}, "domain.sets.0.whitening"),
        ({"usual": 0.1}, "in order"),
        ({"middle": -0.1}, "in order"),
        ({"name": "x" * 300}, "domain.sets.0.name"),
        ({"windows": 0}, "domain.sets.0.windows"),
        ({"bands": "3"}, "domain.sets.0.bands"),
        ({"more": 1}, "domain.sets.0.more"),
    ],
)
def test_looks_that_are_none_are_refused(tmp_path, fields, fault):
    with pytest.raises(CheckpointError, match=fault):
        read_card(write(tmp_path / "m.safetensors", with_look(**fields)))


def test_nan_among_the_looks_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"finite|domain\.sets"):
        read_card(write(tmp_path / "m.safetensors", with_look(usual=float("nan"))))
