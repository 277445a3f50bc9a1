import tracemalloc

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.features import rasterize
from scipy.ndimage import label, uniform_filter

from changedet.raster.geo_grid import GeoGrid
from changedet.vector.outlines import Change, Outliner

PLACED = Affine(0.5, 0.0, 500_000.0, 0.0, -0.5, 5_000_000.0)


def outline(mask, score=None, *, strips=None, transform=PLACED, crs="EPSG:32633") -> list[Change]:
    mask = np.asarray(mask, dtype=np.uint8)
    score = np.full(mask.shape, 0.75, dtype=np.float32) if score is None else score
    outliner = Outliner(GeoGrid(crs, transform, *mask.shape))
    changes, top = [], 0
    for height in strips or [len(mask)]:
        changes += outliner.add(mask[top : top + height], score[top : top + height])
        top += height
    return changes + outliner.finish()


def pixel_outline(rows: list[str], strips=None) -> list[Change]:
    mask = [[{"#": 1, ".": 0, "x": 255}[pixel] for pixel in row] for row in rows]
    return outline(mask, transform=Affine.identity(), crs=None, strips=strips)


def facts(changes: list[Change]) -> list[tuple]:
    return [(change.geometry.wkb, *change[1:]) for change in changes]


@st.composite
def scenes(draw):
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    smooth = uniform_filter(rng.random((height, width)), draw(st.sampled_from([1, 2, 3])))
    mask = (smooth > np.quantile(smooth, draw(st.floats(0, 1)))).astype(np.uint8)
    mask[rng.random(mask.shape) < draw(st.sampled_from([0.0, 0.1]))] = 255
    cuts = draw(st.sets(st.integers(1, height - 1))) if height > 1 else set()
    edges = [0, *sorted(cuts), height]
    return mask, rng.random(mask.shape, dtype=np.float32), np.diff(edges).tolist()


@given(scenes())
@settings(max_examples=150, deadline=None)
def test_objects_their_order_and_every_figure_do_not_depend_on_the_strips(scene):
    mask, score, strips = scene
    assert facts(outline(mask, score, strips=strips)) == facts(outline(mask, score))


@given(scenes())
@settings(max_examples=150, deadline=None)
def test_polygons_are_valid_and_cover_exactly_the_pixels_of_one_labelled_object_each(scene):
    mask, score, strips = scene
    changes = outline(mask, score, strips=strips)
    labels, count = label(mask == 1)
    assert len(changes) == count
    burnt = np.zeros(mask.shape, dtype=np.int32)
    if changes:
        shapes = [(change.geometry, number) for number, change in enumerate(changes, start=1)]
        rasterize(shapes, out=burnt, transform=PLACED)
    assert ((burnt > 0) == (labels > 0)).all()
    for number, change in enumerate(changes, start=1):
        inside = burnt == number
        assert len(np.unique(labels[inside])) == 1
        assert change.geometry.is_valid
        assert change.geometry.area == change.pixels * 0.25 == inside.sum() * 0.25
        assert change.mean_score == pytest.approx(score[inside].mean(dtype=np.float64), abs=1e-7)
        assert change.max_score == score[inside].max()


def test_outlines_turn_only_at_corners_and_start_at_the_first_one_counter_clockwise():
    (change,) = pixel_outline(["....", ".##.", ".#..", "...."], strips=[1, 1, 1, 1])
    corners = [(1, 1), (1, 3), (2, 3), (2, 2), (3, 2), (3, 1), (1, 1)]
    assert list(change.geometry.exterior.coords) == corners
    assert not shapely.is_ccw(change.geometry.exterior), "rows go down, so the sense is reversed"


def test_pixels_that_meet_at_a_corner_only_are_two_objects():
    assert [change.pixels for change in pixel_outline(["#.", ".#"], strips=[1, 1])] == [1, 1]


@pytest.mark.parametrize("flip", [1, -1])
@pytest.mark.parametrize("strips", [[4], [1, 1, 1, 1], [2, 2]])
def test_an_object_that_touches_itself_across_a_corner_is_one_valid_polygon(flip, strips):
    rows = ["##.", "#.#", "###", "..."]
    (change,) = pixel_outline([row[::flip] for row in rows], strips=strips)
    assert change.geometry.is_valid
    assert change.geometry.area == change.pixels == 7
    assert [shapely.Polygon(ring).area for ring in change.geometry.interiors] == [1.0]


@pytest.mark.parametrize("flip", [1, -1])
def test_holes_that_meet_at_a_corner_stay_two_holes(flip):
    rows = ["####", "#.##", "##.#", "####"]
    (change,) = pixel_outline([row[::flip] for row in rows], strips=[2, 2])
    assert change.geometry.is_valid
    assert len(change.geometry.interiors) == 2


def test_nodata_is_not_changed_and_makes_a_hole():
    (change,) = pixel_outline(["###", "#x#", "###"])
    assert change.pixels == 8
    assert len(change.geometry.interiors) == 1


