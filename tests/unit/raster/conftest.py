"""Tiny rasters of any kind, written where a test wants them."""

import re
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning

UTM = "EPSG:32633"
NORTH_UP = Affine(0.5, 0.0, 500_000.0, 0.0, -0.5, 5_500_000.0)

WriteRaster: TypeAlias = Callable[..., str]
Serving: TypeAlias = Callable[[bytes], AbstractContextManager[tuple[str, Any]]]


@pytest.fixture
def write_raster(tmp_path: Path) -> WriteRaster:
    """Make a function that writes (C, h, w) pixels as a GeoTIFF and gives its path."""

    def write(
        name: str,
        pixels: NDArray[Any],
        *,
        crs: str | None = UTM,
        transform: Affine | None = NORTH_UP,
        colours: tuple[ColorInterp, ...] | None = None,
        mask: NDArray[np.bool_] | None = None,
        tags: dict[str, str] | None = None,
        **profile: Any,
    ) -> str:
        path = tmp_path / name
        count, height, width = pixels.shape
        place = {} if transform is None else {"transform": transform}
        with (
            warnings.catch_warnings(),
            rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        ):
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(
                path,
                "w",
                driver="GTiff",
                height=height,
                width=width,
                count=count,
                dtype=pixels.dtype,
                crs=crs,
                **place,
                **profile,
            ) as dataset:
                if colours is not None:
                    dataset.colorinterp = colours
                dataset.write(pixels)
                if mask is not None:
                    dataset.write_mask(mask)
                if tags:
                    dataset.update_tags(**tags)
        return str(path)

    return write


@pytest.fixture
def texture() -> NDArray[np.uint8]:
    """Pixels of three bands without a zero, (3, 300, 280)."""
    return np.random.default_rng(0).integers(1, 255, (3, 300, 280), dtype=np.uint8)


class RangeHandler(BaseHTTPRequestHandler):
    """Serves one file with ranges; counts what it sends, and breaks when told to."""

    protocol_version = "HTTP/1.1"
    content: ClassVar[bytes] = b""
    sent: ClassVar[list[int]] = []
    paths: ClassVar[set[str]] = set()
    is_broken: ClassVar[bool] = False
    version: ClassVar[dict[str, str]] = {"ETag": '"version 1"'}

    def do_HEAD(self) -> None:
        self._answer(self.content, status=200 if self._is_known() else 404, headers={})

    def do_GET(self) -> None:
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not self._is_known() or wanted is None:
            self._answer(b"", status=404, headers={})
            return
        first = int(wanted[1])
        part = self.content[first : int(wanted[2] or len(self.content)) + 1]
        last = first + len(part) - 1
        total = len(self.content)
        self._answer(part, status=206, headers={"Content-Range": f"bytes {first}-{last}/{total}"})

    def _is_known(self) -> bool:
        return self.path.partition("?")[0] == "/scene.tif" and not self.is_broken

    def _answer(self, body: bytes, *, status: int, headers: dict[str, str]) -> None:
        type(self).paths.add(self.path)
        self.send_response(status)
        for name, value in {**self.version, **headers}.items():
            self.send_header(name, value)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            type(self).sent.append(len(body))
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""


@contextmanager
def serve(content: bytes) -> Iterator[tuple[str, type[RangeHandler]]]:
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
def serving(monkeypatch: pytest.MonkeyPatch) -> Serving:
    """Make a function that serves some bytes as scene.tif while its context lasts."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return serve
