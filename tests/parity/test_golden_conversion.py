"""``changedet convert`` on checkpoints as the public code writes them."""

import pytest
import torch

from changedet.cli.convert import convert
from changedet.errors import CheckpointError, ConfigError
from changedet.models.model_file import load_model
from changedet.models.upstream import read_checkpoint
from changedet.types import CDD_NORMALISATION


@pytest.mark.parametrize("architecture", ["dasnet", "dasnet_v2"])
def test_a_converted_checkpoint_gives_the_public_distances(
    architecture, checkpoints, inputs, golden, tmp_path
):
    target = tmp_path / "model.safetensors"
    convert(checkpoints[architecture], target, distance="cosine", threshold=0.4)
    model, card = load_model(target)
    with torch.inference_mode():
        fused = model(*inputs[:2], branches="all").branches["fused"].distance
    torch.testing.assert_close(fused, golden[f"{architecture}/saca/cos"], rtol=0, atol=1e-4)
    assert card.architecture == architecture
    assert card.normalisation == CDD_NORMALISATION
    assert card.threshold == pytest.approx(0.4)
    assert "converted" in card.threshold_source
    assert "licence" in card.licence_note


def test_without_options_the_distance_is_l2_and_there_is_no_threshold(checkpoints, tmp_path):
    target = tmp_path / "model.safetensors"
    convert(checkpoints["dasnet"], target)
    _, card = load_model(target)
    assert card.options["distance"] == "l2"
    assert card.threshold is None
    assert card.threshold_source is None


def test_an_existing_model_file_is_kept_unless_told(checkpoints, tmp_path):
    target = tmp_path / "model.safetensors"
    target.write_bytes(b"precious")
    with pytest.raises(ConfigError, match=r"exists.*`existing=.replace.`"):
        convert(checkpoints["dasnet"], target)
    assert target.read_bytes() == b"precious"
    convert(checkpoints["dasnet"], target, overwrite=True)
    assert load_model(target)[1].architecture == "dasnet"


def test_a_bare_state_dict_is_read(upstream_weights, tmp_path):
    path = tmp_path / "bare.pth"
    torch.save(upstream_weights, path)
    assert read_checkpoint(path).architecture == "dasnet_v2"


def test_missing_attention_means_it_is_off(upstream_weights, tmp_path):
    path = tmp_path / "no_channel_attention.pth"
    torch.save({n: t for n, t in upstream_weights.items() if ".sc." not in n}, path)
    assert read_checkpoint(path).options["attention"] == "position"


def test_missing_extra_and_misshapen_tensors_are_named(upstream_weights, tmp_path):
    path = tmp_path / "wrong.pth"
    weights = dict(upstream_weights)
    del weights["CNN.head.conv8.1.bias"]
    weights["CNN.head.other"] = torch.zeros(1)
    weights["decoder.UpBlock3.0.bias"] = torch.zeros(7)
    torch.save({"net": weights}, path)
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    message = str(caught.value)
    assert "lacks head.project_fused.project.bias" in message
    assert "extra CNN.head.other" in message
    assert "decoder.blocks.2.0.bias as (7,), not (32,)" in message


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    path = tmp_path / "linear.pth"
    torch.save(torch.nn.Linear(2, 2).state_dict(), path)
    with pytest.raises(CheckpointError, match="only DASNet and DASNet-V2 convert"):
        read_checkpoint(path)
