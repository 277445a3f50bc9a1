"""Settings of networks: made from the registry, and those of before each network had its own."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import pytest
import torch
from annotated_types import Ge
from torch import nn

from changedet.card import read_card
from changedet.errors import ConfigError
from changedet.losses import registry as losses
from changedet.losses.loss_sum import sum_over
from changedet.losses.registry import LossRow
from changedet.models import options as network_rows
from changedet.models import registry
from changedet.models.base import EncoderModel
from changedet.models.options import ModelTraits
from changedet.models.registry import create_model, list_models, model_class, model_options
from changedet.nn.encoder import TimmEncoder
from changedet.training.build import build_loss, build_model
from changedet.training.config import dump_config, load_config, parse_config, tile_px
from changedet.training.model_config import config_of, former_settings
from changedet.training.run import TrainRequest, run_training
from changedet.types import IGNORED, BranchOutput, ChangeMap

TINY = {"encoder": "test_efficientnet", "encoder_weights": "none"}

#: What one section held before each network had its own, as old files list it.
FORMER = {
    "name": "dasnet_v2",
    "encoder": "resnet50",
    "encoder_weights": "hub",
    "distance": "l2",
    "attention": "dual",
    "head": "dual",
    "head_width": None,
    "in_channels": 3,
    "dropout": 0.1,
    "activation": "leaky_relu",
    "fusion": "difference",
    "decoder": "fpn",
    "decoder_width": 128,
    "drop_path": 0.0,
    "output": "logit",
}


def parse(**model):
    return parse_config({"model": model}, origin="settings.yaml")


@pytest.mark.parametrize("name", list_models())
def test_every_option_of_every_network_can_be_set(name):
    for option, parameter in model_options(model_class(name)).items():
        other = {
            "encoder": "resnet26",
            "distance": "cosine",
            "attention": "position",
            "head": "plain",
            "head_width": 40,
            "in_channels": 4,
            "dropout": 0.25,
            "activation": "relu",
            "upsampling": "resize",
            "fusion": "both",
            "decoder": "unet" if parameter.default == "fpn" else "fpn",
            "decoder_width": 40,
            "output": "distance",
            "drop_path": 0.25,
            "kinds": ("any", "building"),
            "tokens": 6,
            "decoder_layers": 3,
        }[option]
        assert other != parameter.default
        written = list(other) if isinstance(other, tuple) else other
        config = load_config("default", overrides=[f"model={{name: {name}, {option}: {written}}}"])
        assert config.model.options()[option] == other


@pytest.mark.parametrize("name", list_models())
def test_settings_and_the_networks_class_agree_on_names_types_and_defaults(name):
    row = network_rows.OPTIONS[name]
    types = get_type_hints(row, include_extras=True)
    assert {
        option: (parameter.annotation, parameter.default)
        for option, parameter in model_options(model_class(name)).items()
    } == {field.name: (types[field.name], field.default) for field in fields(row)}
    assert set(network_rows.OPTIONS) == set(registry.MODELS)


@pytest.mark.parametrize("name", list_models())
def test_the_defaults_are_those_of_the_network(name):
    options = parse(name=name).model.options()
    assert options == {
        option: parameter.default for option, parameter in model_options(model_class(name)).items()
    }


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"name": "dasnet", "head_width": 4}, r"model\.head_width: .*equal to 8, got 4"),
        ({"name": "dasnet", "dropout": 1.0}, r"model\.dropout: .*less than 1, got 1"),
        ({"name": "siamese_pyramid", "drop_path": -1}, r"model\.drop_path: .*equal to 0"),
        ({"name": "siamese_pyramid", "decoder_width": 4}, r"model\.decoder_width: .*8, got 4"),
        ({"in_channels": 0}, r"model\.in_channels: .*equal to 1, got 0"),
        ({"activation": "gelu"}, r"model\.activation: .*'leaky_relu' or 'relu', got 'gelu'"),
        ({"atention": "none"}, r"model: unknown key 'atention'; did you mean 'attention'\?"),
        (
            {"name": "siamese_pyramid", "attention": "none"},
            r"model\.attention is not a setting of siamese_pyramid, got 'none'; remove it, or "
            r"choose another model\.name \(settings of siamese_pyramid: encoder, .*kinds\)",
        ),
        (
            {"name": "dasnet_v3"},
            r"model\.name: model 'dasnet_v3' does not exist; did you mean 'dasnet_v2'\?$",
        ),
        ({"name": 3}, r"model\.name: .*valid string, got 3"),
    ],
)
def test_a_faulty_network_is_one_clear_line(model, message):
    with pytest.raises(ConfigError, match=message) as error:
        parse(**model)
    assert str(error.value).startswith("settings.yaml: ")
    assert "\n" not in str(error.value)


def test_a_section_that_is_none_is_refused():
    with pytest.raises(ConfigError, match=r"model: .*got 3"):
        parse_config({"model": 3}, origin="settings.yaml")


# Networks that are younger than such files are in none of them.
@pytest.mark.parametrize("name", ["dasnet", "dasnet_v2", "siamese_pyramid"])
def test_files_with_the_options_of_all_networks_are_still_read(name):
    changed = {"name": name, "encoder": "resnet18", "dropout": 0.2}
    assert parse(**{**FORMER, **changed}) == parse(**changed)


def test_settings_are_hashed_as_they_were_when_all_networks_shared_a_section():
    changed = {"name": "siamese_pyramid", "fusion": "both"}
    assert former_settings(parse(**changed).model) == {**FORMER, **changed}


def test_an_option_that_came_later_changes_no_hash_unless_it_is_used():
    assert former_settings(parse().model) == former_settings(parse(upsampling="transposed").model)
    assert "upsampling" not in former_settings(parse().model)
    assert former_settings(parse(upsampling="resize").model)["upsampling"] == "resize"


def test_another_value_than_the_default_of_an_option_of_others_is_a_mistake_in_them_too():
    with pytest.raises(
        ConfigError, match=r"model\.fusion is not a setting of dasnet_v2, got 'both'"
    ):
        parse(**{**FORMER, "fusion": "both"})


def test_the_recipe_of_the_released_model_is_still_read():
    released = Path(__file__).parents[3] / "models" / "pyramid_small_clcd.safetensors"
    recipes = read_card(released).recipe["members"]
    assert recipes
    for recipe in recipes:
        assert {"attention", "head"} <= recipe["model"].keys()
        config = parse_config(recipe, origin="model file")
        assert config.model.options()["fusion"] == recipe["model"]["fusion"]
        assert "attention" not in config.model_dump()["model"]


def test_the_dump_holds_the_networks_own_options_alone(tmp_path):
    config = parse(name="siamese_pyramid", fusion="both")
    path = tmp_path / "config.yaml"
    path.write_text(dump_config(config))
    assert "attention" not in path.read_text()
    assert load_config(path) == config


@pytest.mark.parametrize(
    "model",
    [
        {"name": name, **options}
        for name in ("dasnet", "dasnet_v2")
        for options in (
            {"attention": "dual"},
            {"attention": "channel"},
            {"attention": "none"},
            {"head": "plain"},
        )
    ]
    + [{"name": "siamese_pyramid"}, {"name": "siamese_pyramid", "output": "distance"}]
    + [{"name": "tinycd"}, {"name": "bit"}]
    + [{"name": "siamese_segmentation", "decoder": decoder} for decoder in ("unet", "pan")],
)
def test_what_the_settings_say_of_a_network_holds_for_the_built_one(model):
    config = parse(**TINY, **model)
    network = build_model(config.model, pretrained=False)
    assert config.model.traits() == (network.branch_names, network.fixed_tile)
    # Options of a built network, such as a model file holds, tell the same.
    assert type(network).traits_of(network.options) == config.model.traits()


@pytest.mark.parametrize("fixed", [True, False])
def test_only_a_network_of_a_fixed_tile_asks_for_tiles_of_the_crops_size(fixed):
    model = {"name": "dasnet", "attention": "dual" if fixed else "none"}
    config = parse_config({"model": model, "data": {"crop_px": 64, "tile_px": 128}}, origin="t")
    if fixed:
        with pytest.raises(ConfigError, match=r"data\.tile_px is 128 .* model\.attention=none"):
            tile_px(config)
    else:
        assert tile_px(config) == 128


@dataclass(frozen=True, kw_only=True)
class BrightnessOptions(network_rows.NetworkOptions):
    encoder: str = "test_efficientnet"
    in_channels: int = 3
    gain: Annotated[float, Ge(0.5)] = 1.0
    pooling: Literal["mean", "max"] = "mean"

    @staticmethod
    def traits_of(options: Mapping[str, Any]) -> ModelTraits:
        return ModelTraits(branch_names=("fused",), fixed_tile=options["pooling"] == "max")


class Brightness(EncoderModel):
    """Classify each pixel by the difference of the encoder's maps; it gives no distances."""

    architecture = "brightness"

    def __init__(
        self,
        *,
        encoder: str = "test_efficientnet",
        in_channels: int = 3,
        gain: Annotated[float, Ge(0.5)] = 1.0,
        pooling: Literal["mean", "max"] = "mean",
    ) -> None:
        net = TimmEncoder(encoder, in_channels=in_channels)
        options = {"encoder": encoder, "in_channels": in_channels, "gain": gain, "pooling": pooling}
        super().__init__(net, options=options)
        self.gain = gain
        self.classify = nn.Conv2d(net.out_channels, 1, kernel_size=1)

    @classmethod
    def traits_of(cls, options: Mapping[str, Any]) -> ModelTraits:
        return BrightnessOptions.traits_of(options)

    def compare(self, before, after, *, branches: Sequence[str], levels: str):
        apart = (self.encoder(before) - self.encoder(after)).abs()
        logit = self.gain * self.classify(apart).squeeze(1)
        return {"fused": BranchOutput(change=ChangeMap.from_logit(logit))}


