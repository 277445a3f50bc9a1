import shlex
from pathlib import Path

import torch

from changedet.card import ModelCard, read_card
from changedet.cli.ensemble import ensemble
from changedet.cli.info import info
from changedet.cli.wording import with_options
from changedet.errors import ConfigError
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
