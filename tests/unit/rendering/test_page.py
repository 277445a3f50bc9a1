import base64
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from changedet.errors import DataError
from changedet.rendering.charts import Axis, Chart, Line
from changedet.rendering.page import (
    Badge,
    Headline,
    Headlines,
    Interval,
    Note,
    Picture,
    Pictures,
    Section,
    Table,
    write_summary,
)

VOID = {"meta", "img"}


class Outline(HTMLParser):
    """Collect tags, attributes and text of a page, and check that tags close in order."""

    def __init__(self, path):
        super().__init__()
        self.open, self.tags, self.text = [], [], []
        self.feed(path.read_text(encoding="utf-8"))
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip() and "style" not in self.open:
            self.text.append(data.strip())

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "pictures" / "a b#1.png"
    path.parent.mkdir()
    Image.fromarray(np.zeros((4, 6, 3), dtype=np.uint8)).save(path)
    return path


def write(path, *blocks, **options):
    write_summary(path, title="Demo", sections=[Section("Results", blocks)], **options)
    return Outline(path)


def test_the_page_holds_everything_it_was_given(tmp_path, picture):
    page = write(
        tmp_path / "page.html",
        Headlines([Headline(0.91234, "F1", "0.89 to 0.93", "main"), Headline(12000, "pairs")]),
        Table("Methods", ["method", "F1"], [["ours", 0.9], ["theirs", None]], note="measured"),
        Pictures([Picture(picture, "what it shows")], caption="Examples"),
        Note("a remark"),
        Note("careful", "warning"),
        Note("changedet predict", "code"),
        subtitle="in one line",
    )

    assert page.text == [
        *("Demo", "Demo", "in one line", "Results"),
        *("F1", "0.9123", "0.89 to 0.93", "pairs", "12,000"),
        *("Methods", "method", "F1", "ours", "0.9000", "theirs", "–", "measured"),  # noqa: RUF001
        *("Examples", "what it shows"),
        *("a remark", "careful", "changedet predict"),
    ]


@pytest.mark.parametrize(
    "evil",
    [
        "<script>alert('x')</script> & \"quoted\"",
        '"><img src=x onerror=alert(1)>',
        "' onload='alert(1)",
        "</style></title></code></pre>&lt;b&gt;",
        "{{ 7 * 7 }} {% raw %} {# note #}",
    ],
)
def test_nothing_given_is_ever_markup(tmp_path, picture, evil):
    write_summary(
        tmp_path / "page.html",
        title=evil,
        subtitle=evil,
        sections=[
            Section(
                evil,
                [
                    Headlines([Headline(evil, evil, evil)]),
                    Table(evil, [evil], [[evil]], note=evil),
                    Pictures([Picture(picture, evil)], caption=evil),
                    Note(evil),
                    Note(evil, "code"),
                ],
            )
        ],
    )

    page = Outline(tmp_path / "page.html")

    assert page.all("script") == []
    assert page.text.count(evil) == 15
    [image] = page.all("img")
    assert image["alt"] == evil
    assert set(image) == {"src", "alt", "loading"}
    assert not [attrs for _, attrs in page.tags if any(name.startswith("on") for name in attrs)]


def test_the_page_needs_no_other_file(tmp_path, picture):
    page = write(tmp_path / "page.html", Pictures([Picture(picture, "a")]))

    source = page.all("img")[0]["src"]
    kind, _, content = source.partition(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(content) == picture.read_bytes()
    assert page.all("link") == []
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert not re.search(r"https?://|@import|url\(", text)


def test_a_page_may_load_and_run_nothing(tmp_path):
    page = write(tmp_path / "page.html", Note("a"))
    [policy] = [attrs["content"] for attrs in page.all("meta") if "http-equiv" in attrs]
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def test_columns_of_figures_are_set_to_the_right(tmp_path):
    page = write(tmp_path / "page.html", Table("t", ["name", "F1"], [["a", None], ["b", 0.5]]))

    assert [attrs.get("class") for attrs in page.all("td")] == [None, "number", None, "number"]


@pytest.mark.parametrize(
    ("cells", "is_set_right"),
    [
        (["3.26", "1,024", None], True),
        (["-0.5", "-", "12.5 %"], True),
        (["3.26", "epoch 2"], False),
        (["-", None], False),
        ([None], False),
    ],
)
def test_figures_that_are_given_as_text_are_set_to_the_right_as_well(cells, is_set_right):
    assert Table("t", ["x"], [[cell] for cell in cells]).number_columns == [is_set_right]


def test_an_interval_is_not_broken_and_drawn_on_the_scale_of_its_column(tmp_path):
    rows = [
        [Interval(0.1, 0.2, 0.15)],
        [Interval(0.2, 0.5, digits=1)],
        [Interval(float("nan"), float("nan"), 0.3)],
        ["from here to there"],
    ]
    page = write(tmp_path / "page.html", Table("t", ["interval"], rows))

    assert [attrs.get("class") for attrs in page.all("td")] == ["interval"] * 3 + ["long"]
    texts = ["0.1000 to 0.2000", "0.2 to 0.5", "–", "from here to there"]  # noqa: RUF001
    assert page.text[-4:] == texts
    # The column reaches from 0.1 to 0.5, and the drawing from 0 to 120.
    assert [attrs["d"] for attrs in page.all("path")] == ["M0.0 5H30.0", "M30.0 5H120.0"]
    assert [attrs["cx"] for attrs in page.all("circle")] == ["15.0"]


def test_charts_that_follow_one_another_stand_side_by_side(tmp_path):
    chart = Chart("c", Axis("x"), Axis("y"), [Line("", [(0, 0), (1, 1)])])
    page = write(tmp_path / "page.html", chart, chart, Note("a"), chart)

    groups = [attrs["class"] for attrs in page.all("div")]
    assert groups == ["charts"]
    assert len(page.all("svg")) == 3


def test_the_row_that_matters_is_marked(tmp_path):
    page = write(tmp_path / "page.html", Table("t", ["n"], [["a"], ["b"]], highlighted=1))

    assert [attrs.get("class") for attrs in page.all("tr")] == [None, None, "chosen"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None])
