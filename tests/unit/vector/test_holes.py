import numpy as np
import pytest
import shapely

from changedet.vector.holes import HoleFiller


def filler(limit, smallest=0.0) -> HoleFiller:
    return HoleFiller(
        is_small=lambda polygons: shapely.area(polygons) <= limit,
        is_kept=lambda polygons: shapely.area(polygons) >= smallest,
    )


def ring(outer, *holes) -> shapely.Polygon:
    return shapely.Polygon(shapely.box(*outer).exterior, [shapely.box(*h).exterior for h in holes])


def test_holes_up_to_the_limit_are_filled_and_larger_ones_stay():
    polygons = np.array([ring((0, 0, 9, 9), (1, 1, 3, 3), (4, 4, 8, 8)), shapely.box(20, 0, 21, 1)])
    filled, is_changed = filler(4.0).fill(polygons)
    assert filled[0].equals(ring((0, 0, 9, 9), (4, 4, 8, 8)))
    assert filled[1].equals(polygons[1])
    assert is_changed.tolist() == [True, False]


@pytest.mark.parametrize("together", [True, False])
def test_a_hole_is_not_filled_over_a_polygon_inside(together):
    island, around = shapely.box(2, 2, 3, 3), ring((0, 0, 9, 9), (1, 1, 4, 4), (6, 6, 8, 8))
    fill = filler(10.0)
    if together:
        result = fill.fill(np.array([island, around]))[0][1]
    else:
        fill.fill(np.array([island]))
        result = fill.fill(np.array([around]))[0][0]
    assert result.equals(ring((0, 0, 9, 9), (1, 1, 4, 4)))


def test_a_polygon_too_small_to_be_kept_does_not_keep_a_hole_open():
    polygons = np.array([shapely.box(2, 2, 3, 3), ring((0, 0, 9, 9), (1, 1, 4, 4))])
    assert filler(10.0, smallest=1.5).fill(polygons)[0][1].equals(shapely.box(0, 0, 9, 9))


def test_a_polygon_beside_that_touches_the_hole_at_a_corner_does_not_count_as_inside():
    polygons = np.array([ring((0, 0, 9, 9), (1, 1, 2, 2)), shapely.box(9, 9, 10, 10)])
    assert filler(2.0).fill(polygons)[0][0].equals(shapely.box(0, 0, 9, 9))
