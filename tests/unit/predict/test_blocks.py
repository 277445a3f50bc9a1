"""A scene in blocks is, bit by bit, the scene as a whole."""

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio

from archives import same_maps, write_tile
from changedet.errors import StorageError
from changedet.inference.detector import Detector
from changedet.inference.opening import open_detector
from changedet.inference.torch_scorer import TorchScorer
from changedet.predict.blocks import cut, cut_scene, is_large, join_blocks, score_block
from changedet.predict.rasters import predict_scene
from changedet.predict.request import SceneRequest
from changedet.predict.watch import InputChangedError
from changedet.raster.geo_grid import Window
from changedet.raster.tile_plan import TilePlan
from stand_ins import untrained_scene_model

pytestmark = pytest.mark.usefixtures("few_shift_tiles")


@pytest.fixture(scope="module")
def detector() -> Detector:
    network, card = untrained_scene_model()
    return Detector(TorchScorer(network, card, device="cpu"))


@pytest.fixture
def scene(tmp_path: Path) -> SceneRequest:
    before = write_tile(tmp_path / "before.tif", 1, changed=False, size=(330, 200))
    after = write_tile(tmp_path / "after.tif", 1, changed=True, size=(330, 200))
    return SceneRequest(
        str(before), str(after), None, tmp_path / "joined", batch_size=3, tile_px=64
    )


def in_blocks(request: SceneRequest, detector: Detector, folder: Path, *, block_px: int) -> int:
    """Predict block by block, each as if on another machine; give the number of blocks."""
    cut_up = pickle.loads(pickle.dumps(cut_scene(request, detector, block_px=block_px)))
    files, scored = [], []
    # The order in which they are done does not matter.
    for number in reversed(range(len(cut_up.blocks))):
        place = folder / str(number)
        place.mkdir(parents=True)
        path, done = score_block(request, detector, cut_up, number=number, folder=place)
        files.insert(0, path)
        scored.insert(0, done)
    join_blocks(request, detector, cut_up, files=files, scored=scored)
    return len(files)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"overlap_px": 48},
        {"overlap_px": 0},
        {"coregister": "global"},
        {"stretch": "auto"},
        {"region": "501010,4999850,501090,4999990"},
        {"polygons_min": 0.0},
    ],
    ids=str,
)
def test_blocks_are_joined_to_what_the_whole_scene_gives(
    scene: SceneRequest, detector: Detector, tmp_path: Path, settings: dict
) -> None:
    if "polygons_min" in settings:
        polygons = replace(scene.polygons, min_area=settings["polygons_min"])
        request = replace(scene, polygons=polygons)
    else:
        request = replace(scene, **settings)
    assert in_blocks(request, detector, tmp_path / "blocks", block_px=200 * 90) > 1
    predict_scene(replace(request, out=tmp_path / "whole"), detector=detector)
    assert same_maps(tmp_path / "joined", tmp_path / "whole")


def test_pixels_without_data_are_left_out_at_seams_too(
    scene: SceneRequest, detector: Detector, tmp_path: Path
) -> None:
    with rasterio.open(scene.after, "r+") as file:
        pixels = file.read()
        pixels[:, 60:150, 20:130] = 0
        pixels[:, 280:, :] = 0
        file.write(pixels)
        file.nodata = 0
    assert in_blocks(scene, detector, tmp_path / "blocks", block_px=200 * 60) > 2
    report = predict_scene(replace(scene, out=tmp_path / "whole"), detector=detector)
    assert report.counts.nodata >= 90 * 110 + 50 * 200
    assert same_maps(tmp_path / "joined", tmp_path / "whole")


def test_what_is_measured_is_measured_once(
    scene: SceneRequest,
    detector: Detector,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from changedet.predict import measures

    calls = []
    real: Callable = measures.estimate_shift
    monkeypatch.setattr(measures, "estimate_shift", lambda *given: calls.append(1) or real(*given))
    in_blocks(scene, detector, tmp_path / "blocks", block_px=200 * 60)
    assert len(calls) == 1


def test_an_input_that_has_changed_since_is_noticed(
    scene: SceneRequest, detector: Detector, tmp_path: Path
) -> None:
    cut_up = cut_scene(scene, detector, block_px=200 * 90)
    write_tile(Path(scene.after), 1, changed=False, size=(330, 200))
    with pytest.raises(InputChangedError, match="it is cut anew"):
        score_block(scene, detector, cut_up, number=0, folder=tmp_path)


def test_a_block_that_is_cut_short_is_noticed(
    scene: SceneRequest, detector: Detector, tmp_path: Path
) -> None:
    cut_up = cut_scene(scene, detector, block_px=200 * 330)
    path, done = score_block(scene, detector, cut_up, number=0, folder=tmp_path)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(StorageError, match="cut short"):
        join_blocks(scene, detector, cut_up, files=[path], scored=[done])
    assert not (scene.out / "score.tif").exists()


def test_only_large_scenes_of_networks_are_cut(scene: SceneRequest, detector: Detector) -> None:
    assert is_large(scene, detector, split_px=330 * 200 - 1)
    assert not is_large(scene, detector, split_px=330 * 200)
    # It measures the scene that it scores.
    assert not is_large(scene, open_detector("baseline:cva"), split_px=1)


@pytest.mark.parametrize("block_px", [1, 50_000, 400_000, 10**9])
@pytest.mark.parametrize("target", [Window(0, 0, 1000, 700), Window(130, 30, 500, 333)])
def test_blocks_cover_the_target_once_and_begin_where_rows_of_tiles_do(
    block_px: int, target: Window
) -> None:
    plan = TilePlan((1000, 700), (64, 64), 16, target)
    blocks = cut(plan, block_px=block_px)
    assert {(block.left, block.width) for block in blocks} == {(target.left, target.width)}
    rows = np.concatenate([np.arange(block.top, block.bottom) for block in blocks])
    assert np.array_equal(rows, np.arange(target.top, target.bottom))
    assert all(block.top in plan.tops for block in blocks[1:])
    assert 1 <= len(blocks) <= max(1, -(-target.height * target.width // block_px))
    assert len(blocks) > 1 or block_px > target.height * target.width // 2
