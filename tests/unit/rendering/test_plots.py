import sys

import numpy as np
import pytest
import torch
from PIL import Image

from changedet.errors import ConfigError
from changedet.metrics.calibration import measure_calibration
from changedet.metrics.counter import ScoreCounter
from changedet.metrics.objects import SIZE_CLASSES, SizeRecall
from changedet.metrics.protocol import best_threshold_metrics
from changedet.palette import LINES, to_hex
from changedet.rendering.plots import (
    SizeLine,
    SizePanel,
    precision_recall_figure,
    reliability_figure,
    size_recall_figure,
    write_precision_recall_curve,
    write_reliability_diagram,
    write_size_recall_chart,
)


def counted(score, label):
    counter = ScoreCounter()
    counter.update(torch.as_tensor(score)[None], torch.as_tensor(label)[None])
    return counter.compute()


@pytest.fixture
def hist():
    rng = np.random.default_rng(0)
    label = (rng.random((32, 32)) < 0.2).astype(np.uint8)
    return counted(rng.normal(np.where(label, 0.6, 0.4), 0.1).clip(0, 1), label)


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


@pytest.mark.parametrize(
    ("name", "kind"), [("3_1000_P_R.jpg", "JPEG"), ("curve.png", "PNG"), ("CURVE.JPEG", "JPEG")]
)
def test_the_ending_decides_the_kind_of_file(tmp_path, hist, name, kind):
    write_precision_recall_curve(tmp_path / name, hist, title="validation")

    with Image.open(tmp_path / name) as image:
        assert image.format == kind
        assert min(image.size) > 400


def test_an_ending_that_is_no_picture_is_refused(tmp_path, hist):
    with pytest.raises(ConfigError, match=r"\.png, \.jpg, \.jpeg, got 'curve.txt'"):
        write_precision_recall_curve(tmp_path / "curve.txt", hist, title="")

    assert list(tmp_path.iterdir()) == []


# Scores of five pixels, three of them changed, and by hand what each threshold gives.
SCORES, LABELS = [0.9, 0.7, 0.5, 0.3, 0.1], [1, 1, 0, 1, 0]
# (recall, precision) from the strictest threshold to the loosest.
POINTS = [(1 / 3, 1.0), (2 / 3, 1.0), (2 / 3, 2 / 3), (1.0, 0.75), (1.0, 0.6)]


@pytest.fixture
def few():
    return counted(np.array([SCORES]), np.array([LABELS], dtype=np.uint8))


def labelled(axes, start):
    """The line whose text in the legend begins so: its points, and that text."""
    [line] = [line for line in axes.get_lines() if line.get_label().startswith(start)]
    return np.column_stack(line.get_data()), line.get_label()


def test_the_curve_shows_precision_over_recall(few):
    [axes] = precision_recall_figure(few, title="validation").axes

    points, label = labelled(axes, "average precision")
    for point in POINTS:
        assert np.nanmin(np.abs(points - point).max(axis=1)) < 1e-9
    # (1/3 + 1/3) at precision 1, and the last third at 3/4.
    assert label == f"average precision {2 / 3 + 0.75 / 3:.4f}"
    assert axes.get_xlabel().startswith("Recall")
    assert axes.get_ylabel().startswith("Precision")
    assert axes.get_title(loc="left") == "validation"
    assert axes.get_xlim() == (0.0, 1.0)
    assert axes.get_ylim()[0] == 0.0


def test_the_best_f1_is_marked_where_it_is(few):
    [axes] = precision_recall_figure(few, title="t").axes

    points, label = labelled(axes, "best F1")
    assert points.tolist() == [[1.0, 0.75]]
    assert label.startswith(f"best F1 {2 * 0.75 / 1.75:.4f} at threshold 0.")


def test_the_picture_shows_the_figures_that_are_reported(hist):
    [axes] = precision_recall_figure(hist, title="t").axes

    reported = best_threshold_metrics(hist)
    mark, label = labelled(axes, "best F1")
    assert mark.tolist() == [[reported.recall, reported.precision]]
    assert label == f"best F1 {reported.max_f1:.4f} at threshold {reported.threshold:.3f}"
    curve, area = labelled(axes, "average precision")
    assert area == f"average precision {reported.average_precision:.4f}"
    assert (curve == mark).all(axis=1).any()


