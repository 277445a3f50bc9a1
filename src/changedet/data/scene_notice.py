"""What is said before scenes are read."""

from collections.abc import Callable
from pathlib import Path

from changedet.data.file_names import find_mixture
from changedet.data.mixture_file import read_mixture
from changedet.data.rasters.manifest import READING_SCENES, find_manifest


def announce_scenes(root: Path, say: Callable[[str], None]) -> None:
    """Say that scenes are read as a whole, which may take minutes, if ``root`` lists some.

    Args:
        root: Folder of a data set, manifest of scenes, or mixture of data sets.
        say: Gets the sentence.

    Raises:
        DataError: If the mixture cannot be used.
    """
    mixture = find_mixture(root)
    sets = () if mixture is None else read_mixture(mixture).values()
    if any(find_manifest(place) is not None for place in (root, *(one.data for one in sets))):
        say(READING_SCENES)
