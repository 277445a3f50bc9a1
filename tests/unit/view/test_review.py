"""Verdicts are checked, kept, exported, and never written over unseen."""

import csv
import io
import json
import sqlite3
import threading
import uuid
from pathlib import Path

import pyogrio
import pytest
import shapely
from shapely.geometry import shape

from changedet.errors import DataError, StorageError
from changedet.vector.review_file import create_review_file
from changedet.view.collection import Collection
from changedet.view.statistics import wilson_interval

REVIEW = "/api/items/0/review"
SQUARE = {"type": "Polygon", "coordinates": [[[5, 5], [25, 5], [25, 20], [5, 20], [5, 5]]]}


def verdict(uid: str) -> str:
    return f"{REVIEW}/verdicts/{uid}"


def drawn(geometry: object = None, **more: object) -> dict:
    body = {"verdict": "drawn", "geometry": SQUARE if geometry is None else geometry}
    return {**body, "known_revision": None, **more}


def test_verdicts_come_back_with_all_that_was_said(client, scene: Path) -> None:
    body = {
        "verdict": "accepted",
        "note": "a new hall",
        "who": "Ann",
        "window": [-5, 0, 90, 80],
        "known_revision": None,
    }
    answer = client.put(verdict("r3"), body).json
    candidate = next(
        one for one in client.get("/api/items/0/candidates").json["candidates"] if one["id"] == 3
    )
    (row,) = client.get(REVIEW).json["verdicts"]
    assert row == answer["row"]
    assert (row["note"], row["who"], row["window"]) == ("a new hall", "Ann", [0, 0, 90, 80])
    assert (row["result_id"], row["revision"], row["verdict"]) == (3, 1, "accepted")
    assert shape(row["geometry"]).equals(shape(candidate["geometry"]))
    assert row["mean_score"] == pytest.approx(candidate["mean_score"], abs=1e-6)
    assert row["area_m2"] == pytest.approx(candidate["area_m2"], rel=1e-4)
    assert row["when"].endswith("Z")
    assert (scene / "review.gpkg").is_file()


def test_nothing_is_written_by_looking(client, scene: Path) -> None:
    for path in ("/api/items", "/api/items/0", REVIEW, "/api/items/0/export.gpkg"):
        assert client.get(path).status == 200
    assert not (scene / "review.gpkg").exists()


def test_who_was_slower_is_told(client) -> None:
    first = client.put(verdict("r1"), {"verdict": "accepted", "known_revision": None}).json
    late = client.put(verdict("r1"), {"verdict": "rejected", "known_revision": None})
    assert late.status == 409
    assert late.json["current"] == first["row"]
    assert client.get(REVIEW).json["verdicts"][0]["verdict"] == "accepted"
    seen = {"verdict": "rejected", "known_revision": first["row"]["revision"]}
    assert client.put(verdict("r1"), seen).status == 200
    gone = client.ask("DELETE", verdict("r1"), {"known_revision": 1})
    assert gone.status == 409
    assert client.ask("DELETE", verdict("r1"), {"known_revision": 2}).status == 200
    # Somebody else still shows it.
    assert client.put(verdict("r1"), {**seen, "verdict": "accepted"}).json["current"] is None


def test_sending_again_changes_nothing(client) -> None:
    uid = str(uuid.uuid4())
    rows = [client.put(verdict(uid), drawn(note="x")).json for _ in range(2)]
    assert rows[0] == rows[1]
    revision = rows[0]["revision"]
    taken = [
        client.ask("DELETE", verdict(uid), {"known_revision": revision}).status for _ in range(2)
    ]
    assert taken == [200, 200]


def test_another_browser_asks_for_what_is_new(client) -> None:
    uid = str(uuid.uuid4())
    revision = client.put(verdict("r1"), {"verdict": "accepted"}).json["revision"]
    row = client.put(verdict(uid), drawn()).json["row"]
    news = client.get(f"{REVIEW}?since={revision}").json
    assert [one["uid"] for one in news["verdicts"]] == [uid]
    client.ask("DELETE", verdict(uid), {"known_revision": row["revision"]})
    news = client.get(f"{REVIEW}?since={row['revision']}").json
    assert (news["verdicts"], [one["uid"] for one in news["deleted"]]) == ([], [uid])


