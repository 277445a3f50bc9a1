"""The manifest of an archive: one row per item in a Parquet file, which a kill cannot damage.

What is new is written to small files of its own, numbered and whole; now and then all of them are
merged into one file. Rows of an item replace one another by their numbers. What a run must know of
the items of earlier ones lies in a database on the disk, so that memory does not grow with them.
"""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from changedet._optional import PARQUET
from changedet.batch.names import MANIFEST, PARTS
from changedet.batch.place import Place
from changedet.errors import ResultsError

#: What an item of the manifest is: ``retrying``: an attempt failed, and another one follows.
RowState: TypeAlias = Literal["done", "failed", "retrying"]
#: One row by the names of its columns.
Row: TypeAlias = dict[str, Any]

_MERGED_TO: Final = b"changedet.merged_to"
_ROWS_AT_ONCE: Final = 10_000
# So many small files are merged into one of theirs.
_PARTS_AT_ONCE: Final = 100


def _schema() -> Any:  # noqa: ANN401
    """Give the columns of the manifest, as pyarrow has them."""
    pa = PARQUET.load()
    moment = pa.timestamp("us", tz="UTC")
    return pa.schema(
        [
            ("id", pa.string()),
            ("sequence", pa.int64()),
            ("state", pa.string()),
            ("attempts", pa.int32()),
            ("started", moment),
            ("seconds", pa.float64()),
            ("worker", pa.string()),
            ("folder", pa.string()),
            ("before", pa.string()),
            ("after", pa.string()),
            ("before_date", moment),
            ("after_date", moment),
            ("options", pa.string()),
            ("error_type", pa.string()),
            ("error", pa.string()),
            ("fingerprint", pa.string()),
            ("checksum", pa.string()),
            ("height", pa.int32()),
            ("width", pa.int32()),
            ("changed_share", pa.float64()),
            ("polygons", pa.int64()),
            ("threshold", pa.float64()),
            ("change_kind", pa.string()),
            ("warnings", pa.int32()),
            ("bytes", pa.int64()),
            ("model", pa.string()),
            ("version", pa.string()),
        ]
    )


class Known(NamedTuple):
    """What the manifest says of an item: the number of its row, and its state."""

    sequence: int
    state: RowState


class Manifest:
    """Reads the rows of earlier runs and adds those of this one.

    Args:
        place: Where the results are.
        mode: ``read``: nothing is written; ``write``: by one run at a time.

    Raises:
        MissingExtraError: If pyarrow is not installed.
        ResultsError: If a file of the manifest cannot be read.
        StorageError: Likewise.
    """

    def __init__(self, place: Place, *, mode: Literal["read", "write"]) -> None:
        self._parquet = PARQUET.load(".parquet")
        self._pa = PARQUET.load()
        self._place = place
        self._folder = tempfile.TemporaryDirectory(prefix="changedet-manifest-")
        self._rows: list[Row] = []
        self._new_parts = 0
        self._merged_to = -1
        self._base: Path | None = None
        self._ledger = _Ledger(Path(self._folder.name) / "ledger.sqlite")
        try:
            self._load()
        except BaseException:
            self.close()
            raise
        self._next = self._ledger.last + 1
        if mode == "write" and self._part_names():
            self.merge()

    def __enter__(self) -> Manifest:
        return self

    def __exit__(self, *rest: object) -> None:
        self.close()

    def close(self) -> None:
        """Forget what was read; rows that were not flushed are lost."""
        self._ledger.close()
        self._folder.cleanup()

    def known(self, identifier: str) -> Known | None:
        """Say what the manifest holds of an item; None: nothing."""
        return self._ledger.get(identifier)

    def visit(self, identifier: str) -> bool:
        """Note that an item is in this run's catalogue; whether it is the first one of its id."""
        return self._ledger.visit(identifier)

    def counts(self) -> dict[str, int]:
        """Count the items by their state."""
        return self._ledger.counts()

    def add(self, row: Mapping[str, Any]) -> None:
        """Add a row, which replaces earlier ones of its item; it is on the disk after a flush."""
        numbered = {**row, "sequence": self._next}
        self._next += 1
        self._rows.append(numbered)
        self._ledger.put([numbered])

    @property
    def waiting(self) -> int:
        """Rows that are not on the disk yet."""
        return len(self._rows)

    def flush(self) -> None:
        """Write the new rows as a file of their own.

        Raises:
            StorageError: If it cannot be written.
        """
        if not self._rows:
            return
        table = self._pa.Table.from_pylist(self._rows, schema=_schema())
        path = Path(self._folder.name) / "part.parquet"
        self._parquet.write_table(table, path)
        self._place.put(path, f"{PARTS}/{self._rows[0]['sequence']:012d}.parquet")
        self._rows.clear()
        self._new_parts += 1
        if self._new_parts >= _PARTS_AT_ONCE:
            self._merge_parts()

    def merge(self) -> None:
        """Make one file of all rows, one per item.

        Raises:
            ResultsError: If a file of the manifest cannot be read.
            StorageError: If it cannot be written.
        """
        self.flush()
        path = Path(self._folder.name) / "merged.parquet"
        schema = _schema().with_metadata({_MERGED_TO: str(self._next - 1).encode()})
        with self._parquet.ParquetWriter(path, schema) as writer:
            for batch in self._batches():
                latest = self._ledger.are_latest(batch)
                if any(latest):
                    kept = batch.filter(self._pa.array(latest))
                    writer.write_batch(kept.cast(schema))
        parts = self._part_names()
        self._place.put(path, MANIFEST)
        for name in parts:
            self._place.remove(f"{PARTS}/{name}")
        self._merged_to, self._new_parts = self._next - 1, 0
        self._fetch_base()

    def rows(self, *states: RowState) -> Iterator[Row]:
        """Give the latest row of each item in one of the states; of all, if none is given.

        Raises:
            ResultsError: If a file of the manifest cannot be read.
        """
        for batch in self._batches():
            latest = self._ledger.are_latest(batch)
            for row, is_latest in zip(batch.to_pylist(), latest, strict=True):
                if is_latest and (not states or row["state"] in states):
                    yield row

    def _load(self) -> None:
        self._fetch_base()
        for batch in self._batches():
            columns = batch.select(["id", "sequence", "state"]).to_pylist()
            self._ledger.put(columns)

    def _fetch_base(self) -> None:
        self._base = None
        if MANIFEST in self._place.content():
            path = Path(self._folder.name) / "base.parquet"
            if self._place.folder is not None:
                path = self._place.folder / MANIFEST
            else:
                self._place.get(MANIFEST, path)
            self._base = path
            with _readable(self._name(MANIFEST)):
                metadata = self._parquet.read_schema(path).metadata or {}
                self._merged_to = int(metadata.get(_MERGED_TO, b"-1"))

    def _merge_parts(self) -> None:
        """Make one file of the newest small ones, so that their number stays small."""
        names = self._part_names()[-self._new_parts :]
        path = Path(self._folder.name) / "part.parquet"
        with self._parquet.ParquetWriter(path, _schema()) as writer:
            for name in names:
                for batch in self._part(name).iter_batches(_ROWS_AT_ONCE):
                    writer.write_batch(batch)
        # Killed in between, rows are there twice, under the same numbers: the first ones count.
        self._place.put(path, f"{PARTS}/{names[0]}")
        for name in names[1:]:
            self._place.remove(f"{PARTS}/{name}")
        self._new_parts = 0

    def _part_names(self) -> list[str]:
        return sorted(name for name in self._place.sizes(PARTS) if name.endswith(".parquet"))

    def _part(self, name: str) -> Any:  # noqa: ANN401
        path = Path(self._folder.name) / "read.parquet"
        self._place.get(f"{PARTS}/{name}", path)
        with _readable(self._name(f"{PARTS}/{name}")):
            return self._parquet.ParquetFile(path)

    def _batches(self) -> Iterator[Any]:
        """Give all rows in the order of their numbers, each number once."""
        seen_to = -1
        if self._base is not None:
            with _readable(self._name(MANIFEST)):
                file = self._parquet.ParquetFile(self._base)
                yield from file.iter_batches(_ROWS_AT_ONCE)
            seen_to = self._merged_to
        compute = PARQUET.load(".compute")
        for name in self._part_names():
            file = self._part(name)
            with _readable(self._name(f"{PARTS}/{name}")):
                for batch in file.iter_batches(_ROWS_AT_ONCE):
                    new = batch.filter(compute.greater(batch["sequence"], seen_to))
                    if new.num_rows:
                        seen_to = compute.max(new["sequence"]).as_py()
                        yield new

    def _name(self, file: str) -> str:
        return f"{self._place.name}/{file}"


