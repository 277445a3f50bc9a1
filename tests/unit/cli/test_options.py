"""Options that commands share: lists of numbers, --quiet, and what goes to which stream."""

import subprocess
import sys

import numpy as np
import pytest
import typer
from PIL import Image

from changedet.cli.options import whole_numbers
from changedet.cli.progress import TrainingDisplay
from changedet.cli.wording import is_warning, speaker, usage_line
from changedet.errors import ConfigError


@pytest.mark.parametrize(
    ("texts", "numbers"),
    [(None, None), ([], None), (["1,2", "7"], (1, 2, 7)), (["0"], (0,)), ([" 4, 3"], (4, 3))],
)
def test_whole_numbers_may_come_one_by_one_or_with_commas(texts, numbers):
    assert whole_numbers("--x", texts, such_as="1,2") == numbers


@pytest.mark.parametrize("text", ["1;2", "a", "1,", "-1", "1.5", ""])
def test_what_is_no_list_of_whole_numbers_is_named_with_an_example(text):
    with pytest.raises(ConfigError, match=r"--x takes whole numbers from 0, .* such as 1,2; got"):
        whole_numbers("--x", [text], such_as="1,2")


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("warning: far", True),
        ("WARNING: one class", True),
        ("east: warning: far", True),
        ("a note on warnings", False),
        ("labels: 0 and 255", False),
    ],
)
def test_warnings_are_told_from_notes(message, expected):
    assert is_warning(message) is expected


def test_quiet_leaves_warnings(capsys):
    for quiet in (False, True):
        say = speaker(quiet=quiet)
        say("a note")
        say("warning: far")
        with TrainingDisplay(quiet=quiet) as display:
            display.say("another note")
            display.say("WARNING: near")
    lines = capsys.readouterr().err.splitlines()
    loud = ["a note", "warning: far", "another note", "WARNING: near"]
    assert lines == [*loud, "warning: far", "WARNING: near"]


def test_a_usage_error_is_one_line_with_the_way_to_help():
    error = typer.BadParameter("is no number.")
    assert usage_line(error, []) == "invalid value: is no number (see changedet --help)"


@pytest.mark.parametrize(
    ("said", "line"),
    [
        (
            "Value error, 'fp16' is not one of 'float32', 'bf16'",
            "'fp16' is not one of 'float32', 'bf16'",
        ),
        (
            "Input should be a valid integer, unable to parse string as an integer",
            "must be a valid integer",
        ),
        ("Input should be greater than or equal to 1", "must be greater than or equal to 1"),
    ],
)
def test_what_pydantic_says_of_a_value_is_plain_english(said, line):
    error = typer.BadParameter(said)
    assert usage_line(error, []) == f"invalid value: {line} (see changedet --help)"


def test_results_go_to_standard_output_and_quiet_leaves_the_error_stream_empty(tmp_path, run):
    rng = np.random.default_rng(0)
    for name in ("before.png", "after.png"):
        pixels = rng.integers(0, 256, (32, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / name)
    words = ["predict", tmp_path / "before.png", tmp_path / "after.png"]
    words += ["--model", "baseline:cva", "--progress", "lines", "--out"]
    _, _, errors = run(*words, tmp_path / "lines")
    assert "progress 1/1" in errors.splitlines()
    code, printed, errors = run(*words, tmp_path / "out", "--quiet")
    assert (code, errors) == (0, "")
    assert "% changed" in printed
    assert f"results: {tmp_path / 'out'}" in printed


def test_the_shell_completes_names_of_models_methods_and_recipes():
    def offered(line: str) -> list[str]:
        words = line.split(" ")
        done = subprocess.run(
            [sys.executable, "-m", "changedet"],
            env={
                "_CHANGEDET_COMPLETE": "complete_bash",
                "COMP_WORDS": line,
                "COMP_CWORD": str(len(words) - 1),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout.split()

    assert offered("changedet predict a b --model baseline:i") == ["baseline:ir_mad"]
    assert offered("changedet train pyramid_s") == ["pyramid_small"]
