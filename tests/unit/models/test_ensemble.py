import json
from pathlib import Path

import pytest
import safetensors.torch
import torch
from safetensors import safe_open

from changedet.card import ModelCard
from changedet.errors import CheckpointError, ConfigError
from changedet.models.base import ChangeModel
from changedet.models.ensemble import Ensemble
from changedet.models.model_file import load_model, save_model
from changedet.models.registry import create_model, list_models
from changedet.types import Normalisation

TINY = {"encoder": "test_efficientnet"}


@pytest.fixture
def networks() -> list[ChangeModel]:
    torch.manual_seed(0)
    return [
        # Its distances are at an eighth of the image's resolution, those of the other at the full.
        create_model("dasnet", **TINY, head_width=8, attention="channel").eval(),
        create_model("siamese_pyramid", **TINY, decoder_width=8).eval(),
    ]


def make_images(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(shape, generator=generator), torch.randn(shape, generator=generator)


@torch.inference_mode()
def test_a_pixels_score_is_the_mean_of_what_networks_of_two_kinds_say(networks):
    before, after = make_images(2, 3, 64, 96)
    first, second = (network(before, after).score for network in networks)
    assert not torch.allclose(first, second, atol=1e-3)
    output = Ensemble(networks).eval()(before, after)
    torch.testing.assert_close(output.score, (first + second) / 2)
    assert set(output.branches) == {"fused"}


def test_an_ensemble_takes_what_every_member_can_take(networks):
    plain = create_model("dasnet", **TINY, head_width=8, attention="none")
    fine, coarse = networks
    assert (fine.stride, coarse.stride) == (8, 32)
    assert Ensemble([fine, coarse]).stride == 32
    assert Ensemble([coarse, fine]).fixed_tile
    assert not Ensemble([coarse, plain]).fixed_tile


def test_what_makes_no_ensemble_is_refused(networks):
    with pytest.raises(ConfigError, match="two models or more, got 1"):
        Ensemble(networks[:1])
    with pytest.raises(ConfigError, match="cannot be an ensemble itself"):
        Ensemble([networks[0], Ensemble(networks)])
    four = create_model("dasnet", **TINY, head_width=8, in_channels=4)
    with pytest.raises(ConfigError, match="models of 3 and 4 channels"):
        Ensemble([networks[0], four])


def make_of_kinds(*kinds: str) -> ChangeModel:
    return create_model("siamese_pyramid", **TINY, decoder_width=8, kinds=kinds).eval()


@torch.inference_mode()
def test_each_kind_is_scored_by_the_members_that_know_it_and_only_these_run():
    torch.manual_seed(0)
    members = [make_of_kinds("any", "building"), make_of_kinds("cropland", "any")]
    ensemble = Ensemble(members).eval()
    assert ensemble.kinds == ("any", "building", "cropland")
    images = make_images(2, 3, 64, 96)
    first, second = (member(*images).score.unflatten(0, (2, 2)) for member in members)
    expected = torch.stack([(first[:, 0] + second[:, 1]) / 2, first[:, 1], second[:, 0]], dim=1)
    torch.testing.assert_close(ensemble(*images).score, expected.flatten(0, 1))
    ran = []
    for number, member in enumerate(members):
        member.register_forward_hook(lambda *_, number=number: ran.append(number))
    for place, known in enumerate(([0, 1], [0], [1])):
        score = ensemble(*images, kinds=(place,)).score
        torch.testing.assert_close(score, expected[:, place])
        assert ran == known
        ran.clear()
    both = ensemble(*images, kinds=(2, 1)).score
    torch.testing.assert_close(both, expected[:, [2, 1]].flatten(0, 1))
    with pytest.raises(ConfigError, match=r"any, building, cropland\); .* 0 to 2, got 3"):
        ensemble(*images, kinds=(3,))


@torch.inference_mode()
def test_members_of_the_same_kinds_give_the_plain_mean_bit_for_bit():
    torch.manual_seed(0)
    members = [make_of_kinds("any", "building") for _ in range(3)]
    images = make_images(2, 3, 64, 64)
    mean = torch.stack([member(*images).score for member in members]).mean(dim=0)
    ensemble = Ensemble(members).eval()
    assert torch.equal(ensemble(*images).score, mean)
    assert torch.equal(ensemble(*images, kinds=(1,)).score, mean[1::2])


def test_an_ensemble_has_no_decoder_levels_to_give(networks):
    with pytest.raises(ConfigError, match="no decoder levels"):
        Ensemble(networks)(*make_images(1, 3, 64, 64), levels="all")


def make_file(path: Path, networks: list[ChangeModel]) -> Path:
    ensemble = Ensemble(networks)
    statistics = Normalisation((120.0,) * 3, (120.0,) * 3, (60.0,) * 3, (60.0,) * 3)
    save_model(path, ensemble, ModelCard("ensemble", ensemble.options, statistics))
    return path


@torch.inference_mode()
def test_an_ensemble_comes_back_from_its_file_with_the_same_scores(networks, tmp_path):
    path = make_file(tmp_path / "both.safetensors", networks)
    model, card = load_model(path)
    assert isinstance(model, Ensemble)
    assert [member["architecture"] for member in card.options["members"]] == [
        "dasnet",
        "siamese_pyramid",
    ]
    images = make_images(1, 3, 64, 64)
    torch.testing.assert_close(model(*images).score, Ensemble(networks).eval()(*images).score)


def test_a_file_that_does_not_say_its_members_is_refused(networks, tmp_path):
    path = make_file(tmp_path / "both.safetensors", networks)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    card = json.loads(metadata["changedet"])
    card["options"] = {}
    metadata["changedet"] = json.dumps(card)
    path.write_bytes(safetensors.torch.save(safetensors.torch.load_file(path), metadata))
    with pytest.raises(CheckpointError, match=r"cannot be rebuilt: .*members"):
        load_model(path)


def test_an_ensemble_is_no_network_that_settings_can_name():
    assert "ensemble" not in list_models()
    with pytest.raises(ConfigError, match="does not exist"):
        create_model("ensemble")
