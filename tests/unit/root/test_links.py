"""Links and pictures of the documents lead to files and headings that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = sorted(
    path
    for pattern in (
        "*.md",
        "docs/*.md",
        "models/*.md",
        "examples/**/*.md",
        "benchmarks/**/*.md",
        "integrations/**/*.md",
    )
    for path in ROOT.glob(pattern)
)


def _prose(text: str) -> str:
    """Take out code, whose brackets are no links."""
    return re.sub(r"`[^`\n]*`", "code", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))


def _anchors(page: Path) -> set[str]:
    """Find what can follow the # of a link, as GitHub names headings."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    found = set(re.findall(r'<a name="([^"]+)">', text))
    for heading in re.findall(r"^#{1,6} (.*)$", text, flags=re.M):
        shown = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w\- ]", "", shown.strip().lower()).replace(" ", "-")
        found.add(name if name not in found else f"{name}-1")
    return found


def broken_links(page: Path) -> list[str]:
    """List the links of a page, without those to other sites, that lead nowhere."""
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", _prose(page.read_text(encoding="utf-8"))):
        if re.match(r"\w+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        exists = target.exists()
        if not exists or (anchor and target.suffix == ".md" and anchor not in _anchors(target)):
            broken.append(link)
    return broken


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page):
    assert broken_links(page) == []


def test_links_to_missing_files_and_headings_are_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# A `b` c\n[x](#a-b-c) [y](#d) [z](none.md) ![p](none.png)\n```\n[n](n)\n```\n"
    )
    assert broken_links(page) == ["#d", "none.md", "none.png"]
