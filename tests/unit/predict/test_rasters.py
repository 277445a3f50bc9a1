import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyogrio
import pytest
import rasterio
import torch
from affine import Affine
from PIL import Image
from rasterio.warp import Resampling, calculate_default_transform, reproject

from changedet.card import ModelCard
from changedet.domain import Appearance, Domain, ValueRange
from changedet.errors import CheckpointError, ConfigError, DataError, StorageError
from changedet.inference import opening as opening_module
from changedet.inference.detector import Detector
from changedet.inference.scorer import HostScorer
from changedet.inference.torch_scorer import TorchScorer
from changedet.models.model_file import save_model
from changedet.palette import OUTLINE_COLOUR
from changedet.predict.flow import TilesDone
from changedet.predict.rasters import predict_scene
from changedet.predict.request import SceneReport, SceneRequest
from changedet.rendering.preview import preview_frame
from changedet.selection import Selection
from changedet.types import Normalisation, TestTime
from changedet.vector.files import PolygonOptions
from stand_ins import Broken, Difference, untrained_network

pytestmark = pytest.mark.usefixtures("few_shift_tiles")
UTM = Affine(2.0, 0.0, 500_000.0, 0.0, -2.0, 5_400_000.0)
HEIGHT, WIDTH = 220, 260
CHANGE = np.s_[60:100, 80:140]
STATS = Normalisation((0.0,) * 3, (0.0,) * 3, (255.0,) * 3, (255.0,) * 3)
ALL = {
    "score.tif",
    "mask.tif",
    "polygons.gpkg",
    "preview.png",
    "item.json",
    "summary.json",
    "score.qml",
    "mask.qml",
    "polygons.qml",
}


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    card = ModelCard(
        "stub",
        {},
        STATS,
        tile_px=64,
        threshold=0.3,
        threshold_selection=Selection("other", text="a test"),
    )
    monkeypatch.setattr(
        opening_module,
        "load",
        lambda path, device, test_time, kind=None, **_: Detector(
            TorchScorer(Difference(), card, device="cpu", test_time=test_time, kind=kind),
            path=Path(path),
        ),
    )
    monkeypatch.setattr("changedet.predict.tiling._LARGE_TILE_PX", 64)
    path = tmp_path / "stub.safetensors"
    path.write_bytes(b"stub")
    return path


