# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line that QGIS starts: where the command is, its environment and its words."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Methods that need no model file.
UNTRAINED = (
    "baseline:difference",
    "baseline:cva",
    "baseline:ir_mad",
    "baseline:deep_difference",
)
#: Where the setting is.
SETTING_PLACE = "Settings > Options > Processing > Providers > changedet"
# QGIS sets these for its own Python, GDAL and PROJ; another Python would load the wrong files.
_OF_QGIS = frozenset(
    {
        *("PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONEXECUTABLE", "__PYVENV_LAUNCHER__"),
        *("GDAL_DATA", "GDAL_DRIVER_PATH", "GDAL_PYTHON_DRIVER_PATH", "PROJ_LIB", "PROJ_DATA"),
        *("GEOTIFF_CSV", "QT_PLUGIN_PATH", "LD_LIBRARY_PATH", "LD_PRELOAD"),
        *("DYLD_LIBRARY_PATH", "DYLD_FRAMEWORK_PATH", "DYLD_INSERT_LIBRARIES"),
    }
)


class CommandError(Exception):
    """What the user can mend, in one line."""


@dataclass(frozen=True)
class Request:
    """What is asked of ``changedet predict``; None leaves a choice to the command.

    Attributes:
        before: File of the first date.
        after: File of the second date.
        model: Name, file or untrained method.
        out: Folder for the results.
        kind: Kind of change to find.
        gsd_m: Side of a pixel on the ground, for images that do not say it.
        threshold: Score in [0, 1] from which on a pixel counts as changed.
        min_area: Smallest polygon, in m2 (pixels without a CRS).
        region: ``XMIN,YMIN,XMAX,YMAX`` or a file of polygons.
        region_crs: CRS of the four numbers.
        overwrite: Replace earlier results.
        further: Further options, as on the command line.
    """

    before: str
    after: str
    model: str
    out: str
    kind: str | None = None
    gsd_m: float | None = None
    threshold: float | None = None
    min_area: float | None = None
    region: str | None = None
    region_crs: str | None = None
    overwrite: bool = False
    further: str = ""

    def words(self) -> list[str]:
        """Write the command line, one word an entry, so that no shell has to take it apart.

        Raises:
            CommandError: If no model is chosen, or the further options cannot be read.
        """
        if not self.model.strip():
            raise CommandError("no model is chosen: choose one of the list, or a model file")
        given = {
            "--kind": self.kind,
            "--gsd": self.gsd_m,
            "--threshold": self.threshold,
            "--min-area": self.min_area,
            "--aoi": self.region,
            "--aoi-crs": self.region_crs,
        }
        return [
            "predict",
            *(self.before, self.after),
            f"--model={self.model.strip()}",
            f"--out={self.out}",
            *(f"{option}={value}" for option, value in given.items() if value is not None),
            *(["--overwrite"] if self.overwrite else []),
            *split_options(self.further),
            "--progress=lines",
        ]


def split_options(text: str) -> list[str]:
    r"""Split options as a shell does, but for ``\``, which is part of the paths of Windows.

    Raises:
        CommandError: If a quotation mark is left open.
    """
    words = shlex.shlex(text, posix=True, punctuation_chars=False)
    words.whitespace_split = True
    words.escape = ""
    words.commenters = ""
    try:
        return list(words)
    except ValueError:
        raise CommandError(f"further options: a quotation mark is not closed in {text!r}") from None


def find_command(
    setting: str, *, environment: Mapping[str, str] | None = None, platform: str = sys.platform
) -> str:
    """Find the command that does the work.

    Args:
        setting: What the user has entered: the command, or the environment that it is installed
            in; empty: it is looked for on PATH and where pipx and uv put commands.
        environment: Environment variables; None: those of this process.
        platform: As ``sys.platform``.

    Returns:
        Its path.

    Raises:
        CommandError: If it is not there.
    """
    variables = os.environ if environment is None else environment
    name = "changedet.exe" if platform == "win32" else "changedet"
    setting = setting.strip().strip('"')
    if setting:
        given = Path(setting).expanduser()
        places = [given, given / "bin" / name, given / "Scripts" / name, given / name]
        problem = f"{setting} is neither the changedet command nor an environment that has it"
    else:
        # A program that is started from a desktop knows fewer folders than a terminal does.
        home = Path(variables.get("USERPROFILE" if platform == "win32" else "HOME") or Path.home())
        found = shutil.which(name, path=variables.get("PATH", ""))
        places = [*([Path(found)] if found else []), home / ".local" / "bin" / name]
        problem = "the changedet command is not on PATH: install it"
    for place in places:
        if place.is_file() and os.access(place, os.X_OK):
            return str(place)
    raise CommandError(f"{problem}; enter its path under {SETTING_PLACE}")


def clean_environment(variables: Mapping[str, str] | None = None) -> dict[str, str]:
    """Give the environment without what QGIS has set for itself, and with UTF-8 for all output."""
    kept = {
        name: value
        for name, value in (os.environ if variables is None else variables).items()
        if name.upper() not in _OF_QGIS
    }
    return {**kept, "PYTHONUTF8": "1", "PYTHONIOENCODING": "utf-8", "NO_COLOR": "1"}


@dataclass(frozen=True)
class KnownModel:
    """A model that can be asked for by name.

    Attributes:
        name: The name.
        kinds: Kinds of change that it tells apart; empty: it has one.
        facts: What it is, in a line.
    """

    name: str
    kinds: Sequence[str]
    facts: str


def read_models(text: str) -> list[KnownModel]:
    """Read what ``changedet models --json`` prints; models that cannot be used are left out.

    Raises:
        CommandError: If it is something else.
    """
    try:
        rows = json.loads(text)
        return [
            KnownModel(row["name"], tuple(row["kinds"]), _facts(row))
            for row in rows
            if "problem" not in row
        ]
    except (ValueError, TypeError, KeyError):
        raise CommandError(
            "the list of models could not be read: plugin and command are of different versions"
        ) from None


def _facts(row: Mapping[str, Any]) -> str:
    parts = [f"{row['architecture']}, {row['form']}"]
    if row["kinds"]:
        parts.append(f"finds {', '.join(row['kinds'])}")
    if row["working_gsd_m"]:
        parts.append("pixels of {:g} to {:g} m".format(*row["working_gsd_m"]))
    if row["data"]:
        parts.append(f"trained on {row['data']}")
    return "; ".join(parts)
