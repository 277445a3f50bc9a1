"""Predict on an archive of scenes, and tell how far that is."""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from changedet._optional import PARQUET
from changedet._version import __version__
from changedet.baselines.names import is_baseline
from changedet.batch.driver import Driver, Policy
from changedet.batch.item import Catalogue
from changedet.batch.manifest import Manifest
from changedet.batch.names import SETTINGS, STATUS
from changedet.batch.place import Place, check_writable, open_place
from changedet.batch.request import BatchRequest
from changedet.batch.tally import Status, Tally
from changedet.errors import ConfigError, StorageError
from changedet.model_search import find_method
from changedet.storage.checksum import file_sha256
from changedet.storage.lock import only_run

if TYPE_CHECKING:
    from changedet.batch.engine import Engine
    from changedet.batch.runner import Setup

_STATUS_S: Final = 5.0


class Settings(BaseModel):
    """What the results of a place were made with.

    Attributes:
        model: Checksum of the model file, or the name of a baseline.
        model_name: Name of the model file, or of the baseline.
        catalogue: What the last run read.
        version: Version of changedet of the last run.
        updated: When the last run began, ISO 8601 in UTC.
    """

    # Older pydantic keeps names that begin with model_ for itself.
    model_config = ConfigDict(frozen=True, protected_namespaces=())

    model: str
    model_name: str
    catalogue: str
    version: str
    updated: str


def run_batch(
    request: BatchRequest,
    catalogue: Catalogue,
    *,
    total: int | None = None,
    watch: Callable[[Status], None] = lambda status: None,
) -> Tally:
    """Make the results of all items of a catalogue that are missing, failed or changed.

    ``out`` gets a folder of results per item, those that ``changedet predict`` writes and
    ``record.json``; ``manifest.parquet`` with one row per item; ``batch.json`` and ``status.json``.
    An item's folder appears when it is complete. What is wrong with one item does not stop the
    others. Killed and started again, the run goes on.

    Args:
        request: What to do.
        catalogue: The items.
        total: How many there are, where that is known; None: the catalogue is asked, and where it
            cannot tell, read once more.
        watch: Called about once a second with how far the run is.

    Returns:
        What became of the items; why some failed stands in the manifest.

    Raises:
        ConfigError: If a setting is wrong, another run writes to ``out``, or it holds other things
            or the results of another model.
        CheckpointError: If the model cannot be used.
        MissingExtraError: If a package is not installed.
        StorageError: If ``out`` cannot be written.
        WorkersError: If no worker starts, or none can write.
    """
    PARQUET.check()
    common = replace(request.common, model=str(find_method(request.common.model or "")))
    request = replace(request, common=common)
    model = model_identity(str(common.model))
    if total is None:
        total = catalogue.count()
    if total is None:
        total = sum(1 for _ in catalogue)
    place = open_place(request.out)
    with _only_run(place):
        check_writable(place, mine=SETTINGS)
        _check_model(place, model, request)
        settings = Settings(
            model=model,
            model_name=Path(str(common.model)).name,
            catalogue=catalogue.name,
            version=__version__,
            updated=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        place.write(SETTINGS, (settings.model_dump_json(indent=2) + "\n").encode())
        with Manifest(place, mode="write") as manifest, _engine(request, model, place) as engine:
            driver = Driver(
                engine,
                catalogue,
                manifest,
                model=model,
                total=total,
                policy=Policy(
                    attempts=request.attempts,
                    back_off_s=request.back_off_s,
                    timeout_s=request.timeout_s,
                ),
                watch=_StatusFile(place, watch).update,
            )
            tally = driver.run()
            manifest.merge()
    return tally


def model_identity(model: str) -> str:
    """Tell one model from another: by its file's checksum, or the name of a baseline."""
    return model if is_baseline(model) else file_sha256(Path(model))


def read_settings(place: Place) -> Settings | None:
    """Read what the results of a place were made with; None if there are none.

    Raises:
        StorageError: If it cannot be read.
        ConfigError: If it is damaged.
    """
    content = place.read(SETTINGS)
    if content is None:
        return None
    try:
        return Settings.model_validate_json(content)
    except ValidationError as error:
        raise ConfigError(
            f"{place.name}/{SETTINGS} is damaged: nobody can tell which model made the results; "
            "choose another folder (`out`)"
        ) from error


def read_status(place: Place) -> Status | None:
    """Read how far the latest run is; None if there is none."""
    content = place.read(STATUS)
    try:
        return None if content is None else Status.model_validate_json(content)
    except ValidationError:
        return None


def _check_model(place: Place, model: str, request: BatchRequest) -> None:
    """Refuse to mix the results of two models."""
    found = read_settings(place)
    if found is None or found.model == model or request.existing == "replace":
        return
    name = found.model_name
    if not is_baseline(found.model):
        name += f" (sha256 {found.model[:12]}…)"
    raise ConfigError(
        f"{place.name} holds the results of another model, {name}; choose another folder (`out`), "
        'or use `existing="replace"` to replace them item by item'
    )


@contextlib.contextmanager
def _only_run(place: Place) -> Iterator[None]:
    if place.folder is None:
        # Object stores have no locks.
        yield
        return
    with only_run(place.folder):
        yield


@contextlib.contextmanager
def _engine(request: BatchRequest, model: str, place: Place) -> Iterator[Engine]:
    from changedet.batch.runner import Setup

    setup = Setup(
        common=request.common,
        model=model,
        out=request.out,
        scratch=request.scratch,
        split_px=int(request.split_mpx * 1e6) or None,
    )
    with _probed(setup, place) as setup:
        engine: Engine
        if request.engine == "ray":
            from changedet.batch.ray_engine import RayEngine

            engine = RayEngine(setup, request)
        else:
            from changedet.batch.local_engine import LocalEngine

            cores = os.cpu_count() or 1
            workers = request.workers or max(1, cores // (request.threads or 1))
            threads = request.threads or max(1, cores // workers)
            engine = LocalEngine(replace(setup, threads=threads), workers=workers)
        try:
            yield engine
        finally:
            engine.close()


@contextlib.contextmanager
def _probed(setup: Setup, place: Place) -> Iterator[Setup]:
    """Put a file into the place while the block lasts, by which workers know that it is the same.

    Only a folder may be another one on another machine.
    """
    if place.folder is None:
        yield setup
        return
    name = f".probe.{uuid.uuid4().hex}.part"
    place.write(name, b"")
    try:
        yield replace(setup, out=str(place.folder), probe=name)
    finally:
        with contextlib.suppress(StorageError):
            place.remove(name)


class _StatusFile:
    """Writes down now and then how far the run is, for those who look from elsewhere."""

    def __init__(self, place: Place, watch: Callable[[Status], None]) -> None:
        self._place = place
        self._watch = watch
        self._written_at = -_STATUS_S

    def update(self, status: Status) -> None:
        self._watch(status)
        now = time.monotonic()
        if status.state == "running" and now - self._written_at < _STATUS_S:
            return
        self._written_at = now
        # A full disk stops the run where results are written, not here.
        with contextlib.suppress(StorageError):
            self._place.write(STATUS, status.model_dump_json().encode())
