import shlex
from pathlib import Path

import torch

from changedet.card import ModelCard, read_card
from changedet.cli.ensemble import ensemble
from changedet.cli.info import info
from changedet.cli.wording import with_options
from changedet.errors import ConfigError
from changedet.kinds import KindOfChange
from changedet.models.model_file import save_model
from changedet.models.registry import create_model
from changedet.types import Normalisation


def make_model(path: Path, *, encoder: str = "test_efficientnet", seed: int = 0, **changes) -> Path:
    torch.manual_seed(seed)
    network = create_model("dasnet", encoder=encoder, head_width=8, attention="none")
    statistics = Normalisation((120.0,) * 3, (120.0,) * 3, (60.0,) * 3, (60.0,) * 3)
    card = ModelCard("dasnet", network.options, statistics, tile_px=32, **changes)
    save_model(path, network, card)
    return path


def test_two_models_become_one_file_and_the_next_step_is_named(invoke, tmp_path, capsys):
    models = [
        make_model(tmp_path / f"{encoder}.safetensors", encoder=encoder)
        for encoder in ("test_efficientnet", "test_resnet")
    ]
    out = tmp_path / "both.safetensors"
    result = invoke(ensemble, *models, "--out", out)
    assert result.exit_code == 0, result.output
    assert f"{out}: 2 models" in result.stdout
    assert f"{out.stat().st_size / 1e6:.1f} MB" in result.stdout
    assert "test-time augmentation none" in result.stdout
    assert f"changedet calibrate {out} {out} --overwrite" in result.stdout
    assert read_card(out).architecture == "ensemble"
    info(str(out), full=True)
    table = capsys.readouterr().out
    assert "members.1.options.encoder: test_efficientnet" in table
    assert "members.2.options.encoder: test_resnet" in table


def test_the_next_step_names_the_split_and_asks_for_views_where_members_differ(invoke, tmp_path):
    recipe = {"data": {"train_split": "train", "val_split": "my val"}}
    models = [
        make_model(tmp_path / f"{views}.safetensors", seed=seed, test_time=views, recipe=recipe)
        for seed, views in enumerate(("mirror", "scales"))
    ]
    out = tmp_path / "both of them.safetensors"
    result = invoke(ensemble, *models, "--out", out)
    assert result.exit_code == 0, result.output
    assert "different test-time views" in result.stdout
    (command,) = [line for line in result.stdout.splitlines() if line.startswith("changedet ")]
    words = shlex.split(command)
    assert words[:5] == ["changedet", "calibrate", str(out), str(out), "--overwrite"]
    assert words[words.index("--split") + 1] == "my val"
    assert words[-2:] == ["--test-time", "VIEWS"]


def test_the_mean_of_weights_is_a_choice_and_unlike_models_are_told_what_to_do(invoke, tmp_path):
    alike = [make_model(tmp_path / f"{seed}.safetensors", seed=seed) for seed in range(2)]
    out = tmp_path / "soup.safetensors"
    result = invoke(ensemble, *alike, "--average", "weights", "--out", out)
    assert result.exit_code == 0, result.output
    assert read_card(out).architecture == "dasnet"
    other = make_model(tmp_path / "other.safetensors", encoder="test_resnet")
    result = invoke(
        ensemble, alike[0], other, "--average", "weights", "--out", tmp_path / "no.safetensors"
    )
    assert isinstance(result.exception, ConfigError)
    assert "--average scores" in with_options(str(result.exception))


def make_of_kinds(path: Path, *kinds: str, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    network = create_model(
        "siamese_pyramid", encoder="test_efficientnet", decoder_width=8, kinds=kinds
    )
    statistics = Normalisation((120.0,) * 3, (120.0,) * 3, (60.0,) * 3, (60.0,) * 3)
    known = tuple(KindOfChange(kind, 0.25) for kind in kinds)
    recipe = {"data": {"val_split": "held"}}
    card = ModelCard(
        "siamese_pyramid",
        network.options,
        statistics,
        tile_px=32,
        kinds=known,
        threshold=0.25,
        recipe=recipe,
    )
    save_model(path, network, card)
    return path


def test_it_is_said_which_kinds_keep_their_thresholds_and_which_need_one(invoke, tmp_path, capsys):
    models = [
        make_of_kinds(tmp_path / "a.safetensors", "any", "cropland"),
        make_of_kinds(tmp_path / "b.safetensors", "cropland", seed=1),
    ]
    out = tmp_path / "both.safetensors"
    result = invoke(ensemble, *models, "--out", out)
    assert result.exit_code == 0, result.output
    assert "kept as they are: threshold and temperature of any\n" in result.stdout
    assert "cropland has no threshold yet" in result.stdout
    (command,) = [line for line in result.stdout.splitlines() if line.startswith("changedet ")]
    assert command.endswith("--kind cropland --split held --data DIR")
    info(str(out), full=False)
    table = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "any (1 of 2 networks, threshold 0.2500), cropland (2 of 2 networks" in table
    # An ensemble is taken apart, and one of its networks becomes a model of its own.
    third = make_of_kinds(tmp_path / "c.safetensors", "building", seed=2)
    result = invoke(ensemble, out, third, "--out", tmp_path / "all.safetensors")
    assert f"{out} is an ensemble: its networks are taken one by one" in result.stdout
    assert "3 models" in result.stdout
    single = tmp_path / "single.safetensors"
    result = invoke(ensemble, out, "--keep", "1", "--precision", "int8", "--out", single)
    assert result.exit_code == 0, result.output
    assert f"{single}: 1 model, " in result.stdout
    assert "int8 weights" in result.stdout
    assert [kind.name for kind in read_card(single).kinds] == ["any", "cropland"]


def test_a_kind_is_named_in_the_words_of_the_command_line(invoke, tmp_path):
    models = [make_model(tmp_path / "old.safetensors"), tmp_path / "new.safetensors"]
    make_of_kinds(models[1], "cropland", seed=1)
    result = invoke(ensemble, *models, "--out", tmp_path / "both.safetensors")
    assert "does not name the kind of change" in str(result.exception)
    assert with_options(str(result.exception)).endswith("say which one it is (--kind)")
