"""Folders of GeoTIFF tiles: trained on, judged, calibrated and mapped."""

import json

import numpy as np
import pytest
from affine import Affine
from PIL import Image

from changedet.card import read_card
from changedet.errors import ConfigError
from changedet.evaluation.calibrate import CalibrationRequest, calibrate_model
from changedet.evaluation.evaluate import EvaluationRequest, evaluate_model
from changedet.predict.folders import predict_scenes
from changedet.predict.request import SceneRequest
from changedet.training.run import TrainRequest, run_training
from conftest import write_raster
from stand_ins import TINY_NETWORK

pytestmark = pytest.mark.usefixtures("blank_charts", "few_shift_tiles")
SIDE = 64
TINY = (
    *TINY_NETWORK,
    "augmentation.saturation=0",
    "augmentation.hue=0",
    "training.epochs=1",
    "training.batch_size=2",
)


def write_tile(folder, name, *, seed):
    """Write five bands of 16 bit, of which the last says what changed, with a corner of nodata."""
    rng = np.random.default_rng(seed)
    place = Affine(10.0, 0.0, 200_000.0 + 640 * seed, 0.0, -10.0, 2_700_000.0)
    truth = np.zeros((SIDE, SIDE), np.uint8)
    top, left = rng.integers(8, 32, 2)
    truth[top : top + 24, left : left + 24] = 255
    for part in ("A", "B"):
        values = rng.integers(500, 1500, (SIDE, SIDE, 5)).astype(np.uint16)
        values[:4, :4] = 0
        if part == "B":
            values[truth > 0] += 4000
        (folder / part).mkdir(parents=True, exist_ok=True)
        write_raster(folder / part / f"{name}.tif", values, transform=place, nodata=0)
    (folder / "label").mkdir(exist_ok=True)
    Image.fromarray(truth).save(folder / "label" / f"{name}.png")


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiles")
    for number, split in enumerate(("train", "train", "val", "test")):
        write_tile(folder / split, f"t{number}", seed=number)
    return folder


def train(out, data, *overrides):
    said = []
    request = TrainRequest(out=out, data=data, overrides=(*TINY, *overrides), device="cpu")
    run_training(request, say=said.append)
    return " ".join(said)


def test_chosen_bands_of_tiles_are_trained_on_judged_calibrated_and_mapped(tiles, tmp_path):
    said = train(tmp_path / "run", tiles, "data.source_bands=[5, 2, 1]")

    assert "bands 5, 2, 1 of 5" in said
    model = tmp_path / "run/best.safetensors"
    card = read_card(model)
    assert (card.source_bands, card.pixel_type, card.options["in_channels"]) == (
        (5, 2, 1),
        "uint16",
        3,
    )
    # The mean of pixels that hold an image: the corner of zeros would make it less.
    assert 980 < card.normalisation.mean_before[0] < 1020
    results = evaluate_model(
        EvaluationRequest(model=model, data=tiles, out=tmp_path / "judged", device="cpu", panels=1)
    )
    assert results.images == 1
    calibrate_model(
        CalibrationRequest(model=model, out=tmp_path / "c.safetensors", data=tiles, device="cpu")
    )
    [mapped] = predict_scenes(
        SceneRequest(
            str(tiles / "test/A"), str(tiles / "test/B"), model, tmp_path / "maps", device="cpu"
        )
    )
    summary = json.loads((tmp_path / "maps/t3/summary.json").read_text())
    assert summary["inputs"]["before"]["bands"] == [5, 2, 1]
    assert mapped.outcome.counts.nodata == 16


def test_all_bands_of_tiles_are_trained_on_by_default(tiles, tmp_path):
    train(tmp_path / "run", tiles)

    card = read_card(tmp_path / "run/best.safetensors")
    assert card.options["in_channels"] == 5
    assert card.source_bands == (1, 2, 3, 4, 5)
    assert len(card.normalisation.std_after) == 5


def test_colours_that_many_bands_do_not_have_are_refused_with_what_to_set(tiles, tmp_path):
    with pytest.raises(ConfigError, match=r"`augmentation.hue=0`"):
        train(tmp_path / "run", tiles, "augmentation.hue=0.1")
