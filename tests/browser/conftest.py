"""``changedet view`` in a real browser: results to look at, and pages that may not err."""

import importlib.util
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from PIL import Image

from viewers import HEIGHT, PATIENCE_MS, WIDTH, Viewer, images, predict

CHROMIUM = shutil.which("chromium")
# What a browser says of requests that found no server; the page shows it in words of its own.
NO_SERVER = re.compile(
    r"Failed to load resource: (net::ERR_|the server responded with a status of)"
)


def missing() -> str | None:
    """What these tests need and this machine lacks."""
    if CHROMIUM is None:
        return "chromium is not installed"
    for module, where in (("playwright", "group dev"), ("fastapi", "extra view")):
        if importlib.util.find_spec(module) is None:
            return f"{module} is not installed ({where})"
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reason = missing()
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.full)
            if reason:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def predicted_scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scene")
    for name, image in zip(("before.tif", "after.tif"), images(), strict=True):
        with rasterio.open(
            folder / name,
            "w",
            driver="GTiff",
            width=WIDTH,
            height=HEIGHT,
            count=3,
            dtype="uint8",
            crs="EPSG:32633",
            transform=Affine(2.0, 0.0, 500_000.0, 0.0, -2.0, 4_650_000.0),
        ) as file:
            file.write(np.moveaxis(image, -1, 0))
    predict(folder / "before.tif", folder / "after.tif", folder / "result")
    return folder


@pytest.fixture
def scene(predicted_scene: Path, tmp_path: Path) -> Path:
    """A result with its inputs that the test may change."""
    folder = tmp_path / "scene"
    shutil.copytree(predicted_scene, folder)
    return folder


@pytest.fixture(scope="session")
def image_pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pair")
    for name, image in zip(("before.png", "after.png"), images(), strict=True):
        Image.fromarray(image).save(folder / name)
    return predict(folder / "before.png", folder / "after.png", folder / "result")


@pytest.fixture
def view(tmp_path: Path) -> Iterator[Callable[..., Viewer]]:
    """Make a function that starts the viewer; all are ended after the test."""
    started: list[Viewer] = []

    def start(*words: object) -> Viewer:
        started.append(Viewer(tmp_path / f"server_{len(started)}.txt", *words))
        return started[-1]

    yield start
    for viewer in started:
        viewer.kill()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--enable-unsafe-swiftshader", "--use-angle=swiftshader"],
        )
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: Any) -> Iterator[Callable[..., Any]]:
    """Make a function that opens the viewer in a new browser; no page may report an error.

    ``offline_allowed``: but for requests that find no server. ``tiles``: address at which the
    browser finds a picture, as it were in the network.
    """
    contexts: list[Any] = []
    errors: list[str] = []

    def open_it(
        viewer: Viewer,
        *,
        offline_allowed: bool = False,
        tiles: tuple[str, bytes] | None = None,
        **settings: Any,
    ) -> Any:
        settings.setdefault("viewport", {"width": 960, "height": 640})
        context = chromium.new_context(reduced_motion="reduce", **settings)
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        page = context.new_page()

        def note(message: Any) -> None:
            allowed = offline_allowed and NO_SERVER.match(message.text)
            if message.type in ("error", "warning") and not allowed:
                errors.append(message.text)

        addresses = (f"http://127.0.0.1:{viewer.port}/", "blob:", "data:")
        if tiles:
            addresses += (tiles[0],)
            answer = {"body": tiles[1], "headers": {"Access-Control-Allow-Origin": "*"}}
            page.route(f"{tiles[0]}**", lambda route: route.fulfill(**answer))
        page.on("console", note)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on(
            "request",
            lambda request: (
                None
                if request.url.startswith(addresses)
                else errors.append(f"asks elsewhere: {request.url}")
            ),
        )
        page.goto(viewer.address)
        page.locator(".entry").first.wait_for()
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert not errors
