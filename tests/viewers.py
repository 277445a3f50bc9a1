"""Small results to look at, and a running ``changedet view``, for the tests in a browser."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

#: Far more than anything takes: pixels are drawn by the CPU here.
PATIENCE_MS = 300_000
WIDTH, HEIGHT = 300, 220
#: Left, top, width, height of what changed, and by how much of 255.
CHANGES = [
    (40, 40, 50, 30, 150),
    (150, 60, 40, 40, 110),
    (60, 140, 30, 20, 90),
    (220, 150, 24, 16, 70),
]


def images() -> tuple[np.ndarray, np.ndarray]:
    """Make both dates, (H, W, 3): ground with a little noise, and bright areas that are new."""
    noise = np.random.default_rng(5).integers(0, 8, (HEIGHT, WIDTH, 1))
    before = np.broadcast_to(60 + noise, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    after = before.copy()
    for left, top, width, height, more in CHANGES:
        after[top : top + height, left : left + width] += np.uint8(more)
    return before, after


def predict(before: Path, after: Path, out: Path) -> Path:
    command = [sys.executable, "-m", "changedet", "predict", str(before), str(after)]
    done = subprocess.run(
        [*command, "--model", "baseline:difference", "--out", str(out)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return out


class Viewer:
    """A running ``changedet view``."""

    def __init__(self, log: Path, *words: object) -> None:
        command = [sys.executable, "-m", "changedet", "view", *map(str, words), "--no-browser"]
        with log.open("w") as file:
            self.process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
        end = time.monotonic() + PATIENCE_MS / 1000
        while (found := re.search(r"http://\S+", log.read_text())) is None:
            assert self.process.poll() is None, log.read_text()
            if time.monotonic() > end:
                self.kill()
                raise AssertionError("the server does not start")
            time.sleep(0.05)
        self.address = found.group()

    @property
    def port(self) -> int:
        return int(self.address.split(":")[2].split("/")[0])

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
