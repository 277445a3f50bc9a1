import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from changedet.raster.align import centre_window, clip_polygon, outline
from changedet.raster.geo_grid import Window
from changedet.raster.pixel_map import Points


@st.composite
def stars(draw: st.DrawFn) -> Points:
    """Draw a polygon that does not cross itself: corners around a centre."""
    count = draw(st.integers(3, 12))
    radii = draw(st.lists(st.floats(1, 60), min_size=count, max_size=count))
    x, y = draw(st.floats(-40, 80)), draw(st.floats(-40, 80))
    angles = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return Points(x + radii * np.cos(angles), y + radii * np.sin(angles))


@given(stars())
def test_a_clipped_polygon_has_the_area_of_the_intersection(star: Points):
    expected = shapely.intersection(
        shapely.Polygon(np.transpose(star)), shapely.box(0, 0, 40, 30)
    ).area
    assert clip_polygon(star, 30, 40).area == pytest.approx(expected, abs=1e-6)


def test_the_outline_of_a_window_encloses_it_once():
    ring = outline(Window(5, 7, 20, 30))
    assert shapely.Polygon(np.transpose(ring)).area == pytest.approx(20 * 30)
    assert (ring.x.min(), ring.x.max()) == (7, 37)
    assert (ring.y.min(), ring.y.max()) == (5, 25)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 4.0, (0, 4)),
        (0.4, 3.6, (0, 4)),
        (0.6, 3.4, (1, 2)),
        # Rounding in a change of CRS costs no pixel.
        (0.5 + 1e-9, 3.5 - 1e-9, (0, 4)),
        (-2.0, 1.0, (-2, 3)),
    ],
)
def test_pixels_count_whose_centres_are_inside(low: float, high: float, expected: tuple[int, int]):
    square = shapely.box(low, low, high, high)
    start, length = expected
    assert centre_window(square) == Window(start, start, length, length)


def test_a_polygon_between_pixel_centres_holds_none():
    assert centre_window(shapely.Polygon([(0.6, 0.6), (1.4, 0.6), (1.4, 1.4)])) is None
    assert centre_window(shapely.Polygon()) is None
