"""Notice inputs that change while a prediction runs: its results would mix two contents."""

from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from changedet.errors import DataError
from changedet.inference.detector import Detector
from changedet.predict.job import SceneJob
from changedet.predict.request import SceneRequest
from changedet.raster.info import server_version
from changedet.raster.open import is_remote, open_raster
from changedet.storage.checksum import file_sha256
from changedet.storage.file_state import FileState, file_state
from changedet.storage.secrets import without_secrets
from changedet.vector.regions import read_region, region_sha256

_BEFORE: Final = "the raster before"
_AFTER: Final = "the raster after"
_MODEL: Final = "the model"
_AREA: Final = "the area of interest"
# Beside a raster; other programs write them when they merely show it.
_NOT_PIXELS: Final = (".aux.xml", ".ovr")


class InputChangedError(DataError):
    """An input was written to while a prediction ran; it may be complete the next time."""


class Watch(NamedTuple):
    """The inputs as they were when a prediction began.

    Attributes:
        files: States of files by what they are and where.
    """

    files: dict[tuple[str, Path], FileState | None]

    @classmethod
    def begin(cls, request: SceneRequest, detector: Detector) -> Self:
        """Look at all inputs that are files here: both rasters, the model, the area of interest.

        A raster may consist of several, such as a VRT and its sources.

        Raises:
            ImageError: If a raster cannot be opened.
        """
        places = [
            *_raster_files(_BEFORE, request.before),
            *_raster_files(_AFTER, request.after),
        ]
        if detector.path is not None:
            places.append((_MODEL, detector.path))
        if request.region is not None:
            places.append((_AREA, Path(request.region)))
        return cls({(what, path): file_state(path) for what, path in places})

    @property
    def samples(self) -> dict[str, Any]:
        """Checksums of the rasters for the fingerprint of a run, which notices a resumed one."""
        found: dict[str, Any] = {}
        for (what, path), state in self.files.items():
            if what in {_BEFORE, _AFTER} and state is not None:
                name = f"content_{what.rpartition(' ')[2]}"
                found.setdefault(name, []).append([path.name, state.sample])
        return found

    def check(self, job: SceneJob) -> None:
        """Refuse to go on if an input is another one now.

        Model and area are read as a whole at the beginning: other bytes that mean the same, as a
        program leaves them that merely shows an area, are no change. The servers of rasters are
        asked again.

        Args:
            job: What was settled at the beginning.

        Raises:
            InputChangedError: Naming the input and what has changed.
        """
        for (what, path), state in self.files.items():
            # What was no file at the beginning is none of ours: the numbers of an area.
            difference = "" if state is None else _difference(state, file_state(path))
            if difference and not _means_the_same(what, path, job):
                raise _changed(what, str(path), difference)
        for what, raster in ((_BEFORE, job.pair.before), (_AFTER, job.pair.after)):
            known = raster.size_bytes, raster.changed_at
            if is_remote(raster.location) and None not in known:
                now = server_version(raster.location)
                if None not in now and now != known:
                    raise _changed(what, raster.location, "its server has another version")


def _raster_files(what: str, location: str) -> list[tuple[str, Path]]:
    if is_remote(location):
        return []
    with open_raster(location) as dataset:
        names = dataset.files
    return [
        (what, Path(name))
        for name in dict.fromkeys(names)
        if not name.lower().endswith(_NOT_PIXELS)
    ]


def _means_the_same(what: str, path: Path, job: SceneJob) -> bool:
    try:
        if what == _MODEL:
            return file_sha256(path) == job.model.get("sha256")
        if what == _AREA:
            area = read_region(
                str(path),
                crs=job.grid.crs,
                text_crs=job.request.region_crs,
                tell=lambda message: None,
            )
            return region_sha256(area) == job.region_sha256
    except (OSError, DataError):
        return False
    return False


def _difference(then: FileState, now: FileState | None) -> str:
    if now is None:
        return "it is gone"
    if now.size_bytes != then.size_bytes:
        return f"{then.size_bytes:,} bytes then, {now.size_bytes:,} now"
    if now.sample != then.sample:
        return "other content of the same size"
    return "" if now.changed_ns == then.changed_ns else "written to meanwhile"


def _changed(what: str, location: str, difference: str) -> InputChangedError:
    return InputChangedError(
        f"{what} ({without_secrets(location)}) changed while the prediction ran ({difference}), so "
        "nothing is written: results would mix two contents; run the command again when nobody "
        "writes to it"
    )
