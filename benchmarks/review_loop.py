"""Does reviewing half of a scene improve the model on the other half?

    python benchmarks/review_loop.py CLCD/val --work DIR

CLCD/val holds ``time1``, ``time2`` and ``label``. Its pairs are put beside one another as one
scene (pixels of 1 m), which the model predicts. A reviewer who knows the labels works through the
left half in the viewer: over HTTP, against the command ``changedet view`` as it is. It accepts
detections of which at least half is labelled as changed, rejects the others, draws labelled
changes of which less than half was accepted, and marks each pair as looked at. ``changedet train
--data review.gpkg --init MODEL`` goes on from the model; both models are then evaluated on the
pairs of the right half, which nobody reviewed, each at its own threshold. The interval of the
difference comes from a bootstrap over pairs, the same draws for both models.

As a control, the model before also gets a threshold that is chosen on the labels of the reviewed
half: what a review could give without training.
"""

from __future__ import annotations

import argparse
import csv
import http.client
import json
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import numpy as np
import rasterio
import rasterio.features
import shapely
import shapely.geometry
from affine import Affine
from PIL import Image
from shapely.affinity import translate

# A detection is accepted, and a labelled change taken for found, from this share on.
ENOUGH = 0.5
# Smaller labelled changes are not drawn: nobody would see them.
LEAST_PX = 16
DRAWS = 10_000


class Mosaic(NamedTuple):
    """Where the pairs lie in the scene.

    ``names`` by row and column, (rows, columns); columns below ``split`` are reviewed.
    """

    names: list[list[str]]
    split: int
    side_px: int

    def boxes(self, *, reviewed: bool) -> Iterator[tuple[str, tuple[int, int, int, int]]]:
        """Give names and left, top, right, bottom of the pairs of a half."""
        side = self.side_px
        for row, line in enumerate(self.names):
            for column, name in enumerate(line):
                if (column < self.split) is reviewed:
                    left, top = column * side, row * side
                    yield name, (left, top, left + side, top + side)


