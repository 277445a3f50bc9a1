"""``changedet.train``, ``evaluate`` and ``predict``: the whole way in Python, with string paths."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from PIL import Image

import changedet
from changedet.errors import ChangeDetError, ConfigError
from changedet.evaluation.request import EvaluationRequest
from changedet.inference.detector import Prediction
from changedet.predict.images import PredictionReport
from changedet.predict.request import SceneReport, SceneRequest
from changedet.training.request import TrainRequest

TINY = {
    "model.encoder": "test_efficientnet",
    "model.encoder_weights": "none",
    "model.head_width": 16,
    "training.epochs": 1,
    "training.batch_size": 1,
    "data.crop_px": 64,
    "data.workers": 0,
}


@pytest.fixture(scope="module")
def pairs(pairs_folder: Path) -> str:
    return str(pairs_folder)


@pytest.fixture(scope="module")
def trained(pairs: str, tmp_path_factory: pytest.TempPathFactory):
    out = str(tmp_path_factory.mktemp("run") / "run")
    return changedet.train(pairs, out, recipe="small", settings=TINY, device="cpu")


def test_a_model_is_trained_and_evaluated_in_two_calls(trained, pairs: str, tmp_path: Path):
    assert trained.path.name == "best.safetensors"
    assert trained.signal is None
    out = str(tmp_path / "judged")
    results = changedet.evaluate(str(trained.path), pairs, out=out, device="cpu", panels=0)
    written = json.loads((tmp_path / "judged" / "metrics.json").read_text())
    assert results.to_dict() == written
    assert changedet.read_results(out + "/metrics.json").kind == "evaluation"
    with pytest.raises(ConfigError, match="unknown setting 'panel'; did you mean 'panels'"):
        changedet.evaluate(str(trained.path), pairs, out=out, panel=0)


def test_settings_are_changed_as_on_the_command_line(tmp_path: Path):
    for settings in ({"training.epocs": 1}, ["training.epocs=1"]):
        with pytest.raises(ConfigError, match="unknown key 'epocs'; did you mean 'epochs'"):
            changedet.train(str(tmp_path), str(tmp_path / "run"), settings=settings)


def test_two_images_are_predicted_in_memory(trained, pairs: str):
    before, after = (f"{pairs}/test/{part}/000.png" for part in "AB")
    found = changedet.predict(before, after, model=str(trained.path), threshold=0.1, device="cpu")
    assert isinstance(found, Prediction)
    detector = changedet.load(str(trained.path), device="cpu")
    again = changedet.predict(np.asarray(Image.open(before)), after, model=detector)
    np.testing.assert_array_equal(found.score, again.score)
    assert (found.threshold, again.threshold) == (0.1, detector.threshold)


def test_images_and_folders_are_predicted_to_files(pairs: str, tmp_path: Path):
    model = "baseline:cva"
    files = [f"{pairs}/test/{part}/000.png" for part in "AB"]
    one = changedet.predict(*files, model=model, out=str(tmp_path / "1"))
    assert isinstance(one, PredictionReport)
    many = changedet.predict(
        f"{pairs}/test/A", Path(f"{pairs}/test/B"), model=model, out=tmp_path / "2"
    )
    assert len(many.pairs) == 2
    np.testing.assert_array_equal(
        *(np.asarray(Image.open(tmp_path / name / "mask.png")) for name in ("1", "2/000"))
    )


def write_raster(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir()
    count, height, width = pixels.shape
    place = Affine(2.0, 0.0, 500_000.0, 0.0, -2.0, 5_400_000.0)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=count,
        height=height,
        width=width,
        dtype=pixels.dtype,
        crs="EPSG:32633",
        transform=place,
    ) as raster:
        raster.write(pixels)


def test_rasters_are_predicted_to_files(tmp_path: Path):
    ground = np.random.default_rng(0).integers(40, 60, (3, 40, 50)).astype(np.uint8)
    changed = ground.copy()
    changed[:, 10:20, 10:20] += 150
    for folder, pixels in (("A", ground), ("B", changed)):
        write_raster(tmp_path / folder / "x.tif", pixels)
    before, after = str(tmp_path / "A"), str(tmp_path / "B")
    said: list[str] = []
    scene = changedet.predict(
        f"{before}/x.tif",
        Path(after) / "x.tif",
        model="baseline:cva",
        out=str(tmp_path / "one"),
        bands=(1, 2),
        say=said.append,
    )
    assert isinstance(scene, SceneReport)
    with rasterio.open(tmp_path / "one" / "mask.tif") as mask:
        assert (mask.read(1)[10:20, 10:20] == 1).all()
    assert 100 <= scene.counts.changed < 120
    assert said
    both = changedet.predict(before, after, model="baseline:cva", out=str(tmp_path / "both"))
    assert 100 <= both["x"].counts.changed < 120


def test_the_package_of_the_same_name_stays_what_it_was():
    package = importlib.import_module("changedet.predict")
    assert package is changedet.predict
    assert callable(package)
    assert package.__path__
    assert importlib.import_module("changedet.predict.rasters").predict_scene
    assert changedet.predict.rasters.predict_scene is changedet.predict_scene


def test_mistakes_are_told_before_anything_is_opened(tmp_path: Path):
    with pytest.raises(ConfigError, match="`bands` is for results as files; set `out`"):
        changedet.predict("a.png", "b.png", model="nothing.safetensors", bands=(1,))
    with pytest.raises(ConfigError, match="with `out`, images are given as paths"):
        changedet.predict(np.zeros((4, 4, 3)), "b.png", model="baseline:cva", out=tmp_path)
    with pytest.raises(ChangeDetError):
        changedet.predict("a.png", "b.png", model="nothing.safetensors")


def test_strings_in_requests_become_paths():
    request = EvaluationRequest("baseline:cva", "data", "out")
    assert (request.model, request.data, request.out) == ("baseline:cva", Path("data"), Path("out"))
    training = TrainRequest("run", data="data")
    assert (training.out, training.data, training.init) == (Path("run"), Path("data"), None)


def test_paths_in_requests_for_places_become_strings():
    request = SceneRequest(Path("a.tif"), Path("b.tif"), "baseline:cva", "out")
    assert (request.before, request.after, request.out) == ("a.tif", "b.tif", Path("out"))
