"""Mistakes that can be told from the words and the disk are told before PyTorch is loaded."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from changedet.card import ModelCard
from changedet.models.model_file import save_model
from changedet.types import Normalisation
from stand_ins import untrained_network

# What takes seconds to load; GDAL takes tenths.
HEAVY = ("torch", "timm", "rasterio", "scipy", "matplotlib", "skimage")
# Runs every command line of a list in one process that has loaded nothing before.
PROGRAM = """
import contextlib, io, json, sys
from changedet.cli.main import main
heavy, lines = json.load(sys.stdin)
ended = []
for line in lines:
    sys.argv = ["changedet", *line.split()]
    out, err, code = io.StringIO(), io.StringIO(), None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            code = end.code
    loaded = [name for name in heavy if name in sys.modules]
    ended.append([code or 0, out.getvalue(), err.getvalue().rstrip(), loaded])
json.dump(ended, sys.stdout)
"""


class Ended(NamedTuple):
    code: int
    out: str
    err: str
    loaded: list[str]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with models, pictures, a data set, results of other runs, and a full folder."""
    folder = tmp_path_factory.mktemp("place")
    network = untrained_network("dasnet")
    statistics = Normalisation((120.0,) * 3, (110.0,) * 3, (60.0,) * 3, (60.0,) * 3)
    for name, threshold in (("model", 0.5), ("open", None)):
        card = ModelCard("dasnet", network.options, statistics, tile_px=32, threshold=threshold)
        save_model(folder / "models" / f"{name}.safetensors", network, card)
    for name in ("before.png", "after.png"):
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(folder / name)
    for name in ("a.tif", "b.tif"):
        (folder / name).touch()
    for part in ("A", "B", "label"):
        (folder / "data" / "train" / part).mkdir(parents=True)
        (folder / "pairs" / "train" / part).mkdir(parents=True)
        (folder / "pairs" / "train" / part / "1.png").touch()
    for marker in ("summary.json", "metrics.json", "accuracy.json", "ablation.json", "run.json"):
        (folder / f"done_{marker}").mkdir()
        (folder / f"done_{marker}" / marker).touch()
    (folder / "full").mkdir()
    (folder / "full" / "letter.txt").touch()
    return folder


EVALUATE = "evaluate model --data data --out new"
PREDICT = "predict before.png after.png --model model --out new"
SCENE = "predict a.tif b.tif --model model --out new"
TRAIN = "train --data data --out new"
BORROWED = "train pyramid_small --data data --out new --set model.name=siamese_segmentation"