def test_a_figure_that_is_undefined_is_shown_as_a_dash(tmp_path, value):
    page = write(tmp_path / "page.html", Headlines([Headline(value, "F1")]))

    assert page.text[-1] == "–"  # noqa: RUF001


def colours(css):
    """Values of the colour names that a block of style rules sets."""
    return dict(re.findall(r"--([\w-]+):\s*(#[0-9a-f]{6})", css))


def luminance(colour):
    """Relative luminance in [0, 1], by WCAG 2.2."""
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_text_is_legible_on_light_and_on_dark_screens(tmp_path):
    write(tmp_path / "page.html", Note("a"))

    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    style = re.search(r"<style>(.*)</style>", text, re.DOTALL)[1]
    light, dark = style.split("@media (prefers-color-scheme: dark)")
    # 4.5 is what WCAG asks of normal text.
    for scheme in (colours(light), colours(light) | colours(dark)):
        for ink, ground in (
            *(("ink", "paper"), ("ink", "card"), ("faint", "paper"), ("faint", "card")),
            *(("accent", "accent-ground"), ("ink", "accent-ground"), ("warn", "warn-ground")),
        ):
            assert contrast(scheme[ink], scheme[ground]) >= 4.5, (ink, ground)
    assert luminance(colours(light)["paper"]) > 0.5 > luminance(colours(dark)["paper"])


def test_a_section_without_a_title_has_no_heading(tmp_path):
    write_summary(tmp_path / "page.html", title="Demo", sections=[Section("", [Note("a")])])

    assert Outline(tmp_path / "page.html").all("h2") == []


def test_a_row_of_another_length_than_the_header_is_refused(tmp_path):
    with pytest.raises(DataError, match="'Methods' has 2 columns, got a row of 1"):
        write(tmp_path / "page.html", Table("Methods", ["a", "b"], [["only one"]]))


@pytest.mark.parametrize("name", ["missing.png", "page.txt"])
def test_a_picture_that_is_none_is_refused(tmp_path, name):
    (tmp_path / "page.txt").write_text("no picture")

    with pytest.raises(DataError, match=name):
        write(tmp_path / "page.html", Pictures([Picture(tmp_path / name, "a")]))


@pytest.mark.parametrize("tone", ["good", "bad", "open", "faint"])
def test_a_badge_is_a_word_with_a_colour(tmp_path, tone):
    page = write(
        tmp_path / "page.html",
        Table("Claims", ["claim", "verdict"], [["c", Badge("holds <b>", tone)]]),
    )
    assert page.all("span") == [{"class": f"badge {tone}"}]
    assert "holds <b>" in page.text
    css = (tmp_path / "page.html").read_text()
    assert ".badge {" in css
    assert tone == "faint" or f".badge.{tone} {{" in css


def test_names_are_no_html_and_do_not_turn_the_page_around(tmp_path):
    name = "<script>alert(1)</script>\u202e\x1b&'\""
    blocks = [Note(name), Table(name, [name], [[name]], note=name), Headlines([Headline(1, name)])]
    page = tmp_path / "page.html"
    write_summary(page, title=name, subtitle=name, sections=[Section(name, blocks)])
    text = page.read_text()
    assert "<script>alert" not in text
    assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;\\u202e\\u001b") >= 7
    assert not {"\u202e", "\x1b"} & set(text)
