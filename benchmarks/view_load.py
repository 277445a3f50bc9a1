"""How fast ``changedet view`` answers for a scene of 16,384 x 16,384 pixels, and what it keeps.

    python benchmarks/view_load.py --work DIR

Needs wrk (Debian: ``apt-get install wrk``), and Chromium with Playwright for the page itself. A
pair of COGs is generated and predicted once (``baseline:difference``; DIR keeps both). Then, with
the server up and nothing asked of it yet:

* the first view: what the page needs to show the whole scene, over HTTP with six connections as a
  browser has, and in Chromium from asking for the page until first tiles of both dates, and
  nearly the whole scene, are drawn (by software, if there is no GPU);
* tiles: eight connections ask for tiles of the four deepest zooms of both dates and the scores in
  a shuffled order, each tile once, so that no cache helps;
* memory of the server before, meanwhile and after at least 10,000 tiles.

The exit status is 1 if a goal is missed: 2 s, 150 ms for 95 % of the tiles, and no growth of more
than 5 % of the memory over the second half of the tiles.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from threading import local
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import numpy as np
import rasterio
import rasterio.shutil
from affine import Affine
from PIL import Image
from rasterio.windows import Window

TILES = 10_000
GOALS = {"first_view_s": 2.0, "first_tiles_s": 2.0, "p95_ms": 150.0, "growth": 0.05}
CONNECTIONS, TILE_PX, BLOCK_PX = 6, 256, 1024
# The ground below the tiles is brighter, and the scene darker.
BRIGHT = 190
# Shares of it that are drawn when first tiles are there, and all.
SOME, WHOLE = 0.1, 0.95
PATIENCE_S = 120
BATCH_S = 20


class Server(NamedTuple):
    """A running viewer: ``host`` with its port, cookie, first address, process."""

    host: str
    cookie: str
    address: str
    pid: int

    def memory_mb(self) -> float:
        """Resident memory."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        return int(found.group(1)) / 1024 if found else 0.0


