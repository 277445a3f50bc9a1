"""The library names settings as Python does, the command line puts its options in their place."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

import changedet
from changedet.cli.main import app
from changedet.cli.wording import to_option, with_options
from changedet.errors import SETTING, ConfigError
from changedet.training.config import load_config

ROOT = Path(changedet.__file__).parent
# Arguments of git.
NO_OPTIONS_OF_OURS = {"evaluation/environment.py"}


def texts(path: Path, *, docstrings: bool = True) -> Iterator[str]:
    """All strings of a file; values in f-strings become {}."""
    tree = ast.parse(path.read_text())
    # Parts of f-strings are seen with the whole.
    left_out = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Expr) and not docstrings)
        for part in ast.walk(node)
        if part is not node and (isinstance(node, ast.JoinedStr) or part is node.value)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = node.values
            yield "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in parts)
        elif isinstance(node, ast.Constant) and id(node) not in left_out:
            yield node.value if isinstance(node.value, str) else ""


def library_files() -> list[Path]:
    return [path for path in sorted(ROOT.rglob("*.py")) if path.relative_to(ROOT).parts[0] != "cli"]


def options(command: Any) -> set[str]:
    """All options of a command and the commands below it."""
    found = {
        word
        for parameter in command.params
        if parameter.param_type_name == "option"
        for word in (*parameter.opts, *parameter.secondary_opts)
    }
    return found.union(*map(options, getattr(command, "commands", {}).values()))


def recipe_settings() -> set[str]:
    tree = load_config("default").model_dump()
    tree["model"] = {**tree["model"], **load_config("pyramid_small").model.model_dump()}
    sections = {name: part for name, part in tree.items() if isinstance(part, dict)}
    return {f"{section}.{name}" for section, part in sections.items() for name in part}


def test_no_text_of_the_library_names_an_option() -> None:
    named = [
        f"{path.relative_to(ROOT)}: {text}"
        for path in library_files()
        if path.relative_to(ROOT).as_posix() not in NO_OPTIONS_OF_OURS
        for text in texts(path)
        if re.search(r"--[a-z]", text)
    ]
    assert named == []


def test_every_setting_in_a_message_is_an_option_or_a_setting_of_a_recipe() -> None:
    known = options(typer.main.get_command(app))
    settings = recipe_settings()
    seen, wrong = set(), []
    for path in library_files():
        for text in texts(path, docstrings=False):
            for name, value in SETTING.findall(text):
                seen.add(name)
                option = to_option(name, value or None).split()[0]
                is_of_recipe = "." in name and option in ("--set", name)
                if name in settings if is_of_recipe else option in known:
                    continue
                wrong.append(f"{path.relative_to(ROOT)}: `{name}` is no setting ({option})")
    assert wrong == []
    assert {"tile_px", "existing", "mode", "data.val_split"} <= seen


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("`tile_px` must be a multiple of 32, got 100", "--tile must be a multiple of 32, got 100"),
        ('use `existing="replace"` to replace them', "use --overwrite to replace them"),
        ('resume with `mode="resume"`', "resume with --resume"),
        ('or `mode="overwrite"`', "or --overwrite"),
        ('`threshold_split="val"`', "--threshold-split val"),
        ("`bands=(4, 3, 2)`", "--bands 4,3,2"),
        ("`bands=(4,)`", "--bands 4"),
        ("`stretch=(LOW, HIGH)`", "--stretch LOW,HIGH"),
        ("`region_crs`", "--aoi-crs"),
        ("`polygons.min_area`, `polygons.format`", "--min-area, --polygons"),
        ("`training.validate_every=N`", "--set training.validate_every=N"),
        ("`data.crop_px` is too small", "data.crop_px is too small"),
        ('`baselines="none"`', "--no-baselines"),
        ("`out=None`", "--in-place"),
        ("use `changedet calibrate`", "use `changedet calibrate`"),
    ],
)
def test_settings_become_options(message: str, shown: str) -> None:
    assert with_options(message) == shown


def test_an_error_tells_which_settings_it_speaks_of() -> None:
    error = ConfigError('`tile_px` is 3; set `tile_px=32` or `mode="resume"`, see `changedet info`')
    assert error.settings == ("tile_px", "mode")
    assert ConfigError("nothing").settings == ()