def test_the_chosen_threshold_is_marked_where_it_is(few):
    [axes] = precision_recall_figure(few, title="t", threshold=0.5).axes

    points, label = labelled(axes, "F1")
    assert points == pytest.approx(np.array([POINTS[2]]))
    assert label == "F1 0.6667 at the chosen threshold 0.500"
    assert label in [text.get_text() for text in axes.get_legend().get_texts()]


def test_lines_of_equal_f1_are_where_they_say(few):
    [axes] = precision_recall_figure(few, title="t").axes

    dashed = [np.column_stack(line.get_data()) for line in axes.get_lines() if line.is_dashed()]
    names = [text.get_text() for text in axes.texts]
    for name, points in zip(names, dashed, strict=True):
        recall, precision = points.T
        f1 = 2 * recall * precision / (recall + precision)
        assert f1 == pytest.approx(np.full(len(f1), float(name.removeprefix("F1 "))))


def test_the_file_shows_the_curve_at_its_place(tmp_path, few):
    """Precision 1 up to recall 2/3: the top of the plot is blue on the left, not on the right."""
    write_precision_recall_curve(tmp_path / "a.png", few, title="t")

    is_curve = np.abs(pixels(tmp_path / "a.png") - LINES[0]).max(axis=-1) < 20
    rows, columns = np.nonzero(is_curve)
    top = columns[rows < rows.min() + 3]
    width = columns.max() - columns.min()
    # From recall 1/3 (or 0) to 2/3, and the curve ends at recall 1.
    assert (top.max() - columns.min()) / width == pytest.approx(2 / 3, abs=0.17)
    assert rows[columns > columns.max() - 3].min() > rows.min() + 50


@pytest.mark.parametrize("value", [0, 255])
def test_without_a_changed_pixel_the_file_is_written_without_a_curve(tmp_path, hist, value):
    empty = counted(np.full((4, 4), 0.3), np.full((4, 4), value, dtype=np.uint8))
    write_precision_recall_curve(tmp_path / "empty.png", empty, title="t")
    write_precision_recall_curve(tmp_path / "curve.png", hist, title="t")

    def curve_pixels(name):
        return (np.abs(pixels(tmp_path / name) - LINES[0]).max(axis=-1) < 20).sum()

    assert curve_pixels("empty.png") == 0
    assert curve_pixels("curve.png") > 200


def test_all_changed_and_one_pixel_draw_without_a_warning(tmp_path):
    hist = counted(np.array([[1.0]]), np.array([[1]], dtype=np.uint8))

    write_precision_recall_curve(tmp_path / "one.png", hist, title="t", threshold=1.0)


def test_a_title_is_text_and_not_mathematics(tmp_path, hist):
    write_precision_recall_curve(tmp_path / "a.png", hist, title="run_1 costs $x_{ and $5")


def test_drawing_uses_no_global_state(tmp_path, hist):
    write_precision_recall_curve(tmp_path / "a.png", hist, title="t")

    assert (
        "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()
    )


NAN = float("nan")


def line(title, kind, recalls, margin=0.05):
    by_size = [
        SizeRecall(size, 10, 5, recall, (recall - margin, recall + 2 * margin))
        for size, recall in zip(SIZE_CLASSES, recalls, strict=True)
    ]
    return SizeLine(title, kind, by_size)


RECALLS = np.linspace(0.2, 0.8, len(SIZE_CLASSES))


def drawn(axes):
    """Methods as they are drawn: their lines by title, and the intervals as (x, low, high)."""
    found = {}
    for container in axes.containers:
        data, _, (bars,) = container.lines
        ends = [(*{x for x, _ in bar}, *(y for _, y in bar)) for bar in bars.get_segments()]
        found[container.get_label()] = data, ends
    return found


