from itertools import combinations

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import uniform_filter

from changedet.raster.geo_grid import GeoGrid
from changedet.vector.outlines import Outliner
from changedet.vector.simplify import clusters, simplify, simplify_tables, work
from changedet.vector.table import batches


def changes_of(mask):
    grid = GeoGrid(None, Affine.identity(), *mask.shape)
    outliner = Outliner(grid)
    return [*outliner.add(mask, mask.astype(np.float32)), *outliner.finish()]


def random_mask(seed: int, *, size: int = 48, smooth: int = 3, share: float = 0.5):
    values = uniform_filter(np.random.default_rng(seed).random((size, size)), smooth)
    return (values > np.quantile(values, share)).astype(np.uint8)


def overlaps(polygons) -> int:
    one, other = shapely.STRtree(polygons).query(polygons, predicate="intersects")
    pairs = one < other
    return int((~shapely.touches(polygons[one[pairs]], polygons[other[pairs]])).sum())


@given(st.integers(0, 10_000), st.sampled_from([1, 2, 3, 5]), st.floats(0.3, 5))
@settings(max_examples=40, deadline=None)
def test_simplified_polygons_stay_valid_apart_and_keep_their_holes(seed, smooth, tolerance):
    polygons = np.array([c.geometry for c in changes_of(random_mask(seed, smooth=smooth))])
    result = simplify(polygons, tolerance=tolerance)
    assert shapely.is_valid(result).all()
    assert (shapely.get_type_id(result) == shapely.GeometryType.POLYGON).all()
    assert overlaps(result) == 0
    assert (
        shapely.get_num_interior_rings(result) == shapely.get_num_interior_rings(polygons)
    ).all()


@given(st.integers(0, 10_000), st.integers(1, 60), st.integers(1, 20))
@settings(max_examples=30, deadline=None)
def test_cluster_by_cluster_gives_exactly_what_all_at_once_gives(
    tmp_path_factory, seed, batch, at_once
):
    changes = changes_of(random_mask(seed, share=0.7))
    whole = simplify(np.array([c.geometry for c in changes]), tolerance=1.0)
    tables = simplify_tables(
        batches(changes, batch),
        tolerance=1.0,
        folder=tmp_path_factory.getbasetemp(),
        at_once=at_once,
    )
    result = np.concatenate([table.geometry for table in tables])
    assert shapely.equals_exact(shapely.normalize(result), shapely.normalize(whole)).all()


def test_each_table_comes_back_with_its_figures_and_leaves_no_file(tmp_path):
    changes = changes_of(random_mask(1, share=0.8))
    before = list(batches(changes, 4))
    after = list(simplify_tables(before, tolerance=1.0, folder=tmp_path, at_once=3))
    assert [len(table.geometry) for table in after] == [len(t.geometry) for t in before]
    for old, new in zip(before, after, strict=True):
        assert (old.pixels == new.pixels).all()
        assert (shapely.distance(old.geometry, new.geometry) == 0).all()
    assert list(tmp_path.iterdir()) == []


def test_stairs_become_a_straight_line_and_a_large_square_stays():
    stairs = np.tril(np.ones((20, 20), dtype=np.uint8))
    (change,) = changes_of(stairs)
    assert len(simplify(np.array([change.geometry]), tolerance=1.0)[0].exterior.coords) < 8
    square = shapely.box(0, 0, 10, 10)
    assert simplify(np.array([square]), tolerance=1.0)[0].equals(square)


def test_no_tables_give_no_tables(tmp_path):
    assert list(simplify_tables([], tolerance=1.0, folder=tmp_path)) == []


def test_boxes_that_meet_through_others_are_one_cluster_numbered_by_first_box():
    bounds = np.array(
        [[5, 5, 6, 6], [0, 0, 1, 1], [2, 2, 3, 3], [1, 1, 2, 2], [6, 6, 7, 7]], dtype=float
    )
    assert clusters(bounds).tolist() == [0, 1, 1, 1, 0]


def test_few_are_simplified_at_once_and_never_apart_from_what_is_in_their_way(
    tmp_path, monkeypatch
):
    parts = []
    simplify_all = shapely.coverage_simplify

    def note(polygons, tolerance):
        parts.append(polygons)
        return simplify_all(polygons, tolerance)

    monkeypatch.setattr(shapely, "coverage_simplify", note)
    changes = changes_of(random_mask(2, size=96, share=0.85))
    bounds = np.array([shapely.bounds(change.geometry) for change in changes])
    largest = int(np.bincount(clusters(bounds)).max())

    list(simplify_tables(batches(changes, 7), tolerance=1.0, folder=tmp_path, at_once=5))

    assert sum(map(len, parts)) == len(changes)
    assert 1 < largest < len(changes) / 3
    assert max(map(len, parts)) <= 5 + largest
    for one, other in combinations(parts, 2):
        boxes = shapely.STRtree(shapely.box(*shapely.bounds(one).T))
        assert boxes.query(shapely.box(*shapely.bounds(other).T)).size == 0


@pytest.mark.parametrize("tolerance", [0.75, 2.0])
def test_an_island_stays_inside_the_hole_around_it(tolerance):
    mask = np.ones((30, 30), dtype=np.uint8)
    mask[4:26, 4:26] = 0
    mask[6:24, 6:24] = np.tri(18, dtype=np.uint8)
    polygons = np.array([c.geometry for c in changes_of(mask)])
    result = simplify(polygons, tolerance=tolerance)
    outer = max(result, key=lambda polygon: shapely.Polygon(polygon.exterior).area)
    (island,) = [polygon for polygon in result if polygon is not outer]
    assert shapely.Polygon(outer.interiors[0]).contains(island)


def frames(count: int) -> np.ndarray:
    """Frames around each other, each a pixel thick."""
    places = np.arange(4 * count)
    rings = np.minimum(places, places[::-1])
    return (np.minimum(rings[:, None], rings) % 2).astype(np.uint8)


def test_work_counts_the_outlines_around_each_corner():
    squares = shapely.box([0, 10, 20], 0, [5, 15, 25], 5)
    assert work(squares) == 15, "apart: as much as there are corners"
    nested = shapely.box([0, 1, 2], [0, 1, 2], [9, 8, 7], [9, 8, 7])
    assert work(nested) == pytest.approx(5 * (3 + (1 + 2) * 1 + 49 / 81 + 25 / 81 + 25 / 49))


def test_work_on_outlines_around_each_other_grows_with_their_square():
    few, many = (
        work(np.array([change.geometry for change in changes_of(frames(count))]))
        for count in (10, 40)
    )
    assert few * 12 < many


def test_work_is_looked_at_only_up_to_the_limit(monkeypatch):
    monkeypatch.setattr("changedet.vector.simplify._RINGS", 2)
    rings = np.array([change.geometry for change in changes_of(frames(20))])
    assert 100 < work(rings, limit=100) < work(rings) / 4


def test_outlines_that_take_too_much_work_stay_and_are_counted(tmp_path, monkeypatch):
    changes = changes_of(frames(10))
    before = np.array([change.geometry for change in changes])
    looked_at = []
    monkeypatch.setattr("changedet.vector.simplify.MOST_WORK", work(before) - 1)
    monkeypatch.setattr(shapely, "coverage_simplify", lambda *given: looked_at.append(given))
    kept = []
    tables = simplify_tables(batches(changes, 4), tolerance=1.0, folder=tmp_path, keep=kept.append)
    after = np.concatenate([table.geometry for table in tables])
    assert shapely.equals_exact(before, after).all()
    assert sum(kept) == len(changes)
    assert looked_at == []
