"""Summary pages as Markdown."""

from changedet.rendering.markdown import write_markdown
from changedet.rendering.page import (
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
