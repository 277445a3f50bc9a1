"""From verdicts on a scene to a fine-tuned model."""

import json
from pathlib import Path

import numpy as np
import pytest

from conftest import write_raster

pytest.importorskip("fastapi")

from changedet.card import read_card
from changedet.functions import train
from changedet.predict.rasters import predict_scene
from changedet.view.collection import Collection
from changedet.view.verdicts import NewVerdict
from stand_ins import TINY_PYRAMID

pytestmark = pytest.mark.usefixtures("blank_charts")
SETTINGS = (
    *TINY_PYRAMID,
    "training.batch_size=4",
    "training.validate_every_epochs=1",
    "training.checkpoint_every=1",
)


@pytest.fixture
def review(tmp_path: Path) -> Path:
    """A scene of bright squares, found by a baseline; all are accepted but the first."""
    before = np.random.default_rng(0).integers(60, 120, (300, 400, 3), dtype=np.uint8)
    after = before.copy()
    for top in range(20, 270, 90):
        for left in range(20, 370, 80):
            after[top : top + 24, left : left + 20] = 230
    for name, pixels in (("before", before), ("after", after)):
        write_raster(tmp_path / f"{name}.tif", pixels)
    result = tmp_path / "town"
    predict_scene(tmp_path / "before.tif", tmp_path / "after.tif", model="baseline:cva", out=result)
    collection = Collection(result)
    opened = collection.get("0")
    found = opened.candidates(collection.handles)
    for number, polygon in zip(found.ids.tolist(), found.geometry, strict=True):
        verdict = "rejected" if number == 1 else "accepted"
        new = NewVerdict(verdict, polygon, result_id=number, window=(0.0, 0.0, 400.0, 300.0))
        opened.store.put(f"r{number}", new, known_revision=None)
    collection.close()
    return result / "review.gpkg"


def test_a_run_on_a_review_and_its_resumption(review: Path, tmp_path: Path) -> None:
    first = train(
        review,
        tmp_path / "first",
        recipe="pyramid_small",
        settings=(*SETTINGS, "training.epochs=1"),
    )
    run = tmp_path / "run"
    told = []
    train(
        review,
        run,
        recipe="pyramid_small",
        init=first.path,
        settings=(*SETTINGS, "training.epochs=2"),
        say=told.append,
    )
    record = json.loads((run / "run.json").read_text())
    labels = Path(record["data"])
    assert labels.parent == run / "reviewed"
    assert read_card(run / "best.safetensors").data_name == labels.name
    assert any(line.startswith("review of 1 scene") for line in told)
    # Without the verdicts, and elsewhere.
    review.unlink()
    moved = run.rename(tmp_path / "moved")
    resumed = train(None, moved, settings=("training.epochs=3",), mode="resume")
    assert resumed.progress.epoch > 2
    assert json.loads((moved / "run.json").read_text())["data"] == str(
        moved / "reviewed" / labels.name
    )
