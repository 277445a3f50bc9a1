"""Summary pages as Markdown."""

import html
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from changedet.rendering.markdown import write_markdown
from changedet.rendering.page import (
    Badge,
    Headline,
    Headlines,
    Note,
    Picture,
    Pictures,
    Section,
    Table,
)


def test_every_kind_of_block_has_its_markdown(tmp_path):
    picture = tmp_path / "out" / "with space.png"
    elsewhere = tmp_path / "maps" / "b.png"
    blocks = [
        Headlines([Headline(0.25, "F1", "of all"), Headline("2 of 3", "rows")]),
        Note("A paragraph."),
        Note("Take care.", "warning"),
        Note("changedet demo", "code"),
        Pictures([Picture(picture, "a map"), Picture(elsewhere, "b")], caption="Maps"),
        Pictures([Picture(picture, "again")]),
    ]
    path = tmp_path / "out" / "report.md"
    write_markdown(
        path, title="Title", subtitle="Below.", sections=[Section("Part", blocks), Section("", [])]
    )
    assert path.read_text().splitlines() == [
        "# Title",
        "",
        "Below.",
        "",
        "## Part",
        "",
        "- **0.2500** F1 (of all)",
        "- **2 of 3** rows",
        "",
        "A paragraph.",
        "",
        "> **Note:** Take care.",
        "",
        "```",
        "changedet demo",
        "```",
        "",
        "**Maps**",
        "",
        "- a map: ![a map](with%20space.png)",
        "- b: ![b](../maps/b.png)",
        "",
        "- again: ![again](with%20space.png)",
    ]


def test_tables_keep_their_shape_whatever_a_cell_holds(tmp_path):
    table = Table(
        "Figures",
        ["name", "F1", "pixels"],
        [["a|b\nc", 0.5, 12345], ["c", None, 1], ["d", float("nan"), 2]],
        highlighted=1,
        note="How measured.",
    )
    path = tmp_path / "table.md"
    write_markdown(path, title="T", sections=[Section("", [table])])
    assert path.read_text().splitlines()[2:] == [
        "**Figures**",
        "",
        "| name | F1 | pixels |",
        "|---|--:|--:|",
        r"| a\|b c | 0.5000 | 12,345 |",
        "| **c** | **-** | **1** |",
        "| d | - | 2 |",
        "",
        "How measured.",
    ]


EVIL = [
    "<script>alert(1)</script>",
    "a \"quoted\" & 'apostrophed' name",
    "&lt; is an entity, &#35; too",
    "columns | and ` ticks ` and ``more``",
    "*stars* **bold** _under_ snake_case __x__ ~~struck~~ 5 * 3",
    "[a link](http://host) ![image](x.png) [x]: y <http://auto.link>",
    "# heading",
    "> quotation",
    "- item",
    "1. item",
    "=== under",
    "back\\slash \\* and \\| bar",
    "two\n\nparagraphs\n# and a heading",
]

# Of a page with every kind of block but a table and code.
TAGS = {"h1", "h2", "ul", "li", "strong", "blockquote", "p", "img"}


def one_line(text):
    return " ".join(text.split())


def rendered(tmp_path, *blocks, title="t", subtitle=""):
    """Write a page, and read it back with another program's reader of Markdown."""
    path = tmp_path / "page.md"
    write_markdown(path, title=title, subtitle=subtitle, sections=[Section(title, blocks)])
    reader = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    return reader.render(path.read_text())


def inside(page, tag):
    """Text of all elements of a kind; fails if there is another element in one of them."""
    found = re.findall(f"<{tag}(?: [^>]*)?>(.*?)</{tag}>", page, flags=re.DOTALL)
    assert not any(re.search("<(?!/?strong>)", text) for text in found)
    return [html.unescape(re.sub("</?strong>", "", text)).strip() for text in found]


@pytest.mark.parametrize("evil", EVIL)
def test_nothing_given_is_ever_markup(tmp_path, evil):
    page = rendered(
        tmp_path,
        Table(evil, [evil, "n"], [[evil, 1], ["x", 2], [evil, 3]], note=evil, highlighted=2),
        Note(evil),
        title=evil,
        subtitle=evil,
    )

    text = one_line(evil)
    assert inside(page, "h1") == inside(page, "h2") == [text]
    assert inside(page, "th") == [text, "n"]
    assert inside(page, "td") == [text, "1", "x", "2", text, "3"]
    assert inside(page, "p") == [text, text, text, text]  # subtitle, caption, note, paragraph


@pytest.mark.parametrize("evil", EVIL)
def test_captions_and_items_are_text(tmp_path, evil):
    picture = tmp_path / "a](b) `c`.png"
    page = rendered(
        tmp_path,
        Headlines([Headline(evil, evil, evil)]),
        Note(evil, "warning"),
        Pictures([Picture(picture, evil)], caption=evil),
    )

    text = one_line(evil)
    shown = html.unescape(re.sub("<[^>]*>", "", page.split("</h2>")[1]))
    assert one_line(shown) == f"{text} {text} ({text}) Note: {text} {text} {text}:"
    source, alt = re.search(r'<img src="([^"]*)" alt="([^"]*)" />', page).groups()
    assert source == "a%5D%28b%29%20%60c%60.png"
    assert html.unescape(alt) == text
    assert set(re.findall(r"<(\w+)", page)) == TAGS


@pytest.mark.parametrize("code", ["a\n```\nb", "`````", "x `y` z", "<b>", "# no heading"])
def test_code_stays_as_it_is(tmp_path, code):
    page = rendered(tmp_path, Note(code, "code"), Note("after"))

    assert html.unescape(re.search("<code>(.*)</code>", page, re.DOTALL)[1]) == f"{code}\n"
    assert inside(page, "p") == ["after"]


@example("_a_b_")
@example("&amp;")
@example("!")
@given(st.text("ab1 _*`~|\\<>&;#![](){}:.-+=\"'\n", min_size=1))
def test_any_text_comes_back_from_a_table(tmp_path_factory, text):
    page = rendered(tmp_path_factory.getbasetemp(), Table("c", ["h"], [[text]]), Note(f"x{text}"))

    assert inside(page, "td") == [one_line(text)]
    assert inside(page, "p")[-1] == one_line(f"x{text}")


def test_a_badge_is_its_word(tmp_path):
    table = Table("Claims", ["claim", "verdict"], [["c", Badge("not judged", "open")]])
    write_markdown(tmp_path / "r.md", title="t", sections=[Section("S", [table])])
    assert "| c | not judged |" in (tmp_path / "r.md").read_text()


def test_what_turns_the_writing_around_is_written_out(tmp_path):
    texts = [Note("a\u202eb\x1b[2J"), Note("c\u202ed", "code")]
    write_markdown(tmp_path / "report.md", title="T", sections=[Section("", texts)])
    written = (tmp_path / "report.md").read_text()
    assert "a\\\\u202eb\\\\u001b\\[2J" in written
    assert "c\\u202ed" in written