MISTAKES = [
    ("predict gone.png after.png --model model --out new", "no file or folder gone.png"),
    ("predict befor.png after.png --model model --out new", "did you mean 'before.png'?"),
    ("predict data after.png --model model --out new", "data is a folder and after.png is"),
    ("predict before.png after.png --out new", "models at hand: model, open"),
    ("predict before.png after.png --model modle --out new", "did you mean 'model'?"),
    ("predict before.png after.png --model data --out new", "folder without best.safetensors"),
    ("predict before.png after.png --model baseline:cvaa --out new", "did you mean 'cva'?"),
    ("predict before.png after.png --model open --out new", "has no threshold"),
    ("predict before.png after.png --model model", "missing option '--out'"),
    (f"{PREDICT} --threshold 2", "half the distance"),
    (f"{PREDICT} --device gpu", "unknown device 'gpu'"),
    (f"{PREDICT} --bands 3,2,1", "--bands only work(s) on rasters"),
    (f"{PREDICT} --encoder resnet18", "--encoder applies to baselines only"),
    (f"{PREDICT} --test-time often", "invalid value for '--test-time': 'often' is not one of"),
    (f"{PREDICT} --tile large", "invalid value for '--tile': "),
    (f"{PREDICT} --bogus", "no such option: --bogus"),
    (f"{PREDICT} --modle model", "no such option: --modle; did you mean --model?"),
    ("predict before.png after.png --model model --out full", "contains other files"),
    ("predict before.png after.png --model model --out a.tif", "a.tif is a file"),
    ("predict before.png after.png --model model --out done_summary.json", "--overwrite"),
    (f"{SCENE} --bands 3,b", "--bands takes band numbers from 1"),
    (f"{SCENE} --bands 3, 2, 1", "write lists without spaces: 4,3,2"),
    (f"{SCENE} --stretch 5", "--stretch takes two numbers"),
    (f"{SCENE} --aoi 1,2,3", "XMIN,YMIN,XMAX,YMAX"),
    (f"{SCENE} --aoi gone.gpkg", "gone.gpkg: no such file"),
    (f"{SCENE} --aoi-crs EPSG:4326", "there is no --aoi"),
    (f"{SCENE} --tile 0", "greater than or equal to 1"),
    ("evaluate modle --data data --out new", "did you mean 'model'?"),
    ("evaluate model --data gone --out new", "gone is not there"),
    ("evaluate model --data data --out done_metrics.json", "--overwrite"),
    (f"{EVALUATE} --benchmark LEVIRR", "did you mean 'LEVIR-CD'"),
    (f"{EVALUATE} --threshold 0.5 --threshold-split val", "exclude each other"),
    (f"{EVALUATE} --changed-value 1,x", "--changed-value takes whole numbers"),
    (f"{EVALUATE} --channels 4", "--channels applies to baselines only"),
    ("evaluate baseline:cva --data data --out new --test-time flips", "to models only"),
    ("calibrate model new.pth --data data", "must end in .safetensors"),
    ("calibrate model models/open.safetensors --data data", "exists"),
    ("calibrate model new.safetensors", "give the labelled images that choose the threshold"),
    ("calibrate model new.safetensors --threshold 0.5", "needs a --reason, which the model's card"),
    ("calibrate model new.safetensors --threshold-of open", "has no threshold to take over"),
    ("calibrate model new.safetensors --data data --threshold-of model", "remove one of them"),
    ("calibrate model new.safetensors --data data --reason why", "--reason goes with --threshold"),
    ("calibrate modle new.safetensors --data data", "did you mean 'model'?"),
    ("ensemble model modle --out new.safetensors", "did you mean 'model'?"),
    ("ensemble model open --out models/open.safetensors", "exists"),
    ("ensemble model --out new.safetensors", "two models or more"),
    ("ensemble model --keep 2 --out new.safetensors", "single network"),
    ("ensemble model open --kind Field --out new.safetensors", "lower-case letters"),
    ("ensemble model open --kind field --out new.safetensors", "cannot name the kind"),
    ("convert gone.pth new.safetensors", "no weights file gone.pth"),
    ("convert a.tif new.safetensors --normalisation cdd2", "must be cdd, imagenet"),
    ("info modle", "did you mean 'model'?"),
    ("recipes pyramid_smal", "did you mean 'pyramid_small'?"),
    ("schema evalution", "did you mean 'evaluation'"),
    ("train pyramid_smal --data data --out new", "did you mean 'pyramid_small'?"),
    (f"{BORROWED} --set model.decoder=unett", "or 'dpt', got 'unett'"),
    (f"{BORROWED} --set model.decoder=pan", "set data.tile_px=null"),
    ("train --data gone --out new", "gone is not there"),
    ("train --data data --out new", "data/train/A has no images"),
    ("train --data pairs --out new", "no split 'val'; choose one of: train (--set data.val_split="),
    ("evaluate model --data pairs --split tset --out new", "no split 'tset'"),
    ("evaluate model --data pairs --split train --threshold-split v --out new", "no split 'v'"),
    ("calibrate model new.safetensors --data pairs --split tset", "no split 'tset'"),
    ("train --out new", "--data DIR"),
    ("train --data data --out full", "files that are not a run"),
    ("train --data data --out done_run.json", "--overwrite"),
    ("train --out full --resume", "no run to resume"),
    (f"{TRAIN} --set training.epcohs=3", "did you mean 'epochs'?"),
    (f"{TRAIN} --set model.distance=l3", "'l2' or 'cosine'"),
    (f"{TRAIN} --set model.fusion=both", "not a setting of dasnet_v2"),
    (f"{TRAIN} --set loss.terms={{dise:1}}", "did you mean 'dice'?"),
    (f"{TRAIN} --set optimizer.lr=-1", "greater than 0"),
    (f"{TRAIN} --set augmentation.brightness=3", "augmentation.brightness must be in [0, 1]"),
    (f"{TRAIN} --start-epoch 900", "start-epoch must be in"),
    (f"{TRAIN} --init modle", "did you mean 'model'?"),
    (f"{TRAIN} --device gpu", "unknown device"),
    ("ablate dasnet_v3 --data data --out new", "did you mean 'dasnet_v2'?"),
    ("ablate --data data --out new --rows v2_l3", "did you mean"),
    ("ablate --data data --out full", "do not belong to an ablation"),
    ("ablate --data data --out done_ablation.json", "--overwrite"),
    ("ablate --data gone --out new", "gone is not there"),
    ("ablate --data data --out new --epochs 1 --minutes 1", "exclude each other"),
    ("benchmark accuracy modle --data data --out new", "did you mean 'model'?"),
    ("benchmark accuracy model --data gone --out new", "gone is not there"),
    ("benchmark accuracy --data data --out new --no-baselines", "nothing to evaluate"),
    ("benchmark accuracy model --data data --out done_accuracy.json", "--overwrite"),
    ("benchmark gsd modle --data data --out new", "did you mean 'model'?"),
    ("benchmark gsd model --data gone --out new", "gone is not there"),
    ("describe modle new.safetensors --data data", "did you mean 'model'?"),
    ("describe model new.safetensors --data gone", "gone is not there"),
    ("describe model new.safetensors --gsd a", "--gsd takes one or two lengths"),
    ("export modle --out new.onnx", "did you mean 'model'?"),
    ("export model --out new.txt", "must end in .onnx"),
    ("demo --out full", "contains other files"),
    ("demo --out new --set training.epcohs=1", "did you mean 'epochs'?"),
    ("demo --out new --device gpu", "unknown device"),
    ("data check gone", "gone is not there"),
    ("data prepare data", "--out and --in-place"),
    ("data sample full", "full"),
    ("predcit a.tif b.tif", "Did you mean 'predict'?"),
    ("benchmark model --data data --out new", "no such command 'model'; there are: accuracy"),
]
COMMANDS = (
    *("predict", "train", "evaluate", "calibrate", "ensemble", "ablate", "demo", "info"),
    *("convert", "recipes", "schema", "models", "data", "data check", "data prepare"),
    *("data sample", "benchmark", "benchmark accuracy"),
)
LOOKS = [
    *("", "-h", "--version", "models", "info model", "recipes", "recipes small", "schema"),
    *("data", "benchmark", "models --folders", "models --json"),
    *(f"{command} -h" for command in COMMANDS),
]