def texture(seed: int = 0) -> np.ndarray:
    """Smooth random ground, (3, H, W), as an image of the ground is."""
    coarse = np.random.default_rng(seed).integers(40, 100, (3, HEIGHT // 4 + 2, WIDTH // 4 + 2))
    fine = np.repeat(np.repeat(coarse, 4, axis=1), 4, axis=2)[:, : HEIGHT + 2, : WIDTH + 2]
    smooth = sum(fine[:, y : y + HEIGHT, x : x + WIDTH] for y in range(3) for x in range(3)) // 9
    return smooth.astype(np.uint8)


def changed(ground: np.ndarray) -> np.ndarray:
    after = ground.copy()
    after[:, *CHANGE] += 120
    return after


def write(path: Path, pixels: np.ndarray, **profile: object) -> str:
    usual = {
        "driver": "GTiff",
        "count": len(pixels),
        "height": pixels.shape[1],
        "width": pixels.shape[2],
        "dtype": pixels.dtype,
        "crs": "EPSG:32633",
        "transform": UTM,
    }
    with rasterio.open(path, "w", **{**usual, **profile}) as raster:
        raster.write(pixels)
    return str(path)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[str, str]:
    ground = texture()
    return (
        write(tmp_path / "before.tif", ground),
        write(tmp_path / "after.tif", changed(ground)),
    )


@pytest.fixture
def run(tmp_path: Path, model: Path, pair: tuple[str, str]) -> Callable[..., SceneReport]:
    def call(out: str = "out", **options: object) -> SceneReport:
        say = options.pop("say", lambda text: None)
        progress = options.pop("progress", None)
        usual = {"before": pair[0], "after": pair[1], "model": model, "device": "cpu"}
        request = SceneRequest(out=tmp_path / out, **{**usual, **options})
        return predict_scene(request, say=say, progress=progress)

    return call


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as raster:
        return raster.read(1)


def truth() -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[CHANGE] = 1
    return mask


def test_a_pair_gives_every_product_with_the_georeference_of_before(tmp_path: Path, run):
    report = run()
    out = tmp_path / "out"
    assert {path.name for path in out.iterdir()} == ALL
    for name in ("score.tif", "mask.tif"):
        with rasterio.open(out / name) as raster:
            assert raster.crs == "EPSG:32633"
            assert raster.transform == UTM
            assert raster.shape == (HEIGHT, WIDTH)
    np.testing.assert_array_equal(read(out / "mask.tif"), truth())
    assert report.counts.changed == truth().sum()
    table = pyogrio.raw.read(out / "polygons.gpkg")
    assert len(table[2]) == 1 == report.polygons.count
    # UTM draws lengths up to 0.04 % short; the area is that on the ellipsoid.
    assert report.polygons.area_m2 == pytest.approx(truth().sum() * 4, rel=2e-3)


def test_the_preview_outlines_the_change_at_its_place(tmp_path: Path, run):
    run()
    with Image.open(tmp_path / "out" / "preview.png") as image:
        picture = np.asarray(image)
    width, height = (frame := preview_frame((HEIGHT, WIDTH))).size
    left, top = frame.corner(3)
    lines = (picture[top:, left : left + width] == np.array(OUTLINE_COLOUR)).all(axis=-1)
    # Without the key below the picture.
    lines = lines[: height + 27]
    rows, columns = (np.flatnonzero(lines.any(axis=axis)) for axis in (1, 0))
    scale = width / WIDTH
    # The picture begins somewhere below its caption.
    assert rows[-1] - rows[0] == pytest.approx(40 * scale, abs=2)
    assert columns[[0, -1]] == pytest.approx(np.array([80, 140]) * scale, abs=2)


def test_the_mask_is_the_score_cut_at_the_threshold(tmp_path: Path, run):
    report = run(threshold=0.011)
    score = read(tmp_path / "out" / "score.tif")
    np.testing.assert_array_equal(read(tmp_path / "out" / "mask.tif"), score >= np.float32(0.011))
    assert report.threshold_source == "set by the user"


def test_the_summary_holds_inputs_coverage_shift_speed_and_memory(tmp_path: Path, run):
    said: list[str] = []
    report = run(say=said.append)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary == json.loads(json.dumps(report.content))
    assert summary["coverage"] == {"before": 1.0, "after": 1.0}
    assert summary["inputs"]["before"]["location"].endswith("before.tif")
    assert summary["inputs"]["after"]["dtype"] == "uint8"
    assert summary["grid"]["crs_code"] == "EPSG:32633"
    assert summary["nodata_share"] == 0.0
    assert summary["request"]["resampling"] == "bilinear"
    assert summary["request"]["threshold"] == 0.3
    assert summary["shift"]["tiles_used"] >= 3
    assert abs(summary["shift"]["down_px"]) < 0.1
    assert summary["pixels"]["all"] == HEIGHT * WIDTH
    assert summary["changed_share"] == pytest.approx(truth().mean())
    assert summary["speed"]["mpx_per_s"] > 0
    assert summary["peak_memory_mb"] > 50
    assert summary["threshold"] == {"score": 0.3, "distance": 0.6, "source": "a test"}
    assert summary["notes"] == [text for text in said if not text.startswith("writing")]
    assert any(f"common area {WIDTH}x{HEIGHT} px: 100.0 % of before" in text for text in said)
    item = json.loads((tmp_path / "out" / "item.json").read_text())
    assert {"score", "mask", "polygons", "preview"} == item["assets"].keys()
    for asset in item["assets"].values():
        path = tmp_path / "out" / asset["href"]
        assert asset["file:checksum"] == f"1220{hashlib.sha256(path.read_bytes()).hexdigest()}"
    origins = [link["href"] for link in item["links"] if link["rel"] == "derived_from"]
    assert [origin.rsplit("/", 1)[1] for origin in origins] == ["before.tif", "after.tif"]
    assert item["properties"]["changedet:model"] == summary["model"]


def warped_after(path: Path, pixels: np.ndarray) -> str:
    """The second date in longitude and latitude, finer, on a grid of its own."""
    bounds = rasterio.transform.array_bounds(HEIGHT, WIDTH, UTM)
    target, width, height = calculate_default_transform(
        "EPSG:32633", "EPSG:4326", WIDTH, HEIGHT, *bounds
    )
    target = target @ Affine.translation(0.3, 0.7) @ Affine.scale(0.5)
    warped = np.zeros((3, 2 * height, 2 * width), np.uint8)
    reproject(
        pixels,
        warped,
        src_transform=UTM,
        src_crs="EPSG:32633",
        dst_transform=target,
        dst_crs="EPSG:4326",
        resampling=Resampling.bilinear,
        dst_nodata=0,
    )
    return write(path, warped, crs="EPSG:4326", transform=target, nodata=0)


def test_a_date_in_another_crs_and_resolution_gives_the_same_change(tmp_path: Path, run):
    after = warped_after(tmp_path / "lonlat.tif", changed(texture()))
    report = run(after=after)
    mask = read(tmp_path / "out" / "mask.tif")
    with rasterio.open(tmp_path / "out" / "mask.tif") as raster:
        assert raster.crs == "EPSG:32633"
        down, right = ((UTM.f - raster.transform.f) / 2, (raster.transform.c - UTM.c) / 2)
    expected = truth()[round(down) :, round(right) :][: mask.shape[0], : mask.shape[1]]
    overlap = ((mask == 1) & (expected == 1)).sum() / ((mask == 1) | (expected == 1)).sum()
    assert overlap > 0.95
    assert report.shift is not None
    assert report.shift.length_px < 0.2


def test_nodata_of_either_date_is_nodata_of_the_result(tmp_path: Path, run):
    before, after = texture().clip(1), changed(texture()).clip(1)
    before[:, :30, :40] = 0
    after[:, 150:170, 200:] = 0
    run(
        before=write(tmp_path / "a.tif", before, nodata=0),
        after=write(tmp_path / "b.tif", after, nodata=0),
    )
    expected = truth()
    expected[:30, :40] = 255
    expected[150:170, 200:] = 255
    np.testing.assert_array_equal(read(tmp_path / "out" / "mask.tif"), expected)
    np.testing.assert_array_equal(np.isnan(read(tmp_path / "out" / "score.tif")), expected == 255)


def test_an_area_of_interest_gets_the_scores_of_the_whole_scene(tmp_path: Path, run):
    run("whole")
    left, top = UTM @ (70, 50)
    right, bottom = UTM @ (150, 110)
    run("part", region=f"{left},{bottom},{right},{top}")
    whole = read(tmp_path / "whole" / "score.tif")
    with rasterio.open(tmp_path / "part" / "score.tif") as raster:
        assert raster.transform @ (0, 0) == (left, top)
        np.testing.assert_array_equal(raster.read(1), whole[50:110, 70:150])


class KilledError(Exception):
    """Stands in for a kill."""


def kill_late(tiles: TilesDone) -> None:
    if tiles.done > 0.6 * tiles.total:
        raise KilledError


def visible(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if not path.name.startswith(".")]


def test_a_killed_run_leaves_nothing_visible_and_goes_on(
    tmp_path: Path, run, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("changedet.predict.flow._SAVE_EVERY_S", 0.0)
    run("whole")
    with pytest.raises(KilledError):
        run("killed", progress=kill_late)
    assert visible(tmp_path / "killed") == []
    said: list[str] = []
    begun: list[TilesDone] = []
    report = run("killed", say=said.append, progress=begun.append)
    assert any("resuming an unfinished run" in text for text in said)
    tiles = report.content["tiles"]
    assert tiles["resumed"] == begun[0].done > 0
    assert tiles["resumed"] + tiles["scored"] + tiles["empty"] == tiles["count"]
    assert {path.name for path in (tmp_path / "killed").iterdir()} == ALL
    for name in ("score.tif", "mask.tif"):
        whole, again = (read(tmp_path / folder / name) for folder in ("whole", "killed"))
        np.testing.assert_array_equal(again, whole)


@pytest.mark.parametrize("change", ["options", "raster", "scores", "rows"])
def test_an_unfinished_run_of_something_else_is_not_gone_on_with(
    tmp_path: Path, run, monkeypatch: pytest.MonkeyPatch, change: str
):
    monkeypatch.setattr("changedet.predict.flow._SAVE_EVERY_S", 0.0)
    with pytest.raises(KilledError):
        run(progress=kill_late)
    options: dict[str, object] = {}
    if change == "options":
        options = {"overlap_px": 8}
    elif change == "raster":
        write(tmp_path / "before.tif", texture(seed=7), compress="deflate")
    elif change == "scores":
        next((tmp_path / "out").rglob("score.f32")).write_bytes(b"short")
    else:
        np.save(next((tmp_path / "out").rglob("open_rows_*.npy")), np.zeros((3, 4), np.float32))
    begun: list[TilesDone] = []
    run(progress=begun.append, **options)
    assert begun[0].done == 0


def test_a_shift_is_measured_warned_of_and_corrected(tmp_path: Path, run):
    after = np.roll(changed(texture()), (3, -2), axis=(1, 2))
    shifted = write(tmp_path / "shifted.tif", after)
    said: list[str] = []
    plain = run("plain", after=shifted, say=said.append)
    assert plain.shift is not None
    assert plain.shift.down_px == pytest.approx(3.0, abs=0.2)
    assert plain.shift.right_px == pytest.approx(-2.0, abs=0.2)
    assert any('`coregister="global"`' in text for text in said)
    run("corrected", after=shifted, coregister="global", say=said.append)
    mask = read(tmp_path / "corrected" / "mask.tif")
    inner = np.s_[10:-10, 10:-10]
    agreeing = (mask == truth())[inner].mean()
    assert agreeing > 0.99
    assert agreeing > (read(tmp_path / "plain" / "mask.tif") == truth())[inner].mean()


def test_without_any_common_data_nothing_is_left(tmp_path: Path, run):
    empty = write(tmp_path / "empty.tif", np.zeros((3, HEIGHT, WIDTH), np.uint8), nodata=0)
    with pytest.raises(DataError, match=r"no pixel .*has data.*nodata"):
        run(after=empty)
    assert not (tmp_path / "out").exists()


def test_polygon_options_reach_the_file(tmp_path: Path, run):
    report = run(polygons=PolygonOptions(format="geojson", min_area=1e6))
    assert report.polygons.count == 0
    assert report.polygons.dropped == 1
    assert json.loads((tmp_path / "out" / "polygons.geojson").read_text())["features"] == []


def test_earlier_results_are_replaced_only_when_told(tmp_path: Path, run):
    run()
    before = (tmp_path / "out" / "summary.json").stat().st_mtime_ns
    with pytest.raises(ConfigError, match='`existing="replace"`'):
        run()
    run(existing="replace", threshold=0.5)
    assert (tmp_path / "out" / "summary.json").stat().st_mtime_ns > before
    assert {path.name for path in (tmp_path / "out").iterdir()} == ALL


def test_a_disk_without_room_is_found_out_before_anything_is_scored(
    tmp_path: Path, run, monkeypatch: pytest.MonkeyPatch
):
    usage = SimpleNamespace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(StorageError, match=r"need up to .* MB .*make room"):
        run()
    assert not (tmp_path / "out").exists()


def test_the_effect_of_another_tile_size_on_a_model_that_attends_is_told(
    tmp_path: Path, pair: tuple[str, str]
):
    network = untrained_network("dasnet_v2", attention="dual")
    for name, value in network.named_parameters():
        if name.endswith("gamma"):
            value.data.fill_(0.5)
    stats = Normalisation((100.0,) * 3, (100.0,) * 3, (60.0,) * 3, (60.0,) * 3)
    card = ModelCard("dasnet_v2", network.options, stats, tile_px=64, threshold=0.01)
    save_model(tmp_path / "attends.safetensors", network, card)
    said: list[str] = []
    report = predict_scene(
        SceneRequest(
            *pair, model=tmp_path / "attends.safetensors", out=tmp_path / "out", tile_px=128
        ),
        say=said.append,
    )
    effect = report.content["tiles"]["effect_of_size"]
    assert effect["trained_px"] == 64
    assert effect["used_px"] == 128
    assert 0 < effect["mean_difference"] < 1
    assert any("trained on tiles of 64 px" in text for text in said)


def killed(run: Callable[..., SceneReport], **options: object) -> None:
    with pytest.raises(KilledError):
        run(progress=kill_late, **options)


def start_only(tiles: TilesDone) -> None:
    raise KilledError


@pytest.fixture
def saves_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("changedet.predict.flow._SAVE_EVERY_S", 0.0)


@pytest.mark.usefixtures("saves_at_once")
def test_a_run_that_was_discarded_is_not_gone_on_with_later(tmp_path: Path, run):
    run("whole")
    killed(run)
    with pytest.raises(KilledError):
        # Other settings: what the first run did is discarded, and nothing is finished yet.
        run(progress=start_only, overlap_px=8)
    begun: list[TilesDone] = []
    run(progress=begun.append)
    assert begun[0].done == 0
    whole, again = (read(tmp_path / name / "score.tif") for name in ("whole", "out"))
    np.testing.assert_array_equal(again, whole)


def rewrite(path: str) -> None:
    """Write other pixels into a file, and leave it as old as it was."""
    status = Path(path).stat()
    with rasterio.open(path, "r+") as raster:
        raster.write(255 - raster.read())
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.usefixtures("saves_at_once")
def test_a_raster_that_changes_while_it_is_read_is_named_and_nothing_is_published(
    tmp_path: Path, run, pair: tuple[str, str]
):
    def change_late(tiles: TilesDone) -> None:
        if tiles.done == tiles.total:
            rewrite(pair[1])

    with pytest.raises(DataError, match=r"the raster after \(.*after\.tif\) changed while"):
        run(progress=change_late)
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("saves_at_once")
def test_a_raster_that_changed_since_a_kill_starts_anew(run, pair: tuple[str, str]):
    killed(run)
    rewrite(pair[0])
    said: list[str] = []
    begun: list[TilesDone] = []
    run(say=said.append, progress=begun.append)
    assert begun[0].done == 0
    assert any("changed: the content of the raster before" in text for text in said)


@pytest.mark.usefixtures("saves_at_once")
def test_models_without_a_file_do_not_take_up_each_other_s_scenes(
    tmp_path: Path, pair: tuple[str, str]
):
    card = ModelCard("stub", {}, STATS, tile_px=64, threshold=0.3)

    def go(bias: float, **options: object) -> tuple[int, list[str]]:
        network = Difference()
        network.register_buffer("bias", torch.tensor(bias))
        detector = Detector(TorchScorer(network, card, device="cpu"))
        said: list[str] = []
        begun: list[TilesDone] = []
        request = SceneRequest(*pair, model=None, out=tmp_path / "out", tile_px=64)
        told = {"say": said.append, "progress": begun.append, **options}
        predict_scene(request, detector=detector, **told)
        return begun[0].done, said

    for killer, follower, resumes in ((1.0, 1.0, True), (1.0, 2.0, False)):
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        with pytest.raises(KilledError):
            go(killer, progress=kill_late)
        done, said = go(follower)
        assert (done > 0) == resumes
        assert any("`model`" in text for text in said) == (not resumes)


@pytest.mark.parametrize(("strictness", "verdict"), [(0.0, "within"), (1e3, "far")])
def test_a_scene_is_compared_to_what_the_training_images_looked_like(
    tmp_path: Path, pair: tuple[str, str], strictness: float, verdict: str
):
    triangle = [strictness * (row == column) for row in range(18) for column in range(row + 1)]
    look = Appearance("town", 3, (0.0,) * 18, tuple(triangle), 1.0, 0.5, windows=40, held_out=20)
    domain = Domain(values=(ValueRange(20.0, 70.0, 120.0),) * 3, sets=(look,))
    card = ModelCard("stub", {}, STATS, tile_px=64, threshold=0.3, domain=domain)
    detector = Detector(TorchScorer(Difference(), card, device="cpu"))
    report = predict_scene(*pair, detector=detector, out=tmp_path / "out")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    found = summary["domain_distance"]
    assert (found["nearest"], found["verdict"]) == ("town", verdict)
    assert 1 < found["windows"] <= 16
    (said,) = [remark for remark in report.remarks if "what the model was made on" in remark.text]
    assert said.severity == ("note" if verdict == "within" else "warning")


def test_settings_beside_a_request_are_refused(tmp_path: Path, pair: tuple[str, str]):
    request = SceneRequest(*pair, model="baseline:difference", out=tmp_path / "out")
    with pytest.raises(ConfigError, match=r"holds all settings; after, threshold beside it"):
        predict_scene(request, pair[1], threshold=0.5)


@pytest.mark.usefixtures("saves_at_once")
def test_another_area_in_the_same_file_starts_anew(tmp_path: Path, run):
    def write_area(corners: list[tuple[int, int]]) -> None:
        ring = [UTM @ corner for corner in (*corners, corners[0])]
        area = {"type": "Polygon", "coordinates": [ring]}
        (tmp_path / "area.geojson").write_text(
            json.dumps(
                {
                    "type": "FeatureCollection",
                    "crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32633"}},
                    "features": [{"type": "Feature", "properties": {}, "geometry": area}],
                }
            )
        )

    write_area([(20, 20), (200, 20), (200, 200), (20, 200)])
    killed(run, region=str(tmp_path / "area.geojson"))
    write_area([(110, 20), (200, 110), (110, 200), (20, 110)])
    said: list[str] = []
    begun: list[TilesDone] = []
    run(region=str(tmp_path / "area.geojson"), say=said.append, progress=begun.append)
    assert begun[0].done == 0
    assert any(
        "discarding the unfinished run: these settings changed: `region`" in text for text in said
    )
    assert np.isnan(read(tmp_path / "out" / "score.tif")[0, 0])


def test_two_runs_cannot_work_in_one_folder(tmp_path: Path, run):
    def second(tiles: TilesDone) -> None:
        with pytest.raises(ConfigError, match=r"another run is writing to .*`out`"):
            run()

    run(progress=second)
    assert {path.name for path in (tmp_path / "out").iterdir()} == ALL


def test_replacing_results_leaves_the_users_own_files_alone(tmp_path: Path, run):
    run()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    (tmp_path / "out" / "mine").mkdir()
    run(existing="replace", polygons=PolygonOptions(format="geojson"))
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == ALL - {"polygons.gpkg"} | {"polygons.geojson", "notes.txt", "mine"}


@pytest.mark.usefixtures("saves_at_once")
def test_a_fuller_disk_does_not_cost_the_finished_rows(
    tmp_path: Path, run, monkeypatch: pytest.MonkeyPatch
):
    killed(run)
    with monkeypatch.context() as full:
        full.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
        with pytest.raises(StorageError, match="make room"):
            run()
    begun: list[TilesDone] = []
    run(progress=begun.append)
    assert begun[0].done > 0


@pytest.mark.usefixtures("saves_at_once")
def test_products_that_a_kill_left_half_written_are_not_published(tmp_path: Path, run):
    killed(run)
    left = next((tmp_path / "out").rglob("products"))
    (left / "polygons.gpkg").write_text("half")
    (left / ".polygons.gpkg.1.part").write_text("half")
    run(polygons=PolygonOptions(format="geojson"))
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == ALL - {"polygons.gpkg"} | {"polygons.geojson"}


@pytest.mark.parametrize("moves", [0, 1, 5])
@pytest.mark.parametrize("existing", ["refuse", "replace"])
def test_a_kill_while_results_are_moved_is_made_good_by_the_next_run(
    tmp_path: Path, run, monkeypatch: pytest.MonkeyPatch, moves: int, existing: str
):
    if existing == "replace":
        run(threshold=0.9)
    rename = Path.rename
    done = []

    def die(self: Path, target: Path) -> Path:
        if self.parent.name == "products" or ".old" in str(target):
            if len(done) >= moves:
                raise KilledError
            done.append(self.name)
        return rename(self, target)

    with monkeypatch.context() as dying:
        dying.setattr(Path, "rename", die)
        with pytest.raises(KilledError):
            run(existing=existing)
    with pytest.raises(ConfigError, match="results of another run"):
        run()
    assert {path.name for path in (tmp_path / "out").iterdir()} == ALL
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["threshold"]["score"] == 0.3


def test_an_area_that_holds_no_pixel_is_refused(tmp_path: Path, run):
    left, top = UTM @ (70.1, 50.1)
    with pytest.raises(DataError, match=r"contains no pixel centre.*`region_crs`"):
        run(region=f"{left},{top - 0.2},{left + 0.2},{top}")
    assert not (tmp_path / "out").exists()


def test_an_area_that_reaches_out_of_the_scene_is_said(tmp_path: Path, run):
    left, top = UTM @ (-100, 0)
    right, bottom = UTM @ (100, 100)
    said: list[str] = []
    run(region=f"{left},{bottom},{right},{top}", say=said.append)
    assert any("50.0 % of the area of interest lies outside" in text for text in said)
    assert read(tmp_path / "out" / "score.tif").shape == (100, 100)


def test_a_place_that_cannot_be_written_is_found_out_first(tmp_path: Path, run):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"cannot write to .*`out`"):
        run("file/out", model=tmp_path / "gone.safetensors")


