import pytest

from changedet.errors import ConfigError
from changedet.models.options import gives_probabilities
from changedet.models.registry import create_model, list_models

SMALL = {"encoder": "resnet18", "head_width": 16}


def test_all_networks_are_listed():
    assert list_models() == [
        "bit",
        "dasnet",
        "dasnet_v2",
        "siamese_pyramid",
        "siamese_segmentation",
        "tinycd",
    ]


def test_options_reach_the_network():
    model = create_model(
        "dasnet_v2",
        distance="cosine",
        attention="position",
        in_channels=4,
        dropout=0.3,
        activation="relu",
        upsampling="resize",
        **SMALL,
    )
    assert model.options == {
        "distance": "cosine",
        "attention": "position",
        "head": "dual",
        "head_width": 16,
        "encoder": "resnet18",
        "in_channels": 4,
        "dropout": 0.3,
        "activation": "relu",
        "upsampling": "resize",
    }


def test_width_none_is_stored_as_the_number_it_means():
    assert create_model("dasnet", encoder="resnet18").options["head_width"] == 128


@pytest.mark.parametrize(("attention", "fixed_tile"), [("dual", True), ("none", False)])
def test_attends_says_whether_an_attention_is_on(attention, fixed_tile):
    assert create_model("dasnet", attention=attention, **SMALL).fixed_tile is fixed_tile


def test_a_plain_head_never_attends():
    model = create_model("dasnet_v2", head="plain", **SMALL)
    assert model.fixed_tile is False
    assert model.options["attention"] == "none"


def test_an_encoder_without_dilation_keeps_its_stride():
    model = create_model("dasnet_v2", encoder="efficientvit_b0", head_width=16)
    assert model.stride == 32
    assert len(model.decoder.blocks) == 5


def test_the_decoder_refuses_a_stride_that_is_no_power_of_two():
    with pytest.raises(ConfigError, match="power of two, got 7"):
        create_model("dasnet_v2", encoder="convmixer_768_32", head_width=16)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("dasnet_v3", {}, "model 'dasnet_v3' does not exist; did you mean 'dasnet_v2'"),
        ("dasnet", {"atention": "none"}, "no option 'atention'; did you mean 'attention'"),
        ("dasnet", {"activation": "relu"}, "model dasnet has no option 'activation'"),
        ("dasnet", {"distance": "l1"}, "distance must be one of l2, cosine, got 'l1'"),
        ("dasnet_v2", {"activation": "gelu"}, "activation must be one of"),
        ("dasnet_v2", {"upsampling": "nearest"}, "upsampling must be one of"),
    ],
)
def test_what_does_not_exist_is_named_with_what_does(name, options, message):
    with pytest.raises(ConfigError, match=message):
        create_model(name, **{**SMALL, **options})


@pytest.mark.parametrize(
    ("architecture", "options", "expected"),
    [
        ("siamese_pyramid", {}, True),
        ("siamese_pyramid", {"output": "logit"}, True),
        ("siamese_pyramid", {"output": "distance"}, False),
        ("dasnet", {}, False),
        ("dasnet_v2", {"distance": "cosine"}, False),
        ("ensemble", {"members": [("siamese_pyramid", {}), ("siamese_pyramid", {})]}, True),
        ("ensemble", {"members": [("siamese_pyramid", {}), ("dasnet", {})]}, False),
        ("baseline:cva", {}, False),
    ],
)
def test_networks_that_classify_give_probabilities(architecture, options, expected):
    members = [{"architecture": name, "options": own} for name, own in options.get("members", ())]
    given = {"members": members} if members else options
    assert gives_probabilities(architecture, given) is expected
