import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import rasterio
from rasterio.shutil import copy

from changedet.errors import ImageError
from changedet.raster.environment import CACHE_BYTES, gdal_environment
from changedet.raster.geo_grid import Window
from changedet.raster.open import gdal_path, is_remote, open_raster
from changedet.raster.pair import PairOptions, RasterPair


class RangeHandler(BaseHTTPRequestHandler):
    """Serves one file with ranges; counts what it sends, and breaks when told to."""

    protocol_version = "HTTP/1.1"
    content: ClassVar[bytes] = b""
    sent: ClassVar[list[int]] = []
    paths: ClassVar[set[str]] = set()
    is_broken: ClassVar[bool] = False

    def do_HEAD(self) -> None:
        is_known = self.path == "/scene.tif" and not self.is_broken
        self._answer(self.content, status=200 if is_known else 404, headers={})

    def do_GET(self) -> None:
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if self.is_broken or self.path != "/scene.tif" or wanted is None:
            self._answer(b"", status=404, headers={})
            return
        first = int(wanted[1])
        part = self.content[first : int(wanted[2] or len(self.content)) + 1]
        last = first + len(part) - 1
        total = len(self.content)
        self._answer(part, status=206, headers={"Content-Range": f"bytes {first}-{last}/{total}"})

    def _answer(self, body: bytes, *, status: int, headers: dict[str, str]) -> None:
        type(self).paths.add(self.path)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", '"version 1"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            type(self).sent.append(len(body))
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""


@contextmanager
def serving(content: bytes) -> Iterator[tuple[str, type[RangeHandler]]]:
    handler = type("Handler", (RangeHandler,), {"content": content, "sent": [], "paths": set()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/scene.tif", handler
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def cog(write_raster: Callable[..., str], tmp_path: Path) -> str:
    """Give a Cloud-Optimized GeoTIFF of noise: nothing in it compresses."""
    noise = np.random.default_rng(0).integers(0, 255, (3, 1500, 1500), dtype=np.uint8)
    path = tmp_path / "cog.tif"
    copy(write_raster("b.tif", noise), path, driver="COG", blocksize=256)
    return str(path)


def test_a_window_of_a_cog_is_read_by_ranges_only(cog: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    content = Path(cog).read_bytes()
    window = Window(300, 300, 200, 200)
    with serving(content) as (address, handler):
        with RasterPair(address, cog, PairOptions()) as pair:
            pixels = pair.read(window)
            np.testing.assert_array_equal(pixels.before, pixels.after)
            assert pair.before.size_bytes == len(content)
            assert pair.before.changed_at == '"version 1"'
        assert 0 < sum(handler.sent) < len(content) / 8
        assert handler.paths == {"/scene.tif"}


def test_threads_read_from_a_server_what_they_read_from_the_disk(
    cog: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    windows = [Window(top, 100, 64, 64) for top in range(0, 1400, 300)]
    got: dict[Window, Any] = {}
    with (
        serving(Path(cog).read_bytes()) as (address, _),
        RasterPair(cog, address, PairOptions()) as pair,
    ):
        threads = [
            threading.Thread(target=lambda w=window: got.update({w: pair.read(w)}))
            for window in windows
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert set(got) == set(windows)
    for pixels in got.values():
        np.testing.assert_array_equal(pixels.before, pixels.after)


def test_a_server_that_fails_later_is_named(cog: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with (
        serving(Path(cog).read_bytes()) as (address, handler),
        RasterPair(cog, address, PairOptions()) as pair,
    ):
        handler.is_broken = True
        with pytest.raises(ImageError, match=r"scene\.tif: pixels .*check the connection"):
            pair.read(Window(1200, 1200, 100, 100))


def test_an_address_that_does_not_exist_is_refused(cog: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving(Path(cog).read_bytes()) as (address, _):
        wrong = address.replace("scene", "other")
        with pytest.raises(ImageError, match=r"other\.tif: cannot be opened over the net.*404"):
            open_raster(wrong)


def test_a_server_that_cannot_be_reached_fails_soon(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}/a.tif"
    start = time.monotonic()
    with pytest.raises(ImageError, match=r"cannot be opened over the network .*check the address"):
        open_raster(address)
    assert time.monotonic() - start < 15


@pytest.mark.parametrize(
    ("location", "expected", "remote"),
    [
        ("a.tif", "a.tif", False),
        ("C://odd.tif", "C://odd.tif", False),
        ("http://x.org/a.tif?b=c", "/vsicurl/http://x.org/a.tif?b=c", True),
        ("HTTPS://x.org/a.tif", "/vsicurl/HTTPS://x.org/a.tif", True),
        ("s3://bucket/a.tif", "/vsis3/bucket/a.tif", True),
        ("/vsis3/bucket/a.tif", "/vsis3/bucket/a.tif", True),
        ("/vsizip/a.zip/a.tif", "/vsizip/a.zip/a.tif", False),
    ],
)
def test_addresses_become_names_that_gdal_knows(location: str, expected: str, *, remote: bool):
    assert gdal_path(location) == expected
    assert is_remote(location) == remote


def test_a_missing_file_is_refused(tmp_path: Path):
    with pytest.raises(ImageError, match=r"nothing\.tif: no such file"):
        open_raster(str(tmp_path / "nothing.tif"))


def test_a_file_that_is_no_raster_is_refused(tmp_path: Path):
    path = tmp_path / "notes.tif"
    path.write_text("not a picture")
    with pytest.raises(ImageError, match=r"notes\.tif: cannot be opened as a raster") as caught:
        open_raster(str(path))
    assert "\n" not in str(caught.value)
    with pytest.raises(ImageError, match="cannot be opened as a raster"):
        open_raster("/vsizip/nothing.zip/a.tif")


def test_a_file_of_layers_is_refused_with_their_names(
    write_raster: Callable[..., str], tmp_path: Path
):
    scene = write_raster("a.tif", np.ones((1, 20, 20), np.uint8))
    path = tmp_path / "layers.gpkg"
    for name in ("one", "two"):
        with rasterio.open(scene) as source:
            profile = {**source.profile, "driver": "GPKG", "raster_table": name}
            for key in ("tiled", "interleave", "blockxsize", "blockysize", "compress"):
                profile.pop(key, None)
            with rasterio.open(path, "w", append_subdataset=True, **profile) as target:
                target.write(source.read())
    with pytest.raises(ImageError, match=r"no bands of its own; name one of its layers.*:one"):
        open_raster(str(path))


def cache_bytes() -> Any:
    return rasterio.env.get_gdal_config("GDAL_CACHEMAX")


def test_the_cache_is_small_while_the_environment_lasts_in_every_thread():
    seen: list[Any] = []

    def work() -> None:
        seen.append(cache_bytes())
        with gdal_environment():
            seen.append(cache_bytes())
        seen.append(cache_bytes())

    with gdal_environment():
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert cache_bytes() == CACHE_BYTES
    assert seen == [CACHE_BYTES] * 3


def test_settings_of_the_user_go_first(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GDAL_HTTP_MAX_RETRY", "9")
    monkeypatch.setenv("GDAL_CACHEMAX", "200")
    options = gdal_environment().options
    assert "GDAL_HTTP_MAX_RETRY" not in options
    assert "GDAL_CACHEMAX" not in options
    assert "GDAL_HTTP_CONNECTTIMEOUT" in options
