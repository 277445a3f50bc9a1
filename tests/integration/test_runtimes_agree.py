"""One scene in every runtime: the same change map, and an unfinished scene goes on."""

from pathlib import Path

import numpy as np
import pytest
import rasterio

from changedet._optional import ONNX_RUNTIME, OPENVINO
from changedet.predict.flow import TilesDone
from changedet.predict.rasters import predict_scene
from changedet.predict.request import SceneReport, SceneRequest
from changedet.types import Arithmetic, Runtime
from conftest import write_raster

MODEL = Path(__file__).parents[2] / "models" / "pyramid_small_clcd"
HEIGHT, WIDTH = 352, 416
#: Roofs on fields: top, left and side in pixels.
BLOCKS = ((40, 40, 128), (200, 240, 96), (60, 260, 64), (230, 60, 80))

WAYS: tuple[tuple[Runtime, Arithmetic, float], ...] = (
    ("onnx", "float32", 0.9999),
    ("openvino", "float32", 0.9999),
    ("openvino", "bf16", 0.998),
)
pytestmark = pytest.mark.slow
needs = {
    "onnx": pytest.mark.skipif(not ONNX_RUNTIME.is_installed, reason="needs ONNX Runtime"),
    "openvino": pytest.mark.skipif(not OPENVINO.is_installed, reason="needs OpenVINO"),
}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Fields with furrows, and later some blocks as bright as roofs in them."""
    random = np.random.default_rng(0)
    fields = random.integers(0, 3, (-(-HEIGHT // 64), -(-WIDTH // 64)))
    kinds = np.kron(fields, np.ones((64, 64), int))[:HEIGHT, :WIDTH]
    ground = np.array([[90, 120, 60], [120, 110, 70], [70, 100, 55]])[kinds]
    ground = ground + 12 * (np.arange(WIDTH) // 8 % 2)[None, :, None]
    before = ground + random.normal(0, 6, ground.shape)
    after = ground * random.uniform(0.9, 1.1) + random.normal(0, 6, ground.shape)
    for top, left, side in BLOCKS:
        roofs = random.normal(190, 12, (side, side, 3))
        after[top : top + side, left : left + side] = roofs
    folder = tmp_path_factory.mktemp("scenes")
    for name, image in (("before", before), ("after", after)):
        write_raster(folder / f"{name}.tif", np.clip(image, 0, 255).astype(np.uint8))
    return str(folder / "before.tif"), str(folder / "after.tif")


def predict(
    scenes: tuple[str, str],
    out: Path,
    *,
    runtime: Runtime,
    precision: Arithmetic = "float32",
    **options: object,
) -> SceneReport:
    ending = ".safetensors" if runtime == "torch" else ".onnx"
    request = SceneRequest(
        *scenes,
        model=str(MODEL) + ending,
        out=out,
        tile_px=128,
        device="cpu",
        test_time="none",
        runtime=runtime,
        precision=precision,
    )
    return predict_scene(request, **options)


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as raster:
        return raster.read(1)


@pytest.fixture(scope="module")
def in_torch(scenes: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torch")
    out = tmp_path_factory.mktemp("torch") / "scene"
    predict(scenes, out, runtime="torch")
    mask = read(out / "mask.tif")
    assert 0.01 < (mask == 1).mean() < 0.99, "equal maps would agree with anything"
    return out


@pytest.mark.parametrize(
    ("runtime", "precision", "share"),
    [pytest.param(*way, marks=needs[way[0]], id=f"{way[0]}-{way[1]}") for way in WAYS],
)
def test_masks_of_a_scene_are_those_of_pytorch(
    scenes: tuple[str, str],
    in_torch: Path,
    tmp_path: Path,
    runtime: Runtime,
    precision: Arithmetic,
    share: float,
):
    report = predict(scenes, tmp_path / "scene", runtime=runtime, precision=precision)
    lower = "" if precision == "float32" else f" ({precision})"
    assert report.content["runtime"] == f"{runtime}{lower}"
    wanted, given = read(in_torch / "mask.tif"), read(tmp_path / "scene" / "mask.tif")
    assert np.mean(wanted == given) >= share


class KilledError(Exception):
    """Stands in for a kill."""


def kill_late(tiles: TilesDone) -> None:
    if tiles.done > 0.6 * tiles.total:
        raise KilledError


@pytest.mark.parametrize("runtime", [pytest.param(name, marks=needs[name]) for name in needs])
def test_an_unfinished_scene_goes_on_in_the_same_runtime(
    scenes: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runtime: Runtime
):
    monkeypatch.setattr("changedet.predict.flow._SAVE_EVERY_S", 0.0)
    predict(scenes, tmp_path / "whole", runtime=runtime)
    with pytest.raises(KilledError):
        predict(scenes, tmp_path / "killed", runtime=runtime, progress=kill_late)
    assert not [path for path in (tmp_path / "killed").iterdir() if path.name[0] != "."]
    said: list[str] = []
    tiles = predict(scenes, tmp_path / "killed", runtime=runtime, say=said.append).content["tiles"]
    assert any("resuming an unfinished run" in text for text in said)
    assert 0 < tiles["resumed"] < tiles["count"]
    assert tiles["resumed"] + tiles["scored"] + tiles["empty"] == tiles["count"]
    for name in ("score.tif", "mask.tif"):
        np.testing.assert_array_equal(
            read(tmp_path / "killed" / name), read(tmp_path / "whole" / name)
        )


@needs["onnx"]
@needs["openvino"]
def test_another_runtime_does_not_go_on_with_what_one_began(
    scenes: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("changedet.predict.flow._SAVE_EVERY_S", 0.0)
    with pytest.raises(KilledError):
        predict(scenes, tmp_path / "scene", runtime="onnx", progress=kill_late)
    said: list[str] = []
    tiles = predict(scenes, tmp_path / "scene", runtime="openvino", say=said.append).content[
        "tiles"
    ]
    assert tiles["resumed"] == 0
    assert any("`runtime`" in text for text in said)
