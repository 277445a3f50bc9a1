"""Decoders of segmentation-models-pytorch under two dates."""

import importlib.util
import sys
from dataclasses import replace
from typing import get_args

import pytest
import segmentation_models_pytorch as smp
import torch
from torch import nn

from changedet.ablation.request import AblationRequest, check_rows
from changedet.card import ModelCard
from changedet.cli.preflight import check_method
from changedet.errors import CheckpointError, ConfigError, MissingExtraError
from changedet.models import weights
from changedet.models.model_file import load_model, save_model
from changedet.models.options import ENSEMBLE, LOCAL_DECODERS, check_installed
from changedet.models.registry import create_model
from changedet.models.segmentation_decoder import decoder_plan
from changedet.training.request import TrainRequest, check_request
from changedet.types import CDD_NORMALISATION, SegmentationDecoder

DECODERS = get_args(SegmentationDecoder)


def build(**options):
    torch.manual_seed(0)
    return create_model("siamese_segmentation", **{"encoder": "test_efficientnet", **options})


@pytest.fixture
def pair():
    torch.manual_seed(1)
    before, after = torch.randn(2, 1, 3, 64, 96)
    return before, after


def test_every_architecture_of_the_package_is_there():
    assert set(DECODERS) == set(smp.MODEL_ARCHITECTURES_MAPPING)


@pytest.mark.parametrize("decoder", DECODERS)
def test_results_depend_on_the_tile_where_a_decoder_pools_attends_or_normalises_over_it(decoder):
    over_all = (nn.AdaptiveAvgPool2d, nn.GroupNorm, nn.InstanceNorm2d)
    with torch.device("meta"):
        model = build(decoder=decoder)
    parts = list(model.decoder.modules())
    pools = any(isinstance(part, over_all) or type(part).__name__ == "PABBlock" for part in parts)
    assert model.fixed_tile is pools is (decoder not in LOCAL_DECODERS)


@pytest.mark.parametrize("decoder", DECODERS)
def test_a_single_pair_can_be_trained_on(decoder, pair):
    # Pooled to one value per channel, it has no variance; the last batch of an epoch may be so.
    model = build(decoder=decoder).train()
    side = model.least_crop_px
    score = model(*(date[:, :, :side, :side] for date in pair)).score
    score.mean().backward()
    assert score.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("decoder", DECODERS)
def test_every_decoder_has_the_packages_width_or_the_one_asked_for(decoder):
    with torch.device("meta"):
        own = build(decoder=decoder)
        plan = decoder_plan(decoder)
        assert own.options["decoder_width"] == plan.width
        if decoder == "linknet":
            with pytest.raises(ConfigError, match="decoder 'linknet' has one width, got"):
                build(decoder=decoder, decoder_width=64)
            return
        narrow = build(decoder=decoder, decoder_width=plan.width // 2)
    assert narrow.parameter_count < own.parameter_count
    # The rows that the package's own architecture builds.
    plain = own.encoder.channels, own.decoder.decoder.state_dict()
    again = create_model("siamese_segmentation", **own.options)
    assert again.encoder.channels == plain[0]
    assert {k: v.shape for k, v in again.decoder.decoder.state_dict().items()} == {
        k: v.shape for k, v in plain[1].items()
    }


def test_the_decoder_is_the_packages_own():
    # With a stand-in's channels equal to those of a real encoder, it has the same weights.
    theirs = smp.Unet("resnet18", encoder_weights=None).decoder.state_dict()
    ours = build(encoder="resnet18").decoder.decoder.state_dict()
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in theirs.items()}
    assert not any(name.startswith("changedet") for name in smp.encoders.encoders)


def test_an_untrained_classifier_expects_a_tenth_to_have_changed(pair):
    assert 0.03 < build(decoder="segformer").eval()(*pair).score.mean() < 0.3


@pytest.mark.parametrize("kind", ["l2", "cosine"])
def test_equal_images_are_not_apart(pair, kind):
    model = build(decoder="linknet", output="distance", distance=kind).eval()
    assert model(pair[0], pair[0].clone()).distance.max() < 1e-3
    branch = model(*pair).branches["fused"]
    assert branch.logit is None
    if kind == "l2":
        apart = (branch.before - branch.after).norm(dim=1)
        torch.testing.assert_close(branch.distance, apart, rtol=1e-3, atol=1e-3)


