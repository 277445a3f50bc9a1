import math
from pathlib import Path

from changedet.experiment.accuracy.markdown import render_markdown
from changedet.experiment.summary_page import (
    Headline,
    Headlines,
    Note,
    Picture,
    Pictures,
    Section,
    Table,
)


def test_every_kind_of_block_has_its_markdown():
    text = render_markdown(
        "Title",
        [
            Section("", [Note("a sentence"), Note("beware", "warning"), Note("x = 1", "code")]),
            Section("Part", [Headlines([Headline(0.5, "F1", "0.4 to 0.6"), Headline(3, "n")])]),
            Section(
                "Pictures",
                [
                    Pictures([Picture(Path("deep/down/chart.png"), "what it shows")], "both"),
                    Pictures([Picture(Path("b.png"), "b")]),
                ],
            ),
        ],
        subtitle="below",
    )
    assert text.startswith("# Title\n\nbelow\n\na sentence\n\n> **beware**\n\n```\nx = 1\n```\n")
    assert "## Part\n\n- F1: **0.5000** (0.4 to 0.6)\n- n: **3**\n" in text
    assert "both\n\n![what it shows](chart.png)\n\n![b](b.png)\n" in text


def test_tables_keep_their_shape_whatever_a_cell_holds():
    table = Table(
        "Caption", ("method", "F1"), [["a|b\nc", 0.25], ["d", math.nan], ["e", None]], note="fine"
    )
    lines = render_markdown("T", [Section("", [table])]).splitlines()
    assert lines[2:] == [
        "**Caption**",
        "",
        "| method | F1 |",
        "|---|---:|",
        r"| a\|b c | 0.2500 |",
        "| d | - |",
        "| e | - |",
        "",
        "fine",
    ]
