"""A scene and an image pair that were predicted once, and a server that runs on a copy."""

import http.client
import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi")

import uvicorn

from changedet.predict.images import predict_files
from changedet.predict.rasters import predict_scene
from changedet.view.app import make_app
from changedet.view.collection import Collection
from changedet.view.security import Access
from changedet.view.server import bind


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client(NamedTuple):
    """A browser that has opened the first address."""

    access: Access
    cookie: str

    def ask(self, method: str, path: str, body: Any = None, **headers: str | None) -> Answer:
        own = {
            "Host": f"127.0.0.1:{self.access.port}",
            "Cookie": self.cookie,
            "Origin": f"http://127.0.0.1:{self.access.port}",
            "Content-Type": "application/json",
        }
        changed = {name.replace("_", "-").title(): value for name, value in headers.items()}
        sent = {name: value for name, value in {**own, **changed}.items() if value is not None}
        content = body if isinstance(body, bytes) else None if body is None else json.dumps(body)
        connection = http.client.HTTPConnection("127.0.0.1", self.access.port, timeout=60)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in sent.items():
                connection.putheader(name, value)
            if content is not None:
                connection.putheader("Content-Length", str(len(content)))
            connection.endheaders(content.encode() if isinstance(content, str) else content)
            answer = connection.getresponse()
            names = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, names, answer.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str | None) -> Answer:
        return self.ask("GET", path, **headers)

    def put(self, path: str, body: Any, **headers: str | None) -> Answer:
        return self.ask("PUT", path, body, **headers)


@contextmanager
def serving(
    result: Path, *, wording: Callable[[str], str] = str, **options: Any
) -> Iterator[Client]:
    """Run the server in a thread, as the command does in its process."""
    collection = Collection(result)
    listening = bind("127.0.0.1", 0)
    access = Access("127.0.0.1", listening.getsockname()[1], **options)
    # Pages of its own: the tests are about the server.
    app, workers = make_app(
        collection, access, who="Ann", static=_pages(result.parent), wording=wording
    )
    server = uvicorn.Server(
        uvicorn.Config(app, log_level="critical", lifespan="off", ws="none", loop="asyncio")
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield Client(access, f"{access.cookie_name}={access.session}")
    finally:
        server.should_exit = True
        thread.join()
        listening.close()
        workers.close()
        collection.close()


def _pages(folder: Path) -> Path:
    pages = folder / "pages"
    pages.mkdir(exist_ok=True)
    (pages / "index.html").write_text("<p>the page</p>")
    return pages


def _bright_squares(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    before = rng.integers(60, 120, (*shape, 3), dtype=np.uint8)
    after = before + rng.integers(0, 20, before.shape, dtype=np.uint8)
    for top in range(20, shape[0] - 30, 90):
        for left in range(20, shape[1] - 30, 80):
            after[top : top + 24, left : left + 20] = 230
    return before, after


@pytest.fixture(scope="session")
def predicted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``scene`` (300 x 400 px, UTM; AFTER on a grid of its own) and ``pair``; not to be changed."""
    import rasterio
    from affine import Affine

    root = tmp_path_factory.mktemp("predicted")
    before, after = _bright_squares((300, 400))
    before[:40, :40] = 0
    place = Affine(0.5, 0.0, 500_000.0, 0.0, -0.5, 5_000_000.0)
    finer = np.repeat(np.repeat(after, 2, axis=0), 2, axis=1)
    rasters = {"before": (before, place), "after": (finer, place @ Affine.scale(0.5))}
    for name, (pixels, transform) in rasters.items():
        height, width = pixels.shape[:2]
        with rasterio.open(
            root / f"{name}.tif",
            "w",
            driver="GTiff",
            dtype="uint8",
            count=3,
            height=height,
            width=width,
            crs="EPSG:32631",
            transform=transform,
            nodata=0,
        ) as file:
            file.write(pixels.transpose(2, 0, 1))
    predict_scene(root / "before.tif", root / "after.tif", model="baseline:cva", out=root / "scene")
    before, after = _bright_squares((120, 200))
    for name, pixels in (("before", before), ("after", after)):
        Image.fromarray(pixels).save(root / f"{name}.png")
    predict_files(root / "before.png", root / "after.png", model="baseline:cva", out=root / "pair")
    return root


@pytest.fixture
def own(predicted: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Make a function that copies a result with its inputs, for tests that change it."""

    def copy(name: str) -> Path:
        place = tmp_path / "own"
        shutil.copytree(predicted, place, dirs_exist_ok=True)
        content = json.loads((place / name / "summary.json").read_text())
        dates = content["inputs"] if name == "scene" else content
        for date, suffix in (("before", "tif"), ("after", "tif")):
            if name == "scene":
                dates[date]["location"] = str(place / f"{date}.{suffix}")
            else:
                dates[date] = str(place / f"{date}.png")
        (place / name / "summary.json").write_text(json.dumps(content))
        return place / name

    return copy


@pytest.fixture
def scene(own: Callable[[str], Path]) -> Path:
    return own("scene")


@pytest.fixture
def pair(own: Callable[[str], Path]) -> Path:
    return own("pair")


@pytest.fixture
def client(scene: Path) -> Iterator[Client]:
    """A browser that looks at the scene."""
    with serving(scene) as browser:
        yield browser


@pytest.fixture
def pair_client(pair: Path) -> Iterator[Client]:
    """A browser that looks at the image pair."""
    with serving(pair) as browser:
        yield browser