def test_only_the_difference_ignores_which_date_comes_first(pair):
    before, after = pair
    for fusion, is_symmetric in (("difference", True), ("concatenation", False), ("both", False)):
        model = build(decoder="linknet", fusion=fusion).eval()
        there, back = model(before, after).score, model(after, before).score
        assert torch.allclose(there, back, atol=1e-5) is is_symmetric


def test_pan_extends_maps_that_it_cannot_halve_three_times():
    model = build(decoder="pan").eval()
    small = torch.randn(2, 1, 3, model.stride, 2 * model.stride)
    assert model(*small).score.shape == (1, 16, 32)


@pytest.mark.parametrize(
    ("decoder", "encoder", "strides"),
    [
        ("deeplabv3", "test_resnet", (8,)),
        ("pan", "test_resnet", (4, 8, 16, 16)),
        # It has no dilation: its maps are enlarged.
        ("deeplabv3plus", "vit_tiny_patch16_224", (16, 16)),
        # It has no map of stride 2.
        ("unet", "test_convnext", (4, 8, 16, 32)),
        # What is coarser than the decoder reads is cut off.
        ("pspnet", "test_resnet", (8,)),
    ],
)
def test_levels_are_fitted_to_what_a_decoder_wants(decoder, encoder, strides, pair):
    model = build(decoder=decoder, encoder=encoder).eval()
    assert model.encoder.strides == strides
    assert model(*pair).score.shape == (1, 64, 96)


