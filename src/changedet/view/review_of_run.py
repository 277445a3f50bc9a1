"""The labels of a review for one training: made when it begins, kept in its folder."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from changedet.data.file_names import REVIEW, SCENES, is_review
from changedet.errors import ConfigError, DataError
from changedet.storage.lock import check_idle
from changedet.storage.output_folder import claimed, result_folder
from changedet.training.run_folder import REVIEWED, check_free, is_run, keeps

if TYPE_CHECKING:
    from changedet.view.training_data import ReviewedScene

# Digits of the hash in a folder's name.
_DIGITS: Final = 8


@contextmanager
def data_of_run(
    data: Path | None,
    out: Path,
    *,
    mode: Literal["new", "resume", "overwrite"],
    say: Callable[[str], None] = lambda message: None,
) -> Iterator[Path | None]:
    """Give a training the data set that a review makes; any other data set as it is.

    The labels are written to a folder in ``reviewed`` in the folder of the run, named after the
    result and a hash of what the verdicts say, so the same verdicts give the same data set. They
    stay as they are while the run goes on, and a resumed run has them still; if the training does
    not begin, they are removed again.

    Args:
        data: What to train on; a review is a file ``review.gpkg``, or results with one.
        out: Folder of the run.
        mode: What to do about a run that is already in ``out``.
        say: Gets sentences for the user.

    Raises:
        ConfigError: If ``out`` holds something else.
        DataError: If there are no verdicts, they cannot be used, or show change in too few places
            to train on some and validate on others.
        StorageError: If the labels cannot be written.
    """
    if data is not None and data.name == REVIEW and not data.exists():
        raise DataError(
            f"there is no {data}; the first verdict makes it: changedet view {data.parent}"
        )
    if data is None or not is_review(data):
        yield data
        return
    if mode == "resume":
        # What has been judged since would make another run of it.
        say(f"resuming with the verdicts that the run began with, not with what is in {data} now")
        yield None
        return
    check_free(out, mode=mode)
    # GDAL comes with it, which other data sets may do without.
    from changedet.view.training_data import block_size, described, read_reviews

    scenes = read_reviews([data], say=say)
    block_px = block_size(scenes)
    if block_px is None:
        raise DataError(
            f"{data} has change in too few places to train on some and validate on others; accept "
            "or draw more change elsewhere"
        )
    folder = out / REVIEWED / f"{_name(data)}_{_digest(scenes, block_px)}"
    is_new = not (folder / SCENES).is_file()
    if is_new:
        _write(scenes, folder, block_px=block_px)
    say(f"review of {described(scenes, folder)}; labels in {folder}")
    try:
        yield folder
    finally:
        if is_new and not keeps(out, folder):
            _remove(folder, out)


def _name(data: Path) -> str:
    result = data.absolute().parent if data.is_file() else data.absolute()
    return result.name or "scenes"


def _digest(scenes: Sequence[ReviewedScene], block_px: int) -> str:
    """Give the same name to the same labels on the same images."""
    import shapely

    from changedet.view.collection import absolute_location

    facts = [
        [
            scene.name,
            *(absolute_location(scene.item.files[layer]) for layer in ("before", "after")),
            scene.bands,
            sorted(shapely.to_wkb(scene.labels.change, hex=True).tolist()),
            sorted(shapely.to_wkb(scene.labels.area, hex=True).tolist()),
        ]
        for scene in scenes
    ]
    text = json.dumps([block_px, facts])
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def _write(scenes: Sequence[ReviewedScene], folder: Path, *, block_px: int) -> None:
    from changedet.view.training_data import write_scenes

    with (
        claimed(folder, marker=SCENES, existing="replace"),
        result_folder(folder, marker=SCENES) as staging,
    ):
        write_scenes(scenes, staging, block_px=block_px)


def _remove(folder: Path, out: Path) -> None:
    """Remove labels that no run has begun with, unless another one is just beginning."""
    with suppress(ConfigError, OSError):
        check_idle(out)
        shutil.rmtree(folder)
        folder.parent.rmdir()
        if not is_run(out):
            out.rmdir()