def test_a_scene_that_changed_everywhere_is_one_rectangle_without_extra_points():
    (change,) = pixel_outline(["####"] * 9, strips=[2, 3, 4])
    assert change.geometry.equals_exact(shapely.box(0, 0, 4, 9).normalize(), 0) or (
        len(change.geometry.exterior.coords) == 5 and change.geometry.area == 36
    )


@pytest.mark.parametrize("shape", ["comb", "spiral"])
def test_long_winding_objects_over_many_strips_are_one_polygon(shape):
    mask = np.zeros((61, 61), dtype=np.uint8)
    if shape == "comb":
        mask[:, ::2] = 1
        mask[-1] = 1
    else:
        top, bottom, left, right = 0, 60, 0, 60
        while top <= bottom:
            mask[top, max(left - 2, 0) : right + 1] = mask[top : bottom + 1, right] = 1
            mask[bottom, left : right + 1] = mask[top + 2 : bottom + 1, left] = 1
            top, bottom, left, right = top + 2, bottom - 2, left + 2, right - 2
    (change,) = outline(mask, strips=[1] * 61)
    assert change.geometry.is_valid
    assert change.geometry.area == mask.sum() * 0.25
    assert facts([change]) == facts(outline(mask))


def test_an_object_is_given_once_it_cannot_grow_and_no_earlier():
    outliner = Outliner(GeoGrid(None, Affine.identity(), 4, 3))
    strips = np.array([[[1, 0, 0]], [[1, 0, 1]], [[0, 0, 1]], [[0, 0, 1]]], dtype=np.uint8)
    given_pixels = [
        [change.pixels for change in outliner.add(strip, strip.astype(np.float32))]
        for strip in strips
    ]
    assert given_pixels == [[], [], [2], []]
    assert [change.pixels for change in outliner.finish()] == [3]


def test_objects_come_by_their_lowest_row_then_by_their_first_pixel():
    rows = ["#..#.", "#..#.", "#....", "..#.#"]
    starts = [change.geometry.bounds[:2] for change in pixel_outline(rows, strips=[1, 3])]
    assert starts == [(3.0, 0.0), (0.0, 0.0), (2.0, 3.0), (4.0, 3.0)]


def test_without_crs_there_are_no_areas_and_with_one_they_are_on_the_ellipsoid():
    assert outline([[1]], crs=None)[0].area_m2 is None
    # On the central meridian of UTM lengths are 0.9996 of the true ones.
    assert outline([[1]])[0].area_m2 == pytest.approx(0.25 / 0.9996**2, rel=1e-6)


def test_a_rotated_grid_is_followed():
    turned = Affine.translation(10, 20) @ Affine.rotation(30) @ Affine.scale(2, -2)
    (change,) = outline([[0, 1]], transform=turned, crs=None)
    expected = [turned @ corner for corner in [(1, 0), (1, 1), (2, 1), (2, 0), (1, 0)]]
    assert np.allclose(change.geometry.exterior.coords, expected)


def test_memory_holds_what_is_open_not_the_scene():
    mask = np.zeros((64, 512), dtype=np.uint8)
    mask[1::4, 2::4] = 1
    mask[:, 0] = 1
    score = mask.astype(np.float32)
    outliner = Outliner(GeoGrid(None, Affine.identity(), 64 * 60, 512))

    def after(strips: int) -> int:
        for _ in range(strips):
            outliner.add(mask, score)
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        early = after(5)
        # Were closed objects kept, it would be megabytes; coverage tracing alone takes kilobytes.
        assert after(45) - early < 200_000
    finally:
        tracemalloc.stop()


def test_strips_that_do_not_fit_the_grid_are_refused():
    outliner = Outliner(GeoGrid(None, Affine.identity(), 2, 3))
    with pytest.raises(ValueError, match="3 pixels wide"):
        outliner.add(np.zeros((1, 4), np.uint8), np.zeros((1, 4), np.float32))
    with pytest.raises(ValueError, match="2 rows, got 3"):
        outliner.add(np.zeros((3, 3), np.uint8), np.zeros((3, 3), np.float32))
    assert outliner.add(np.zeros((0, 3), np.uint8), np.zeros((0, 3), np.float32)) == []
    with pytest.raises(ValueError, match="only 0 of them"):
        outliner.finish()


def test_mean_scores_are_the_same_to_the_last_bit_where_sums_would_be_rounded():
    rng = np.random.default_rng(5)
    score = (rng.random((300, 300)) ** 12).astype(np.float32)
    mask = np.ones(score.shape, dtype=np.uint8)
    means = {outline(mask, score, strips=[300 // n] * n)[0].mean_score for n in (1, 3, 100, 300)}
    assert len(means) == 1
    assert means.pop() == pytest.approx(score.mean(dtype=np.float64), abs=1e-7)
