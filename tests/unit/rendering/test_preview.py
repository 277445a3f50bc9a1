import numpy as np
import pytest

from changedet.palette import NODATA_COLOUR, OUTLINE_COLOUR
from changedet.rendering.preview import draw_outlines, draw_preview, preview_frame, score_colours


def sheet(shape, *, bands=3, dtype="uint8", score=0.2, missing=None):
    random = np.random.default_rng(0)
    scale = 1.0 if dtype == "uint8" else 37.0
    before, after = (
        (random.integers(40, 200, (*shape, bands)) * scale).astype(dtype) for _ in range(2)
    )
    scores = np.full(shape, score, np.float32)
    if missing is not None:
        before[missing] = after[missing] = 0
        scores[missing] = np.nan
    width, height = preview_frame(shape).size
    outlines = np.zeros((height, width), np.bool_)
    outlines[height // 2, : width // 2] = True
    return draw_preview(before, after, score=scores, outlines=outlines, threshold=0.5)


def share_of(picture, colour):
    return (picture == np.array(colour)).all(axis=-1).mean()


@pytest.mark.parametrize("bands", [1, 2, 3, 9])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_images_of_any_bands_and_type_fill_the_range_of_the_screen(bands, dtype):
    picture = sheet((60, 80), bands=bands, dtype=dtype)
    assert picture.dtype == np.uint8
    photo = picture[60:300, 30:400]
    assert photo.std() > 25
    assert (photo.std(axis=-1).max() > 20) == (bands >= 3)


@pytest.mark.parametrize(
    "shape", [(100, 100), (2000, 3000), (30, 3000), (3000, 30), (1, 5), (7, 3)]
)
def test_the_longer_side_is_about_1024_pixels_whatever_the_scene(shape):
    width, height = preview_frame(shape).sheet_size(4)
    assert 950 <= max(width, height) <= 1060
    assert min(preview_frame(shape).size) >= 1


def test_what_has_no_data_is_grey_and_named():
    hole = np.s_[:30]
    with_hole, without = sheet((60, 80), missing=hole), sheet((60, 80))
    assert share_of(with_hole, NODATA_COLOUR) > 0.25 > 0.01 > share_of(without, NODATA_COLOUR)


def test_the_outlines_are_drawn_on_after_and_nowhere_else():
    picture = sheet((60, 80))
    lines = (picture == np.array(OUTLINE_COLOUR)).all(axis=-1)
    # Below the pictures lies the key.
    rows, columns = np.nonzero(lines[:-60])
    assert (rows > picture.shape[0] // 2).all()
    assert (columns > picture.shape[1] // 2).all()
    assert len(rows) > 100


@pytest.mark.parametrize("ground", [0, 128, 255])
def test_an_outline_stands_out_from_any_ground_in_brightness_alone(ground):
    lines = np.zeros((9, 9), np.bool_)
    lines[4] = True
    drawn = draw_outlines(np.full((9, 9, 3), ground, np.uint8), lines).mean(axis=-1)
    assert drawn[4, 4] - drawn[3, 4] > 60
    assert drawn[0, 0] == ground


def test_higher_scores_are_brighter_so_that_no_colour_vision_is_needed():
    colours = score_colours(np.linspace(0, 1, 50)[None])[0]
    brightness = colours @ np.array([0.299, 0.587, 0.114])
    assert (np.diff(brightness) > 0).all()
