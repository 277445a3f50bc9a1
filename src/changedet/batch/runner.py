"""What a worker does: it holds the model and makes the results of one item after the other."""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from changedet.baselines.names import is_baseline
from changedet.batch.block_store import BlockStore
from changedet.batch.dates import dates_of, dates_of_files, put_dates
from changedet.batch.identity import fingerprint
from changedet.batch.names import RECORD, UNFINISHED, item_folder
from changedet.batch.options import request_for
from changedet.batch.place import open_place
from changedet.batch.task import Block, Fault, Findings, Join, Outcome, State, Task
from changedet.errors import ChangeDetError, ConfigError, ImageError, StorageError
from changedet.predict.blocks import cut_scene, is_large
from changedet.predict.flow import TileProgress
from changedet.predict.rasters import predict_scene
from changedet.predict.remarks import warnings_of
from changedet.predict.request import SceneReport, SceneRequest, load_detector
from changedet.predict.results import ITEM, MASK, SCORE
from changedet.predict.summary import SUMMARY
from changedet.predict.watch import InputChangedError
from changedet.raster.bands import count_common_bands
from changedet.raster.open import is_remote
from changedet.storage.checksum import file_sha256
from changedet.storage.lock import check_idle

if TYPE_CHECKING:
    from changedet.batch.item import BatchItem
    from changedet.inference.detector import Detector
    from changedet.predict.blocks import BlockScores, SceneBlocks

_LONGEST_MESSAGE: Final = 1_000


@dataclass(frozen=True)
class Setup:
    """What a worker is started with.

    Attributes:
        common: Model and settings of all items.
        model: Identifies the model: its checksum, or the name of a baseline.
        out: Folder or address of the results.
        scratch: Folder for results on their way to an address; None: the system's.
        probe: Name of a file that is in ``out`` if it is the same folder as the driver's.
        threads: Threads that a worker computes with; None: as many as it likes.
        split_px: Pixels from which on a scene is cut into blocks; None: scenes stay whole.
    """

    common: SceneRequest
    model: str
    out: str
    scratch: Path | None = None
    probe: str | None = None
    threads: int | None = None
    split_px: int | None = None


class _Result(NamedTuple):
    """What became of an attempt, as in :class:`changedet.batch.task.Outcome`."""

    state: State
    findings: Findings | None = None
    fault: Fault | None = None
    scene: SceneBlocks | None = None
    block: BlockScores | None = None
    is_redated: bool = False


