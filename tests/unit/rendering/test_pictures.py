import io

import numpy as np
import pytest
from PIL import Image

from changedet.errors import DataError, StorageError
from changedet.palette import (
    FALSE_ALARM_COLOUR,
    HIT_COLOUR,
    IGNORED_COLOUR,
    INK,
    LABEL_UNCHANGED_COLOUR,
    MISS_COLOUR,
    OVERLAY_COLOUR,
)
from changedet.rendering.heatmap import heatmap
from changedet.rendering.pictures import (
    OUTCOME_LEGEND,
    encode_png,
    label_picture,
    outcome,
    overlay,
    panel,
    write_png,
    write_score_png,
)


@pytest.fixture
def pair():
    """A pair of 40 x 48 pixels with a label, a score map and a mask."""
    rng = np.random.default_rng(0)
    before, after = rng.integers(0, 256, size=(2, 40, 48, 3), dtype=np.uint8)
    label = np.zeros((40, 48), dtype=np.uint8)
    label[10:20, 10:30] = 1
    score = np.where(label, 0.8, 0.1).astype(np.float32)
    return {"before": before, "after": after, "label": label, "score": score, "mask": score > 0.5}


def same(strip, other):
    return strip.shape == other.shape and np.array_equal(strip, other)


def has_colour(image, colour):
    return bool((image == np.array(colour, dtype=np.uint8)).all(axis=-1).any())


def test_the_heat_map_runs_from_dark_blue_over_green_to_dark_red():
    colours = heatmap(np.array([[0.0, 0.25, 0.5, 0.75, 1.0]], dtype=np.float32))[0].tolist()

    assert colours[0] == [0, 0, 128]
    assert colours[4] == [128, 0, 0]
    low, middle, high = (np.array(c) for c in colours[1:4])
    assert low.argmax() == 2
    assert middle.argmax() == 1
    assert high.argmax() == 0


def test_the_heat_map_never_wraps_around():
    red = heatmap(np.linspace(0.7, 1.0, 200)[None])[0].astype(int)

    assert (red[:, 0] > red[:, 2]).all()


def test_equal_scores_have_equal_colours_in_different_maps():
    faint, strong = np.array([[0.1, 0.2]]), np.array([[0.2, 1.0]])

    assert heatmap(faint)[0, 1].tolist() == heatmap(strong)[0, 0].tolist()


@pytest.mark.parametrize(
    "score", [[[0.5, np.nan]], [[0.5, 1.01]], [[-0.1, 0.5]], [0.5, 0.5], np.zeros((0, 4))]
)
def test_a_map_without_scores_is_refused(score):
    with pytest.raises(DataError, match=r"scores in \[0, 1\] and no NaN"):
        heatmap(np.array(score))


def test_the_overlay_leaves_unchanged_pixels_alone_and_tints_changed_ones(pair):
    drawn = overlay(pair["after"], pair["mask"])

    assert np.array_equal(drawn[~pair["mask"]], pair["after"][~pair["mask"]])
    assert (drawn[pair["mask"]] != pair["after"][pair["mask"]]).any(axis=-1).mean() > 0.99


def test_the_outline_of_a_changed_area_is_opaque_and_its_inside_is_not(pair):
    drawn = overlay(pair["after"], pair["mask"])

    is_opaque = (drawn == OVERLAY_COLOUR).all(axis=-1)
    expected = np.zeros_like(pair["mask"])
    expected[10:20, 10:30] = True
    expected[11:19, 11:29] = False
    assert np.array_equal(is_opaque, expected)


def test_an_area_cut_by_the_border_has_no_outline_along_it():
    drawn = overlay(np.zeros((8, 8, 3), dtype=np.uint8), np.ones((8, 8), dtype=bool))

    assert not has_colour(drawn, OVERLAY_COLOUR)


def test_the_overlay_does_not_touch_its_input(pair):
    kept = pair["after"].copy()

    overlay(pair["after"], pair["mask"])

    assert np.array_equal(pair["after"], kept)


def test_each_outcome_has_its_colour():
    mask = np.array([[True, False, True, False, True, False]])
    label = np.array([[1, 1, 0, 0, 255, 255]], dtype=np.uint8)

    colours = [tuple(c) for c in outcome(mask, label)[0].tolist()]

    assert colours == [
        HIT_COLOUR,
        MISS_COLOUR,
        FALSE_ALARM_COLOUR,
        LABEL_UNCHANGED_COLOUR,
        IGNORED_COLOUR,
        IGNORED_COLOUR,
    ]


def test_the_legend_names_every_colour_once():
    names, colours = zip(*OUTCOME_LEGEND, strict=True)

    assert {"hit", "miss", "false alarm", "ignored"} <= set(names)
    assert len(set(colours)) == len(names)


def test_the_three_outcomes_differ_in_brightness_too():
    weights = np.array([0.299, 0.587, 0.114])
    brightness = sorted(
        float(weights @ np.array(c)) for c in (HIT_COLOUR, MISS_COLOUR, FALSE_ALARM_COLOUR)
    )

    assert min(np.diff(brightness)) > 10


def test_a_picture_of_another_size_than_its_mask_is_refused(pair):
    with pytest.raises(DataError, match="same height and width"):
        overlay(pair["after"], pair["mask"][:10])
    with pytest.raises(DataError, match="same height and width"):
        outcome(pair["mask"], pair["label"][:, :10])


