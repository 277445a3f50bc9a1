"""Messages of the library in the words of the command line: settings become options."""

import difflib
import math
import re
from collections.abc import Callable, Sequence
from typing import Final

import typer

from changedet.errors import SETTING
from changedet.storage.secrets import hidden
from changedet.storage.text import printable

# Where an option is not called like the setting.
_OPTIONS: Final = {
    "tile_px": "--tile",
    "overlap_px": "--overlap",
    "size_px": "--size",
    "gsd_m": "--gsd",
    "working_gsd_m": "--working-gsd",
    "lengths_m": "--lengths",
    "region": "--aoi",
    "region_crs": "--aoi-crs",
    "polygons.format": "--polygons",
    "polygons.min_area": "--min-area",
    "polygons.fill_holes": "--fill-holes",
    "polygons.simplify_px": "--simplify",
    "changed_values": "--changed-value",
    "overrides": "--set",
    "timeout_s": "--timeout",
    "back_off_s": "--back-off",
    "split_mpx": "--split",
}
_OF_PYDANTIC: Final = re.compile(r"Value error, |, unable to parse string as an? \w+")
_POSSIBLE: Final = re.compile(r"(?<=no such option: )(\S+) \(Possible options: (.*)\)")
_WARNING: Final = re.compile(r"(?:[^\n]*: )?warning\b", re.IGNORECASE)
# Settings that are flags on the command line.
_FLAGS: Final = {
    ("existing", "replace"): "--overwrite",
    ("mode", "overwrite"): "--overwrite",
    ("mode", "resume"): "--resume",
    ("baselines", "none"): "--no-baselines",
    ("coregister", "global"): "--coregister",
    ("out", "None"): "--in-place",
}


def to_option(name: str, value: str | None = None) -> str:
    """Give the option for a setting of the library.

    Args:
        name: Name of the setting; one of a recipe is dotted.
        value: Its value as Python writes it; None: none.

    Returns:
        The option and its value. A recipe's setting stays as it is unless it is given a value, for
        it may also stand in a file.
    """
    plain = None if value is None else re.sub(r'["() ]|,\)', "", value)
    if (name, plain) in _FLAGS:
        return _FLAGS[name, str(plain)]
    if "." in name and name not in _OPTIONS:
        return name if plain is None else f"--set {name}={plain}"
    option = _OPTIONS.get(name, "--" + name.replace("_", "-"))
    return option if plain is None else f"{option} {plain}"


def with_options(message: str) -> str:
    """Put options into a message of the library, which names settings in backticks.

    Whatever names and other people's words it holds, the result can be shown: without passwords
    and without characters that act on a terminal.
    """
    worded = SETTING.sub(lambda found: to_option(found[1], found[2]), message)
    return printable(hidden(worded))


def say(message: str) -> None:
    """Print a message of the library on the error stream."""
    typer.echo(with_options(message), err=True)


def is_warning(message: str) -> bool:
    """Tell a warning of the library from a note; in folders, a scene's name stands before it."""
    return _WARNING.match(message) is not None


def speaker(*, quiet: bool) -> Callable[[str], None]:
    """Choose what becomes of the library's messages: all are printed, or warnings only."""

    def say_warning(message: str) -> None:
        if is_warning(message):
            say(message)

    return say_warning if quiet else say


def error_line(error: Exception) -> str:
    """Give the message of an error in one line."""
    return with_options(" ".join(str(error).split()))


def usage_line(error: Exception, words: Sequence[str]) -> str:
    """Give in one line what the parser refused, and where to look it up.

    Args:
        error: Of Typer's parser.
        words: The words of the command line.
    """
    # Both of Click's errors; their class differs with the version of Typer.
    say_it: Callable[[], str] = getattr(error, "format_message", error.__str__)
    message = " ".join(say_it().split()).rstrip(".")
    message = _POSSIBLE.sub(_nearest_option, message[:1].lower() + message[1:])
    # Since 0.29 Typer passes on what pydantic says of a value.
    message = _OF_PYDANTIC.sub("", message).replace(": Input should be ", ": must be ")
    if message.startswith("got unexpected extra argument") and _has_loose_comma(words):
        message += "; write lists without spaces: 4,3,2"
    context = getattr(error, "ctx", None)
    if context is None:
        return f"{message} (see changedet --help)"
    if message.startswith("no such command") and "did you mean" not in message.lower():
        message += f"; there are: {', '.join(context.command.commands)}"
    return f"{message} (see {context.command_path} --help)"


def _nearest_option(found: re.Match[str]) -> str:
    """Name the one option that was meant, of those that the parser offers in alphabetical order."""
    near = difflib.get_close_matches(found[1], found[2].split(", "), n=1, cutoff=0.0)
    return f"{found[1]}; did you mean {near[0]}?"


def _has_loose_comma(words: Sequence[str]) -> bool:
    """Tell whether a list was written with spaces, as in ``--bands 4, 3, 2``."""
    return any(word.endswith(",") or word.startswith(",") for word in words)


def figure(value: float | None) -> str:
    """Write a figure of merit for a table; a dash where it is undefined."""
    return "-" if value is None or math.isnan(value) else f"{value:.4f}"


def print_help_of_group(ctx: typer.Context) -> None:
    """Print the help of a command that has commands, where none of them is named."""
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


def paragraphs(text: str) -> str:
    """Join the lines of each paragraph."""
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))
