"""Where the inputs of a result lie, also after they were moved together."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from changedet.errors import ImageError
from changedet.raster.layers import split_layer
from changedet.raster.open import is_remote
from changedet.storage.secrets import without_secrets

# Folders above a result in which an input is looked for that is named by a relative path.
_LEVELS: Final = 4


def find_input(location: str, folder: Path) -> str:
    """Find an input of a result.

    Args:
        location: As the summary has it: a path, perhaps relative to where the command was run, or
            an address.
        folder: Of the result.

    Returns:
        Where it lies; the location as it was if it is nowhere to be found.
    """
    file, _ = split_layer(location)
    path = Path(file)
    if is_remote(location) or location.startswith("/vsi") or path.exists():
        return location
    roots = [folder.absolute(), *folder.absolute().parents][: _LEVELS + 1]
    # The whole relative path first; then the file's name, beside the result.
    if not path.is_absolute():
        for root in roots:
            if (root / file).exists():
                return str(root / location)
    for root in roots[:2]:
        if (root / path.name).is_file():
            return str(root / Path(location).name)
    return location


def signature(location: str, *, is_input: bool) -> str:
    """Say which state of a file is there now; of what is on a server, nothing is known.

    Args:
        location: Of the file.
        is_input: Whether it is one of the dates, which may lie elsewhere.

    Raises:
        ImageError: If it is gone.
    """
    file, _ = split_layer(location)
    if is_remote(location) or location.startswith("/vsi"):
        return "remote"
    try:
        status = Path(file).stat()
    except OSError as error:
        remedy = "say where it is now (`before`, `after`)" if is_input else "predict again"
        raise ImageError(
            f"{without_secrets(location)}: cannot be read ({error.strerror}); put the file back, "
            f"or {remedy}"
        ) from error
    return f"{status.st_mtime_ns}-{status.st_size}-{status.st_ino}"
