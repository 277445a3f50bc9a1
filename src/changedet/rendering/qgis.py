"""How QGIS draws the results: a style file (QML) next to each, which it loads automatically."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree

from changedet.palette import CHANGED_COLOUR, to_hex
from changedet.storage.atomic import write_text

if TYPE_CHECKING:
    from pathlib import Path

# Score, colour (YlOrRd of ColorBrewer) and opacity (0..255): the image below stays visible where
# nothing changed.
_SCORE_RAMP: Final = (
    (0.0, "#ffffb2", 0),
    (0.25, "#fecc5c", 96),
    (0.5, "#fd8d3c", 192),
    (0.75, "#f03b20", 255),
    (1.0, "#bd0026", 255),
)
_HEADER: Final = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"


def write_styles(folder: Path) -> None:
    """Write ``score.qml``, ``mask.qml`` and ``polygons.qml``.

    QGIS finds the style of a layer by the name of its file, so these belong to ``score.tif``,
    ``mask.tif`` and ``polygons.gpkg`` (or another format) in the same folder.

    Raises:
        StorageError: If they cannot be written.
    """
    for name, style in (
        ("score.qml", _score_style()),
        ("mask.qml", _mask_style()),
        ("polygons.qml", _polygon_style()),
    ):
        ElementTree.indent(style)
        text = ElementTree.tostring(style, encoding="unicode")
        write_text(folder / name, f"{_HEADER}{text}\n")


def _qgis() -> ElementTree.Element:
    # The oldest long-term release whose attributes are used; newer ones read it.
    return ElementTree.Element("qgis", version="3.22.0", styleCategories="Symbology")


def _raster_style(renderer: ElementTree.Element) -> ElementTree.Element:
    style = _qgis()
    ElementTree.SubElement(style, "pipe").append(renderer)
    return style


def _score_style() -> ElementTree.Element:
    """Colours between 0 and 1 from a ramp."""
    renderer = ElementTree.Element(
        "rasterrenderer",
        type="singlebandpseudocolor",
        band="1",
        alphaBand="-1",
        opacity="1",
        classificationMin="0",
        classificationMax="1",
    )
    shader = ElementTree.SubElement(
        ElementTree.SubElement(renderer, "rastershader"),
        "colorrampshader",
        colorRampType="INTERPOLATED",
        classificationMode="1",
        minimumValue="0",
        maximumValue="1",
        clip="0",
    )
    for score, colour, opacity in _SCORE_RAMP:
        ElementTree.SubElement(
            shader, "item", value=f"{score:g}", label=f"{score:g}", color=colour, alpha=f"{opacity}"
        )
    return _raster_style(renderer)


def _mask_style() -> ElementTree.Element:
    """Changed pixels red, the others see-through."""
    renderer = ElementTree.Element(
        "rasterrenderer", type="paletted", band="1", alphaBand="-1", opacity="1"
    )
    palette = ElementTree.SubElement(renderer, "colorPalette")
    for value, label, colour, opacity in (
        ("0", "unchanged", "#ffffff", 0),
        ("1", "changed", to_hex(CHANGED_COLOUR), 255),
    ):
        ElementTree.SubElement(
            palette, "paletteEntry", value=value, label=label, color=colour, alpha=f"{opacity}"
        )
    return _raster_style(renderer)


def _polygon_style() -> ElementTree.Element:
    """Outlines without a filling."""
    style = _qgis()
    renderer = ElementTree.SubElement(
        style, "renderer-v2", type="singleSymbol", symbollevels="0", enableorderby="0"
    )
    symbol = ElementTree.SubElement(
        ElementTree.SubElement(renderer, "symbols"), "symbol", type="fill", name="0", alpha="1"
    )
    layer = ElementTree.SubElement(
        symbol, "layer", {"class": "SimpleLine", "enabled": "1", "locked": "0", "pass": "0"}
    )
    options = ElementTree.SubElement(layer, "Option", type="Map")
    values = {
        "line_color": "{},{},{},255".format(*CHANGED_COLOUR),
        "line_width": "0.5",
        "line_width_unit": "MM",
        "line_style": "solid",
        "joinstyle": "miter",
    }
    for name, value in values.items():
        ElementTree.SubElement(options, "Option", type="QString", name=name, value=value)
    return style
