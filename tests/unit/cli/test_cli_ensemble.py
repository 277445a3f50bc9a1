from pathlib import Path

import torch
import typer
from typer.testing import CliRunner

from changedet.cli.ensemble import ensemble
from changedet.cli.info import info
from changedet.models.model_file import ModelCard, read_card, save_model
from changedet.models.registry import create_model
from changedet.types import Normalisation

app = typer.Typer(pretty_exceptions_enable=False)
app.command()(ensemble)


def make_model(path: Path, *, encoder: str) -> Path:
    torch.manual_seed(0)
    network = create_model("dasnet", encoder=encoder, head_width=8, attention="none")
    statistics = Normalisation((120.0,) * 3, (120.0,) * 3, (60.0,) * 3, (60.0,) * 3)
    save_model(path, network, ModelCard("dasnet", network.options, statistics, tile_px=32))
    return path


def test_two_models_become_one_file_and_the_next_step_is_named(tmp_path, capsys):
    models = [
        make_model(tmp_path / f"{encoder}.safetensors", encoder=encoder)
        for encoder in ("resnet18", "test_efficientnet")
    ]
    out = tmp_path / "both.safetensors"
    result = CliRunner().invoke(app, [*map(str, models), "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert f"{out}: 2 models" in result.stdout
    assert f"{out.stat().st_size / 1e6:.1f} MB" in result.stdout
    assert "test-time augmentation none" in result.stdout
    assert f"changedet calibrate {out} {out} --overwrite" in result.stdout
    assert read_card(out).architecture == "ensemble"
    info(out)
    table = capsys.readouterr().out
    assert "members.1.options.encoder: resnet18" in table
    assert "members.2.options.encoder: test_efficientnet" in table