class _Ledger:
    """The latest row of each item by its number, on the disk."""

    def __init__(self, path: Path) -> None:
        self._base = sqlite3.connect(path, isolation_level=None)
        for setting in ("journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE"):
            self._base.execute(f"PRAGMA {setting}")
        self._base.execute(
            "CREATE TABLE items (id TEXT PRIMARY KEY, sequence INTEGER, state TEXT, "
            "visited INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID"
        )

    def close(self) -> None:
        self._base.close()

    @property
    def last(self) -> int:
        (last,) = self._base.execute("SELECT max(sequence) FROM items").fetchone()
        return -1 if last is None else int(last)

    def put(self, rows: Iterable[Row]) -> None:
        values = [(row["id"], row["sequence"], row["state"]) for row in rows]
        self._base.execute("BEGIN")
        self._base.executemany(
            "INSERT INTO items (id, sequence, state) VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE "
            "SET sequence = excluded.sequence, state = excluded.state",
            values,
        )
        self._base.execute("COMMIT")

    def visit(self, identifier: str) -> bool:
        done = self._base.execute(
            "INSERT INTO items (id, visited) VALUES (?, 1) ON CONFLICT (id) DO UPDATE "
            "SET visited = 1 WHERE visited = 0",
            (identifier,),
        )
        return done.rowcount == 1

    def get(self, identifier: str) -> Known | None:
        row = self._base.execute(
            "SELECT sequence, state FROM items WHERE id = ?", (identifier,)
        ).fetchone()
        return None if row is None or row[0] is None else Known(*row)

    def counts(self) -> dict[str, int]:
        found = self._base.execute(
            "SELECT state, count(*) FROM items WHERE state IS NOT NULL GROUP BY state"
        )
        return dict(found.fetchall())

    def are_latest(self, batch: Any) -> list[bool]:  # noqa: ANN401
        rows = zip(batch["id"].to_pylist(), batch["sequence"].to_pylist(), strict=True)
        return [
            (known := self.get(identifier)) is not None and known.sequence == sequence
            for identifier, sequence in rows
        ]


@contextlib.contextmanager
def _readable(name: str) -> Iterator[None]:
    """Say in one line of a damaged file what it is and what to do."""
    try:
        yield
    # What pyarrow raises is of these.
    except (ValueError, KeyError, OSError) as error:
        raise ResultsError(
            f"{name} cannot be read ({' '.join(str(error).split())[:200]}); remove it: the next "
            "run writes it again from the results that are there"
        ) from error
