"""Where the results of an archive go: a folder, or an address of an object store."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Protocol

from changedet._optional import FSSPEC
from changedet.errors import ConfigError, StorageError
from changedet.storage.atomic import sync_folder, write_bytes
from changedet.storage.output_folder import content_of
from changedet.storage.secrets import scrubbed, without_secrets

_PROBE: Final = ".probe.part"
_FILE: Final = "file://"
# They have no folders; asked to make one, some would make a bucket.
_OBJECT_STORES: Final = frozenset(
    {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oci", "oss", "memory"}
)


class Place(Protocol):
    """A folder somewhere, whose files appear whole or not at all. Names use slashes.

    Attributes:
        name: The folder for messages and records, without secrets.
        folder: The same as a path of this machine; None: it is no such folder.
    """

    name: str
    folder: Path | None

    def read(self, name: str) -> bytes | None:
        """Read a file; None if it is not there.

        Raises:
            StorageError: If it cannot be read.
        """
        ...

    def write(self, name: str, content: bytes) -> None:
        """Replace a file.

        Raises:
            StorageError: If it cannot be written.
        """
        ...

    def put(self, source: Path, name: str) -> None:
        """Replace a file by a local one, which may be gone afterwards.

        Raises:
            StorageError: If it cannot be written.
        """
        ...

    def get(self, name: str, target: Path) -> None:
        """Copy a file to a local one.

        Raises:
            StorageError: If it cannot be read.
        """
        ...

    def remove(self, name: str) -> None:
        """Remove a file; it need not be there."""
        ...

    def sizes(self, folder: str) -> dict[str, int]:
        """List the files of a folder, without those of its folders, with their sizes in bytes."""
        ...

    def publish(self, source: Path, folder: str, *, marker: str) -> None:
        """Replace a folder by a local one, which is gone afterwards.

        Args:
            source: Holds the complete content, files only.
            folder: Where it goes.
            marker: Name of the file that tells that the folder is complete; it comes last.

        Raises:
            StorageError: If it cannot be written.
        """
        ...

    def content(self) -> list[str]:
        """List the names of what the folder holds; none if it is not there."""
        ...


def open_place(uri: str) -> Place:
    """Open a folder, or an address that fsspec knows, such as ``s3://bucket/folder``.

    Raises:
        ConfigError: If the address is of an unknown kind, or the folder is a file.
        MissingExtraError: If the package for such addresses is not installed.
    """
    if uri.lower().startswith(_FILE):
        uri = uri[len(_FILE) :]
    return RemotePlace(uri) if "://" in uri else LocalPlace(Path(uri))


def check_writable(place: Place, *, mine: str) -> None:
    """Refuse a place that cannot be written, and one that holds other things.

    Args:
        place: The place.
        mine: Name of the file by which results of this kind are known.

    Raises:
        ConfigError: If it holds other things.
        StorageError: If it cannot be read or written.
    """
    names = [name for name in place.content() if name != _PROBE]
    if names and mine not in names:
        raise ConfigError(
            f"{place.name} contains other files (no {mine} among them); choose a new or empty "
            "folder (`out`)"
        )
    place.write(_PROBE, b"")
    place.remove(_PROBE)


class LocalPlace:
    """A folder of this machine, or of a disk that machines share."""

    def __init__(self, folder: Path) -> None:
        self.folder: Path | None = folder.absolute()
        self._root = folder.absolute()
        self.name = str(folder)

    def read(self, name: str) -> bytes | None:
        """Read a file, see :class:`Place`."""
        try:
            return (self._root / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise StorageError(
                f"cannot read {self._root / name}: {error.strerror or error}; check its rights"
            ) from error

    def write(self, name: str, content: bytes) -> None:
        """Replace a file, see :class:`Place`."""
        write_bytes(self._root / name, content)

    def put(self, source: Path, name: str) -> None:
        """Replace a file by a local one, see :class:`Place`."""
        target = self._root / name
        with self._writing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_name(f".{target.name}.part")
            # Between two disks a file cannot be renamed.
            shutil.move(source, part)
            part.replace(target)
            sync_folder(target.parent)

    def get(self, name: str, target: Path) -> None:
        """Copy a file to a local one, see :class:`Place`."""
        try:
            shutil.copyfile(self._root / name, target)
        except OSError as error:
            raise StorageError(
                f"cannot read {self._root / name}: {error.strerror or error}; check its rights"
            ) from error

    def remove(self, name: str) -> None:
        """Remove a file, see :class:`Place`."""
        with self._writing(self._root / name):
            (self._root / name).unlink(missing_ok=True)

    def sizes(self, folder: str) -> dict[str, int]:
        """List the files of a folder, see :class:`Place`."""
        try:
            with os.scandir(self._root / folder) as entries:
                return {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}
        except OSError:
            return {}

    def publish(self, source: Path, folder: str, *, marker: str) -> None:
        """Replace a folder by a local one, see :class:`Place`: it is renamed as a whole."""
        target = self._root / folder
        old = source.with_name(f"{source.name}.old")
        with self._writing(target):
            shutil.rmtree(old, ignore_errors=True)
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.exists():
                target.rename(old)
            source.rename(target)
            sync_folder(target.parent)
            shutil.rmtree(old, ignore_errors=True)

    def content(self) -> list[str]:
        """List what the folder holds, see :class:`Place`."""
        return [path.name for path in content_of(self._root)]

    @contextlib.contextmanager
    def _writing(self, target: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StorageError(
                f"cannot write {target}: {error.strerror or error}; make room or choose another "
                "folder (`out`), then run the command again"
            ) from error


class RemotePlace:
    """An address that fsspec knows: an object store, whose files appear whole by themselves."""

    folder: Path | None = None

    def __init__(self, uri: str) -> None:
        self.name = without_secrets(uri)
        core = FSSPEC.load(".core")
        try:
            # Others write there as well: what was listed once is asked for again.
            self._files, root = core.url_to_fs(uri.rstrip("/"), use_listings_cache=False)
        except (ValueError, ImportError) as error:
            reason = " ".join(str(error).split()).rstrip(".")
            raise ConfigError(
                f"{self.name} (`out`): fsspec cannot open such addresses ({reason}); use a folder, "
                "or an address such as s3://bucket/folder"
            ) from error
        self._root = root.rstrip("/")
        protocols = self._files.protocol
        named = {protocols} if isinstance(protocols, str) else set(protocols)
        self._has_folders = not named & _OBJECT_STORES

    def read(self, name: str) -> bytes | None:
        """Read a file, see :class:`Place`."""
        with self._talking("read"):
            try:
                content: bytes = self._files.cat_file(self._path(name))
            except (FileNotFoundError, NotADirectoryError):
                return None
            return content

    def write(self, name: str, content: bytes) -> None:
        """Replace a file, see :class:`Place`."""
        with self._talking("write to"):
            self._make_folder_of(name)
            self._files.pipe_file(self._path(name), content)

    def put(self, source: Path, name: str) -> None:
        """Replace a file by a local one, see :class:`Place`."""
        with self._talking("write to"):
            self._make_folder_of(name)
            self._files.put_file(str(source), self._path(name))

    def get(self, name: str, target: Path) -> None:
        """Copy a file to a local one, see :class:`Place`."""
        with self._talking("read"):
            self._files.get_file(self._path(name), str(target))

    def remove(self, name: str) -> None:
        """Remove a file, see :class:`Place`."""
        with self._talking("write to"), contextlib.suppress(FileNotFoundError):
            self._files.rm_file(self._path(name))

    def sizes(self, folder: str) -> dict[str, int]:
        """List the files of a folder, see :class:`Place`."""
        return {
            entry["name"].rpartition("/")[2]: int(entry["size"] or 0)
            for entry in self._list(self._path(folder))
            if entry["type"] == "file"
        }

    def publish(self, source: Path, folder: str, *, marker: str) -> None:
        """Replace a folder by a local one, see :class:`Place`: file by file, the marker last."""
        old = self.sizes(folder)
        if marker in old:
            self.remove(f"{folder}/{marker}")
        paths = sorted(source.iterdir(), key=lambda path: path.name == marker)
        new = {path.name for path in paths}
        for name in old.keys() - new:
            self.remove(f"{folder}/{name}")
        for path in paths:
            self.put(path, f"{folder}/{path.name}")
        shutil.rmtree(source, ignore_errors=True)

    def content(self) -> list[str]:
        """List what the folder holds, see :class:`Place`."""
        return [entry["name"].rstrip("/").rpartition("/")[2] for entry in self._list(self._root)]

    def _make_folder_of(self, name: str) -> None:
        if self._has_folders:
            parent = self._path(name).rpartition("/")[0]
            self._files.makedirs(parent, exist_ok=True)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _list(self, path: str) -> list[dict[str, Any]]:
        with self._talking("read"):
            try:
                entries: list[dict[str, Any]] = self._files.ls(path, detail=True)
            except (FileNotFoundError, NotADirectoryError):
                return []
        # Some stores list a folder as an entry of itself.
        return [entry for entry in entries if entry["name"].strip("/") != path.strip("/")]

    @contextlib.contextmanager
    def _talking(self, doing: str) -> Iterator[None]:
        """Say of whatever a store's own package raises what was tried, and what to do."""
        try:
            yield
        except Exception as error:
            reason = scrubbed(" ".join(str(error).split()).rstrip("."), self.name)
            raise StorageError(
                f"cannot {doing} {self.name} (`out`): {reason or type(error).__name__}; check the "
                "address, the credentials and the connection"
            ) from error
