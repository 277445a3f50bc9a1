"""A model is judged on what prediction shows it, also where a scene holds no image."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.windows import Window

from changedet.card import ModelCard
from changedet.data.index import index_pairs
from changedet.evaluation.evaluate import EvaluationRequest, evaluate_model
from changedet.inference import score_source
from changedet.models.model_file import save_model
from changedet.predict.rasters import predict_scene
from changedet.predict.request import SceneRequest
from changedet.types import Normalisation
from stand_ins import untrained_network

SIZE = 64
STATS = Normalisation(
    (81.3, 92.3, 103.3), (95.3, 106.3, 117.3), (20.0,) * 3, (30.0,) * 3, bands="bgr"
)


def write_model(path: Path) -> Path:
    model = untrained_network("dasnet_v2")
    card = ModelCard(
        architecture=model.architecture,
        options=model.options,
        normalisation=STATS,
        tile_px=SIZE,
        threshold=0.5,
    )
    save_model(path, model, card)
    return path


def make_gap(path: Path) -> None:
    with rasterio.open(path, "r+") as file:
        pixels = file.read()
        pixels[:, :30, 17:40] = 0
        file.write(pixels)
        file.nodata = 0


def cut_out(source: Path, path: Path, size: int) -> Path:
    with rasterio.open(source) as file:
        pixels = file.read(window=Window(0, 0, size, size))
        profile = {**file.profile, "height": size, "width": size}
    with rasterio.open(path, "w", **profile) as file:
        file.write(pixels)
    return path


def judged_scores(model: Path, data: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> list:
    """Judge a model and give the score map of each pair."""
    found = []
    judge = score_source.count_scores

    def watched(*args, on_score, **options):
        def keep(scored):
            found.append(scored.score.copy())
            on_score(scored)

        return judge(*args, on_score=keep, **options)

    monkeypatch.setattr(score_source, "count_scores", watched)
    request = EvaluationRequest(model=model, data=data, out=out, device="cpu", panels=1)
    evaluate_model(request)
    return found


def test_a_block_with_a_gap_is_judged_by_the_scores_that_prediction_gives(
    write_scene, tmp_path, monkeypatch
):
    scene = write_scene(shape=(SIZE, 2 * SIZE))
    make_gap(scene.folder / "after.tif")
    text = scene.manifest.read_text().replace("gpkg}", "gpkg, split: test}")
    scene.manifest.write_text(text)
    model = write_model(tmp_path / "model.safetensors")
    first = index_pairs(scene.folder).split("test")[0].window
    assert (first.top, first.left, first.shape) == (0, 0, (SIZE, SIZE))

    judged = judged_scores(model, scene.folder, tmp_path / "judged", monkeypatch)[0]
    predict_scene(
        SceneRequest(
            before=str(cut_out(scene.folder / "before.tif", tmp_path / "b.tif", SIZE)),
            after=str(cut_out(scene.folder / "after.tif", tmp_path / "a.tif", SIZE)),
            model=model,
            out=tmp_path / "predicted",
            device="cpu",
            tile_px=SIZE,
        )
    )
    with rasterio.open(tmp_path / "predicted" / "score.tif") as file:
        predicted = file.read(1)

    valid = np.isfinite(predicted)
    assert not valid[:30, 17:40].any()
    assert valid.sum() == SIZE**2 - 30 * 23
    # Predicted scores are stored in steps of 1/8192.
    np.testing.assert_allclose(predicted[valid], judged[valid], atol=1 / 16384 + 1e-6)
    assert judged[valid].std() > 4 / 8192