@pytest.fixture
def new_network(monkeypatch):
    monkeypatch.setitem(registry.MODELS, "brightness", Brightness)
    monkeypatch.setitem(network_rows.OPTIONS, "brightness", BrightnessOptions)


def focal(logit, label):
    counted = label != IGNORED
    target = torch.where(counted, label, 0).float()
    right = torch.where(target > 0.5, logit.sigmoid(), 1 - logit.sigmoid())
    return sum_over(-((1 - right) ** 2) * right.clamp(min=1e-6).log(), counted)


@pytest.mark.usefixtures("new_network")
def test_a_new_row_of_the_registry_is_trained_from_settings(pairs_folder, tmp_path, monkeypatch):
    monkeypatch.setitem(losses.LOSSES, "focal", LossRow("logit", lambda options: focal))
    request = TrainRequest(
        out=tmp_path / "run",
        data=pairs_folder,
        overrides=(
            "model={name: brightness, encoder_weights: none, gain: 2.0}",
            "loss.terms={focal: 1.0, wdmc: 0.5}",
            "data.crop_px=32",
            "data.workers=0",
            "training.epochs=1",
            "training.batch_size=4",
        ),
        device="cpu",
    )
    outcome = run_training(request)
    assert outcome.progress.epoch == 1
    card = read_card(tmp_path / "run" / "best.safetensors")
    assert (card.architecture, card.options["gain"]) == ("brightness", 2.0)
    assert card.recipe["model"]["name"] == "brightness"
    resumed = run_training(TrainRequest(out=tmp_path / "run", mode="resume", device="cpu"))
    assert resumed.progress.step == outcome.progress.step


