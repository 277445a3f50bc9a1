import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from changedet.errors import ConfigError, StorageError
from changedet.inference.prediction import Prediction
from changedet.palette import OVERLAY_COLOUR

SCORE = np.zeros((30, 40), np.float32)
SCORE[10:20, 10:30] = 0.75
AFTER = np.full((30, 40, 3), 90, np.uint8)


def test_saving_writes_what_the_command_writes(tmp_path: Path):
    prediction = Prediction(SCORE, 0.5, after=AFTER)
    folder = prediction.save(str(tmp_path / "new" / "folder"))
    assert folder == tmp_path / "new" / "folder"
    names = {"score.png", "heatmap.png", "mask.png", "overlay.png"}
    assert {path.name for path in folder.iterdir()} == names
    pixels = {name: np.asarray(Image.open(folder / name)) for name in names}
    np.testing.assert_allclose(pixels["score.png"] / 65535, SCORE, atol=1e-5)
    np.testing.assert_array_equal(pixels["mask.png"], np.where(SCORE >= 0.5, 255, 0))
    np.testing.assert_array_equal(pixels["heatmap.png"], prediction.heatmap())
    np.testing.assert_array_equal(pixels["overlay.png"], prediction.overlay())
    prediction.save(folder)


def test_only_what_is_known_is_saved(tmp_path: Path):
    Prediction(SCORE).save(tmp_path / "scores")
    Prediction(SCORE, 0.5).save(tmp_path / "mask")
    found = [{path.name for path in (tmp_path / name).iterdir()} for name in ("scores", "mask")]
    assert found == [{"score.png", "heatmap.png"}, {"score.png", "heatmap.png", "mask.png"}]


def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot write to"):
        Prediction(SCORE).save(tmp_path / "file")


def test_the_overlay_is_drawn_on_the_later_image():
    picture = Prediction(SCORE, 0.5, after=AFTER).overlay()
    assert (picture[0, 0] == 90).all()
    assert tuple(picture[10, 10]) == OVERLAY_COLOUR
    with pytest.raises(ConfigError, match="made without its images"):
        Prediction(SCORE, 0.5).overlay()
    with pytest.raises(ConfigError, match="no threshold"):
        Prediction(SCORE, after=AFTER).overlay()


def test_it_says_size_and_finding_in_one_short_line():
    text = repr(Prediction(SCORE, 0.5, before=AFTER, after=AFTER))
    assert text == "Prediction(40x30 px, 16.67 % changed at threshold 0.5)"
    assert re.fullmatch(r"Prediction\(40x30 px, scores up to 0.750, .*\)", repr(Prediction(SCORE)))


@pytest.mark.parametrize("bands", [1, 3, 9])
def test_a_notebook_shows_both_images_the_score_and_the_change(bands: int):
    image = np.random.default_rng(0).integers(0, 3000, (30, 40, bands)).astype(np.uint16)
    data = Prediction(SCORE, 0.5, before=image, after=image)._repr_png_()
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.width > 3 * picture.height
        shown = np.asarray(picture)
    assert (shown == np.array(OVERLAY_COLOUR)).all(axis=-1).any()


def test_a_notebook_shows_scores_alone_where_there_is_nothing_else():
    with Image.open(io.BytesIO(Prediction(SCORE)._repr_png_())) as picture:
        assert picture.size == (40, 30)