@pytest.mark.parametrize("image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)])
def test_an_image_that_is_not_8_bit_colour_is_refused(image):
    with pytest.raises(DataError, match=r"uint8 \(H, W, 3\)"):
        overlay(image, np.zeros((4, 4), dtype=bool))


def test_the_panel_with_a_label_has_one_tile_more_than_without(pair):
    pieces = {name: pair[name] for name in ("before", "after", "score", "mask")}

    plain, labelled = panel(**pieces), panel(**pieces, label=pair["label"])

    assert plain.dtype == labelled.dtype == np.uint8
    tile = (plain.shape[1] - 2 * 12 - 3 * 8) // 4
    assert labelled.shape[1] == plain.shape[1] + tile + 8
    assert labelled.shape[0] == plain.shape[0]


def test_the_panel_shows_both_images_the_heat_map_and_the_outcome(pair):
    pair["mask"][12:14] = True
    pair["mask"][18] = False

    strip = panel(**pair, tile_px=480)

    assert has_colour(strip, HIT_COLOUR)
    assert has_colour(strip, MISS_COLOUR)
    assert has_colour(strip, FALSE_ALARM_COLOUR)
    assert has_colour(strip, heatmap(np.array([[0.8]]))[0, 0])


@pytest.mark.parametrize("changed", ["before", "after", "label", "score", "mask"])
def test_every_input_changes_the_panel(pair, changed):
    strip = panel(**pair)

    array = pair[changed].copy()
    array[:20] = 1 - array[:20] if changed != "mask" else ~array[:20]

    assert not same(panel(**(pair | {changed: array})), strip)


def test_title_and_threshold_are_drawn(pair):
    strip = panel(**pair)

    titled = panel(**pair, title="pair 7")
    assert titled.shape[0] > strip.shape[0]
    low, high = panel(**pair, threshold=0.2), panel(**pair, threshold=0.8)
    assert not same(low, strip)
    assert not same(low, high)


@pytest.mark.parametrize("threshold", [0.2, 0.7])
def test_the_panel_s_heat_map_has_the_threshold_in_the_middle_of_its_colours(pair, threshold):
    strip = panel(**pair, threshold=threshold, tile_px=480)

    shown = heatmap(np.array([[0.8]]), threshold=threshold)[0, 0]
    assert has_colour(strip, shown)


@pytest.mark.parametrize("threshold", [0.1, 0.4, 0.7])
def test_the_mark_on_the_colour_bar_stands_in_the_colour_of_the_threshold(pair, threshold):
    strip = panel(**pair, threshold=threshold, tile_px=480).astype(int)

    at_threshold = heatmap(np.array([[threshold]]), threshold=threshold)[0, 0].astype(int)
    is_mark = (strip == INK).all(axis=-1)
    # Beside a mark of the bar, within two pixels and its white border, lies that colour.
    beside = np.abs(strip[:, 4:] - at_threshold).max(axis=-1) < 12
    assert (is_mark[:, :-4] & beside).any()


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_a_threshold_at_either_end_of_the_bar_still_fits(pair, threshold):
    strip = panel(**pair, threshold=threshold)

    assert (strip[:, :6] == 255).all()
    assert (strip[:, -6:] == 255).all()


@pytest.mark.parametrize("shape", [(8, 8), (600, 40), (40, 600), (300, 700)])
def test_panels_of_any_shape_fit_their_tiles(shape):
    image = np.full((*shape, 3), 90, dtype=np.uint8)
    score = np.full(shape, 0.5, dtype=np.float32)

    strip = panel(
        image,
        image,
        score=score,
        mask=score > 0,
        label=np.full(shape, 255, np.uint8),
        threshold=0.5,
    )

    scale = 288 / max(shape)
    assert strip.shape[0] > round(shape[0] * scale)
    assert has_colour(strip, (90, 90, 90))


@pytest.mark.parametrize("name", ["before", "label", "score", "mask"])
def test_a_panel_of_arrays_of_different_sizes_is_refused(pair, name):
    pair[name] = pair[name][:20]

    with pytest.raises(DataError, match=rf"{name} \(20, 48.*same height and width"):
        panel(**pair)


def test_a_score_png_gives_the_scores_back_to_16_bits(tmp_path):
    score = np.random.default_rng(0).random((16, 24)).astype(np.float32)
    score[0, :2] = 0.0, 1.0

    write_score_png(tmp_path / "score.png", score)

    with Image.open(tmp_path / "score.png") as image:
        values = np.asarray(image)
    assert values.dtype in (np.uint16, np.int32)
    assert (values[0, 0], values[0, 1]) == (0, 65535)
    assert np.abs(values / 65535 - score).max() < 1e-5


def test_a_score_png_of_nan_is_refused(tmp_path):
    with pytest.raises(DataError, match="no NaN"):
        write_score_png(tmp_path / "score.png", np.full((4, 4), np.nan))

    assert list(tmp_path.iterdir()) == []


def test_a_mask_png_holds_0_and_255(tmp_path):
    write_png(tmp_path / "new" / "mask.png", np.array([[True, False]]))

    with Image.open(tmp_path / "new" / "mask.png") as image:
        assert image.mode == "L"
        assert np.asarray(image).tolist() == [[255, 0]]


def test_colours_survive_the_png(pair):
    with Image.open(io.BytesIO(encode_png(pair["after"]))) as image:
        assert np.array_equal(np.asarray(image), pair["after"])


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4), np.float32), np.zeros((4, 4, 3), np.uint16)],
)
def test_what_a_png_cannot_hold_is_refused(image):
    with pytest.raises(DataError, match="a PNG must be"):
        encode_png(image)


def test_a_place_that_cannot_be_written_is_a_storage_error(tmp_path):
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(StorageError, match="cannot write"):
        write_png(tmp_path / "file" / "mask.png", np.zeros((2, 2), dtype=np.uint8))


def test_a_label_is_pictured_with_its_ignored_pixels():
    colours = label_picture(np.array([[0, 1, 255]], dtype=np.uint8))[0]

    assert tuple(colours[2].tolist()) == IGNORED_COLOUR
    assert colours[1].min() > 200
    assert colours[0].max() < 60
