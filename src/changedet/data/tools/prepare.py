"""Write the 0/1 masks and list files of spec 6, next to the source or elsewhere."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from changedet.data.file_names import SPLIT_NAMES
from changedet.data.images import encode_image
from changedet.data.index import accept, files_of, survey
from changedet.data.labels.scan import LabelEncoding, read_label, scan_labels
from changedet.data.layouts import PREPARED_FOLDER
from changedet.data.lists import PREPARED_MARK
from changedet.data.pair import PairPaths
from changedet.data.parallel import map_in_order
from changedet.errors import DataError
from changedet.storage.atomic import write_bytes, write_text
from changedet.storage.lock import only_run
from changedet.storage.output_folder import content_of, half_made, is_half_made
from changedet.types import Progress

if TYPE_CHECKING:
    from collections.abc import Sequence

Images = Literal["refer", "copy"]
Existing = Literal["refuse", "replace"]


@dataclass(frozen=True)
class Prepared:
    """What :func:`prepare` wrote.

    Attributes:
        folder: Where; usable as a data set.
        lists: The list files by split.
        masks: Number of masks.
        encoding: How the source's labels were encoded.
        changed_share: Share of changed pixels by split, in [0, 1].
        notes: Sentences the user should read.
    """

    folder: Path
    lists: dict[str, Path]
    masks: int
    encoding: LabelEncoding
    changed_share: dict[str, float]
    notes: tuple[str, ...]


class _Step(NamedTuple):
    """Files of one pair in the prepared data set; images are copied where the paths differ."""

    pair: PairPaths
    before: Path
    after: Path
    mask: Path


def prepare(
    root: str | Path,
    out: str | Path | None,
    *,
    images: Images = "refer",
    existing: Existing = "refuse",
    benchmark: str | None = None,
    ignore_value: int | None = None,
    changed_values: tuple[int, ...] | None = None,
    progress: Progress | None = None,
) -> Prepared:
    """Turn the labels of a data set into 0/1 single-channel PNG and list the pairs.

    Masks go to ``SPLIT/OUT1/NAME.png`` (in place: to ``OUT1`` beside the labels' folder), lists to
    ``train1.txt``, ``val1.txt``, ``test1.txt``. The lists come last, so a broken run leaves none;
    the next run replaces what else it left.
    Prepared files of an earlier run are not read as a source where there are others. Ignored
    pixels become 255.

    Args:
        root: Folder of the data set; read only, unless ``out`` is None.
        out: Folder to write to, outside ``root``; None writes into ``root``.
        images: ``refer`` lists the images where they are, by absolute path; ``copy`` copies them,
            so that ``out`` can be moved.
        existing: What happens to prepared files that are there already.
        benchmark: Row to compare layout and numbers with.
        ignore_value: Stored label value that counts as neither changed nor unchanged.
        changed_values: Stored label values that mean changed.
        progress: Told after every mask.

    Raises:
        DataError: If the data set cannot be used, or files exist that must not be replaced.
        StorageError: If writing fails.
    """
    root, out = Path(root), None if out is None else Path(out)
    _require_outside(root, out)
    index = accept(survey(root, benchmark=benchmark, prefer="original", channels=None))
    folder = index.root if out is None else out
    steps = {
        split: [_step(pair, split, root=index.root, out=out, images=images) for pair in pairs]
        for split, pairs in files_of(index).items()
    }
    lists = {split: path for split, path in _prepared_lists(folder).items() if split in steps}
    lines = {split: _lines(own, folder, of=lists[split]) for split, own in steps.items()}
    every = [step for own in steps.values() for step in own]
    _require_distinct(every)
    earlier = [path for path in _prepared_lists(folder).values() if path.exists()]
    if existing == "refuse" and not is_half_made(folder):
        _require_new([*earlier, *(step.mask for step in every)])
    stale = [path for path in earlier if path not in lists.values()]
    scan = scan_labels(index.pairs, ignore_value=ignore_value, changed_values=changed_values)
    with only_run(folder), half_made(folder):
        for _ in map_in_order(partial(_write, encoding=scan.encoding), every, progress=progress):
            pass
        for split, path in lists.items():
            write_text(path, "".join(f"{line}\n" for line in lines[split]))
    return Prepared(
        folder=folder,
        lists=lists,
        masks=len(every),
        encoding=scan.encoding,
        changed_share={split: scan.share_of(pairs) for split, pairs in index.splits.items()},
        notes=(*index.notes, *scan.notes, *_notes(scan.encoding, stale)),
    )


def _require_outside(root: Path, out: Path | None) -> None:
    if out is not None and out.resolve().is_relative_to(root.resolve()):
        raise DataError(
            f"{out} is inside the source {root}, which is not changed; choose a folder outside it, "
            "or use `out=None` to write into it"
        )
    if out is not None:
        content_of(out, error=DataError)


def _step(pair: PairPaths, split: str, *, root: Path, out: Path | None, images: Images) -> _Step:
    label = pair.require_label()
    if out is None:
        if not label.is_relative_to(root):
            raise DataError(f"{label} is outside {root}; write to another folder with `out`")
        beside = label.parent.parent if label.parent != root else root
        return _Step(pair, pair.before, pair.after, beside / PREPARED_FOLDER / f"{label.stem}.png")
    mask = out / split / PREPARED_FOLDER / f"{pair.name}.png"
    if images == "refer":
        return _Step(pair, pair.before, pair.after, mask)
    before = out / split / "A" / f"{pair.name}{pair.before.suffix}"
    after = out / split / "B" / f"{pair.name}{pair.after.suffix}"
    return _Step(pair, before, after, mask)


def _lines(steps: Sequence[_Step], folder: Path, *, of: Path) -> list[str]:
    return [
        _line([_written(path, folder) for path in (step.before, step.after, step.mask)], of=of)
        for step in steps
    ]


def _written(path: Path, folder: Path) -> str:
    inside, base = os.path.abspath(path), os.path.abspath(folder)  # noqa: PTH100 - keeps links
    if Path(inside).is_relative_to(base):
        return Path(inside).relative_to(base).as_posix()
    return Path(inside).as_posix()


def _line(paths: Sequence[str], *, of: Path) -> str:
    text = "".join(paths)
    # A byte that is no UTF-8 is half a character here.
    odd = next((mark for mark in text if mark in "\t\n\r\\" or "\ud800" <= mark <= "\udfff"), None)
    if odd is not None:
        raise DataError(
            f"{of} cannot contain {', '.join(paths)}: {odd!r} has a meaning there; rename the file"
        )
    separator = "\t" if any(mark.isspace() for mark in text) else " "
    # A line that begins with "#" would be a comment.
    return ("./" if text.startswith("#") else "") + separator.join(paths)


def _require_distinct(steps: Sequence[_Step]) -> None:
    source_of: dict[Path, Path] = {}
    for step in steps:
        label = step.pair.require_label()
        if source_of.setdefault(step.mask, label) != label:
            raise DataError(
                f"{source_of[step.mask]} and {label} would both become {step.mask}; write to "
                "another folder with `out`"
            )


def _require_new(paths: Sequence[Path]) -> None:
    there = [path for path in paths if path.exists()]
    if there:
        raise DataError(
            f"{there[0]} exists{f' (and {len(there) - 1} more)' if len(there) > 1 else ''}; use "
            '`existing="replace"` to replace prepared files, or choose another folder'
        )


def _write(step: _Step, *, encoding: LabelEncoding) -> None:
    write_bytes(step.mask, encode_image(read_label(step.pair.require_label(), encoding)))
    for source, target in ((step.pair.before, step.before), (step.pair.after, step.after)):
        if target != source:
            write_bytes(target, source.read_bytes())


def _prepared_lists(folder: Path) -> dict[str, Path]:
    return {split: folder / f"{split}{PREPARED_MARK}.txt" for split in SPLIT_NAMES}


def _notes(encoding: LabelEncoding, stale: Sequence[Path]) -> list[str]:
    notes = [f"{path} is left from an earlier run and is still read; remove it" for path in stale]
    if encoding.ignore_value is not None:
        notes.append(
            "ignored pixels are 255 in the prepared masks: set data.ignore_value=255 to use them"
        )
    return notes
