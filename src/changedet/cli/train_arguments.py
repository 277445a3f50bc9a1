"""Arguments of ``changedet train`` that mean more than one option: ``--resume RUN``, ``--lr``."""

import re
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final

from typer.core import TyperCommand

from changedet.errors import ConfigError
from changedet.storage.text import is_file

_RESUME: Final = "--resume"
_OUT: Final = "--out"
#: Options that are short forms of a recipe's setting.
SHORT_FORMS: Final[Mapping[str, str]] = {
    "--epochs": "training.epochs",
    "--batch-size": "training.batch_size",
    "--lr": "optimizer.lr",
    "--bands": "data.source_bands",
    "--bands-after": "data.source_bands_after",
}


class TrainCommand(TyperCommand):
    """A command to which ``--resume RUN`` means ``--out RUN --resume``."""

    # Typer comes with click or with a copy of it, by version: the context is either's.
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401
        """Parse the arguments with the named run in its place."""
        # As it is spelt in the public code of DASNet-V2.
        args = [re.sub(r"\A--start_epoch(?==|\Z)", "--start-epoch", word) for word in args]
        return super().parse_args(ctx, name_resumed_run(args))


def name_resumed_run(words: Iterable[str]) -> list[str]:
    """Rewrite ``--resume RUN`` and ``--resume=RUN`` as ``--out RUN --resume``.

    Without a run behind it ``--resume`` stays the flag that it is; the name of a recipe or a
    settings file behind it stays the argument CONFIG.

    Args:
        words: Arguments of the command.

    Raises:
        ConfigError: If what stands behind it is no run, or ``--out`` names another folder.
    """
    words = list(words)
    place = next((i for i, w in enumerate(words) if w.partition("=")[0] == _RESUME), None)
    if place is None:
        return words
    _, is_joined, named = words[place].partition("=")
    behind = words[place + 1 : place + 2]
    if not is_joined:
        if not behind or behind[0].startswith("-") or _is_config(behind[0]):
            return words
        named = behind[0]
    # Reading of run files comes with it, which other commands do not need.
    from changedet.training.run_folder import find_run

    run = find_run(Path(named))
    rest = words[:place] + words[place + (1 if is_joined else 2) :]
    out = _value_of(_OUT, rest)
    if out is not None and Path(out).resolve() != run.resolve():
        raise ConfigError(f"{_OUT} {out} and {_RESUME} {named} name two folders; remove one")
    return [*rest, *([] if out is not None else [_OUT, str(run)]), _RESUME]


def with_short_forms(
    overrides: Iterable[str], short_forms: Mapping[str, float | Sequence[int] | None]
) -> tuple[str, ...]:
    """Add the settings of the short forms that were given to those of ``--set``.

    Args:
        overrides: ``section.key=value`` of ``--set``.
        short_forms: Values by option, see :data:`SHORT_FORMS`; None: not given.

    Raises:
        ConfigError: If a setting is given both ways.
    """
    overrides = tuple(overrides)
    given = {override.partition("=")[0].strip(): override for override in overrides}
    added = []
    for option, value in short_forms.items():
        setting = SHORT_FORMS[option]
        if value is None:
            continue
        if setting in given:
            raise ConfigError(
                f"{option} {value} and --set {given[setting]} are the same setting; remove one"
            )
        added.append(f"{setting}={value if isinstance(value, int | float) else list(value)}")
    return (*overrides, *added)


def _is_config(word: str) -> bool:
    """Tell the argument CONFIG from a run: a recipe's name or a settings file."""
    from changedet.training.run_folder import is_run

    path = Path(word)
    if is_run(path):
        return False
    recipes = (resources.files("changedet") / "recipes").iterdir()
    is_recipe = f"{word}.yaml" in {entry.name for entry in recipes}
    return is_recipe or (is_file(path) and path.suffix in {".yaml", ".yml"})


def _value_of(option: str, words: list[str]) -> str | None:
    """Give the last value of an option, as the parser would."""
    found = None
    for word, following in zip_longest(words, words[1:]):
        name, is_joined, value = word.partition("=")
        if name == option:
            found = value if is_joined else following
    return found