def main() -> int:
    """Generate, predict, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--side", type=int, default=16_384)
    parser.add_argument("--tiles", type=int, default=TILES)
    parser.add_argument("--no-page", action="store_true", help="leave Chromium out")
    asked = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not installed")
    result = prepared(asked.work, asked.side)
    found: dict[str, Any] = {"side_px": asked.side}
    with serving(result) as server:
        found["first_view_s"] = first_view(server)
    print(f"first view: {found['first_view_s']} s", flush=True)
    if not asked.no_page:
        with serving(result) as server:
            found |= first_page(server) or {}
        print({name: found.get(name) for name in ("first_tiles_s", "whole_scene_s")}, flush=True)
    with serving(result) as server:
        found |= load(server, side=asked.side, tiles=asked.tiles)
    print(json.dumps(found, indent=2))
    (asked.work / "view_load.json").write_text(json.dumps(found, indent=2) + "\n")
    missed = [name for name, goal in GOALS.items() if found.get(name, 0.0) > goal]
    print("missed: " + ", ".join(missed) if missed else "all goals are reached")
    return 1 if missed else 0


def prepared(work: Path, side: int) -> Path:
    """Make the scene and its result, unless they are there."""
    result = work / "result"
    if (result / "summary.json").exists():
        return result
    work.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    for date in ("before", "after"):
        write_cog(work / f"{date}.tif", side, date=date)
    print(f"scene written in {time.monotonic() - begun:.0f} s", flush=True)
    begun = time.monotonic()
    words = [str(work / "before.tif"), str(work / "after.tif"), "--model", "baseline:difference"]
    command = [sys.executable, "-m", "changedet", "predict", *words, "--out", str(result)]
    subprocess.run([*command, "--overwrite", "--quiet"], check=True)
    print(f"predicted in {time.monotonic() - begun:.0f} s", flush=True)
    return result


def write_cog(path: Path, side: int, *, date: str) -> None:
    """Write ground with noise of all sizes, and in the second date some bright rectangles."""
    generator = np.random.default_rng(0)
    ground = np.zeros((BLOCK_PX, BLOCK_PX, 3))
    for size in (1, 4, 16, 64, 256):
        noise = generator.normal(0, 12, (BLOCK_PX // size, BLOCK_PX // size, 3))
        ground += np.kron(noise, np.ones((size, size, 1)))
    plain = path.with_suffix(".plain.tif")
    profile = {
        "driver": "GTiff",
        "width": side,
        "height": side,
        "count": 3,
        "dtype": "uint8",
        "crs": "EPSG:32633",
        "transform": Affine(0.5, 0.0, 500_000.0, 0.0, -0.5, 4_650_000.0),
        "tiled": True,
        "photometric": "RGB",
    }
    with rasterio.open(plain, "w", **profile) as file:
        for top in range(0, side, BLOCK_PX):
            for left in range(0, side, BLOCK_PX):
                own = np.random.default_rng([top, left])
                block = np.rot90(ground, int(own.integers(4))) + own.uniform(80, 150)
                changes = own.integers(0, BLOCK_PX - 80, (3, 2))
                sizes = own.integers(12, 80, (3, 2))
                if date == "after":
                    for (y, x), (height, width) in zip(changes, sizes, strict=True):
                        block[y : y + height, x : x + width] += 70
                pixels = block.clip(1, 255).astype(np.uint8).transpose(2, 0, 1)
                height, width = min(BLOCK_PX, side - top), min(BLOCK_PX, side - left)
                place = Window(left, top, width, height)
                file.write(pixels[:, :height, :width], window=place)
    options = {"compress": "DEFLATE", "predictor": 2, "num_threads": "ALL_CPUS"}
    rasterio.shutil.copy(plain, path, driver="COG", **options)
    plain.unlink()


@contextmanager
def serving(result: Path) -> Iterator[Server]:
    """Run ``changedet view``, and wait until it answers."""
    command = [sys.executable, "-m", "changedet", "view", str(result), "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            found = re.search(r"http://\S+", process.stdout.readline() if process.stdout else "")
            if found is None:
                raise SystemExit("the viewer does not start")
            parts = urlsplit(found.group())
            connection = HTTPConnection(str(parts.netloc), timeout=60)
            connection.request("GET", f"/?{parts.query}")
            answer = connection.getresponse()
            cookie = str(answer.getheader("Set-Cookie")).partition(";")[0]
            connection.close()
            yield Server(str(parts.netloc), cookie, found.group(), process.pid)
        finally:
            process.send_signal(signal.SIGINT)


def first_view(server: Server) -> float:
    """Ask for what the page asks for until the whole scene is shown, in seconds."""
    threads = local()

    def get(path: str) -> bytes:
        if not hasattr(threads, "connection"):
            threads.connection = HTTPConnection(server.host, timeout=60)
        threads.connection.request("GET", path, headers={"Cookie": server.cookie})
        answer = threads.connection.getresponse()
        content = answer.read()
        if answer.status not in (200, 202, 204):
            raise SystemExit(f"{path}: {answer.status} {content[:200]!r}")
        return bytes(content)

    item = "/api/items/0"
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        begun = time.monotonic()
        list(pool.map(get, ["/", "/assets/main.js", "/assets/main.css", "/api/items"]))
        get(item)
        rest = [f"{item}/{name}" for name in ("review", "histogram", "candidates")]
        # Some 1,024 pixels of the page show the whole scene.
        tiles = [
            f"{item}/tiles/{layer}/2/{x}/{y}.{suffix}"
            for layer, suffix in (("before", "webp"), ("after", "webp"), ("score", "png"))
            for x in range(4)
            for y in range(4)
        ]
        list(pool.map(get, [*rest, *tiles]))
        return round(time.monotonic() - begun, 3)


def first_page(server: Server) -> dict[str, float] | None:
    """Open the page in Chromium until both dates are drawn; None without Chromium.

    Chromium reports every picture that it shows, and when. Of the halves left and right of the
    swipe, the share that is no longer the bright ground of the page is taken: some of both, and
    nearly all of both, in seconds since the page was asked for.
    """
    chromium = shutil.which("chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None
    if chromium is None:
        return None
    frames: list[tuple[float, bytes]] = []
    with sync_playwright() as driver:
        flags = ["--no-sandbox", "--enable-unsafe-swiftshader", "--use-angle=swiftshader"]
        browser = driver.chromium.launch(executable_path=chromium, args=flags)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(120_000)
        session = page.context.new_cdp_session(page)

        def shown(frame: dict[str, Any]) -> None:
            frames.append((frame["metadata"]["timestamp"], base64.b64decode(frame["data"])))
            session.send("Page.screencastFrameAck", {"sessionId": frame["sessionId"]})

        session.on("Page.screencastFrame", shown)
        session.send("Page.startScreencast", {"format": "jpeg", "quality": 60})
        begun = time.time()
        page.goto(server.address)
        page.locator(".entry").first.wait_for()
        box: Any = page.locator(".maps").bounding_box()
        if box is None:
            raise SystemExit("the page shows no map")
        while not frames or min(drawn_shares(frames[-1][1], box)) < WHOLE:
            page.wait_for_timeout(500)
            if time.time() - begun > PATIENCE_S:
                raise SystemExit("the page does not draw both dates")
        browser.close()
    least = [(moment, min(drawn_shares(content, box))) for moment, content in frames]
    return {
        name: round(next(moment for moment, share in least if share >= enough) - begun, 2)
        for name, enough in (("first_tiles_s", SOME), ("whole_scene_s", WHOLE))
    }


def drawn_shares(picture: bytes, box: Mapping[str, float]) -> list[float]:
    """Give the share of the scene left and right of the swipe that shows a picture."""
    grey = np.asarray(Image.open(io.BytesIO(picture)).convert("L"))
    # A square in the middle, as the scene is one, without its edge.
    half = int(min(box["width"], box["height"]) / 2 * 0.9)
    middle, row = int(box["x"] + box["width"] / 2), int(box["y"] + box["height"] / 2)
    rows = slice(row - half, row + half)
    return [
        float((grey[rows, columns] < BRIGHT).mean())
        for columns in (slice(middle - half, middle - 24), slice(middle + 24, middle + half))
    ]


def load(server: Server, *, side: int, tiles: int) -> dict[str, Any]:
    """Ask for tiles with eight connections, batch by batch, and note the memory after each."""
    deepest = max(0, (side // TILE_PX - 1).bit_length())
    script = Path(__file__).with_suffix(".lua")
    memory = [server.memory_mb()]
    batches: list[dict[str, float]] = []
    done = 0
    while done < tiles:
        command = ["wrk", "--threads", "1", "--connections", "8", "--timeout", "30s"]
        command += ["--duration", f"{BATCH_S}s", "--script", str(script)]
        command += ["--header", f"Cookie: {server.cookie}", f"http://{server.host}/"]
        said = subprocess.run(
            [*command, "--", str(deepest), str(done)], check=True, capture_output=True, text=True
        ).stdout
        found = re.search(r"RESULT (\{.*\})", said)
        if found is None:
            raise SystemExit(f"wrk said:\n{said}")
        batch = json.loads(found.group(1))
        batches.append(batch)
        done += int(batch["requests"])
        memory.append(server.memory_mb())
        print(f"{done} tiles, {memory[-1]:.0f} MB, {batch}", flush=True)
    half = memory[len(memory) // 2]
    return {
        "tiles": done,
        "tiles_per_s": round(done / sum(batch["seconds"] for batch in batches), 1),
        "p50_ms": max(batch["p50_ms"] for batch in batches),
        "p95_ms": max(batch["p95_ms"] for batch in batches),
        "p99_ms": max(batch["p99_ms"] for batch in batches),
        "faults": sum(batch["faults"] for batch in batches),
        "memory_mb": [round(value) for value in memory],
        "growth": round(memory[-1] / half - 1, 3),
    }


if __name__ == "__main__":
    sys.exit(main())