@pytest.fixture
def trained_on_bands(model: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def know(before: tuple[int, ...], after: tuple[int, ...] | None = None) -> None:
        card = ModelCard(
            "stub", {}, STATS, threshold=0.3, source_bands=before, source_bands_after=after
        )
        monkeypatch.setattr(
            opening_module,
            "load",
            lambda path, device, test_time, kind=None, **_: Detector(
                TorchScorer(Difference(), card, device="cpu", test_time=test_time, kind=kind),
                path=Path(path),
            ),
        )

    return know


def test_bands_of_the_training_are_read_unless_others_are_asked_for(run, trained_on_bands):
    trained_on_bands((3, 2, 1))
    report = run("trained")
    assert report.content["inputs"]["before"]["bands"] == [3, 2, 1]
    assert report.content["inputs"]["after"]["bands"] == [3, 2, 1]
    assert any("reading bands 3,2,1, as in training" in n for n in report.content["notes"])

    asked = run("asked", bands=(1, 2, 3))
    assert asked.content["inputs"]["before"]["bands"] == [1, 2, 3]
    assert not any("as in training" in note for note in asked.content["notes"])

    trained_on_bands((3, 2, 1), (1, 3, 2))
    report = run("two")
    assert report.content["inputs"]["after"]["bands"] == [1, 3, 2]
    assert any(
        "reading bands 3,2,1 (after: 1,3,2), as in training" in n for n in report.content["notes"]
    )


def test_rasters_without_the_bands_of_the_training_are_warned_of(run, trained_on_bands):
    trained_on_bands((3, 2, 1), (5, 2, 1))
    report = run()
    assert report.content["inputs"]["before"]["bands"] == [1, 2, 3]
    warning = next(note for note in report.content["notes"] if note.startswith("warning"))
    assert "bands 3,2,1 (after: 5,2,1)" in warning
    assert "after.tif has 3" in warning
    assert "`bands`" in warning


@pytest.mark.usefixtures("saves_at_once")
def test_another_test_time_augmentation_starts_anew_and_is_named(tmp_path: Path, run):
    killed(run, test_time="turns")
    said: list[str] = []
    begun: list[TilesDone] = []
    report = run(test_time="flips", say=said.append, progress=begun.append)
    assert begun[0].done == 0
    assert any(
        "discarding the unfinished run: these settings changed: `test_time`" in text
        for text in said
    )
    assert report.content["request"]["test_time"] == "flips"
    killed(run, out="again", test_time="flips")
    run("again", test_time="flips", progress=begun.append)
    assert begun[-1].done > 0


def test_the_models_own_augmentation_is_used_and_noted(run, monkeypatch: pytest.MonkeyPatch):
    card = ModelCard("stub", {}, STATS, tile_px=64, threshold=0.3, test_time="flips")
    models: list[Difference] = []

    def load(
        path: Path, device: str, test_time: TestTime | None, kind: str | None = None, **_: object
    ) -> Detector:
        models.append(Difference())
        return Detector(TorchScorer(models[-1], card, device="cpu", test_time=test_time), path=path)

    monkeypatch.setattr(opening_module, "load", load)
    own, without = run("own"), run("without", test_time="none")
    assert own.content["request"]["test_time"] == "flips"
    assert without.content["request"]["test_time"] == "none"
    assert len(models[0].shapes) == 4 * len(models[1].shapes)


class NumPyDifference(HostScorer):
    """Knows nothing of PyTorch."""

    card = ModelCard("stand-in", {}, STATS, tile_px=64, threshold=0.3)
    in_channels, stride, fixed_tile = 3, 8, False
    test_time: TestTime = "none"

    def score(self, before: Sequence[np.ndarray], after: Sequence[np.ndarray]) -> np.ndarray:
        first, second = (
            (np.stack(tiles) - np.float32(mean)) / np.float32(std)
            for tiles, mean, std in (
                (before, STATS.mean_before[0], STATS.std_before[0]),
                (after, STATS.mean_after[0], STATS.std_after[0]),
            )
        )
        return np.abs(second - first).mean(-1).clip(0.0, 1.0)


def test_any_scorer_serves_a_scene_as_the_network_does(
    tmp_path: Path, run, pair: tuple[str, str]
) -> None:
    run("network")
    report = predict_scene(
        *pair, detector=Detector(NumPyDifference()), out=tmp_path / "numpy", tile_px=64
    )
    assert report.content["model"]["architecture"] == "stand-in"
    assert report.content["model"]["sha256"] is None
    for name in ("score.tif", "mask.tif"):
        ours, theirs = (read(tmp_path / out / name) for out in ("numpy", "network"))
        np.testing.assert_allclose(ours, theirs, atol=1.01 / 8192)


def test_a_scene_may_be_asked_for_by_names(
    tmp_path: Path, run, pair: tuple[str, str], model: Path
) -> None:
    run("asked", threshold=0.4)
    by_name = predict_scene(
        *pair, model=str(model), out=str(tmp_path / "named"), threshold=0.4, device="cpu"
    )
    assert by_name.threshold == 0.4
    np.testing.assert_array_equal(
        read(tmp_path / "named" / "mask.tif"), read(tmp_path / "asked" / "mask.tif")
    )
    with pytest.raises(ConfigError, match="unknown setting 'treshold'; did you mean 'threshold'"):
        predict_scene(*pair, model=model, out=tmp_path / "typo", treshold=0.4)
    with pytest.raises(ConfigError, match="needs two rasters"):
        predict_scene(pair[0], model=model, out=tmp_path / "one")
    with pytest.raises(ConfigError, match="neither a model nor a detector"):
        predict_scene(*pair, out=tmp_path / "none")


def test_scores_that_are_no_numbers_are_an_error_and_nothing_is_published(
    run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    card = ModelCard("stub", {}, STATS, tile_px=64, threshold=0.3)
    scorer = TorchScorer(Broken(np.nan), card, device="cpu", source="stub.safetensors")
    monkeypatch.setattr(opening_module, "load", lambda *_, **__: Detector(scorer))
    with pytest.raises(CheckpointError, match=r"^stub\.safetensors gives scores"):
        run()
    assert not (tmp_path / "out").exists()
