"""The command line as a user meets it: help, versions, one-line errors, exit codes."""

import subprocess
import sys

import pytest

from changedet import __version__
from changedet.cli.main import app
from changedet.errors import ConfigError, StorageError

COMMANDS = ["train", "evaluate", "predict", "convert", "info", "recipes", "demo", "data"]


def test_help_names_every_command(invoke):
    result = invoke(app, "--help")
    assert result.exit_code == 0
    assert all(command in result.output for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(invoke, command):
    result = invoke(app, command, "--help")
    assert result.exit_code == 0
    assert "--help" in result.output


def test_the_version_is_printed(invoke):
    assert invoke(app, "--version").output.strip() == f"changedet {__version__}"


def test_the_module_runs_as_a_program():
    result = subprocess.run(
        [sys.executable, "-m", "changedet", "--version"], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == f"changedet {__version__}"


def test_recipes_lists_and_prints(invoke):
    listed = invoke(app, "recipes").output
    assert "dasnet_v2_cosine" in listed
    assert "default" in listed
    printed = invoke(app, "recipes", "dasnet_v2_l2").output
    assert "weight_decay: 5.0e-05" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["recipes", "dasnet_v2_l3"], "did you mean 'dasnet_v2_l2'"),
        (["train", "--out", "{tmp}/run"], "--data DIR"),
        (["train", "--out", "{tmp}/run", "--data", "{tmp}/none"], "none"),
        (["train", "--out", "{tmp}/run", "--data", "{tmp}", "--set", "x=1"], "unknown key"),
        (["train", "--out", "{tmp}/run", "--data", "{tmp}", "--device", "tpu"], "device 'tpu'"),
        (["train", "--out", "{tmp}/run", "--resume"], "contains no run to resume"),
        (["train", "--out", "{tmp}/run", "--data", "{tmp}", "--init", "no.safetensors"], "no mod"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(run, tmp_path, arguments, message):
    arguments = [argument.format(tmp=tmp_path) for argument in arguments]
    code, _, err = run(*arguments)
    assert code == 2
    assert message in err
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize(("error", "code"), [(ConfigError("a\n b"), 2), (StorageError("full"), 1)])
def test_the_exit_code_is_the_error_s(run, monkeypatch, error, code):
    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr("changedet.cli.main.app", fail)
    assert run().code == code
