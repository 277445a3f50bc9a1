"""The real command: its address, a kill in the middle of writes, Ctrl-C."""

import gc
import http.client
import json
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi")

from changedet.predict.images import predict_files

SQUARE = {"type": "Polygon", "coordinates": [[[5, 5], [25, 5], [25, 20], [5, 20], [5, 5]]]}


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("view")
    rng = np.random.default_rng(0)
    for name in ("before", "after"):
        Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(
            folder / f"{name}.png"
        )
    predict_files(
        folder / "before.png", folder / "after.png", model="baseline:cva", out=folder / "result"
    )
    return folder / "result"


@contextmanager
def running(result: Path) -> Iterator[tuple[subprocess.Popen[str], int, str]]:
    """Start the command; gives its process, its port and the cookie."""
    command = [sys.executable, "-m", "changedet", "view", str(result), "--no-browser"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        for line in process.stdout or ():
            found = re.search(r"http://127\.0\.0\.1:(\d+)(/\?token=\S+)", line)
            if found:
                break
        port = int(found[1])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", found[2])
        answer = connection.getresponse()
        answer.read()
        cookie = answer.getheader("set-cookie").partition(";")[0]
        connection.close()
        yield process, port, cookie
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def ask(port: int, cookie: str, *, method: str, path: str, body: object = None) -> dict | None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    headers = {
        "Cookie": cookie,
        "Origin": f"http://127.0.0.1:{port}",
        "Content-Type": "application/json",
    }
    try:
        connection.request(method, path, json.dumps(body), headers)
        with closing(connection.getresponse()) as answer:
            content = json.loads(answer.read())
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()
    return content if answer.status == 200 else None


def keep_writing(port: int, cookie: str, kept: set[str], enough: threading.Event) -> None:
    """Write verdicts until the server does not answer any more; note those it has confirmed."""
    body = {"verdict": "drawn", "geometry": SQUARE, "window": [0, 0, 60, 60]}
    written = 0
    while True:
        uid = str(uuid.uuid4())
        path = f"/api/items/0/review/verdicts/{uid}"
        if ask(port, cookie, method="PUT", path=path, body=body) is None:
            return
        kept.add(uid)
        written += 1
        if written == 8:
            enough.set()


# http.client leaves a socket behind where a server dies in the middle of an answer.
@pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.slow
def test_verdicts_survive_a_kill_at_any_moment(result: Path, tmp_path: Path) -> None:
    own = tmp_path / "result"
    shutil.copytree(result, own)
    kept: set[str] = set()
    for _ in range(3):
        with running(own) as (process, port, cookie):
            # All that earlier servers confirmed is there.
            review = ask(port, cookie, method="GET", path="/api/items/0/review")
            assert kept <= {row["uid"] for row in review["verdicts"]}
            enough = threading.Event()
            arguments = (port, cookie, kept, enough)
            writers = [threading.Thread(target=keep_writing, args=arguments) for _ in range(2)]
            for writer in writers:
                writer.start()
            assert enough.wait(60)
            process.send_signal(signal.SIGKILL)
            for writer in writers:
                writer.join()
    with running(own) as (process, port, cookie):
        review = ask(port, cookie, method="GET", path="/api/items/0/review")
        assert kept <= {row["uid"] for row in review["verdicts"]}
        process.send_signal(signal.SIGINT)
        told = process.stderr.read()
        assert process.wait(30) == 0
    assert "Traceback" not in told
    with sqlite3.connect(own / "review.gpkg") as file:
        assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    gc.collect()


def test_help_needs_no_server_packages() -> None:
    code = (
        "import sys; sys.argv = ['changedet', 'view', '--help']\n"
        "from changedet.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print([name for name in ('fastapi', 'uvicorn', 'rasterio', 'torch') "
        "if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.rstrip().endswith("[]")
    assert "--no-browser" in out.stdout