def test_browsers_that_write_at_once_lose_nothing(client) -> None:
    uids = [str(uuid.uuid4()) for _ in range(24)]
    statuses = []

    def write(part: list[str]) -> None:
        statuses.extend(client.put(verdict(uid), drawn()).status for uid in part)

    threads = [threading.Thread(target=write, args=(uids[k::4],)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 24
    review = client.get(REVIEW).json
    assert {row["uid"] for row in review["verdicts"]} == set(uids)
    assert review["revision"] == 24


BOW_TIE = {"type": "Polygon", "coordinates": [[[5, 5], [25, 20], [25, 5], [5, 20], [5, 5]]]}
LINE = {"type": "Polygon", "coordinates": [[[5, 5], [25, 5], [5, 5], [5, 5]]]}
OPEN = {"type": "Polygon", "coordinates": [[[5, 5], [25, 5], [25, 20], [6, 6]]]}
OUTSIDE = {"type": "Polygon", "coordinates": [[[5, 5], [9999, 5], [25, 20], [5, 5]]]}
POINT = {"type": "Point", "coordinates": [5, 5]}
MANY = [[5 + k / 1000, 5 + (k % 2)] for k in range(10_001)]


@pytest.mark.parametrize(
    ("uid", "body"),
    [
        (None, drawn(BOW_TIE)),
        (None, drawn(LINE)),
        (None, drawn(OPEN)),
        (None, drawn(OUTSIDE)),
        (None, drawn(POINT)),
        (None, drawn({"type": "Polygon", "coordinates": []})),
        (None, drawn({"type": "Polygon", "coordinates": [[]]})),
        (None, drawn({"type": "Polygon", "coordinates": "x"})),
        (None, drawn({"type": "Polygon", "coordinates": [[*MANY, MANY[0]]]})),
        (None, b'{"verdict": "drawn", "geometry": {"type": "Polygon", "coordinates": [[[NaN]]]}}'),
        (None, json.dumps(drawn()).replace("20", "1e999").encode()),
        (None, {"verdict": "drawn"}),
        (None, drawn(verdict="edited")),
        (None, drawn(verdict="perhaps")),
        (None, drawn(note="x" * 2001)),
        (None, drawn(mean_score=2)),
        (None, drawn(window=[10, 10, 5, 5])),
        (None, drawn(surprise=1)),
        (None, b"{"),
        (None, b"[]"),
        ("r1", {"verdict": "drawn", "geometry": SQUARE}),
        ("r1", {"verdict": "edited"}),
        ("r1", {"verdict": "accepted", "geometry": SQUARE}),
        ("r99999", {"verdict": "accepted"}),
        ("r0", {"verdict": "accepted"}),
        ("R1", {"verdict": "accepted"}),
        ("../../x", {"verdict": "accepted"}),
    ],
)
def test_what_makes_no_sense_is_refused(client, scene: Path, uid: str | None, body) -> None:
    answer = client.put(verdict(uid or str(uuid.uuid4())), body)
    assert answer.status in (405, 422)
    assert answer.json["error"]
    assert not (scene / "review.gpkg").exists()


def test_windows_are_kept_apart_from_verdicts(client) -> None:
    uid = str(uuid.uuid4())
    path = f"{REVIEW}/windows/{uid}"
    assert client.put(path, {"window": [0, 0, 50, 40], "who": "Ann"}).status == 200
    assert client.put(f"{REVIEW}/windows/r1", {"window": [0, 0, 50, 40]}).status == 422
    (window,) = client.get(REVIEW).json["windows"]
    assert (window["window"], window["uid"]) == ([0, 0, 50, 40], uid)
    assert client.ask("DELETE", path, {}).status == 200
    assert client.get(REVIEW).json["windows"] == []


def test_statistics_tell_precision_so_far(client) -> None:
    for number in range(1, 5):
        said = "rejected" if number == 1 else "accepted"
        client.put(verdict(f"r{number}"), {"verdict": said})
    client.put(verdict("r5"), {"verdict": "edited", "geometry": SQUARE})
    client.put(verdict(str(uuid.uuid4())), drawn())
    told = client.get("/api/review/statistics").json["statistics"]
    assert (told["reviewed"], told["accepted"], told["edited"], told["drawn"]) == (5, 3, 1, 1)
    assert told["precision"] == 0.8
    # Newcombe, Statistics in Medicine 17, 1998, 857-872: 81 of 263.
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert told["low"] < 0.8 < told["high"]
    assert told["expected_low"] <= told["expected_correct"] <= told["expected_high"]
    assert wilson_interval(0, 0) == (None, None)


def test_exports_hold_what_is_change(client, tmp_path: Path) -> None:
    client.put(verdict("r1"), {"verdict": "accepted", "note": "=1+1"})
    client.put(verdict("r2"), {"verdict": "rejected"})
    client.put(verdict(str(uuid.uuid4())), drawn())
    (tmp_path / "out.gpkg").write_bytes(client.get("/api/items/0/export.gpkg").body)
    info = pyogrio.read_info(tmp_path / "out.gpkg")
    assert (info["crs"], info["features"]) == ("EPSG:32631", 2)
    _, _, blobs, _ = pyogrio.raw.read(tmp_path / "out.gpkg")
    # Half a metre a pixel: 20 x 15 pixels.
    areas = shapely.area(shapely.from_wkb(blobs))
    assert areas.min() == pytest.approx(75.0)
    collection = client.get("/api/items/0/export.geojson").json
    lon, lat = shape(collection["features"][0]["geometry"]).centroid.coords[0]
    assert (lon, lat) == pytest.approx((3.0, 45.15), abs=0.01)
    rows = list(csv.DictReader(io.StringIO(client.get("/api/items/0/export.csv").body.decode())))
    assert [row["verdict"] for row in rows] == ["accepted", "rejected", "drawn"]
    assert rows[0]["note"] == "'=1+1"


def test_file_is_a_geopackage_for_other_programs(client, scene: Path) -> None:
    client.put(verdict("r1"), {"verdict": "accepted", "window": [0, 0, 300, 200]})
    path = scene / "review.gpkg"
    layers = dict(pyogrio.list_layers(path).tolist())
    assert layers["verdicts"] == layers["looked_at"] == "Polygon"
    assert pyogrio.read_info(path, layer="verdicts")["crs"] == "EPSG:32631"
    _, _, blobs, _ = pyogrio.raw.read(path, layer="verdicts")
    _, _, polygons, fields = pyogrio.raw.read(scene / "polygons.gpkg", columns=["id"])
    (of_result,) = polygons[fields[0] == 1]
    assert shapely.from_wkb(blobs[0]).equals(shapely.from_wkb(of_result))
    _, _, seen, _ = pyogrio.raw.read(path, layer="looked_at")
    assert shapely.from_wkb(seen[0]).bounds == pytest.approx((5e5, 4_999_900, 500_150, 5e6))


def test_pictures_are_judged_in_pixels(pair_client, pair: Path) -> None:
    pair_client.put(verdict(str(uuid.uuid4())), drawn())
    assert pair_client.put(verdict("r1"), {"verdict": "accepted"}).status == 200
    _, _, blobs, _ = pyogrio.raw.read(pair / "review.gpkg", layer="verdicts")
    assert shapely.from_wkb(blobs[0]).bounds == (5, 5, 25, 20)
    with sqlite3.connect(pair / "review.gpkg") as file:
        (number,) = file.execute("SELECT DISTINCT srs_id FROM gpkg_geometry_columns").fetchone()
    assert number == -1
    assert pair_client.get(REVIEW).json["verdicts"][0]["area_m2"] is None


def test_review_of_another_result_is_refused(client, scene: Path, pair: Path) -> None:
    client.put(verdict("r1"), {"verdict": "accepted"})
    (pair / "review.gpkg").write_bytes((scene / "review.gpkg").read_bytes())
    with pytest.raises(DataError, match="another result"):
        Collection(pair)


def test_review_of_a_newer_version_or_damaged_is_refused(client, scene: Path) -> None:
    client.put(verdict("r1"), {"verdict": "accepted"})
    path = scene / "review.gpkg"
    with sqlite3.connect(path) as file:
        file.execute("UPDATE review_info SET value = '2' WHERE name = 'format_version'")
    with pytest.raises(DataError, match="newer changedet"):
        Collection(scene)
    path.write_bytes(b"no such file" * 1000)
    with pytest.raises(DataError, match="damaged"):
        Collection(scene)
    (scene / "review.gpkg").write_bytes((scene / "polygons.gpkg").read_bytes())
    with pytest.raises(DataError, match="no review"):
        Collection(scene)


def test_file_that_vanishes_is_told_and_not_begun_anew(client, scene: Path) -> None:
    client.put(verdict("r1"), {"verdict": "accepted"})
    (scene / "review.gpkg").rename(scene / "away.gpkg")
    answer = client.put(verdict("r2"), {"verdict": "accepted"})
    assert (answer.status, "vanished" in answer.json["error"]) == (503, True)
    (scene / "away.gpkg").rename(scene / "review.gpkg")
    assert client.put(verdict("r2"), {"verdict": "accepted"}).status == 200
    assert len(client.get(REVIEW).json["verdicts"]) == 2


def test_read_only_folder_is_for_looking(scene: Path, monkeypatch) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)
    opened = Collection(scene).get("0")
    assert "cannot be written to" in (opened.store_problem or "")
    assert opened.store is not None


def test_two_servers_make_one_file(scene: Path) -> None:
    path = scene / "review.gpkg"
    assert create_review_file(path, crs="EPSG:32631", info={"identity": "x"})
    content = path.read_bytes()
    assert not create_review_file(path, crs="EPSG:32631", info={"identity": "y"})
    assert path.read_bytes() == content
    with pytest.raises(StorageError, match="cannot write"):
        create_review_file(scene / "no" / "review.gpkg", crs=None, info={})
