"""Catalogues that are tables: CSV, Parquet and GeoParquet, read row by row."""

from __future__ import annotations

import codecs
import csv
import io
from contextlib import ExitStack, contextmanager
from typing import IO, TYPE_CHECKING, Any, Final

from changedet._optional import require
from changedet.batch.rows import Columns, Row, RowCatalogue
from changedet.batch.sources import is_address, opened
from changedet.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

_UTF_16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
# What programs separate cells with, the standard first.
_SEPARATORS: Final = (",", ";", "\t")
# A header is longer than this in no catalogue, but in files of another kind.
_LONGEST_HEADER: Final = 65_536
_BATCH_ROWS: Final = 1_000
_BUFFER_BYTES: Final = 1 << 20


class CsvCatalogue(RowCatalogue):
    """A CSV table with a row of names: ``id,before,after``, dates and settings if there are any.

    Cells are separated by commas, semicolons or tabs, whichever the first row has, and may stand
    in quotes. UTF-8, or UTF-16 with a byte order mark.

    Args:
        location: Path or address.

    Raises:
        DataError: If it cannot be read, or columns are missing or mean nothing.
    """

    def __init__(self, location: str) -> None:
        super().__init__(location)
        with self._reading() as rows:
            next(rows, None)

    def rows(self) -> Iterator[Row]:
        """Give all rows; blank ones are left out, but count."""
        with self._reading() as rows:
            yield from rows

    @contextmanager
    def _reading(self) -> Iterator[Iterator[Row]]:
        try:
            with opened(self.location) as file, _as_text(file) as text:
                yield self._read(text)
        except UnicodeError as error:
            raise DataError(f"{self.name}: is no UTF-8 text ({error}); save it in UTF-8") from error

    def _read(self, text: IO[str]) -> Iterator[Row]:
        header = text.readline(_LONGEST_HEADER)
        if not header.strip():
            raise DataError(f"{self.name}: is empty; its first row is id,before,after")
        separator = max(_SEPARATORS, key=header.count)
        names = next(csv.reader([header], delimiter=separator))
        columns = Columns(names, table=self.location)
        number = 1
        try:
            for cells in csv.reader(text, delimiter=separator):
                number += 1
                if any(cell.strip() for cell in cells):
                    yield columns.read(f"row {number}", [cell.strip() for cell in cells])
        except csv.Error as error:
            raise DataError(
                f"{self.name}, row {number + 1}: cannot be read ({error}); check the quotes there"
            ) from error


class ParquetCatalogue(RowCatalogue):
    """A Parquet table with the columns of a CSV catalogue; a column of geometries is not read.

    Args:
        location: Path or address.

    Raises:
        DataError: If it cannot be read, or columns are missing or mean nothing.
        MissingExtraError: If pyarrow is not installed.
    """

    def __init__(self, location: str) -> None:
        super().__init__(location)
        self._arrow: Any = require("pyarrow", extra="batch")
        self._parquet: Any = require("pyarrow.parquet", extra="batch")
        with self._open() as file:
            self._names = self._readable(file)
            self._columns = Columns(self._names, table=location)
            self._count = int(file.metadata.num_rows)

    def count(self) -> int | None:
        """Give the number of rows."""
        return self._count

    def rows(self) -> Iterator[Row]:
        """Give all rows, numbered from 1: a Parquet table has no row of names."""
        number = 0
        with self._open() as file:
            for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=self._names):
                values = [column.to_pylist() for column in batch.columns]
                names = batch.schema.names
                order = [names.index(name) for name in self._names]
                for cells in zip(*(values[index] for index in order), strict=True):
                    number += 1
                    yield self._columns.read(f"row {number}", cells)

    @contextmanager
    def _open(self) -> Iterator[Any]:
        with ExitStack() as stack:
            try:
                source: Any = self.location
                if is_address(self.location):
                    source = stack.enter_context(opened(self.location))
                    if not source.seekable():
                        source = io.BytesIO(source.read())
                else:
                    stack.enter_context(opened(self.location))
                # A buffer: else a whole column of a row group is in memory.
                file = self._parquet.ParquetFile(
                    source, buffer_size=_BUFFER_BYTES, pre_buffer=False
                )
                yield stack.enter_context(file)
            except self._arrow.ArrowException as error:
                raise DataError(
                    f"{self.name}: cannot be read as Parquet ({' '.join(str(error).split())}); "
                    "write it again"
                ) from error

    def _readable(self, file: Any) -> list[str]:  # noqa: ANN401
        """Give the columns that are not nested or binary, as geometries and their boxes are."""
        types = self._arrow.types
        return [
            field.name
            for field in file.schema_arrow
            if not (types.is_nested(field.type) or _is_binary(types, field.type))
        ]


def _is_binary(types: Any, kind: Any) -> bool:  # noqa: ANN401
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _as_text(file: IO[bytes]) -> IO[str]:
    # What servers answer with is no file in all respects, but in those that count.
    source: Any = file
    buffered: Any = io.BufferedReader(source)
    start = buffered.peek(2)[:2]
    encoding = "utf-16" if start in _UTF_16 else "utf-8-sig"
    return io.TextIOWrapper(buffered, encoding=encoding, newline="")