def test_recall_is_drawn_over_the_size_with_its_interval():
    one, two = line("one", "model", RECALLS), line("two", "model", RECALLS[::-1])
    figure = size_recall_figure([SizePanel("whole", [one, two]), SizePanel("tiles", [two, one])])

    left, right = figure.axes
    assert [axes.get_title(loc="left") for axes in (left, right)] == ["whole", "tiles"]
    assert [tick.get_text() for tick in left.get_xticklabels()] == [s.text for s in SIZE_CLASSES]
    assert left.get_ylabel().startswith("Share of objects found")
    assert left.get_xlabel().startswith("Size")
    assert list(left.get_xticks()) == list(range(len(SIZE_CLASSES)))
    for axes in (left, right):
        for title, recalls in (("one", RECALLS), ("two", RECALLS[::-1])):
            data, intervals = drawn(axes)[title]
            assert data.get_ydata() == pytest.approx(recalls)
            assert np.rint(data.get_xdata()).tolist() == list(range(len(SIZE_CLASSES)))
            for x, recall, (bar_x, low, high) in zip(
                data.get_xdata(), recalls, intervals, strict=True
            ):
                assert (bar_x, low, high) == pytest.approx((x, recall - 0.05, recall + 0.1))
    # Side by side, so that neither hides the other's interval.
    assert (drawn(left)["one"][0].get_xdata() != drawn(left)["two"][0].get_xdata()).all()


def test_a_class_without_an_object_has_no_point():
    recalls = [0.5, NAN, *RECALLS[2:]]
    [axes] = size_recall_figure([SizePanel("t", [line("one", "model", recalls)])]).axes

    data, _ = drawn(axes)["one"]
    assert np.isnan(data.get_ydata()).tolist() == np.isnan(recalls).tolist()


def test_untrained_methods_are_grey_and_dashed_and_models_coloured():
    lines = [
        line("floor", "baseline", RECALLS),
        line("first", "model", RECALLS),
        line("second", "model", RECALLS),
    ]
    [axes] = size_recall_figure([SizePanel("t", lines)]).axes

    styles = {
        title: (data.get_color(), data.get_linestyle()) for title, (data, _) in drawn(axes).items()
    }
    assert styles["first"] == (to_hex(LINES[0]), "-")
    assert styles["second"] == (to_hex(LINES[1]), "-")
    red, green, blue = (int(styles["floor"][0][at : at + 2], 16) for at in (1, 3, 5))
    assert max(red, green, blue) - min(red, green, blue) < 30
    assert styles["floor"][1] == "--"


def test_odd_titles_and_undefined_intervals_are_drawn(tmp_path):
    lines = [line(title, "model", RECALLS, margin=NAN) for title in ("_a", "$x^", "c")]
    write_size_recall_chart(tmp_path / "odd.png", [SizePanel("$t_", lines)] * 2)

    assert pixels(tmp_path / "odd.png").shape[1] > 1000
    legend = size_recall_figure([SizePanel("t", lines)]).legends[0]
    assert [text.get_text().strip() for text in legend.get_texts()] == ["_a", r"\$x^", "c"]


def test_the_reliability_diagram_shows_share_of_change_over_mean_score(tmp_path):
    score = np.array([[0.02, 0.03, 0.41, 0.43, 0.9, 0.9]])
    hist = counted(score, np.array([[0, 0, 0, 1, 1, 1]], dtype=np.uint8))
    calibration = measure_calibration(hist)

    axes, below = reliability_figure(calibration, title="validation").axes

    points, label = labelled(axes, "expected calibration error")
    assert points == pytest.approx(np.array([[0.025, 0.0], [0.42, 0.5], [0.9, 1.0]]), abs=1e-3)
    assert label.endswith(f"{calibration.expected_calibration_error:.4f}")
    assert [bar.get_height() for bar in below.patches] == [2, 2, 2]
    write_reliability_diagram(tmp_path / "reliability.png", calibration, title="validation")
    assert pixels(tmp_path / "reliability.png").shape[0] > 400


def test_a_reliability_diagram_without_a_pixel_says_so():
    nothing = measure_calibration(counted(np.array([[0.5]]), np.array([[255]], dtype=np.uint8)))

    axes, _ = reliability_figure(nothing, title="").axes

    assert labelled(axes, "no pixel")[0].size == 0
