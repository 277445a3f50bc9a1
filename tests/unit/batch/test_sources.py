"""Catalogues on servers and object stores, and what their paths are relative to."""

import sys
import threading
import uuid
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from changedet.batch.catalogue import open_catalogue
from changedet.batch.sources import resolve
from changedet.errors import ConfigError, DataError, MissingExtraError

ROWS = "id,before,after\na,scenes/1.tif,s3://other/2.tif\n"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Address of a server of the files in tmp_path."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as found:
        thread = threading.Thread(target=found.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{found.server_address[1]}"
        found.shutdown()
        thread.join()


def test_a_table_of_a_web_server(server: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "pairs.csv").write_text(ROWS)
    (item,) = open_catalogue(f"{server}/in/pairs.csv?key=secret")
    assert (item.before, item.after) == (f"{server}/in/scenes/1.tif", "s3://other/2.tif")
    with pytest.raises(DataError, match=r"none\.csv: cannot be read \(.*\); check") as told:
        open_catalogue(f"{server}/none.csv?key=secret")
    assert "secret" not in str(told.value)


def test_parquet_of_a_web_server(server: str, tmp_path: Path) -> None:
    table = pa.table({"id": ["a"], "before": ["1.tif"], "after": ["2.tif"]})
    pq.write_table(table, tmp_path / "pairs.parquet")
    (item,) = open_catalogue(f"{server}/pairs.parquet")
    assert item.before == f"{server}/1.tif"


@pytest.mark.parametrize("name", ["pairs.csv", "pairs.parquet"])
def test_tables_of_an_object_store(name: str) -> None:
    fsspec = pytest.importorskip("fsspec")
    files, folder = fsspec.filesystem("memory"), uuid.uuid4().hex
    if name.endswith("csv"):
        files.pipe_file(f"{folder}/{name}", ROWS.encode())
    else:
        sink = pa.BufferOutputStream()
        table = pa.table({"id": ["a"], "before": ["scenes/1.tif"], "after": ["s3://other/2.tif"]})
        pq.write_table(table, sink)
        files.pipe_file(f"{folder}/{name}", sink.getvalue().to_pybytes())
    (item,) = open_catalogue(f"memory://{folder}/{name}")
    assert (item.before, item.after) == (f"memory://{folder}/scenes/1.tif", "s3://other/2.tif")
    with pytest.raises(DataError, match="no such file"):
        open_catalogue(f"memory://{folder}/none.csv")


def test_addresses_that_nobody_knows_or_need_a_package(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"nowhere://a/pairs\.csv: cannot be opened"):
        open_catalogue("nowhere://a/pairs.csv")
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(MissingExtraError, match=r"pip install '\.\[batch\]'"):
        open_catalogue("s3://a/pairs.csv")


@pytest.mark.parametrize(
    ("text", "base", "found"),
    [
        ("1.tif", "/data/pairs.csv", "/data/1.tif"),
        ("./1.tif", "pairs.csv", "1.tif"),
        ("../1.tif", "s3://bucket/a/pairs.csv", "s3://bucket/1.tif"),
        ("1.tif", "https://x.org/a/pairs.csv?token=1", "https://x.org/a/1.tif"),
        ("/abs/1.tif", "/data/pairs.csv", "/abs/1.tif"),
        ("a\\b\\1.tif", "/data/pairs.csv", "/data/a/b/1.tif"),
        ("D:\\b\\1.tif", "/data/pairs.csv", "D:\\b\\1.tif"),
        ("\\\\host\\share\\1.tif", "/data/pairs.csv", "\\\\host\\share\\1.tif"),
        ("/vsizip/a.zip/1.tif", "/data/pairs.csv", "/vsizip/a.zip/1.tif"),
        ('NETCDF:"a.nc":red', "/data/pairs.csv", 'NETCDF:"a.nc":red'),
        ("1.tif#2", "/data/pairs.csv", "/data/1.tif#2"),
    ],
)
def test_what_paths_are_relative_to(text: str, base: str, found: str) -> None:
    assert resolve(text, base=base) == found
