"""What a killed prediction needs to resume: settings, finished rows, unfinished rows."""

import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from changedet.raster.tile_plan import OpenRows
from changedet.storage.atomic import write_bytes, write_text

_JOURNAL = "journal.json"


class Journal:
    """Record of the finished rows of tiles, in its own folder.

    The scores of these rows must be on the disk before :meth:`save` is called; a crash at any
    moment leaves the last state that was saved whole.

    Attributes:
        next_row: First row of tiles that an earlier run has not finished.
        open_rows: The blender's state before that row; None without an earlier run.
        damage: What is wrong with the state that an earlier run left; None: nothing.

    Args:
        folder: Where it lies; created if need be.
        fingerprint: Everything that decides the result, as plain JSON types.
        first_row: Number of the first row of tiles.

    """

    def __init__(self, folder: Path, fingerprint: Mapping[str, Any], *, first_row: int) -> None:
        self._folder = folder
        self._fingerprint = json.loads(json.dumps(dict(fingerprint)))
        self.next_row = first_row
        self.open_rows: OpenRows | None = None
        self.damage: str | None = None

    def resume(self) -> tuple[str, ...] | None:
        """Take up the state that an earlier run left.

        Returns:
            None if there is none to take up, or it is damaged, which :attr:`damage` then says;
            else the names of what has changed since: empty when the state fits, and was taken up.
        """
        path = self._folder / _JOURNAL
        if not path.is_file():
            return None
        try:
            record = _Record.model_validate_json(path.read_bytes(), strict=True)
            rows = (self._folder / record.open_rows).read_bytes()
            if record.sha256 != _checksum(record.state(), rows):
                raise ValueError("its checksum is another one")
            scores = np.load(io.BytesIO(rows), allow_pickle=False)
        except (OSError, ValueError) as error:
            # Whatever is wrong with the record, the scene can be scored again.
            self.damage = " ".join(str(error).split())[:200]
            return None
        earlier = record.fingerprint
        differing = tuple(
            sorted(
                key
                for key in earlier.keys() | self._fingerprint.keys()
                if earlier.get(key) != self._fingerprint.get(key)
            )
        )
        if not differing:
            self.open_rows = OpenRows(record.top, scores)
            self.next_row = record.next_row
        return differing

    @staticmethod
    def is_in(folder: Path) -> bool:
        """Tell whether a folder holds a state that a run could take up."""
        return (folder / _JOURNAL).is_file()

    @staticmethod
    def remove(folder: Path) -> None:
        """Forget the state in a folder."""
        (folder / _JOURNAL).unlink(missing_ok=True)

    def save(self, next_row: int, open_rows: OpenRows) -> None:
        """Record that all rows of tiles before ``next_row`` are finished.

        Raises:
            StorageError: If it cannot be written.
        """
        name = f"open_rows_{next_row}.npy"
        content = io.BytesIO()
        np.save(content, open_rows.scores)
        write_bytes(self._folder / name, content.getbuffer())
        state = {
            "fingerprint": self._fingerprint,
            "next_row": next_row,
            "top": open_rows.top,
            "open_rows": name,
        }
        record = {**state, "sha256": _checksum(state, content.getbuffer())}
        write_text(self._folder / _JOURNAL, json.dumps(record))
        for path in self._folder.glob("open_rows_*.npy"):
            if path.name != name:
                path.unlink(missing_ok=True)


class _Record(BaseModel):
    """What stands in the file; the checksum is of the rest and of the rows."""

    model_config = ConfigDict(extra="forbid")

    fingerprint: dict[str, Any]
    next_row: int
    top: int
    open_rows: Annotated[str, Field(pattern=r"^open_rows_-?[0-9]{1,12}\.npy$")]
    sha256: str

    def state(self) -> dict[str, Any]:
        return self.model_dump(exclude={"sha256"})


def _checksum(state: Mapping[str, Any], rows: bytes | memoryview) -> str:
    """Tell one state from another, bit by bit."""
    digest = hashlib.sha256(json.dumps(state, sort_keys=True).encode())
    digest.update(rows)
    return digest.hexdigest()