class ItemRunner:
    """Makes the results of items, each complete or not at all.

    Args:
        setup: What it works with.

    Raises:
        ConfigError: If it does not see the folder of the results.
        CheckpointError: If the model cannot be used.
        MissingExtraError: If a package is not installed.
    """

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._place = open_place(setup.out)
        if setup.probe is not None and self._place.read(setup.probe) is None:
            raise ConfigError(
                f"this worker does not see the folder {setup.out} (`out`) of the machine that "
                "started the run; use a folder that all machines share, or an address such as "
                "s3://bucket/folder"
            )
        self._detectors: dict[int | None, Detector] = {}
        if not is_baseline(str(setup.common.model)):
            self._detectors[None] = load_detector(setup.common)
        self._work = self._place.folder or self._scratch()

    def run(self, task: Task, *, progress: TileProgress | None = None) -> Outcome:
        """Make the results of an item, unless they are there already.

        Nothing that is wrong with an item is raised.

        Args:
            task: The attempt.
            progress: Called as tiles of a scene are done.
        """
        started, clock = datetime.now(UTC), time.monotonic()
        try:
            outcome = self._outcome(task, progress)
        except Exception as error:  # one bad scene never stops the rest
            outcome = _Result("failed", fault=describe(error, task.item))
        seconds = time.monotonic() - clock
        return Outcome(task.item.id, started=started, seconds=seconds, **outcome._asdict())

    def _outcome(self, task: Task, progress: TileProgress | None) -> _Result:
        item = task.item
        out = self._work / UNFINISHED / item.id
        request = replace(request_for(self._setup.common, item, out), existing="replace")
        print_of_item = fingerprint(request, model=self._setup.model)
        found = self._recorded(item_folder(item.id))
        if found is not None and found.fingerprint == print_of_item:
            return self._up_to_date(item, found)
        detector = self._detector(request)
        store = BlockStore(self._place, self._work, identifier=item.id, fingerprint=print_of_item)
        if isinstance(task.part, Block):
            done = store.score(request, detector, task.part, progress=progress)
            return _Result("part", block=done)
        _check_free(out)
        split_px, clock = self._setup.split_px, time.monotonic()
        if isinstance(task.part, Join):
            report = store.join(request, detector, task.part)
        elif split_px is not None and is_large(request, detector, split_px=split_px):
            scene = cut_scene(request, detector, block_px=split_px)
            return _Result("cut", scene=scene)
        else:
            report = predict_scene(request, detector=detector, progress=progress)
        dates = dates_of(item)
        if any(dates):
            content = json.loads((out / ITEM).read_text(encoding="utf-8"))
            put_dates(content, dates, of_files=dates_of_files(report.content))
            (out / ITEM).write_text(_as_text(content), encoding="utf-8")
        findings = _findings(report, print_of_item, seconds=time.monotonic() - clock)
        findings = replace(findings, before_date=dates.before, after_date=dates.after)
        (out / RECORD).write_text(json.dumps(asdict(findings)), encoding="utf-8")
        self._place.publish(out, item_folder(item.id), marker=RECORD)
        if isinstance(task.part, Join):
            store.clear()
        return _Result("done", findings=findings)

    def _up_to_date(self, item: BatchItem, found: Findings) -> _Result:
        """Keep results that are there; dates that are new in the catalogue are put into them."""
        dates = dates_of(item)
        if dates == (found.before_date, found.after_date):
            return _Result("unchanged", findings=found)
        folder = item_folder(item.id)
        content, summary = (
            json.loads(self._place.read(f"{folder}/{name}") or b"") for name in (ITEM, SUMMARY)
        )
        put_dates(content, dates, of_files=dates_of_files(summary))
        text = _as_text(content).encode()
        found = replace(
            found,
            before_date=dates.before,
            after_date=dates.after,
            files={**found.files, ITEM: len(text)},
        )
        # The record last: killed in between, the item is dated again, or made again.
        self._place.write(f"{folder}/{ITEM}", text)
        self._place.write(f"{folder}/{RECORD}", json.dumps(asdict(found)).encode())
        return _Result("unchanged", findings=found, is_redated=True)

    def _recorded(self, folder: str) -> Findings | None:
        """Read what an earlier run found; None if its results are not complete any more."""
        sizes = self._place.sizes(folder)
        content = self._place.read(f"{folder}/{RECORD}") if RECORD in sizes else None
        if content is None:
            return None
        try:
            findings = Findings(**json.loads(content))
        except (ValueError, TypeError):
            return None
        is_complete = all(sizes.get(name) == size for name, size in findings.files.items())
        return findings if is_complete else None

    def _detector(self, request: SceneRequest) -> Detector:
        """Give the model; a baseline is one for each number of bands."""
        if not is_baseline(str(request.model)):
            return self._detectors[None]
        bands = request.bands or request.bands_after
        count = len(bands) if bands else count_common_bands(request.before, request.after)
        if count not in self._detectors:
            self._detectors[count] = load_detector(request)
        return self._detectors[count]

    def _scratch(self) -> Path:
        # The same for each run, so that the unfinished scene of a killed one is gone on with.
        folder = self._setup.scratch or Path(tempfile.gettempdir()) / "changedet-batch"
        return folder.absolute() / self._setup.model[:16].replace(":", "_")


def describe(error: Exception, item: BatchItem) -> Fault:
    """Say why an attempt failed and whether another one may succeed.

    What is wrong with settings, pixels or a model stays wrong. Networks, disks and memory recover.

    Args:
        error: What was raised.
        item: The pair.
    """
    message = " ".join(str(error).split())[:_LONGEST_MESSAGE]
    kind = type(error).__name__
    if isinstance(error, StorageError):
        return Fault(kind, message, may_pass=True, is_of_storage=True)
    if isinstance(error, InputChangedError):
        return Fault(kind, message, may_pass=True, is_of_inputs=True)
    if isinstance(error, ImageError):
        return Fault(kind, message, may_pass=is_remote(item.before) or is_remote(item.after))
    if isinstance(error, ChangeDetError):
        return Fault(kind, message)
    return Fault(kind, f"{kind}: {message}", may_pass=isinstance(error, OSError | MemoryError))


def _check_free(out: Path) -> None:
    """Refuse a folder at which a worker of a run that was killed just now still is."""
    try:
        check_idle(out)
    except ConfigError as error:
        raise TimeoutError(str(error)) from error


def _as_text(item: dict[str, Any]) -> str:
    """Write a STAC item as ``changedet predict`` does."""
    return json.dumps(item, indent=2) + "\n"


def _findings(report: SceneReport, print_of_item: str, *, seconds: float) -> Findings:
    """Gather what is worth knowing of the complete results of an item."""
    grid, counts = report.content["grid"], report.counts
    known = counts.changed + counts.unchanged
    lines = [f"{file_sha256(report.out / name)}  {name}\n" for name in (MASK, SCORE)]
    return Findings(
        fingerprint=print_of_item,
        checksum=hashlib.sha256("".join(lines).encode()).hexdigest(),
        height=grid["height"],
        width=grid["width"],
        changed_share=counts.changed / known if known else None,
        polygons=report.polygons.count,
        threshold=report.threshold,
        change_kind=report.content["change_kind"],
        warnings=len(warnings_of(report.remarks)),
        files={path.name: path.stat().st_size for path in report.out.iterdir()},
        seconds=seconds,
    )
