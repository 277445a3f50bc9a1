"""Settings turned into objects."""

import pytest
import torch

from changedet.errors import ConfigError
from changedet.training.build import build_loss, build_model, build_optimizer, choose_precision
from changedet.training.config import list_recipes, load_config, parse_config
from changedet.types import BranchOutput, ChangeMap, ChangeOutput

TINY = {"encoder": "test_efficientnet", "encoder_weights": "none"}


def settings(**sections):
    model = {**TINY, **sections.pop("model", {})}
    return parse_config({"model": model, **sections}, origin="test")


def pyramid(**sections):
    model = {"name": "siamese_pyramid", "decoder_width": 8, **sections.pop("model", {})}
    return settings(model=model, **sections)


def test_a_model_gets_the_settings_that_it_has():
    config = pyramid(model={"fusion": "both", "decoder": "unet", "output": "distance"})
    model = build_model(config.model, pretrained=False)
    assert model.architecture == "siamese_pyramid"
    assert model.options["fusion"] == "both"
    assert model.options["decoder"] == "unet"
    assert model.options["output"] == "distance"


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("siamese_pyramid", "attention", "none"),
        ("siamese_pyramid", "head_width", 64),
        ("dasnet_v2", "fusion", "both"),
        ("dasnet", "activation", "relu"),
        ("dasnet", "decoder_width", 64),
    ],
)
def test_a_setting_of_another_model_is_refused(name, option, value):
    with pytest.raises(
        ConfigError, match=f"model.{option} is not a setting of {name}, got {value!r}"
    ):
        settings(model={"name": name, option: value})


def test_the_encoder_can_learn_more_slowly_than_the_rest():
    config = pyramid(optimizer={"lr": 0.01, "encoder_lr_factor": 0.3})
    model = build_model(config.model, pretrained=False)
    encoder, rest = build_optimizer(config, model).param_groups
    assert (encoder["lr_factor"], rest["lr_factor"]) == (0.3, 1.0)
    assert {id(p) for p in encoder["params"]} == {id(p) for p in model.encoder.parameters()}
    assert len(encoder["params"]) + len(rest["params"]) == len(list(model.parameters()))


def output_of(logit):
    change = ChangeMap.from_logit(logit)
    return ChangeOutput(score=change.score, branches={"fused": BranchOutput(change=change)})


def test_a_loss_adds_up_the_terms_that_the_settings_name():
    logit = torch.tensor([[[2.0, -1.0]]])
    label = torch.tensor([[[1, 0]]], dtype=torch.uint8)

    def loss(**terms):
        config = pyramid(loss={"terms": terms, "changed_share": 0.5})
        built = build_loss(config.loss, config.model, changed_share=None)
        return built(output_of(logit), label).total.item()

    parts = {name: loss(**{name: 1.0}) for name in ("wdmc", "bce", "dice", "lovasz")}
    assert len({round(value, 4) for value in parts.values()}) == 4
    together = loss(wdmc=0.5, bce=2.0, dice=1.0, lovasz=1.0)
    expected = 0.5 * parts["wdmc"] + 2 * parts["bce"] + parts["dice"] + parts["lovasz"]
    assert together == pytest.approx(expected, rel=1e-6)


def test_an_unknown_loss_is_named():
    with pytest.raises(ConfigError, match=r"loss\.terms\.focal"):
        pyramid(loss={"terms": {"focal": 1.0}})


def test_a_loss_without_any_weight_is_refused():
    config = pyramid(loss={"terms": {"bce": 0.0}})
    with pytest.raises(ConfigError, match="at least one weight above 0"):
        build_loss(config.loss, config.model, changed_share=0.1)


@pytest.mark.parametrize(
    ("wanted", "is_native", "autocast", "text"),
    [
        ("auto", True, torch.bfloat16, "bfloat16"),
        ("auto", False, None, "float32: this GPU has no native bfloat16"),
        ("fp32", True, None, "float32"),
        ("bf16", False, torch.bfloat16, "bfloat16, which this GPU only emulates"),
    ],
)
def test_bfloat16_is_for_gpus_that_compute_with_it(monkeypatch, wanted, is_native, autocast, text):
    def is_supported(*, including_emulation=True):
        return is_native or including_emulation

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", is_supported)
    assert choose_precision(wanted, torch.device("cuda")) == (autocast, text)


def test_a_cpu_trains_in_float32():
    assert choose_precision("auto", torch.device("cpu")) == (None, "float32")


@pytest.mark.parametrize("recipe", [name for name in list_recipes() if name.startswith("dasnet")])
def test_faithful_recipes_leave_the_precision_to_the_device(recipe):
    assert load_config(recipe).training.precision == "auto"
