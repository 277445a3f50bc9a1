"""What a training run says before it begins, and how many heat maps it draws."""

from types import SimpleNamespace

import pytest
import torch

from changedet.data.index import index_pairs
from changedet.models.registry import create_model
from changedet.training.build import build_model
from changedet.training.config import load_config
from changedet.training.opening import (
    checkpoint_bytes,
    data_note,
    device_note,
    network_note,
    opening_notes,
)
from changedet.training.validation import choose_heatmaps
from stand_ins import TINY_NETWORK


@pytest.fixture
def network():
    return torch.nn.Linear(100, 1000, bias=False)


def notes_of(recipe, network, out, *, images=2998, overrides=()):
    config = load_config(recipe, overrides=overrides)
    return list(
        opening_notes(config, network, precision="float32", out=out, validation_images=images)
    )


def test_a_run_says_its_precision_margins_disk_and_heat_maps(network, tmp_path):
    notes = notes_of("dasnet_v2_cosine", network, tmp_path / "run")
    assert notes == [
        "precision: float32",
        "loss: cosine distance, margins 0.1 (unchanged), 0.8 (changed)",
        # 0.4 MB of weights: 3 times in last.safetensors, and 4 models.
        f"disk: 3 MB for checkpoints in {tmp_path / 'run'}",
        "heat maps: 8 of the 2998 validation images at each validation; `training.max_heatmaps` "
        "limits them",
    ]


def test_a_loss_without_margins_and_a_few_images_are_not_worth_a_line(network, tmp_path):
    notes = notes_of("pyramid_small", network, tmp_path, images=120)
    assert [note.partition(":")[0] for note in notes] == ["precision", "disk"]


def test_a_full_disk_is_a_warning(network, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1_000_000))
    assert notes_of("default", network, tmp_path)[2].startswith("WARNING: disk: 3 MB")


def test_a_run_of_the_document_s_network_keeps_1_4_gigabytes():
    with torch.device("meta"):
        model = create_model("dasnet_v2", pretrained=False)
    needed = checkpoint_bytes(model, load_config("dasnet_v2_cosine").training)
    assert needed == pytest.approx(1.43e9, rel=0.01)


def test_the_average_is_kept_once_more(network):
    with_average = load_config("default", overrides=["training.ema_decay=0.99"]).training
    assert checkpoint_bytes(network, with_average) == 8 * 400_000


def test_heat_maps_are_few_and_spread_over_the_split():
    settings = load_config("dasnet_v2_cosine").training
    numbers = choose_heatmaps(2998, settings)
    assert len(numbers) == 8
    assert all(number % 20 == 0 for number in numbers)
    assert max(numbers) > 2998 * 3 // 4
    assert choose_heatmaps(60, settings) == [0, 20, 40]


@pytest.mark.parametrize(("most", "count"), [(None, 150), (0, 0), (3, 3)])
def test_the_number_of_heat_maps_is_a_setting(most, count):
    settings = load_config("default").training.model_copy(update={"max_heatmaps": most})
    assert len(choose_heatmaps(2998, settings)) == count


def test_a_run_opens_with_device_data_and_network(pairs_folder):
    index = index_pairs(pairs_folder)
    config = load_config("small", overrides=TINY_NETWORK)
    model = build_model(config.model, pretrained=False)
    assert device_note(torch.device("cpu")).startswith("device: cpu (")
    assert data_note(index, config) == (
        f"data: {pairs_folder.name}, 7 train, 2 val, 2 test pairs, such as 64x64 px, 3 bands of "
        "uint8; trained on train, chosen by val"
    )
    note = network_note(config, model, start=None)
    assert note.startswith("network: dasnet_v2 on test_efficientnet, 0.")
    assert note.endswith(" M parameters, random weights")
    assert network_note(config, model, start="a.safetensors").endswith("weights of a.safetensors")
    assert network_note(config, model, start="checkpoint").endswith("of the last checkpoint")
