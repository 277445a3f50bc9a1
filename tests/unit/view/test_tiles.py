"""What is shown is what the files hold, at every zoom, on the result's own pixels."""

import io
import json
import math
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image

from changedet.view.collection import Collection
from changedet.view.tile_cache import TileCache

from .conftest import serving

ITEM = "/api/items/0"


def picture(answer) -> np.ndarray:
    assert answer.status == 200
    return np.asarray(Image.open(io.BytesIO(answer.body)).convert("RGBA")).astype(int)


def mosaic(client, layer: str, *, zoom: int, shape: tuple[int, int]) -> np.ndarray:
    suffix = "png" if layer in ("score", "mask") else "webp"
    rows = []
    for y in range(2**zoom):
        tiles = []
        for x in range(2**zoom):
            answer = client.get(f"{ITEM}/tiles/{layer}/{zoom}/{x}/{y}.{suffix}")
            tiles.append(np.zeros((256, 256, 4), int) if answer.status == 204 else picture(answer))
        rows.append(np.concatenate(tiles, axis=1))
    whole = np.concatenate(rows)
    assert (whole[shape[0] :, :, 3] == 0).all()
    assert (whole[:, shape[1] :, 3] == 0).all()
    return whole[: shape[0], : shape[1]]


def stored(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        return file.read()


def test_scores_and_mask_are_exact(client, scene: Path) -> None:
    scores = stored(scene / "score.tif")[0]
    about = client.get(ITEM).json
    assert (about["max_zoom"], about["score_steps"]) == (1, 8192)
    tiles = mosaic(client, "score", zoom=1, shape=scores.shape)
    valid = tiles[:, :, 3] == 255
    assert (valid == ~np.isnan(scores)).all()
    codes = tiles[:, :, 0] * 256 + tiles[:, :, 1]
    assert (codes[valid] / 8192 == scores[valid]).all()
    mask = stored(scene / "mask.tif")[0]
    first = math.ceil(float(np.float32(about["threshold"])) * 8192)
    assert ((codes >= first)[valid] == (mask[valid] == 1)).all()
    shown = mosaic(client, "mask", zoom=1, shape=scores.shape)
    assert ((shown[:, :, 0] == 255) == (mask == 1)).all()


def test_both_dates_lie_on_the_result(client, scene: Path) -> None:
    before = stored(scene.parent / "before.tif").transpose(1, 2, 0).astype(int)
    shown = mosaic(client, "before", zoom=1, shape=before.shape[:2])
    hole = (before == 0).all(axis=2)
    assert hole.any()
    assert ((shown[:, :, 3] == 0) == hole).all()
    # Lossy, but nearly the same on average.
    assert abs(shown[:, :, :3] - before)[~hole].mean() < 12
    after = mosaic(client, "after", zoom=1, shape=before.shape[:2])
    # AFTER has pixels half as long; its bright squares are where they were drawn.
    assert after[24:40, 24:36, :3].mean() > 215
    assert after[50:100, 24:36, :3].mean() < 150


def test_low_zoom_shows_everything_smaller(client, scene: Path) -> None:
    before = stored(scene.parent / "before.tif")
    shown = picture(client.get(f"{ITEM}/tiles/before/0/0/0.webp"))
    assert (shown[150:, :, 3] == 0).all()
    assert (shown[:, 200:, 3] == 0).all()
    expected = before.reshape(3, 150, 2, 200, 2).mean(axis=(2, 4)).transpose(1, 2, 0)
    assert abs(shown[22:150, :200, :3] - expected[22:]).mean() < 12


def test_pictures_have_tiles_as_well(pair_client, pair: Path) -> None:
    codes = np.asarray(Image.open(pair / "score.png")).astype(int)
    tiles = mosaic(pair_client, "score", zoom=0, shape=codes.shape)
    threshold = json.loads((pair / "summary.json").read_text())["threshold"]["score"]
    elsewhere = abs(codes - threshold * 65535) > 1
    assert (tiles[:, :, 0] * 256 + tiles[:, :, 1] == codes)[elsewhere].all()
    about = pair_client.get(ITEM).json
    assert (about["kind"], about["crs"], about["score_steps"]) == ("image_pair", None, 65535)
    mask = np.asarray(Image.open(pair / "mask.png")) > 0
    shown = mosaic(pair_client, "mask", zoom=0, shape=codes.shape)
    assert ((shown[:, :, 0] == 255) == mask).all()


def test_counts_of_a_pair_are_those_of_its_mask(pair: Path) -> None:
    # Scores that are rounded to the step in which the threshold lies are on either side of it.
    summary = json.loads((pair / "summary.json").read_text())
    first = math.ceil(np.float32(summary["threshold"]["score"]).item() * 65535)
    codes = np.asarray(Image.open(pair / "score.png")).astype(np.int64)
    mask = np.zeros(codes.shape, bool)
    codes[:] = 1000
    for row, (code, changed) in enumerate(
        [(first - 2, False), (first - 1, False), (first - 1, True), (first, False), (first, True)]
    ):
        rows = slice(20 * row, 20 * row + 20)
        codes[rows, 50:100], mask[rows, 50:100] = code, changed
    Image.fromarray(codes.astype(np.uint16)).save(pair / "score.png")
    Image.fromarray(mask).save(pair / "mask.png")
    with serving(pair) as client:
        while (answer := client.get(f"{ITEM}/histogram")).status == 202:
            time.sleep(0.05)
        counts = answer.json["counts"]
        assert sum(counts[first:]) == mask.sum() == 2000
        # Nothing else has moved.
        assert (counts[1000], counts[first - 2]) == (codes.size - 5000, 1000)
        tiles = mosaic(client, "score", zoom=0, shape=codes.shape)
        assert ((tiles[:, :, 0] * 256 + tiles[:, :, 1] >= first) == mask).all()
        found = client.get(f"{ITEM}/candidates").json["candidates"]
        assert sum(one["pixels"] for one in found) == 2000
        traced = f"{ITEM}/candidates?threshold={summary['threshold']['score']}&window=0,0,200,120"
        assert sum(one["pixels"] for one in client.get(traced).json["candidates"]) == 2000
        for row, changed in ((30, False), (50, True), (70, False), (90, True)):
            assert client.get(f"{ITEM}/values?x=60&y={row}").json["changed"] is changed
    # A mask that is lost costs this exactness, not the scores.
    (pair / "mask.png").unlink()
    with serving(pair) as client:
        assert client.get(f"{ITEM}/tiles/score/0/0/0.png").status == 200


def test_histogram_counts_every_pixel(client, scene: Path) -> None:
    for _ in range(200):
        answer = client.get(f"{ITEM}/histogram")
        if answer.status == 200:
            break
        assert answer.json["state"] == "computing"
        time.sleep(0.05)
    found = answer.json
    scores = stored(scene / "score.tif")[0]
    valid = scores[~np.isnan(scores)]
    assert (found["valid"], found["nodata"]) == (valid.size, scores.size - valid.size)
    for threshold in (0.25, 0.5, 0.7):
        first = math.ceil(threshold * found["steps"])
        changed = sum(found["counts"][first:])
        assert changed == (valid >= np.float32(threshold)).sum()
        # A quarter of a square metre on the plane; the ellipsoid differs by 8 in 10,000 here.
        assert sum(found["area_m2"][first:]) == pytest.approx(changed * 0.25, rel=2e-3)
    summary = json.loads((scene / "summary.json").read_text())
    first = math.ceil(summary["threshold"]["score"] * found["steps"])
    assert sum(found["counts"][first:]) == summary["pixels"]["changed"]


def test_values_under_the_pointer(client, scene: Path) -> None:
    before = stored(scene.parent / "before.tif")
    scores = stored(scene / "score.tif")[0]
    found = client.get(f"{ITEM}/values?x=110.5&y=205.9").json
    assert (found["column"], found["row"]) == (110, 205)
    assert found["before"] == before[:, 205, 110].tolist()
    assert found["score"] == scores[205, 110]
    assert found["xy"] == [500_055.25, 4_999_897.05]
    assert found["changed"] is True
    empty = client.get(f"{ITEM}/values?x=1&y=1").json
    assert (empty["score"], empty["before"], empty["changed"]) == (None, None, None)
    assert client.get(f"{ITEM}/values?x=400&y=1").status == 422
    assert client.get(f"{ITEM}/values?x=nan&y=1").status == 400


def test_candidates_in_every_order(client) -> None:
    whole = client.get(f"{ITEM}/candidates?order=id").json
    assert [one["id"] for one in whole["candidates"]] == list(range(1, whole["total"] + 1))
    for order, key in (("area", "area_m2"), ("max_score", "max_score"), ("gain", "gain")):
        found = client.get(f"{ITEM}/candidates?order={order}").json["candidates"]
        figures = [one[key] for one in found]
        assert figures == sorted(figures, reverse=True)
    random = [one["id"] for one in client.get(f"{ITEM}/candidates?order=random").json["candidates"]]
    assert sorted(random) == list(range(1, whole["total"] + 1))
    assert random != sorted(random)
    page = client.get(f"{ITEM}/candidates?order=random&offset=2&limit=3").json
    assert ([one["id"] for one in page["candidates"]], page["truncated"]) == (random[2:5], True)
    near = client.get(f"{ITEM}/candidates?window=0,0,60,60").json
    assert near["total"] == 1
    assert client.get(f"{ITEM}/candidates?order=size").status == 400
    assert client.get(f"{ITEM}/candidates?window=0,0,60").status == 422


def test_most_uncertain_come_first(client) -> None:
    found = client.get(f"{ITEM}/candidates?order=gain").json["candidates"]
    means = [one["mean_score"] for one in found]
    assert means == sorted(means)
    assert all(0 <= one["gain"] <= 1 for one in found)


def test_polygons_at_another_threshold(client, monkeypatch) -> None:
    whole = client.get(f"{ITEM}/candidates?threshold=0.5&window=0,0,400,300").json
    of_result = client.get(f"{ITEM}/candidates?order=area").json
    # At the threshold of the result, they are those of the result.
    assert [one["bbox"] for one in whole["candidates"]] == [
        one["bbox"] for one in of_result["candidates"]
    ]
    assert whole["candidates"][0]["uid"] is None
    assert client.get(f"{ITEM}/candidates?threshold=0.99&window=0,0,400,300").json["total"] == 0
    assert client.get(f"{ITEM}/candidates?threshold=0.5").status == 422
    monkeypatch.setattr("changedet.view.answers.MOST_TRACED_PX", 1000)
    refused = client.get(f"{ITEM}/candidates?threshold=0.5&window=0,0,400,300")
    assert (refused.status, "zoom in" in refused.json["error"]) == (413, True)


def test_browsers_keep_tiles_that_have_not_changed(client) -> None:
    path = f"{ITEM}/tiles/score/1/0/0.png"
    tag = client.get(path).headers["etag"]
    assert client.get(path, if_none_match=tag).status == 304
    assert client.get(f"{ITEM}/tiles/score/1/3/0.png").status == 204


def test_large_answers_are_compressed_where_asked(client) -> None:
    plain = client.get(f"{ITEM}/candidates")
    packed = client.get(f"{ITEM}/candidates", accept_encoding="gzip")
    assert packed.headers["content-encoding"] == "gzip"
    assert len(packed.body) < len(plain.body) / 2


def test_thumbnails(client) -> None:
    whole = client.get(f"{ITEM}/thumbnail/after?size=64")
    assert picture(whole).shape[:2] == (48, 64)
    part = client.get(f"{ITEM}/thumbnail/after?x0=20&y0=20&x1=40&y1=44&size=96")
    assert picture(part)[2:-2, 2:-2, :3].mean() > 200
    assert client.get(f"{ITEM}/thumbnail/after?x0=900&y0=0&x1=950&y1=9").status == 422
    assert client.get(f"{ITEM}/thumbnail/after?size=5000").status == 400


def test_cache_of_tiles_stays_small() -> None:
    cache = TileCache(100)
    for number in range(50):
        cache.put(number, b"x" * 30)
        cache.put(number, b"x" * 30)
    assert [number for number in range(50) if cache.get(number)] == [47, 48, 49]


def test_pictures_are_in_memory_once_and_files_open_for_each_thread(scene, pair) -> None:
    for result, is_shared in ((pair, True), (scene, False)):
        collection = Collection(result)
        item = collection.get("0").item
        with ThreadPoolExecutor(1) as pool:
            other = pool.submit(collection.handles.get, item, "after").result()
        assert (collection.handles.get(item, "after") is other) == is_shared
        collection.close()


def test_what_only_later_answers_need_is_not_loaded_at_the_start(scene: Path) -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from changedet.view.server import Collection\n"
        f"found = Collection(Path({str(scene)!r}))\n"
        "assert len(found.get('0').candidates(found.handles).ids) > 0\n"
        "print([name for name in ('scipy', 'skimage', 'rio_tiler', 'onnxruntime', 'torch') "
        "if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == "[]\n"