def main() -> None:
    """Build, predict, review, train, evaluate, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pairs", type=Path, help="folder with time1, time2 and label")
    parser.add_argument(
        "--work", type=Path, required=True, help="a folder; what is there is not made again"
    )
    parser.add_argument("--model", default="any-change")
    parser.add_argument("--member", default="1", help="network of an ensemble; empty: no ensemble")
    parser.add_argument("--kind", default="any")
    parser.add_argument("--recipe", default="any_change")
    parser.add_argument("--columns", type=int, default=12)
    parser.add_argument("--rows", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--lr", default="2e-4")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=["training.ema_decay=0.99"])
    asked = parser.parse_args()
    work: Path = asked.work
    work.mkdir(parents=True, exist_ok=True)

    start = asked.model
    if asked.member:
        start = str(work / "start.safetensors")
        words = ["ensemble", asked.model, "--keep", asked.member, "--out", start]
        changedet(*words, makes=Path(start))
    mosaic = place_pairs(asked.pairs, asked.rows, asked.columns, seed=asked.seed)
    labels = write_scene(asked.pairs, mosaic, work)
    options = ["--kind", asked.kind, "--test-time", "none"]
    result = work / "result"
    scene = [str(work / "before.tif"), str(work / "after.tif")]
    words = [*scene, "--model", asked.model, "--out", str(result), *options]
    changedet("predict", *words, makes=result / "summary.json")

    begun = time.monotonic()
    with viewer(result) as browser:
        tally = review(browser, labels, mosaic)
    tally["seconds"] = round(time.monotonic() - begun, 1)
    print(f"review: {tally}")

    begun = time.monotonic()
    words = [f"--set={one}" for one in (*asked.set, f"training.seed={asked.seed}")]
    words += [f"--epochs={asked.epochs}", f"--lr={asked.lr}"]
    run = work / "run"
    review_file = str(result / "review.gpkg")
    changedet(
        "train", asked.recipe, "--data", review_file, "--init", start, "--out", str(run), *words
    )
    minutes = round((time.monotonic() - begun) / 60, 1)

    halves = write_halves(asked.pairs, mosaic, work / "halves")
    judge = ["--data", str(halves), "--split", "test", "--test-time", "none", "--gsd", "1"]
    both = {
        "before": [asked.model, "--kind", asked.kind],
        "before, threshold from the reviewed half": [
            *(asked.model, "--kind", asked.kind, "--threshold-split", "val")
        ],
        "after": [str(run)],
    }
    tables = {}
    for number, (name, model) in enumerate(both.items()):
        out = work / f"judged_{number}"
        words = [*model, *judge, "--out", str(out), "--panels", "0"]
        changedet("evaluate", *words, makes=out / "metrics.json")
        tables[name] = out
    found = {name: read_figures(out) for name, out in tables.items()}
    after = read_counts(tables["after"])
    for name in list(both)[:2]:
        found[f"after minus {name}"] = difference(read_counts(tables[name]), after)
    content = {"review": tally, "training_minutes": minutes, "figures": found}
    (work / "loop.json").write_text(json.dumps(content, indent=2) + "\n")
    print(json.dumps(content, indent=2))


def changedet(*words: str, makes: Path | None = None) -> None:
    """Run the command, unless what it makes is there."""
    if makes is not None and makes.exists():
        return
    print("$ changedet", *words, flush=True)
    subprocess.run([sys.executable, "-m", "changedet", *words], check=True)


def place_pairs(folder: Path, rows: int, columns: int, *, seed: int) -> Mosaic:
    """Shuffle the pairs, so that neighbours of one flight come into both halves by chance alone."""
    names = sorted(path.stem for path in (folder / "label").iterdir())
    chosen = np.random.default_rng(seed).permutation(names)[: rows * columns].tolist()
    side = read_image(folder / "label", chosen[0]).shape[0]
    lines = [chosen[row * columns : (row + 1) * columns] for row in range(rows)]
    return Mosaic(lines, columns // 2, side)


def read_image(folder: Path, name: str) -> np.ndarray:
    """Read an image by its name without an ending."""
    (path,) = folder.glob(f"{name}.*")
    return np.asarray(Image.open(path))


def write_scene(folder: Path, mosaic: Mosaic, work: Path) -> np.ndarray:
    """Write both dates as GeoTIFFs; give the labels of the whole scene, true where changed."""
    side = mosaic.side_px
    shape = len(mosaic.names) * side, len(mosaic.names[0]) * side
    everything = [*mosaic.boxes(reviewed=True), *mosaic.boxes(reviewed=False)]
    for date, part in (("before", "time1"), ("after", "time2")):
        pixels = np.zeros((3, *shape), np.uint8)
        for name, (left, top, right, bottom) in everything:
            image = read_image(folder / part, name)
            pixels[:, top:bottom, left:right] = image.transpose(2, 0, 1)
        profile = {"driver": "GTiff", "dtype": "uint8", "crs": "EPSG:32649", "tiled": True}
        place = Affine(1.0, 0.0, 500_000.0, 0.0, -1.0, 2_600_000.0)
        with rasterio.open(
            work / f"{date}.tif",
            "w",
            **profile,
            count=3,
            height=shape[0],
            width=shape[1],
            transform=place,
        ) as file:
            file.write(pixels)
    labels = np.zeros(shape, bool)
    for name, (left, top, right, bottom) in everything:
        labels[top:bottom, left:right] = read_image(folder / "label", name) > 0
    return labels


class Browser:
    """What a browser would send, to a running viewer."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self._host = str(parts.netloc)
        connection = http.client.HTTPConnection(self._host, timeout=60)
        connection.request("GET", f"/?{parts.query}")
        answer = connection.getresponse()
        self._cookie = str(answer.getheader("Set-Cookie")).partition(";")[0]
        answer.read()
        connection.close()

    def ask(self, method: str, path: str, body: Any = None) -> Any:  # noqa: ANN401 - JSON
        """Send a request about the first result and give the answer."""
        headers = {
            "Cookie": self._cookie,
            "Origin": f"http://{self._host}",
            "Content-Type": "application/json",
        }
        content = None if body is None else json.dumps(body)
        # The server closes connections that idle, as this one does while polygons are painted.
        connection = http.client.HTTPConnection(self._host, timeout=60)
        connection.request(method, f"/api/items/0{path}", content, headers)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        if answer.status != 200:
            raise SystemExit(f"{method} {path}: {answer.status} {text.decode()}")
        return json.loads(text)


