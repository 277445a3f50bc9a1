"""Summary pages as Markdown."""

from changedet.experiment.summary_markdown import write_markdown
from changedet.experiment.summary_page import (
    Headline,
    Headlines,
    Note,
    Picture,
    Pictures,
    Section,
    Table,
)


def test_every_kind_of_block_has_its_markdown(tmp_path):
    table = Table(
        "Figures",
        ["name", "F1", "pixels"],
        [["a|b", 0.5, 12345], ["c", None, 1], ["d", float("nan"), 2]],
        highlighted=1,
        note="How measured.",
    )
    picture = tmp_path / "out" / "with space.png"
    blocks = [
        Headlines([Headline(0.25, "F1", "of all"), Headline("2 of 3", "rows")]),
        Note("A paragraph."),
        Note("Take care.", "warning"),
        Note("changedet demo", "code"),
        table,
        Pictures([Picture(picture, "a map")], caption="Maps"),
    ]
    path = tmp_path / "out" / "report.md"
    write_markdown(
        path, title="Title", subtitle="Below.", sections=[Section("Part", blocks), Section("", [])]
    )
    lines = path.read_text().splitlines()
    assert lines[:5] == ["# Title", "", "Below.", "", "## Part"]
    for line in (
        "- **0.2500** F1 (of all)",
        "- **2 of 3** rows",
        "A paragraph.",
        "> **Note:** Take care.",
        "```",
        "changedet demo",
        "| name | F1 | pixels |",
        "|---|--:|--:|",
        "| a\\|b | 0.5000 | 12,345 |",
        "| **c** | **-** | **1** |",
        "| d | - | 2 |",
        "How measured.",
        "**Maps**",
        "- a map: ![a map](with%20space.png)",
    ):
        assert line in lines
