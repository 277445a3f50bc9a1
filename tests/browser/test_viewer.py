"""What a person does with the viewer, from opening a result to the verdicts that stay."""

import csv
import io
import json
import re
from pathlib import Path
from urllib.parse import urljoin

import numpy as np
import pytest
import rasterio
from PIL import Image
from scipy.ndimage import label

from viewers import CHANGES, HEIGHT, WIDTH

AXE = Path(__file__).parents[2] / "frontend" / "node_modules" / "axe-core" / "axe.min.js"


def expect_text(page, selector: str, pattern: str) -> str:
    """Wait until an element's text matches."""
    page.wait_for_function(
        "([selector, pattern]) => new RegExp(pattern, 's')"
        ".test(document.querySelector(selector)?.textContent ?? '')",
        arg=[selector, pattern],
    )
    return page.text_content(selector)


def settle(page) -> None:
    """Wait until all tiles and thumbnails have come and the maps are drawn."""
    page.wait_for_load_state("networkidle")
    page.evaluate("() => new Promise((go) => setTimeout(() => requestAnimationFrame(go), 400))")


def picture(page, selector: str = ".maps") -> np.ndarray:
    """Take a picture of a part of the page, (H, W, 3), values 0 to 255."""
    shot = page.locator(selector).screenshot()
    return np.asarray(Image.open(io.BytesIO(shot)).convert("RGB")).astype(float)


def place_of(page, x: float, y: float) -> tuple[float, float]:
    """Where a pixel of the whole image lies on the page, while all of it is shown."""
    box = page.locator(".maps").bounding_box()
    scale = min((box["width"] - 24) / WIDTH, (box["height"] - 24) / HEIGHT)
    return (
        box["x"] + box["width"] / 2 + (x - WIDTH / 2) * scale,
        box["y"] + box["height"] / 2 + (y - HEIGHT / 2) * scale,
    )


def colour_at(page, x: float, y: float) -> np.ndarray:
    """Mean colour, (3,), of 5 x 5 points of the map around a pixel of the image."""
    box = page.locator(".maps").bounding_box()
    left, top = place_of(page, x, y)
    column, row = round(left - box["x"]), round(top - box["y"])
    return picture(page)[row - 2 : row + 3, column - 2 : column + 3].mean(axis=(0, 1))


def set_threshold(page, value: float) -> None:
    page.locator("#threshold").fill(str(round(value * 1000)))


def verdicts(page) -> list[dict[str, str]]:
    """Read the exported CSV."""
    answer = page.request.get(urljoin(page.url, page.get_attribute("#export-csv", "href")))
    assert answer.ok, answer.status
    return list(csv.DictReader(io.StringIO(answer.text())))


def all_saved(page) -> None:
    expect_text(page, "#saved", "All verdicts are saved")


def middle(change: tuple[int, ...]) -> tuple[float, float]:
    left, top, width, height, _ = change
    return left + width / 2, top + height / 2


