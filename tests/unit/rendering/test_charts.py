import math

import pytest

from changedet.errors import DataError
from changedet.rendering.charts import HEIGHT, WIDTH, Axis, Chart, Line, draw


def drawn(*lines: Line, x: Axis | None = None, y: Axis | None = None):
    return draw(Chart("test", x or Axis("x"), y or Axis("y"), lines))


def points_of(path: str) -> list[tuple[float, float]]:
    return [
        tuple(float(part) for part in place.split())
        for place in path.replace("M", "L").split("L")
        if place
    ]


def test_the_ends_of_the_axes_are_the_corners_of_the_frame():
    drawing = drawn(Line("", [(0, 0), (10, 5)]), y=Axis("y", 0, 5))
    left, top, right, bottom = drawing.frame
    assert points_of(drawing.lines[0].path) == [(left, bottom), (right, top)]
    assert 0 < left < right < WIDTH
    assert 0 < top < bottom < HEIGHT
    assert [tick.text for tick in drawing.x_ticks] == ["0", "2", "4", "6", "8", "10"]
    assert drawing.x_ticks[-1].at == right


def test_what_is_no_number_leaves_a_gap():
    drawing = drawn(Line("", [(0, 0), (1, 1), (2, math.nan), (3, 1), (4, 0)]))
    assert drawing.lines[0].path.count("M") == 2
    assert len(drawing.lines[0].dots) == 4


def test_steps_keep_their_value_up_to_the_next_point():
    drawing = drawn(Line("", [(0, 0), (1, 1)], style="steps"))
    left, top, right, bottom = drawing.frame
    assert points_of(drawing.lines[0].path) == [(left, bottom), (right, bottom), (right, top)]


def test_a_logarithmic_axis_has_powers_of_ten_and_puts_zero_at_its_low_end():
    drawing = drawn(Line("", [(0, 0), (1, 20), (2, 3000)]), y=Axis("pixels", scale="log"))
    assert [tick.text for tick in drawing.y_ticks] == ["10", "100", "1k", "10k"]
    _, top, _, bottom = drawing.frame
    heights = [y for _, y in points_of(drawing.lines[0].path)]
    assert heights[0] == bottom
    share = (bottom - heights[2]) / (bottom - top)
    assert share == pytest.approx(math.log10(300) / 3, abs=1e-3)


def test_places_with_names_stand_between_the_ends():
    line = Line("", [(0, 0.2), (1, 0.8)], style="points", intervals=[(0.1, 0.3), (0.7, math.nan)])
    drawing = drawn(line, x=Axis("size", labels=["small", "large"]), y=Axis("share", 0, 1))
    left, top, right, bottom = drawing.frame
    quarter = (right - left) / 4
    assert [tick.text for tick in drawing.x_ticks] == ["small", "large"]
    assert [tick.at for tick in drawing.x_ticks] == [left + quarter, right - quarter]
    assert drawing.lines[0].path == ""
    (bar,) = drawing.lines[0].bars
    height = bottom - top
    assert bar.top == pytest.approx(bottom - 0.3 * height)
    assert bar.bottom == pytest.approx(bottom - 0.1 * height)


@pytest.mark.parametrize("values", [[], [3.0], [math.nan], [0.0, 0.0]])
@pytest.mark.parametrize("scale", ["linear", "log"])
def test_few_or_equal_values_have_an_axis_as_well(values, scale):
    drawing = drawn(Line("", list(enumerate(values))), y=Axis("y", scale=scale))
    low, high = drawing.ends[2:]
    assert low < high
    assert drawing.y_ticks


def test_small_and_large_numbers_are_written_short():
    rates = drawn(Line("", [(0, 0), (1, 0.00025)]))
    assert [tick.text for tick in rates.y_ticks][1] == "5e-5"
    steps = drawn(Line("", [(0, 0), (2_000_000, 1)]))
    assert steps.x_ticks[-1].text == "2M"


def test_intervals_for_some_points_only_are_refused():
    with pytest.raises(DataError, match="2 points and 1 intervals"):
        drawn(Line("f1", [(0, 0), (1, 1)], intervals=[(0, 1)]))
