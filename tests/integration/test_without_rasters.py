"""Training on image folders needs none of the packages that read rasters and vectors."""

import json
import os
import subprocess
import sys

import pytest

#: Packages that a machine for training alone may lack.
ABSENT = ("rasterio", "affine", "pyogrio", "pyproj", "shapely", "pystac")
#: Python imports this module at its start, in child processes, too.
HIDE = f"""
import sys


class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {ABSENT!r}:
            raise ModuleNotFoundError(f"{{name}} is hidden", name=name)
        return None


sys.meta_path.insert(0, Hide())
"""
SETTINGS = (
    "model.encoder=test_efficientnet",
    "model.encoder_weights=none",
    "model.head_width=16",
    "data.crop_px=32",
    "data.workers=1",
    "training.epochs=1",
    "training.batch_size=2",
)
pytestmark = pytest.mark.slow


@pytest.fixture
def program(tmp_path):
    """Run Python with those packages hidden."""
    folder = tmp_path / "hidden"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(HIDE)
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}

    def run(*words: str) -> str:
        ended = subprocess.run(
            [sys.executable, *words], env=environment, capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    return run


def test_folders_are_trained_on_judged_and_calibrated_without_them(program, pairs_folder, tmp_path):
    missing = (
        f"import importlib.util\nfor name in {ABSENT!r}:\n    print(name)\n    __import__(name)"
    )
    with pytest.raises(AssertionError, match="rasterio is hidden"):
        program("-c", missing)
    run, judged, model = tmp_path / "run", tmp_path / "judged", tmp_path / "run/best.safetensors"
    data = ("--data", str(pairs_folder))
    cpu = ("--device", "cpu")
    changes = [word for item in SETTINGS for word in ("--set", item)]
    changedet = ("-m", "changedet")
    program(*changedet, "train", "--out", str(run), *data, *cpu, *changes)
    program(*changedet, "evaluate", str(model), "--out", str(judged), *data, *cpu)
    assert json.loads((judged / "metrics.json").read_text())["average_precision"] > 0.0
    small = tmp_path / "small.safetensors"
    program(*changedet, "calibrate", str(model), str(small), "--precision", "int8", *data, *cpu)
    again, other = ("--set", "training.seed=1"), tmp_path / "other"
    program(*changedet, "train", "--out", str(other), *data, *cpu, *changes, *again)
    both, second = tmp_path / "both.safetensors", other / "best.safetensors"
    program(*changedet, "ensemble", str(model), str(second), "--out", str(both))
    program(*changedet, "info", str(both))