@pytest.fixture(scope="module")
def ended(place: Path) -> dict[str, Ended]:
    """How each command line ended."""
    lines = [*(words for words, _ in MISTAKES), *LOOKS]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=json.dumps([HEAVY, lines]),
        cwd=place,
        env={**os.environ, "CHANGEDET_MODELS": str(place / "models"), "COLUMNS": "80"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return {
        line: Ended(*result) for line, result in zip(lines, json.loads(done.stdout), strict=True)
    }


@pytest.mark.parametrize(("words", "message"), MISTAKES)
def test_a_mistake_is_one_line_before_anything_heavy_is_loaded(ended, place, words, message):
    result = ended[words]
    assert result.code == 2, result
    assert message in result.err
    assert result.err.startswith("changedet: ")
    assert result.err.count("\n") == 0
    assert result.out == ""
    assert result.loaded == []
    assert not (place / "new").exists()


@pytest.mark.parametrize("words", LOOKS)
def test_help_and_lists_load_nothing_heavy(ended, words):
    result = ended[words]
    assert (result.code, result.err) == (0, "")
    assert result.out
    assert result.loaded == []


@pytest.mark.parametrize("words", [words for words in LOOKS if words.endswith("-h")])
def test_help_fits_80_columns_and_cuts_nothing(ended, words):
    text = ended[words].out
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