@pytest.mark.usefixtures("new_network")
def test_a_new_rows_options_are_validated():
    with pytest.raises(ConfigError, match=r"model\.gain: .*equal to 0.5, got 0"):
        parse(name="brightness", gain=0)
    with pytest.raises(ConfigError, match=r"model\.pooling: .*'mean' or 'max', got 'min'"):
        parse(name="brightness", pooling="min")
    with pytest.raises(ConfigError, match=r"model\.gain is not a setting of dasnet, got 2"):
        parse(name="dasnet", gain=2)
    with pytest.raises(ConfigError, match=r"model\.distance is not a setting of brightness"):
        parse(name="brightness", distance="cosine")
    tree = {"model": {"name": "brightness", "pooling": "max"}, "data": {"tile_px": 512}}
    with pytest.raises(ConfigError, match=r"remove data\.tile_px$"):
        tile_px(parse_config(tree, origin="settings.yaml"))


@pytest.mark.usefixtures("new_network")
def test_a_network_without_distances_gives_scores_and_is_read_as_distances_of_twice_them():
    config = parse(name="brightness", **TINY)
    model = build_model(config.model, pretrained=False).eval()
    images = torch.randn(2, 1, 3, 32, 32)
    output = model(*images)
    assert output.embedding_distance is None
    assert output.score.shape == (1, 32, 32)
    assert torch.equal(output.distance, 2 * output.score)
    label = torch.zeros(1, 32, 32, dtype=torch.uint8)
    loss = build_loss(config.loss, config.model, changed_share=0.5)(output, label).total
    assert math.isfinite(loss.item())


def test_the_settings_of_a_network_are_made_once():
    assert config_of("dasnet") is config_of("dasnet")
    assert create_model("dasnet", encoder="resnet18", head_width=4).options["head_width"] == 4
