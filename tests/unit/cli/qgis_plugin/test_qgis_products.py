"""What the QGIS plugin loads, its files, and the zip file that QGIS installs."""

import ast
import configparser
import json
import runpy
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from changedet._version import __version__
from changedet_qgis.products import read_results

PLUGIN = Path(__file__).parents[4] / "integrations" / "qgis" / "changedet_qgis"


def write_summary(folder: Path, **content: object) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "summary.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def test_outlines_lie_above_the_mask_and_the_mask_above_the_scores(tmp_path):
    polygons = {"file": "polygons.geojson", "count": 3}
    scene = {"kind": "scene", "changed_share": 0.25, "change_kind": "any", "polygons": polygons}
    results = read_results(write_summary(tmp_path, **scene), model="/m/towns.onnx")
    assert [product.path.name for product in results.products] == [
        *("polygons.geojson", "mask.tif", "score.tif")
    ]
    assert [product.output for product in results.products] == ["POLYGONS", "MASK", "SCORE"]
    assert [product.is_shown for product in results.products] == [True, False, True]
    styles = [product.style.name for product in results.products]
    assert styles == ["polygons.qml", "mask.qml", "score.qml"]
    assert {product.style.parent for product in results.products} == {tmp_path}
    assert results.products[0].title == "Changes (towns, any)"
    assert (results.changed_percent, results.polygons) == (25.0, 3)


@pytest.mark.parametrize(
    ("model", "title"),
    [
        ("baseline:cva", "Mask (baseline:cva)"),
        (r"C:\models\towns.onnx", "Mask (towns)"),
        ("any-change", "Mask (any-change)"),
    ],
)
def test_layers_are_called_after_the_model(tmp_path, model, title):
    folder = write_summary(tmp_path, kind="scene", changed_share=None)
    results = read_results(folder, model=model)
    assert results.products[0].title == title
    assert results.changed_percent is None


def test_results_of_pictures_get_the_styles_that_are_not_beside_them(tmp_path, run):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 200, (32, 40, 3), dtype=np.uint8)
    for name in ("a", "b"):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
        pixels[8:20, 10:30] += 55
    out = tmp_path / "out"
    words = (tmp_path / "a.png", tmp_path / "b.png", "--model", "baseline:cva", "--out", out)
    assert run("predict", *words).code == 0
    results = read_results(out, model="baseline:cva")
    assert results.polygons is None
    assert [product.output for product in results.products] == ["MASK", "SCORE"]
    tops = []
    for product in results.products:
        style = ElementTree.parse(product.style).getroot()
        highest = max(
            int(entry.get("value"))
            for entry in style.iter()
            if entry.tag in ("paletteEntry", "item")
        )
        values = np.asarray(Image.open(product.path))
        assert values.max() <= highest
        tops.append((highest, np.iinfo(values.dtype).max))
    assert tops == [(255, 255), (65535, 65535)]


def test_the_pictures_styles_have_the_colours_of_the_rasters(tmp_path):
    from changedet.rendering.qgis import write_styles

    write_styles(tmp_path)
    for stem in ("mask", "score"):
        colours = [
            [
                (entry.get("label"), entry.get("color"), entry.get("alpha"))
                for entry in ElementTree.parse(path).getroot().iter()
                if entry.get("color")
            ]
            for path in (tmp_path / f"{stem}.qml", PLUGIN / "styles" / f"{stem}_picture.qml")
        ]
        assert colours[0] == colours[1]


def test_results_of_another_kind_are_refused(tmp_path):
    with pytest.raises(OSError, match="summary"):
        read_results(tmp_path, model="m")
    (tmp_path / "summary.json").write_text("none")
    with pytest.raises(ValueError, match="Expecting value"):
        read_results(tmp_path, model="m")


def test_the_zip_file_has_what_qgis_needs_and_is_the_same_each_time(tmp_path):
    pack = runpy.run_path(str(PLUGIN.parent / "make_zip.py"))["pack"]
    names = pack(tmp_path / "new" / "a.zip")
    pack(tmp_path / "b.zip")
    assert (tmp_path / "new" / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "b.zip") as archive:
        assert archive.namelist() == names
    wanted = {"__init__.py", "metadata.txt", "icon.png", "icon.svg", "LICENSE", "README.md"}
    assert {f"changedet_qgis/{name}" for name in wanted} <= set(names)
    assert not [name for name in names if "pycache" in name or not name.startswith("changedet_q")]


def test_metadata_name_files_that_exist_and_the_version_of_the_package():
    metadata = configparser.ConfigParser()
    metadata.read(PLUGIN / "metadata.txt", encoding="utf-8")
    general = metadata["general"]
    for key in ("name", "qgisMinimumVersion", "description", "about", "author"):
        assert general[key]
    assert (PLUGIN / general["icon"]).is_file()
    assert general["hasProcessingProvider"] == "yes"
    assert general["version"] == __version__


@pytest.mark.parametrize("path", sorted(PLUGIN.parent.rglob("*.py")), ids=lambda path: path.name)
def test_every_file_is_for_the_python_of_qgis_and_needs_none_of_our_dependencies(path):
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# SPDX-License-Identifier: GPL-2.0-or-later\n")
    tree = ast.parse(text, feature_version=(3, 9))
    packages = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom) and not node.level
            else []
        )
    }
    assert not packages & {"changedet", "numpy", "rasterio", "torch", "PyQt5", "PyQt6"}
    needs_qgis = bool(packages & {"qgis", "processing"})
    windows = {"plugin.py", "provider.py", "detect_change.py", "layers.py", "widgets.py"}
    assert needs_qgis == (path.name in windows)
