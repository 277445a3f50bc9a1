"""The exported models of the repository are read, and are those of the files beside them."""

import dataclasses
import hashlib
import json
from pathlib import Path

import pytest

from changedet.card import read_card, read_parameter_count
from changedet.storage.onnx_file import read_facts

MODELS = Path(__file__).parents[3] / "models"
FILES = sorted(MODELS.glob("*.onnx"))


def test_they_are_of_two_models_at_most_and_not_too_large():
    assert 1 <= len({path.stem.removesuffix("-int8") for path in FILES}) <= 2
    assert sum(path.stat().st_size for path in FILES) <= 30e6


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_an_exported_model_says_what_the_model_beside_it_says(path: Path):
    original = path.with_name(path.stem.removesuffix("-int8") + ".safetensors")
    # What the older file leaves to the defaults of its network is written out in the newer one.
    cards = [dataclasses.replace(read_card(file), options={}) for file in (path, original)]
    assert cards[0] == cards[1]
    assert read_parameter_count(path) == read_parameter_count(original)
    # Reading it compares graph and weights with their checksum.
    facts = read_facts(path)
    assert facts.channels == 2 * len(read_card(original).normalisation.mean_before)
    assert facts.is_int8 == path.stem.endswith("-int8")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_its_checksum_is_the_one_that_is_published(path: Path):
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    assert f"| `{path.name}` | {path.stat().st_size / 1e6:.1f} MB | `{found}` |" in (
        MODELS / "README.md"
    ).read_text(encoding="utf-8")
    item = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert item["assets"]["model"]["file:checksum"] == "1220" + found
