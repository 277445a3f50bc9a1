"""Messages of the library in the words of the command line: settings become options."""

import re
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
    "region": "--aoi",
    "region_crs": "--aoi-crs",
    "polygons.format": "--polygons",
    "polygons.min_area": "--min-area",
    "polygons.fill_holes": "--fill-holes",
    "polygons.simplify_px": "--simplify",
    "changed_values": "--changed-value",
    "overrides": "--set",
}
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


def error_line(error: Exception) -> str:
    """Give the message of an error in one line."""
    return with_options(" ".join(str(error).split()))
