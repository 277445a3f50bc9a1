# SPDX-License-Identifier: GPL-2.0-or-later
"""What the command says while it runs: progress, notes, warnings, and why it ended."""

from __future__ import annotations

import re
from enum import Enum
from typing import NamedTuple

_PROGRESS = re.compile(r"progress (\d+)/(\d+)")
_REPEATED = re.compile(r"\d+ warnings?:")
# Before the first tile the pair is read and measured, after the last the results are written.
_BEGIN, _END = 5.0, 90.0


class Meaning(Enum):
    """What a line is."""

    PROGRESS = "progress"
    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"


class Line(NamedTuple):
    """A line of the command.

    Attributes:
        meaning: What it is.
        text: What to show; of progress the stage that begins, if any.
        percent: Share done, of all work, in [0, 100]; of progress only.
    """

    meaning: Meaning
    text: str
    percent: float = 0.0


class Listener:
    """Tells what the lines of a command mean, and at its end why it failed."""

    def __init__(self) -> None:
        self._error = ""
        self._last = ""
        self._stage = ""
        self._is_repeating = False

    def hear(self, text: str) -> Line | None:
        """Take the next line.

        Returns:
            What it means; None if there is nothing to show.
        """
        text = text.rstrip()
        found = _PROGRESS.fullmatch(text)
        if found:
            done, total = int(found[1]), int(found[2])
            percent = _BEGIN + (_END - _BEGIN) * done / max(total, 1)
            stage = "writing the results" if done >= total else "scoring"
            begins, self._stage = stage != self._stage, stage
            return Line(Meaning.PROGRESS, stage if begins else "", min(percent, _END))
        # At its end the command lists its warnings once more, indented.
        is_repeated = self._is_repeating and text.startswith("  ")
        self._is_repeating = is_repeated or bool(_REPEATED.fullmatch(text))
        if self._is_repeating or not text:
            return None
        self._last = text
        if text.startswith("changedet: "):
            self._error = text[len("changedet: ") :]
            return Line(Meaning.ERROR, self._error)
        if text.lower().startswith("warning:"):
            return Line(Meaning.WARNING, text[len("warning:") :].strip())
        return Line(Meaning.NOTE, text)

    def why(self, code: int) -> str:
        """Say in one line why the command failed.

        Args:
            code: Its exit code; negative: the signal that ended it.
        """
        if "no such option" in self._error:
            return f"{self._error}; is the installed changedet older than the plugin? Update it"
        if self._error:
            return self._error
        if code < 0 or code == 137:
            number = -code if code < 0 else 9
            memory = ", often because memory ran out" if number == 9 else ""
            return f"changedet was ended by signal {number}{memory}; finished tiles are kept"
        said = f": {self._last}" if self._last else ""
        return f"changedet ended with code {code}{said}"
