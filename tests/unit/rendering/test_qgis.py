import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from changedet.errors import StorageError
from changedet.palette import CHANGED_COLOUR
from changedet.rendering.qgis import write_styles


@pytest.fixture
def styles(tmp_path: Path) -> dict[str, ElementTree.Element]:
    write_styles(tmp_path)
    return {path.name: ElementTree.parse(path).getroot() for path in tmp_path.iterdir()}


def rgb(colour: str) -> tuple[int, ...]:
    assert re.fullmatch("#[0-9a-f]{6}", colour)
    return tuple(bytes.fromhex(colour[1:]))


def test_every_product_has_a_style_of_its_name(styles: dict[str, ElementTree.Element]):
    assert sorted(styles) == ["mask.qml", "polygons.qml", "score.qml"]
    assert {style.tag for style in styles.values()} == {"qgis"}


def test_files_start_as_qgis_expects(tmp_path: Path):
    write_styles(tmp_path)
    for path in tmp_path.iterdir():
        assert path.read_text().startswith("<!DOCTYPE qgis PUBLIC")


def test_scores_are_drawn_by_a_ramp_from_0_to_1(styles: dict[str, ElementTree.Element]):
    renderer = styles["score.qml"].find("pipe/rasterrenderer")
    assert renderer is not None
    assert renderer.get("type") == "singlebandpseudocolor"
    assert (renderer.get("classificationMin"), renderer.get("classificationMax")) == ("0", "1")
    items = renderer.findall("rastershader/colorrampshader/item")
    values = [float(item.get("value", "")) for item in items]
    assert values == sorted(values)
    assert (values[0], values[-1]) == (0, 1)
    # YlOrRd: from a pale yellow to a dark red, each step darker than the one before.
    assert items[-1].get("color") == "#bd0026"
    brightness = [sum(rgb(item.get("color", ""))) for item in items]
    assert brightness == sorted(brightness, reverse=True)
    opacities = [int(item.get("alpha", "")) for item in items]
    assert opacities == sorted(opacities)
    assert (opacities[0], opacities[-1]) == (0, 255)


def test_only_changed_pixels_of_a_mask_are_visible(styles: dict[str, ElementTree.Element]):
    renderer = styles["mask.qml"].find("pipe/rasterrenderer")
    assert renderer is not None
    assert renderer.get("type") == "paletted"
    entries = {entry.get("value"): entry for entry in renderer.iter("paletteEntry")}
    assert set(entries) == {"0", "1"}
    assert (entries["0"].get("label"), entries["0"].get("alpha")) == ("unchanged", "0")
    assert (entries["1"].get("label"), entries["1"].get("alpha")) == ("changed", "255")
    assert rgb(entries["1"].get("color", "")) == CHANGED_COLOUR


def test_polygons_are_outlines_in_the_colour_of_the_mask(styles: dict[str, ElementTree.Element]):
    layers = styles["polygons.qml"].findall("renderer-v2/symbols/symbol/layer")
    assert [layer.get("class") for layer in layers] == ["SimpleLine"]
    options = {option.get("name"): option.get("value") for option in layers[0].iter("Option")}
    # Red, green, blue, opacity.
    assert [int(part) for part in options["line_color"].split(",")] == [*CHANGED_COLOUR, 255]


def test_styles_that_cannot_be_written_are_a_storage_error(tmp_path: Path):
    (tmp_path / "out").write_text("in the way")
    with pytest.raises(StorageError, match=r"score\.qml"):
        write_styles(tmp_path / "out")
