"""The page of the viewer as it is committed: complete, in our colours, all from one address."""

import re
from pathlib import Path

import pytest

import changedet.palette as palette

ROOT = Path(__file__).parents[3]
STATIC = ROOT / "src" / "changedet" / "view" / "static"


def test_the_page_asks_only_for_files_beside_it():
    page = (STATIC / "index.html").read_text(encoding="utf-8")
    addresses = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert "./assets/main.js" in addresses
    for address in addresses:
        assert address.startswith(("./", "#"))
        assert address.startswith("#") or (STATIC / address).is_file()


def test_the_page_obeys_a_strict_content_security_policy():
    page = (STATIC / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<style|<script(?![^>]*\bsrc=)|\son\w+=|\sstyle=", page)
    assert "@import" not in (STATIC / "assets" / "main.css").read_text(encoding="utf-8")


def test_licences_lie_beside_the_bundle():
    licences = (STATIC / "LICENSES.txt").read_text(encoding="utf-8")
    assert re.search(r"^maplibre-gl [\d.]+: BSD-3-Clause$", licences, re.MULTILINE)
    assert "Redistributions in binary form must reproduce" in licences


@pytest.mark.parametrize(
    "name",
    [
        "OVERLAY_COLOUR",
        "OUTLINE_COLOUR",
        "OUTLINE_HALO_COLOUR",
        "HIT_COLOUR",
        "MISS_COLOUR",
        "FALSE_ALARM_COLOUR",
        "SCORE_RAMP",
    ],
)
def test_colours_are_those_of_the_package(name):
    source = (ROOT / "frontend" / "src" / "palette.ts").read_text(encoding="utf-8")
    stated = re.search(rf"{name}: Colour(?:\[\])? = (\[.*?\]);", source, re.DOTALL).group(1)
    colour = getattr(palette, name)
    assert [int(part) for part in re.findall(r"\d+", stated)] == [
        int(part) for part in re.findall(r"\d+", str(colour))
    ]


def test_the_lock_file_names_no_registry():
    lock = (ROOT / "frontend" / "package-lock.json").read_text(encoding="utf-8")
    assert '"resolved"' not in lock
