"""The page of a report in a real browser: what can be moved moves, and nothing else is loaded."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from changedet.evaluation.evaluate import evaluate_model
from changedet.evaluation.request import EvaluationRequest
from changedet.rendering.charts import Axis, Chart, Line
from changedet.rendering.page import (
    Badge,
    Headline,
    Headlines,
    Interval,
    Note,
    Section,
    Table,
    write_summary,
)
from changedet.report.report import write_report
from changedet.report.request import ReportRequest
from changedet.results import read_results

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
AXE = Path(__file__).parents[2] / "frontend" / "node_modules" / "axe-core" / "axe.min.js"
CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium"),
    pytest.mark.usefixtures("blank_charts"),
]


@pytest.fixture(scope="module")
def page_file(tmp_path_factory, pairs_folder) -> Path:
    folder = tmp_path_factory.mktemp("report")
    evaluate_model(
        EvaluationRequest(
            model="baseline:difference",
            data=pairs_folder,
            split="test",
            out=folder / "evaluated",
            device="cpu",
            panels=2,
        )
    )
    return write_report(
        ReportRequest(sources=(folder / "evaluated",), out=folder / "mailed" / "page.html")
    )


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=CHROMIUM, headless=True, args=["--no-sandbox"]
        )
        yield opened
        opened.close()


@pytest.fixture
def page(browser, page_file):
    """The page, with all faults that it reports and addresses that it asks for."""
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    opened = context.new_page()
    opened.faults, opened.asked = [], []
    opened.on("console", lambda said: said.type == "error" and opened.faults.append(said.text))
    opened.on("pageerror", lambda error: opened.faults.append(str(error)))
    opened.on("request", lambda request: opened.asked.append(request.url))
    opened.goto(page_file.as_uri())
    opened.wait_for_function("document.documentElement.classList.contains('ready')")
    yield opened
    assert opened.faults == []
    assert [url for url in opened.asked if not url.startswith(("file:", "data:"))] == []
    context.close()


def shown(page, name: str) -> str:
    return page.locator(f'[data-figure="{name}"]').first.inner_text()


def coloured(page) -> int:
    """Pixels of the first example that have a colour of hits, misses or false alarms."""
    return page.locator("canvas").first.evaluate(
        "canvas => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height)"
        ".data.filter((value, place) => place % 4 === 3 && value).length"
    )


def serious_faults(page) -> list[tuple[str, str]]:
    """What axe finds, and where first."""
    page.evaluate(AXE.read_text())
    return [
        (fault["id"], fault["nodes"][0]["html"][:160])
        for fault in page.evaluate("() => axe.run()")["violations"]
        if fault["impact"] in ("serious", "critical")
    ]


def assert_side_by_side(page) -> None:
    pair = page.locator(".pair").first
    before, after = (pair.locator(part).bounding_box() for part in ("img.before", ".later"))
    assert before["x"] + before["width"] <= after["x"]


def test_the_threshold_moves_figures_curve_and_masks(page, page_file):
    confusion = read_results(page_file.parents[1] / "evaluated" / "metrics.json")
    confusion = confusion.fixed_threshold.confusion
    assert shown(page, "f1") == f"{confusion.f1:.4f}"
    assert shown(page, "tp") == f"{confusion.tp:,}"
    slider = page.get_by_label("Threshold")
    mark = page.locator('[data-marker="curve"] .marker')
    before = mark.get_attribute("d")
    changed = coloured(page)
    slider.focus()
    page.keyboard.press("End")
    assert shown(page, "threshold") == "1.0000"
    assert shown(page, "tp") == "0"
    assert shown(page, "recall") == "0.0000"
    page.keyboard.press("Home")
    assert shown(page, "recall") == "1.0000"
    assert shown(page, "fn") == "0"
    assert mark.get_attribute("d") != before
    # Everything is detected: every pixel has a colour.
    assert coloured(page) == 64 * 64
    assert 0 < changed < 64 * 64


def test_figures_are_those_of_the_table_at_any_threshold(page, page_file):
    table = np.loadtxt(
        page_file.parents[1] / "evaluated" / "score_histogram.csv", delimiter=",", skiprows=1
    )
    slider = page.get_by_label("Threshold")
    for place in (100, 400, 700):
        slider.evaluate(
            "(slider, place) => { slider.value = place; slider.dispatchEvent(new Event('input')) }",
            place,
        )
        false_alarms, hits = table[place:, 1].sum(), table[place:, 2].sum()
        misses = table[:place, 2].sum()
        assert shown(page, "fp") == f"{int(false_alarms):,}"
        assert shown(page, "f1") == f"{2 * hits / (2 * hits + false_alarms + misses):.4f}"


def test_the_later_image_is_drawn_over_the_earlier_one(page):
    pair = page.locator(".pair").first
    stage = pair.locator(".stage")
    split = pair.get_by_role("slider")
    split.focus()
    page.keyboard.press("Home")
    assert stage.evaluate("stage => stage.style.getPropertyValue('--split')") == "100%"
    page.keyboard.press("End")
    assert stage.evaluate("stage => stage.style.getPropertyValue('--split')") == "0%"
    box = stage.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2)
    assert stage.evaluate("stage => stage.style.getPropertyValue('--split')") == "25%"


def test_the_colours_can_be_taken_away(page):
    shown_box = page.get_by_role("checkbox")
    canvas = page.locator("canvas").first
    assert canvas.is_visible()
    shown_box.uncheck()
    assert not canvas.is_visible()


@pytest.mark.parametrize("width", [360, 1600])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_of_other_commands_fit_and_can_be_read(browser, tmp_path, width, scheme):
    """Demo, ablation and benchmarks use the same blocks, in tables wider than a phone."""
    long = "a_word_without_an_end_" * 12
    header = [f"column {number}" for number in range(12)]
    row = [long, 0.5, Interval(0.25, 0.75, 0.5), Badge("holds", "good"), *["3.26"] * 8]
    size = Chart(
        "Found by size",
        Axis("pixels", labels=["< 64", "64-255"]),
        Axis("share", 0, 1),
        [Line("a", [(0, 0.5), (1, 0.75)], intervals=[(0.25, 0.75), (0.5, 1)])],
    )
    blocks = [
        Headlines([Headline(0.5, "F1", "0.25 to 0.75", "main"), Headline(12, "runs")]),
        Note(f"WARNING: {long}", "warning"),
        Note(long),
        Table("Wide " * 30, header, [row, row], highlighted=1, note=long),
        *(size, size),
        Note(f"changedet {long}", "code"),
    ]
    write_summary(tmp_path / "page.html", title="Page", sections=[Section("All", blocks)])
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = context.new_page()
    page.goto((tmp_path / "page.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    caption = page.locator("caption b").bounding_box()
    assert caption["x"] + caption["width"] <= width
    charts = [chart.bounding_box() for chart in page.locator(".chart").all()]
    assert (charts[0]["y"] == charts[1]["y"]) == (width > 1000)
    if AXE.exists():
        assert serious_faults(page) == []
    context.close()


@pytest.mark.parametrize("width", [360, 1600])
def test_nothing_is_wider_than_the_screen(page, width):
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(page, scheme):
    if not AXE.exists():
        pytest.skip("axe-core is not installed (npm ci in frontend)")
    page.emulate_media(color_scheme=scheme)
    assert serious_faults(page) == []


def test_without_scripts_both_dates_lie_side_by_side(browser, page_file):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(page_file.as_uri())
    before, after = (
        page.locator(f".pair >> nth=0 >> {place}").bounding_box()
        for place in ("img.before", ".later")
    )
    assert before["x"] + before["width"] <= after["x"]
    assert not page.get_by_label("Threshold").is_visible()
    context.close()


def test_on_paper_both_dates_are_printed(page):
    page.emulate_media(media="print")
    before, after = (
        page.locator(f".pair >> nth=0 >> {place}").bounding_box()
        for place in ("img.before", ".later")
    )
    assert before["x"] + before["width"] <= after["x"]
    assert not page.get_by_label("Threshold").is_visible()