@contextmanager
def viewer(result: Path) -> Iterator[Browser]:
    """Run ``changedet view`` as a user does, and end it as Ctrl-C does."""
    command = [sys.executable, "-m", "changedet", "view", str(result), "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline() if process.stdout else ""
            found = re.search(r"http://\S+", line)
            if found is None:
                raise SystemExit(f"the viewer does not start: {line}")
            yield Browser(found.group())
        finally:
            process.send_signal(signal.SIGINT)


def review(browser: Browser, labels: np.ndarray, mosaic: Mosaic) -> dict[str, Any]:
    """Judge what was found in the reviewed half, draw what was missed, mark pairs as looked at."""
    tally: dict[str, Any] = {"accepted": 0, "rejected": 0, "drawn": 0, "looked_at": 0}
    border = mosaic.split * mosaic.side_px
    accepted = np.zeros(labels.shape, bool)
    for one in all_candidates(browser):
        left, top, right, bottom = (round(edge) for edge in one["bbox"])
        if (left + right) / 2 >= border:
            continue
        part = np.s_[top:bottom, left:right]
        inside = painted(one["geometry"], (left, top, right, bottom))
        share = labels[part][inside].mean()
        verdict = "accepted" if share >= ENOUGH else "rejected"
        if verdict == "accepted":
            accepted[part] |= inside
        browser.ask("PUT", f"/review/verdicts/{one['uid']}", {"verdict": verdict, "who": "labels"})
        tally[verdict] += 1
    for _, box in mosaic.boxes(reviewed=True):
        left, top, right, bottom = box
        part = np.s_[top:bottom, left:right]
        for polygon in missed(labels[part], accepted[part]):
            geometry = json.loads(shapely.to_geojson(translate(polygon, left, top)))
            body = {"verdict": "drawn", "geometry": geometry, "who": "labels"}
            browser.ask("PUT", f"/review/verdicts/{named(geometry)}", body)
            tally["drawn"] += 1
        browser.ask("PUT", f"/review/windows/{named(box)}", {"window": box, "who": "labels"})
        tally["looked_at"] += 1
    tally["statistics"] = browser.ask("GET", "/review")["statistics"]
    return tally


def named(content: object) -> uuid.UUID:
    """Give the same id to the same content, so that a second review adds nothing."""
    return uuid.uuid5(uuid.NAMESPACE_OID, json.dumps(content))


def all_candidates(browser: Browser) -> list[dict[str, Any]]:
    """Give the polygons of the result, the most uncertain ones first."""
    found: list[dict[str, Any]] = []
    while True:
        page = browser.ask("GET", f"/candidates?order=gain&limit=1000&offset={len(found)}")
        found += page["candidates"]
        if len(found) >= page["total"]:
            return found


def painted(geometry: dict[str, Any], box: tuple[int, int, int, int]) -> np.ndarray:
    """Tell which pixels of a box lie in a polygon of pixel coordinates."""
    left, top, right, bottom = box
    inside = rasterio.features.rasterize(
        [geometry],
        out_shape=(bottom - top, right - left),
        transform=Affine.translation(left, top),
        dtype=np.uint8,
    )
    return np.asarray(inside, dtype=bool)


def missed(labels: np.ndarray, accepted: np.ndarray) -> Iterator[shapely.Polygon]:
    """Outline the labelled changes of a pair that are not accepted yet, in its pixels."""
    for geometry, _ in rasterio.features.shapes(labels.astype(np.uint8), mask=labels):
        polygon = shapely.geometry.shape(geometry)
        inside = painted(geometry, (0, 0, labels.shape[1], labels.shape[0]))
        if polygon.area >= LEAST_PX and accepted[inside].mean() < ENOUGH:
            yield polygon


def write_halves(folder: Path, mosaic: Mosaic, out: Path) -> Path:
    """Lay out both halves as a data set: ``val`` was reviewed, ``test`` was not."""
    for split, reviewed in (("val", True), ("test", False)):
        for part, name in (("time1", "A"), ("time2", "B"), ("label", "label")):
            (out / split / name).mkdir(parents=True, exist_ok=True)
            for pair, _ in mosaic.boxes(reviewed=reviewed):
                (path,) = (folder / part).glob(f"{pair}.*")
                link = out / split / name / path.name
                if not link.exists():
                    link.symlink_to(path.resolve())
    return out


def read_figures(judged: Path) -> dict[str, Any]:
    """Give the figures of an evaluation that matter here."""
    content = json.loads((judged / "metrics.json").read_text())
    fixed = content["fixed_threshold"]
    names = ("threshold", "f1", "precision", "recall")
    return {name: fixed.get(name) for name in names} | {
        "f1_interval": fixed["intervals"]["f1"],
        "average_precision": content["average_precision"],
    }


def read_counts(judged: Path) -> dict[str, np.ndarray]:
    """Give tp, fp, fn of each pair at the model's threshold."""
    with (judged / "per_image.csv").open() as file:
        rows = list(csv.DictReader(file))
    return {row["name"]: np.array([int(row[key]) for key in ("tp", "fp", "fn")]) for row in rows}


def difference(before: dict[str, np.ndarray], after: dict[str, np.ndarray]) -> dict[str, Any]:
    """Give how much F1 has risen, with the 95 % interval of a bootstrap over pairs."""
    if before.keys() != after.keys():
        raise SystemExit("the evaluations are of different pairs")
    names = sorted(before)
    counts = [np.stack([one[name] for name in names]) for one in (before, after)]
    generator = np.random.default_rng(0)
    draws = generator.multinomial(len(names), np.full(len(names), 1 / len(names)), size=DRAWS)
    drawn = f1(draws @ counts[1]) - f1(draws @ counts[0])
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    rise = f1(counts[1].sum(axis=0)) - f1(counts[0].sum(axis=0))
    return {"f1": float(rise), "low": float(low), "high": float(high)}


def f1(counts: np.ndarray) -> np.ndarray:
    """F1 of tp, fp, fn, (..., 3)."""
    tp, fp, fn = np.moveaxis(counts.astype(np.float64), -1, 0)
    return np.asarray(2 * tp / (2 * tp + fp + fn))


if __name__ == "__main__":
    main()
