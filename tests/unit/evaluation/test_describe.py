"""A card is completed without touching the weights."""

from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from changedet.card import ModelCard, read_card, replace_card
from changedet.domain import Domain
from changedet.errors import CheckpointError, ConfigError, StorageError
from changedet.evaluation.describe import describe_training
from changedet.inference.detector import load
from changedet.models.model_file import load_model, save_model
from changedet.types import CDD_NORMALISATION
from stand_ins import untrained_network


@pytest.fixture
def model(tmp_path: Path) -> Path:
    network = untrained_network("dasnet")
    path = tmp_path / "model.safetensors"
    save_model(path, network, ModelCard("dasnet", network.options, CDD_NORMALISATION))
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    for folder in ("A", "B", "label"):
        (root / "train" / folder).mkdir(parents=True)
        pixels = np.full((16, 16, 3), 90, np.uint8)
        pixels[::2] = 110
        shown = pixels[..., 0] * 0 if folder == "label" else pixels
        Image.fromarray(shown).save(root / "train" / folder / "one.png")
    return root


def test_what_is_given_and_measured_stands_in_the_card_and_the_tensors_stay(
    model: Path, data: Path, tmp_path: Path
):
    out = tmp_path / "described.safetensors"
    describe_training(
        model, out, data=data, gsd_m=(2.0, 0.5), change_kind="fields", region="Guangdong"
    )
    domain = read_card(out).domain
    assert domain is not None
    assert domain.describe() == "fields, Guangdong, pixels of 0.5 to 2 m"
    assert [(band.low, band.high) for band in domain.values or ()] == [(90, 110)] * 3
    old, new = safetensors.torch.load_file(model), safetensors.torch.load_file(out)
    assert list(old) == list(new)
    assert all(torch.equal(old[name], new[name]) for name in old)
    load_model(out)


def test_what_is_not_given_stays(model: Path, tmp_path: Path):
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    describe_training(model, first, change_kind="fields", generated=True)
    card = describe_training(first, second, gsd_m=(1.0,))
    assert card.domain == Domain(gsd_m=(1.0, 1.0), change="fields", is_generated=True)
    assert read_card(second) == card


def test_a_card_without_a_domain_is_written_as_before(model: Path, tmp_path: Path):
    card = read_card(model)
    assert card.domain is None
    assert "domain" not in card.to_dict()
    out = tmp_path / "again.safetensors"
    replace_card(model, out, card)
    assert read_card(out) == card


def test_mistakes_are_told(model: Path, tmp_path: Path):
    with pytest.raises(ConfigError, match="nothing is given"):
        describe_training(model, tmp_path / "out.safetensors")
    with pytest.raises((ConfigError, StorageError), match="exists"):
        describe_training(model, model, region="here")
    with pytest.raises(ConfigError, match="gsd_m"):
        describe_training(model, tmp_path / "out.safetensors", gsd_m=(-1.0,))
    with pytest.raises(CheckpointError):
        describe_training(tmp_path / "none.safetensors", tmp_path / "o.safetensors", region="x")


def test_the_looks_of_the_training_images_are_measured(model: Path, tmp_path: Path):
    root = tmp_path / "looks"
    rng = np.random.default_rng(0)
    for split, count in (("train", 17), ("val", 9)):
        for number in range(count):
            level = rng.integers(60, 120)
            for folder in ("A", "B", "label"):
                pixels = rng.integers(level, level + 60, (40, 40, 3), dtype=np.uint8)
                shown = pixels[..., 0] * 0 if folder == "label" else pixels
                path = root / split / folder / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(shown).save(path)
    out = tmp_path / "described.safetensors"
    describe_training(model, out, data=root)
    domain = read_card(out).domain
    assert domain is not None
    (look,) = domain.sets
    assert (look.name, look.bands, look.windows, look.held_out) == ("looks", 3, 17, 9)
    detector = load(out, device="cpu")
    before, after = (root / "val" / folder / "3.png" for folder in ("A", "B"))
    found = detector.domain_distance(before, after)
    assert found is not None
    assert (found.nearest, found.verdict) == ("looks", "within")
    flat = np.full((40, 40, 3), 250, np.uint8)
    strange = detector.domain_distance(flat, flat)
    assert strange is not None
    assert strange.verdict == "far"
    assert load(model, device="cpu").domain_distance(before, after) is None
    one = describe_training(model, tmp_path / "train.safetensors", data=root, held_out_split="none")
    assert one.domain is not None
    assert one.domain.sets[0].held_out == 17
