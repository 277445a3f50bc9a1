import json
import re

import numpy as np
import pytest
from PIL import Image

from changedet.errors import DataError
from changedet.rendering.interactive import (
    Example,
    Gallery,
    ScoreTable,
    ThresholdExplorer,
    precision_recall_points,
)
from changedet.rendering.markdown import write_markdown
from changedet.rendering.page import Note, Section, write_summary

TABLE = ScoreTable([0.0, 0.25, 0.5, 0.75, 1.0], [80, 10, 6, 4, 0], [1, 2, 3, 14, 0])


@pytest.fixture
def example(tmp_path):
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{name}.png" for name in ("before", "after", "label", "score")]
    for path, size in zip(paths, ((8, 9, 3), (8, 9, 3), (8, 9), (8, 9)), strict=True):
        Image.fromarray(rng.integers(0, 255, size, dtype=np.uint8)).save(path)
    return Example("a pair", *paths)


def page_of(tmp_path, *blocks) -> str:
    write_summary(tmp_path / "page.html", title="t", sections=[Section("s", blocks)])
    return (tmp_path / "page.html").read_text(encoding="utf-8")


def test_figures_at_the_first_threshold_are_counted_from_the_table():
    explorer = ThresholdExplorer("a", TABLE, start=0.5)
    assert explorer.confusion == {"tp": 17, "fp": 10, "fn": 3, "tn": 90}
    assert explorer.figures["precision"] == 17 / 27
    assert explorer.figures["recall"] == 17 / 20
    assert explorer.figures["f1"] == 34 / 47
    assert explorer.figures["iou"] == 17 / 30


@pytest.mark.parametrize(("start", "first"), [(0.0, 0), (0.3, 2), (0.5, 2), (1.0, 4), (1.2, 4)])
def test_the_slider_begins_at_the_lowest_bin_that_reaches_the_threshold(start, first):
    assert ThresholdExplorer("a", TABLE, start=start).first == first


def test_nothing_detected_has_no_precision():
    explorer = ThresholdExplorer("a", TABLE, start=1.0)
    assert explorer.figures == {"precision": None, "recall": 0.0, "f1": 0.0, "iou": 0.0}


def test_the_curve_goes_from_the_highest_threshold_down():
    assert precision_recall_points(TABLE) == [
        (14 / 20, 14 / 18),
        (17 / 20, 17 / 27),
        (19 / 20, 19 / 39),
        (1.0, 20 / 120),
    ]
    assert precision_recall_points(ScoreTable([0.0], [5], [0])) == []


def test_histograms_hold_every_pixel_once():
    fine = ScoreTable([k / 1024 for k in range(1025)], [1] * 1025, list(range(1025)))
    chart = ThresholdExplorer("a", fine, start=0.5).histogram()
    changed, unchanged = (sum(y for _, y in line.points) for line in chart.lines)
    assert (changed, unchanged) == (sum(range(1025)), 1025)
    assert len(chart.lines[0].points) < 80


def test_columns_of_other_lengths_are_refused():
    with pytest.raises(DataError, match="columns of one length"):
        ScoreTable([0.0, 0.5], [1], [1, 2])


def test_a_page_with_something_to_move_holds_its_script_and_reaches_no_network(tmp_path, example):
    page = page_of(
        tmp_path, ThresholdExplorer("a", TABLE, start=0.5), Gallery([example], explorer="a")
    )
    assert "default-src 'none'" in page
    assert page.count("<script>") == 1
    sources = re.findall(r'(?:src|href)="([^"]{0,20})', page)
    assert sources
    assert all(source.startswith("data:image/") for source in sources)
    data = json.loads(re.search(r'<script type="application/json">(.*?)</script>', page)[1])
    assert data == {
        "score_from": TABLE.score_from,
        "changed": TABLE.changed,
        "unchanged": TABLE.unchanged,
    }
    assert 'data-figure="f1">0.7234<' in page


def test_a_page_without_such_blocks_has_no_script(tmp_path):
    assert "<script" not in page_of(tmp_path, Note("nothing to move"))


def test_what_the_colours_mean_depends_on_what_is_known(example):
    assert list(Gallery([example]).colours) == ["hit", "miss", "false alarm"]
    without_label = Example("a", example.before, example.after, score=example.score)
    assert list(Gallery([without_label]).colours) == ["change"]
    photos = Example("a", example.before, example.after)
    assert Gallery([photos]).colours == {}


def test_names_of_pairs_are_text_wherever_they_stand(tmp_path, example):
    named = Example('<b>"pair"</b>', example.before, example.after, example.label, example.score)
    page = page_of(tmp_path, Gallery([named]))
    assert "<b>" not in page
    assert "&lt;b&gt;&#34;pair&#34;&lt;/b&gt;" in page


def test_markdown_has_no_charts(tmp_path):
    chart = ThresholdExplorer("a", TABLE, start=0.5).curve()
    with pytest.raises(DataError, match="a Chart can be drawn in a page, not in Markdown"):
        write_markdown(tmp_path / "page.md", title="t", sections=[Section("s", [chart])])
