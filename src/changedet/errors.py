"""Every error that a user can cause: what was wrong, what was got, what to do.

The command line prints such an error in one line and exits with its ``exit_code``; any other
exception is a bug and keeps its traceback.

Messages name settings in backticks as Python spells them: `` `tile_px` ``,
`` `existing="replace"` ``, `` `training.epochs=3` `` (a setting of a recipe). Whoever shows a
message in another place, such as the command line, puts its own names there.
"""

import re
from typing import ClassVar, Final

#: A setting in a message: its name, and the value if one is named.
SETTING: Final = re.compile(r"`([a-z][a-z0-9_]*(?:\.[a-z0-9_]+)*)(?:=([^`]*))?`")

_LONGEST: Final = 2_000


class ChangeDetError(Exception):
    """Base of all errors that a user can cause."""

    exit_code: ClassVar[int] = 2

    def __str__(self) -> str:
        """Give the message, of a very long one the beginning and the end: a file may say a lot."""
        text = super().__str__()
        if len(text) <= _LONGEST:
            return text
        return f"{text[: _LONGEST * 3 // 4]} … {text[-_LONGEST // 4 :]}"

    @property
    def settings(self) -> tuple[str, ...]:
        """Names of the settings that the message speaks of, in its order, each once."""
        return tuple(dict.fromkeys(name for name, _ in SETTING.findall(str(self))))


class ConfigError(ChangeDetError):
    """A setting, option or recipe is wrong."""


class DataError(ChangeDetError):
    """A data set, list file, image or label cannot be used."""


class ImageError(DataError):
    """One image or label file cannot be read, or is not of the expected kind."""


class CheckpointError(ChangeDetError):
    """A model file, checkpoint or weights file cannot be used."""


class MissingExtraError(ChangeDetError):
    """An optional package is needed and not installed."""


class StorageError(ChangeDetError):
    """Writing failed: the disk is full or the place is not writable."""

    exit_code: ClassVar[int] = 1


class ResultsError(StorageError):
    """A file of results cannot be read: missing, damaged, of another kind or a newer version."""


class ExportError(ChangeDetError):
    """A network cannot be written in another form, or does not give the same scores there."""

    exit_code: ClassVar[int] = 1


class TrainingError(ChangeDetError):
    """Training cannot continue, for example because the loss is not a number."""

    exit_code: ClassVar[int] = 1