def test_dense_transformers_bring_a_transformers_maps_to_their_strides_themselves():
    with torch.device("meta"):
        assert build(decoder="dpt", encoder="vit_tiny_patch16_224").decoder.strides == (16,) * 4
        assert build(decoder="dpt").decoder.strides == (4, 8, 16, 32)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decoder": "unett"}, "decoder must be one of unet, .*, dpt, got 'unett'"),
        ({"fusion": "sum"}, "fusion must be one of difference, concatenation, both, got 'sum'"),
        ({"output": "score"}, "output must be one of logit, distance, got 'score'"),
        ({"distance": "l1"}, "distance must be one of l2, cosine"),
        ({"decoder_width": 4}, "decoder_width must be at least 8, got 4"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1"),
        ({"encoder": "mit_b00"}, "'mit_b00' is neither a timm model .* did you mean 'mit_b0'"),
        ({"encoder": "mit_b0", "drop_path": 0.1}, "'mit_b0' has no stochastic depth"),
        ({"output": "distance", "kinds": ("any", "building")}, "one kind of change, got 2"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        build(**options)


class TestEncoders:
    def test_what_timm_has_is_timms_whatever_the_spelling(self):
        with torch.device("meta"):
            ours, theirs = (build(encoder=name) for name in ("test_resnet", "tu-test_resnet"))
        assert theirs.options["encoder"] == "tu-test_resnet"
        assert ours.encoder.name == theirs.encoder.name == "test_resnet"
        assert ours.state_dict().keys() == theirs.state_dict().keys()

    @pytest.mark.parametrize("channels", [1, 9])
    @pytest.mark.parametrize("decoder", ["unet", "segformer", "deeplabv3plus"])
    def test_others_are_the_packages(self, decoder, channels, pair):
        model = build(encoder="mit_b0", decoder=decoder, in_channels=channels).eval()
        images = torch.randn(2, 1, channels, 64, 96)
        assert model(*images).score.shape == (1, 64, 96)
        again = create_model(model.architecture, **model.options)
        again.load_state_dict(model.state_dict())

    def test_a_file_of_the_packages_weights_is_read(self, tmp_path):
        torch.manual_seed(5)
        theirs = smp.encoders.get_encoder("mit_b0", weights=None).state_dict()
        torch.save(theirs, tmp_path / "mit_b0.pth")
        model = create_model(
            "siamese_segmentation",
            encoder="mit_b0",
            decoder="segformer",
            pretrained=tmp_path / "mit_b0.pth",
        )
        for name, value in model.encoder.backbone.state_dict().items():
            assert torch.equal(value, theirs[name])
        del theirs["patch_embed1.proj.weight"]
        torch.save(theirs, tmp_path / "cut.pth")
        with pytest.raises(CheckpointError, match=r"lacks patch_embed1\.proj\.weight"):
            weights.initialise_encoder(model.encoder, source=tmp_path / "cut.pth")

    def test_the_package_of_lite_encoders_has_none_for_others(self):
        model = build(encoder="mit_b0", decoder="segformer")
        with pytest.raises(ConfigError, match=r"exist for tf_efficientnet_lite0.*'mit_b0'"):
            weights.initialise_encoder(model.encoder, source="package")

    def test_the_hub_is_asked_for_the_packages_weights(self, monkeypatch):
        model = build(encoder="mit_b0", decoder="segformer")
        torch.manual_seed(6)
        theirs = smp.encoders.get_encoder("mit_b0", weights=None)
        asked = []

        def get_encoder(name, *, weights, **options):
            asked.append((name, weights))
            return theirs

        monkeypatch.setattr(weights, "_cached_file", lambda *_: "here")
        monkeypatch.setattr(smp.encoders, "get_encoder", get_encoder)
        weights.initialise_encoder(model.encoder, source="hub")
        assert asked == [("mit_b0", "imagenet")]
        for name, value in model.encoder.backbone.state_dict().items():
            assert torch.equal(value, theirs.state_dict()[name])

    def test_a_hub_out_of_reach_is_one_line(self, monkeypatch):
        model = build(encoder="mit_b0", decoder="segformer")

        def fail(*_, **__):
            raise OSError("Name or service not known")

        monkeypatch.setattr(weights, "_cached_file", lambda *_: None)
        monkeypatch.setattr(weights.huggingface_hub.get_session(), "head", fail)
        with pytest.raises(CheckpointError, match="encoder 'mit_b0' cannot be downloaded"):
            weights.initialise_encoder(model.encoder, source="hub")


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    model = build(decoder="linknet")
    card = ModelCard(
        architecture=model.architecture, options=model.options, normalisation=CDD_NORMALISATION
    )
    path = tmp_path_factory.mktemp("models") / "borrowed.safetensors"
    save_model(path, model, card)
    return path


@pytest.mark.usefixtures("model_file")
class TestWithoutThePackage:
    @pytest.fixture(autouse=True)
    def without(self, monkeypatch):
        found = importlib.util.find_spec

        def find_spec(name, *rest):
            return None if name == "segmentation_models_pytorch" else found(name, *rest)

        monkeypatch.setattr(importlib.util, "find_spec", find_spec)
        monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", None)

    def test_the_extra_is_named_when_the_network_is_built(self):
        with pytest.raises(MissingExtraError, match=r"pip install '\.\[smp\]'"):
            build()

    def test_the_extra_is_named_before_anything_is_loaded(self):
        check_installed("siamese_pyramid")
        check_installed("nonesuch")
        check_installed(ENSEMBLE, {"members": 3})
        with pytest.raises(MissingExtraError, match=r"pip install '\.\[smp\]'"):
            check_installed("siamese_segmentation")
        members = [{"architecture": "dasnet"}, {"architecture": "siamese_segmentation"}]
        with pytest.raises(MissingExtraError, match=r"pip install '\.\[smp\]'"):
            check_installed(ENSEMBLE, {"members": members})

    def test_a_run_does_not_begin(self, tmp_path):
        request = TrainRequest(
            out=tmp_path / "run",
            data=tmp_path,
            recipe="pyramid_small",
            overrides=("model.name=siamese_segmentation", "loss.level_weights=null"),
        )
        with pytest.raises(MissingExtraError, match=r"pip install '\.\[smp\]'"):
            check_request(request)

    def test_rows_of_an_ablation_fail_by_themselves(self, tmp_path):
        request = AblationRequest(out=tmp_path, data=tmp_path, table="networks")
        check_rows(request)
        with pytest.raises(ConfigError, match=r"no row can be run.*pip install '\.\[smp\]'"):
            check_rows(replace(request, rows=("unet", "segformer")))

    def test_a_model_is_not_used(self, model_file):
        with pytest.raises(MissingExtraError, match=r"pip install '\.\[smp\]'"):
            check_method(str(model_file))
        with pytest.raises(MissingExtraError, match=r"pip install '\.\[smp\]'"):
            load_model(model_file)
