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
    asked = []

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {ABSENT!r}:
            self.asked.append(name)
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


COMMANDS = (
    f"ABSENT = {ABSENT!r}"
    + """
import sys
from changedet.cli.main import main


def changedet(*words):
    sys.argv = ["changedet", *words]
    try:
        main()
    except SystemExit as end:
        assert not end.code, words


folder, data = sys.argv[1:3]
changes = [word for item in sys.argv[3:] for word in ("--set", item)]
run, model = f"{folder}/run", f"{folder}/run/best.safetensors"
data, cpu = ("--data", data), ("--device", "cpu")
changedet("train", "--out", run, *data, *cpu, *changes)
assert "skimage" not in sys.modules
changedet("evaluate", model, "--out", f"{folder}/judged", *data, *cpu)
small = f"{folder}/small.safetensors"
changedet("calibrate", model, small, "--precision", "int8", *data, *cpu)
other, again = f"{folder}/other", ("--set", "training.seed=1")
changedet("train", "--out", other, *data, *cpu, *changes, *again)
both = f"{folder}/both.safetensors"
changedet("ensemble", model, f"{other}/best.safetensors", "--out", both)
changedet("info", both)
[hide] = [finder for finder in sys.meta_path if type(finder).__name__ == "Hide"]
assert hide.asked == []
for name in ABSENT:
    try:
        __import__(name)
    except ModuleNotFoundError as error:
        assert str(error) == f"{name} is hidden"
    else:
        raise AssertionError(f"{name} was not hidden")
"""
)


def test_folders_are_trained_on_judged_and_calibrated_without_them(pairs_folder, tmp_path):
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text(HIDE)
    paths = [str(hidden), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    # One Python for all commands: a package that any of them asked for is noted there.
    ended = subprocess.run(
        [sys.executable, "-c", COMMANDS, str(tmp_path), str(pairs_folder), *SETTINGS],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    metrics = json.loads((tmp_path / "judged" / "metrics.json").read_text())
    assert metrics["average_precision"] > 0.0
    assert "ensemble" in ended.stdout