def test_swipe_shows_before_on_the_left_and_after_on_the_right(scene, view, open_page):
    page = open_page(view(scene / "result"))
    for box in ("#show-mask", "#show-outlines"):
        page.uncheck(box)
    settle(page)
    x, y = middle(CHANGES[1])
    assert colour_at(page, x, y)[0] > 150  # bright: after
    left, top = place_of(page, WIDTH * 0.9, HEIGHT / 2)
    handle = page.locator("#swipe").bounding_box()
    page.mouse.move(handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2)
    page.mouse.down()
    page.mouse.move(left, top, steps=4)
    page.mouse.up()
    settle(page)
    assert colour_at(page, x, y)[0] < 90  # dark: before
    page.check("input[value=side]", force=True)
    settle(page)
    halves = np.split(picture(page)[:, : picture(page).shape[1] // 2 * 2], 2, axis=1)
    assert (halves[0].max(axis=2) > 150).mean() < (halves[1].max(axis=2) > 150).mean()


def test_the_threshold_moves_mask_list_area_and_share(scene, view, open_page):
    page = open_page(view(scene / "result"))
    summary = json.loads((scene / "result" / "summary.json").read_text())
    with rasterio.open(scene / "result" / "mask.tif") as file:
        mask = file.read(1)
    with rasterio.open(scene / "result" / "score.tif") as file:
        scores = file.read(1)
    # Above the score of the faintest change, below that of the strongest.
    higher = 0.64
    objects, _ = label(scores >= np.float32(higher))
    smallest = summary["polygons"]["min_area"]["value"]
    left = int((np.bincount(objects.ravel())[1:] >= smallest).sum())
    assert left > 0
    expect_text(page, "#count", "changed, ")
    assert summary["polygons"]["count"] == len(CHANGES)
    expect_text(page, "#shown", f"^{len(CHANGES)} of {len(CHANGES)} shown")
    share = float(re.search(r"([\d.]+) %", page.text_content("#count")).group(1))
    assert share == pytest.approx(100 * (mask == 1).sum() / (mask != 255).sum(), abs=0.01)
    settle(page)
    x, y = middle(CHANGES[3])
    red, _, blue = colour_at(page, x, y)
    assert red - blue > 40  # marked as changed
    set_threshold(page, higher)
    expect_text(page, "#shown", f"^{left} of {left} shown")
    settle(page)
    red, _, blue = colour_at(page, x, y)
    assert abs(red - blue) < 15
    now = float(re.search(r"([\d.]+) %", page.text_content("#count")).group(1))
    assert 0 < now < share
    assert page.locator(".entry").count() == left
    page.keyboard.press("Escape")
    page.click("#threshold-reset")
    expect_text(page, "#shown", f"^{len(CHANGES)} of")


def test_verdicts_are_saved_undone_and_there_after_a_reload(scene, view, open_page):
    page = open_page(view(scene / "result", "--who", "Ann"))
    page.locator(".entry").first.click()
    page.click("#accept")
    page.click("#reject")  # the next one was chosen
    page.keyboard.press("k")
    expect_text(page, "#detail h3", "rejected")
    page.fill("#note", "a cloud's shadow")
    page.locator("#list").focus()
    all_saved(page)
    expect_text(page, "#reviewed", "Reviewed 2 of 4")
    expect_text(page, "#precision", r"50 % \(95 % interval 9\.45 % to 90\.5 %\)")
    page.keyboard.press("j")
    page.keyboard.press("a")
    expect_text(page, "#reviewed", "Reviewed 3 of 4")
    page.keyboard.press("u")
    expect_text(page, "#reviewed", "Reviewed 2 of 4")
    all_saved(page)
    page.reload()
    page.locator(".entry").first.wait_for()
    expect_text(page, "#reviewed", "Reviewed 2 of 4")
    assert page.locator(".badge.accepted").count() == 1
    expect_text(page, "#entries", "a cloud's shadow")
    rows = verdicts(page)
    assert sorted(row["verdict"] for row in rows) == ["accepted", "rejected"]
    assert {row["who"] for row in rows} == {"Ann"}


def test_what_was_missed_is_drawn_with_the_mouse(scene, view, open_page):
    page = open_page(view(scene / "result"))
    settle(page)
    page.click("#draw")
    for corner in ((100, 100), (140, 100), (140, 130), (100, 130)):
        page.mouse.click(*place_of(page, *corner))
    page.click("#drawing-done")
    all_saved(page)
    expect_text(page, "#detail h3", "drawn")
    page.reload()
    page.locator(".badge.drawn").wait_for()
    (row,) = verdicts(page)
    assert row["verdict"] == "drawn"
    assert float(row["area_px"]) == pytest.approx(40 * 30, rel=0.1)
    # An outline that crosses itself is refused with a reason.
    page.click("#draw")
    for corner in ((20, 20), (60, 60), (60, 20), (20, 60)):
        page.mouse.click(*place_of(page, *corner))
    page.keyboard.press("Enter")
    expect_text(page, "#toast", "crosses itself")


def test_what_is_in_view_is_marked_as_looked_at(scene, view, open_page):
    page = open_page(view(scene / "result"))
    settle(page)
    page.click("#looked-at")
    expect_text(page, "#toast", "counts as looked at")
    answer = page.request.get(urljoin(page.url, "/api/items/0/review"))
    (row,) = answer.json()["windows"]
    assert row["window"] == pytest.approx([0, 0, WIDTH, HEIGHT], abs=1)
    page.keyboard.press("u")
    page.wait_for_function(
        "async () => !(await (await fetch('/api/items/0/review')).json()).windows.length"
    )


def test_everything_can_be_done_with_keys_alone(scene, view, open_page):
    page = open_page(view(scene / "result"))
    settle(page)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("j")
    page.keyboard.press("a")
    page.keyboard.press("r")
    expect_text(page, "#reviewed", "Reviewed 2 of 4")
    page.keyboard.press("u")
    expect_text(page, "#reviewed", "Reviewed 1 of 4")
    page.keyboard.press("]")
    expect_text(page, "#threshold-title ~ .threshold", "")
    before = float(page.input_value("#threshold-number"))
    page.keyboard.press("[")
    assert float(page.input_value("#threshold-number")) == pytest.approx(before - 0.01, abs=1e-6)
    page.keyboard.press("0")
    page.keyboard.press("b")
    assert page.is_checked("input[value=before]")
    page.keyboard.press("b")
    assert page.is_checked("input[value=after]")
    page.keyboard.press("Escape")
    assert page.is_checked("input[value=swipe]")
    page.keyboard.press("z")
    page.keyboard.press("d")
    for move in ("ArrowRight", "ArrowDown", "ArrowLeft"):
        page.keyboard.press("Space")
        page.keyboard.press(move)
    page.keyboard.press("Space")
    page.keyboard.press("Enter")
    page.locator(".badge.drawn").wait_for()
    page.keyboard.press("c")
    page.keyboard.type("a new road")
    page.keyboard.press("Escape")
    expect_text(page, "#entries", "a new road")
    page.focus("#swipe")
    page.keyboard.press("ArrowRight")
    assert page.get_attribute("#swipe", "aria-valuenow") == "55"
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    page.keyboard.press("Escape")
    all_saved(page)
    assert sorted(row["verdict"] for row in verdicts(page)) == ["accepted", "drawn"]


def test_verdicts_outlive_the_server(scene, view, open_page):
    viewer = view(scene / "result")
    page = open_page(viewer, offline_allowed=True)
    settle(page)
    page.keyboard.press("j")
    page.keyboard.press("a")
    all_saved(page)
    viewer.kill()
    page.keyboard.press("r")
    expect_text(page, "#saved", r"Connection lost.*1 verdict is kept here")
    page.keyboard.press("a")
    expect_text(page, "#saved", r"2 verdicts are kept here")
    again = view(scene / "result", "--port", viewer.port)
    expect_text(page, "#saved", "started anew: open the address that it printed")
    page.context.new_page().goto(again.address)
    all_saved(page)
    assert sorted(row["verdict"] for row in verdicts(page)) == ["accepted", "accepted", "rejected"]


def test_of_two_browsers_neither_overwrites_the_other(scene, view, open_page):
    viewer = view(scene / "result")
    first = open_page(viewer, offline_allowed=True)
    second = open_page(viewer, offline_allowed=True)
    for page in (first, second):
        page.locator(".entry").first.click()
    second.route("**/review?since=*", lambda route: route.abort())  # does not hear of the first
    first.click("#accept")
    all_saved(first)
    second.click("#reject")
    expect_text(second, "#toast", "Now shown:.* verdict, accepted")
    second.unroute("**/review?since=*")
    second.keyboard.press("k")
    expect_text(second, "#detail h3", "accepted")
    second.keyboard.press("r")  # now on purpose
    all_saved(second)
    expect_text(first, "#entries", "rejected")


def test_an_input_that_vanishes_is_told_and_the_rest_goes_on(scene, view, open_page):
    viewer = view(scene / "result", "--after", scene / "after.tif")
    page = open_page(viewer, offline_allowed=True)
    settle(page)
    (scene / "after.tif").rename(scene / "elsewhere.tif")
    page.reload()
    expect_text(page, "#problems", "after.tif")
    page.locator(".entry").first.click()
    page.click("#accept")
    all_saved(page)
    (scene / "elsewhere.tif").rename(scene / "after.tif")
    expect_text(page, "#problems", "^$")


def test_images_without_crs_are_shown_in_pixels(image_pair, view, open_page):
    page = open_page(view(image_pair))
    expect_text(page, "#count", r"px changed, [\d.]+ %")
    settle(page)
    page.mouse.move(*place_of(page, 100, 50))
    expect_text(
        page, "#readout", r"column (99|100|101), row (49|50|51).*score.*before 6\d, 6\d, 6\d"
    )
    expect_text(page, "#scale", r"\d+ px")


def test_a_base_map_lies_around_the_image(scene, view, open_page):
    red = io.BytesIO()
    Image.new("RGB", (256, 256), (250, 20, 20)).save(red, "PNG")
    address = "https://tiles.example/"
    viewer = view(scene / "result", "--base-map", address + "{z}/{x}/{y}.png")
    page = open_page(viewer, tiles=(address, red.getvalue()))
    page.keyboard.press("-")
    settle(page)
    around = picture(page)
    edge = around[around.shape[0] // 3, 4]
    assert edge[0] > 180
    assert edge[1] < 90
    centre = around[around.shape[0] // 2, around.shape[1] // 3]
    assert np.ptp(centre) < 15  # grey ground, no red


def test_a_folder_of_results_is_gone_through(scene, image_pair, view, open_page, tmp_path):
    folder = tmp_path / "results"
    folder.mkdir()
    for name in ("one", "two"):
        (folder / name).symlink_to(scene / "result")
    page = open_page(view(folder))
    assert page.locator("#item option").count() == 2
    title = page.title()
    page.keyboard.press(".")
    page.wait_for_function("(title) => document.title !== title", arg=title)
    page.locator(".entry").first.wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(scheme, scene, view, open_page):
    if not AXE.exists():
        pytest.skip("axe-core is not installed (npm ci in frontend)")
    page = open_page(view(scene / "result"), color_scheme=scheme)
    page.locator(".entry").first.click()
    page.click("#accept")
    settle(page)
    page.evaluate(AXE.read_text())
    for step in (lambda: None, lambda: page.keyboard.press("?")):
        step()
        found = page.evaluate("() => axe.run()")
        serious = [
            (fault["id"], [node["html"][:160] for node in fault["nodes"]])
            for fault in found["violations"]
            if fault["impact"] in ("serious", "critical")
        ]
        assert not serious


def test_it_fits_a_phone(scene, view, open_page):
    page = open_page(
        view(scene / "result"),
        viewport={"width": 360, "height": 740},
        has_touch=True,
        is_mobile=True,
    )
    settle(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.locator(".entry").first.tap()
    page.locator("#accept").tap()
    all_saved(page)
    small = page.evaluate(
        "() => [...document.querySelectorAll('button, select, input[type=number]')]"
        ".filter((e) => e.checkVisibility() && e.getBoundingClientRect().height < 32)"
        ".map((e) => e.id || e.textContent)"
    )
    assert not small
