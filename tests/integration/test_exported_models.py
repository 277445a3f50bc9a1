"""Exported models predict without PyTorch, and without the package that writes them."""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image

from conftest import write_raster

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from graphs import difference_graph, graph_card, write_graph
from hidden_packages import OF_TRAINING, hide, run_lines

#: What only other extras install.
ABSENT = (*OF_TRAINING, "onnx", "onnxscript", "onnx_ir", "pyarrow")
RUNS = [
    "info drawn.onnx",
    "models",
    "predict a.png b.png --model drawn.onnx --runtime onnx --out picture",
    "predict pairs/test/A pairs/test/B --model drawn.onnx --runtime onnx --out pictures",
    "predict a.tif b.tif --model drawn.onnx --runtime onnx --out scene",
    "predict a.tif b.tif --model drawn --runtime onnx --test-time turns --tile 64 --out turned",
    "predict a.tif b.tif --model sized.onnx --gsd 1 --runtime onnx --out zoomed",
    "predict a.tif b.tif --model fixed.onnx --runtime onnx --out fixed",
    "evaluate drawn.onnx --data pairs --runtime onnx --out evaluation",
]
REFUSED = {
    "predict a.tif b.tif --model fixed.onnx --tile 128 --out new": "--tile must be 64",
    "predict a.tif b.tif --model drawn.onnx --runtime torch --out new": "PyTorch does not read",
    "predict a.tif b.tif --model drawn.onnx --device cuda --out new": "on the CPU",
    "predict a.tif b.tif --model damaged.onnx --out new": "is damaged",
    "predict a.tif b.tif --model nan.onnx --runtime onnx --out new": "not finite numbers",
    "predict a.png b.png --model nan.onnx --runtime onnx --out new": "not finite numbers",
    "describe drawn.onnx new.safetensors --gsd 1": "exported model",
    "export drawn.onnx --out new.onnx": "pip install '.[export]'",
}
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place(pairs_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("place")
    (folder / "pairs").symlink_to(pairs_folder)
    hide(ABSENT, folder)
    rng = np.random.default_rng(0)
    before = rng.integers(40, 200, (96, 150, 3), dtype=np.uint8)
    after = before.copy()
    after[30:60, 40:80] += 50
    for name, image in (("a", before), ("b", after)):
        write_raster(folder / f"{name}.tif", image)
        Image.fromarray(image).save(folder / f"{name}.png")
    write_graph(folder / "drawn.onnx", card=graph_card(threshold=0.1))
    card = graph_card(threshold=0.1, working_gsd_m=(0.5, 0.5))
    write_graph(folder / "sized.onnx", card=card)
    fixed = difference_graph(tile_px=64)
    write_graph(folder / "fixed.onnx", fixed, card=graph_card(threshold=0.1), fixed_tile=True)
    write_graph(folder / "nan.onnx", difference_graph(factors=(float("nan"),)))
    content = bytearray(write_graph(folder / "damaged.onnx").read_bytes())
    content[content.index(b"factors") - 6] ^= 1
    (folder / "damaged.onnx").write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def ended(place: Path) -> dict[str, tuple[int, str, str]]:
    return run_lines(place, [*RUNS, *REFUSED], models=place)


@pytest.mark.parametrize("line", RUNS)
def test_an_exported_model_is_used_wherever_a_model_file_is(ended, line: str):
    code, out, err = ended[line]
    assert code == 0, err
    assert out
    assert "Traceback" not in err


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as raster:
        return raster.read(1)


def test_the_results_are_those_of_the_graph(ended, place: Path):
    before, after = (np.asarray(Image.open(place / f"{name}.png")) for name in "ab")
    wanted = np.abs(after.astype(np.float32) - before).mean(axis=-1) / 255
    for folder in ("scene", "turned", "fixed"):
        np.testing.assert_allclose(read(place / folder / "score.tif"), wanted, atol=1e-4)
        np.testing.assert_array_equal(read(place / folder / "mask.tif"), wanted >= 0.1)
    score = np.asarray(Image.open(place / "picture" / "score.png")) / 65535
    np.testing.assert_allclose(score, wanted, atol=1e-4)
    zoomed = read(place / "zoomed" / "score.tif")
    np.testing.assert_allclose(zoomed[34:56, 46:74], 50 / 255, atol=0.01)
    for folder in ("scene", "picture"):
        summary = json.loads((place / folder / "summary.json").read_text())
        assert (summary["runtime"], summary["device"]) == ("onnx", "cpu")
    assert (
        json.loads((place / "scene" / "summary.json").read_text())["request"]["runtime"] == "onnx"
    )
    figures = json.loads((place / "evaluation" / "metrics.json").read_text())
    assert figures["runtime"] == "onnx"
    assert figures["fixed_threshold"]["f1"] > 0.9


def test_models_at_hand_include_exported_ones(ended):
    assert "drawn" in ended["models"][1]
    assert "siamese_pyramid" in ended["info drawn.onnx"][1]


@pytest.mark.parametrize("line", REFUSED)
def test_one_line_says_what_is_wrong_and_nothing_is_written(ended, place: Path, line: str):
    code, out, err = ended[line]
    assert code in (1, 2)
    assert out == ""
    assert REFUSED[line] in err
    assert err.splitlines()[-1].startswith("changedet: ")
    assert not any((place / name).exists() for name in ("new", "new.safetensors", "new.onnx"))
