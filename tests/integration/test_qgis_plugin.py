"""The QGIS plugin in QGIS itself: by qgis_process, and as a window runs it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.warp import Resampling, calculate_default_transform, reproject

import changedet
from hidden_packages import OF_TRAINING

ROOT = Path(__file__).parents[2]
PLUGINS = ROOT / "integrations" / "qgis"
DRIVER = ROOT / "tests" / "qgis_driver.py"
LANDSAT = [ROOT / "examples" / "data" / f"landsat_{year}.tif" for year in (2000, 2020)]
MODEL = "sentinel2"


def qgis_process() -> str | None:
    # Debian's wrapper passes an option that the program does not know.
    return shutil.which("qgis_process.bin") or shutil.which("qgis_process")


def python_of_qgis() -> str | None:
    for python in ("/usr/bin/python3", shutil.which("python3")):
        if python and Path(python).is_file():
            probe = [python, "-c", "import qgis.core"]
            if subprocess.run(probe, capture_output=True, check=False).returncode == 0:
                return python
    return None


pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(qgis_process() is None, reason="needs qgis_process (Debian: qgis)"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a strange name, a pair of different CRS in it, and the command."""
    folder = tmp_path_factory.mktemp("qgis") / "Größe für Ünï & co"
    folder.mkdir()
    with rasterio.open(LANDSAT[0]) as raster:
        window = ((100, 292), (100, 292))
        before, profile = raster.read((1, 2, 3), window=window), raster.profile
        profile.update(width=192, height=192, count=3, transform=raster.window_transform(window))
    with rasterio.open(folder / "vorher 2000.tif", "w", **profile) as raster:
        raster.write(before)
    with rasterio.open(LANDSAT[1]) as raster:
        crs = "EPSG:3857"
        warped, width, height = calculate_default_transform(
            raster.crs, crs, raster.width, raster.height, *raster.bounds
        )
        after = np.zeros((3, height, width), raster.dtypes[0])
        reproject(
            raster.read((1, 2, 3)),
            after,
            src_transform=raster.transform,
            src_crs=raster.crs,
            dst_transform=warped,
            dst_crs=crs,
            resampling=Resampling.bilinear,
        )
        profile = {**raster.profile, "count": 3, "crs": crs, "transform": warped}
        profile.update(width=width, height=height)
    with rasterio.open(folder / "nachher 2020.tif", "w", **profile) as raster:
        raster.write(after)
    for name, seed in (("a", 0), ("b", 1)):
        pixels = np.random.default_rng(seed).integers(0, 255, (64, 80, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.png")
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "towns.onnx"
    changedet.export_model(MODEL, path)
    return path


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A profile of its own, no window, and a command without PyTorch on PATH."""
    folder = tmp_path_factory.mktemp("environment")
    command = folder / "changedet"
    command.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT / 'src')!r})\n"
        f"sys.modules.update(dict.fromkeys({OF_TRAINING!r}))\n"
        "from changedet.cli.main import main\nmain()\n"
    )
    command.chmod(0o755)
    (folder / "run").mkdir(mode=0o700)
    kept = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    return {
        **kept,
        # Another Python that is first on PATH would lead QGIS' own one astray.
        "PATH": f"{folder}:/usr/bin:/bin",
        "QT_QPA_PLATFORM": "offscreen",
        "XDG_RUNTIME_DIR": str(folder / "run"),
        "QGIS_PLUGINPATH": str(PLUGINS),
        "QGIS_CUSTOM_CONFIG_PATH": str(folder / "profile"),
        "OMP_NUM_THREADS": "1",
        # As QGIS' own Python has them on some systems.
        "PYTHONHOME": "",
        "GDAL_DATA": "/usr/share/gdal",
    }


def run_qgis(environment: dict[str, str], *words: object) -> subprocess.CompletedProcess[str]:
    """Run ``qgis_process``; what other plugins say stands on standard error."""
    return subprocess.run(
        [str(qgis_process()), *map(str, words)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


def inputs(place: Path, **more: object) -> dict[str, Any]:
    before = {"layer": "file", "path": str(place / "vorher 2000.tif"), "name": "größe: a"}
    after = {"layer": "file", "path": str(place / "nachher 2020.tif"), "name": "nach ' her"}
    return {"BEFORE": before, "AFTER": after, "MODEL": "baseline:difference", **more}


@pytest.fixture(scope="module")
def outcomes(place: Path, environment: dict[str, str]) -> dict[str, dict[str, Any]]:
    """All cases, in one QGIS."""
    python = python_of_qgis()
    if python is None:
        pytest.skip("needs a Python with PyQGIS (Debian: python3-qgis)")
    with rasterio.open(place / "vorher 2000.tif") as raster:
        left, bottom, right, top = raster.bounds
    middle = [(3 * left + right) / 4, (3 * bottom + top) / 4]
    middle += [(left + 3 * right) / 4, (bottom + 3 * top) / 4]
    pictures = {
        name: {"layer": "file", "path": str(place / f"{letter}.png"), "name": letter}
        for name, letter in (("BEFORE", "a"), ("AFTER", "b"))
    }
    tiles = {"layer": "tiles", "path": str(place), "name": "map of a server"}
    area = {"layer": "polygons", "crs": "EPSG:4326", "name": "Fläche", "box": middle}
    box = "{0},{2},{1},{3} [EPSG:4326]".format(*middle)
    moved = {**inputs(place)["BEFORE"], "crs": "EPSG:32650"}
    broken = place / "broken"
    broken.write_text(
        f"#!{sys.executable}\nimport os, signal, sys\nprint('progress 1/2', file=sys.stderr)\n"
        "sys.stderr.flush()\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    broken.chmod(0o755)
    many_tiles = {"FURTHER": "--tile 32 --overlap 8 --batch-size 1"}

    def out(name: str) -> dict[str, str]:
        return {"OUTPUT": str(place / "results" / name)}

    cases = {
        "plain": {"parameters": inputs(place, **out("plain"), **many_tiles)},
        "again": {"parameters": inputs(place, **out("plain"))},
        "replaced": {"parameters": inputs(place, **out("plain"), OVERWRITE=True, LOAD=False)},
        "area": {"parameters": inputs(place, **out("area"), AOI_LAYER=area)},
        "box": {"parameters": inputs(place, **out("box"), AOI_EXTENT=box)},
        "both": {"parameters": inputs(place, **out("both"), AOI_EXTENT=box, AOI_LAYER=area)},
        "empty": {"parameters": inputs(place, **out("empty"), AOI_LAYER={**area, "box": []})},
        "tiles": {"parameters": inputs(place, **out("tiles"), AFTER=tiles)},
        "moved": {"parameters": inputs(place, **out("moved"), BEFORE=moved)},
        "pictures": {"parameters": inputs(place, **out("pictures"), **pictures)},
        "no model": {"parameters": inputs(place, **out("none"), MODEL="")},
        "other model": {"parameters": inputs(place, **out("none"), MODEL="any-chnge")},
        "torch": {"parameters": inputs(place, **out("none"), MODEL="any-change")},
        "no command": {"parameters": inputs(place, **out("none")), "command": str(place)},
        "killed": {"parameters": inputs(place, **out("none")), "command": str(broken)},
        "cancelled": {
            "parameters": inputs(place, **out("cancelled"), **many_tiles),
            "cancel_at": 30,
        },
        "gone on": {"parameters": inputs(place, **out("cancelled"), **many_tiles)},
    }
    done = subprocess.run(
        [python, str(DRIVER)],
        input=json.dumps(list(cases.values())),
        env={**environment, "PYTHONHOME": "", "CHANGEDET_MODELS": str(ROOT / "models")},
        capture_output=True,
        text=True,
        check=False,
        timeout=1800,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("OUTCOMES ")]
    assert lines, done.stdout + done.stderr
    return dict(zip(cases, json.loads(lines[0].removeprefix("OUTCOMES ")), strict=True))


def summary_of(place: Path, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((place / "results" / name / "summary.json").read_text())
    return content


def test_qgis_process_maps_change_with_an_exported_model(place, model, environment):
    enabled = run_qgis(environment, "plugins", "enable", "changedet_qgis")
    assert enabled.returncode == 0, enabled.stdout + enabled.stderr
    out = place / "aus gabe"
    parameters = {
        "BEFORE": place / "vorher 2000.tif",
        "AFTER": place / "nachher 2020.tif",
        "MODEL": model,
        "THRESHOLD": 0.25,
        "MIN_AREA": 100_000,
        "OUTPUT": out,
    }
    words = [f"{name}={text}" for name, text in parameters.items()]
    done = run_qgis(environment, "--json", "run", "changedet:detectchange", "--", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(done.stdout)
    summary = json.loads((out / "summary.json").read_text())
    assert summary["threshold"]["score"] == 0.25
    assert summary["polygons"]["min_area"]["value"] == 100_000
    assert summary["runtime"] in ("onnx", "openvino")
    results = said["results"]
    assert results["CHANGED_PERCENT"] == pytest.approx(100 * summary["changed_share"])
    assert results["POLYGON_COUNT"] == summary["polygons"]["count"]
    for name in ("MASK", "SCORE", "POLYGONS"):
        assert Path(results[name]).is_file()
    again = run_qgis(environment, "run", "changedet:detectchange", "--", *words)
    assert again.returncode != 0
    assert "contains the results of another run" in again.stdout + again.stderr


def test_results_become_layers_with_their_styles_in_a_sensible_order(outcomes, place):
    outcome = outcomes["plain"]
    about = "(baseline:difference)"
    assert outcome["layers"] == [
        {"name": f"Changes {about}", "style": "SimpleLine", "shown": True},
        {"name": f"Mask {about}", "style": "paletted", "shown": False},
        {"name": f"Scores {about}", "style": "singlebandpseudocolor", "shown": True},
    ]
    assert outcome["results"]["OUTPUT"] == str(place / "results" / "plain")
    assert any("% changed" in text for text in outcome["info"])
    assert outcomes["replaced"]["layers"] == []


def test_progress_grows_with_the_tiles(outcomes, place):
    percent = outcomes["plain"]["percent"]
    scoring = [share for share in percent if 5 <= share <= 90]
    assert len(scoring) > summary_of(place, "plain")["tiles"]["count"] / 2
    assert scoring == sorted(scoring)
    assert (scoring[0], scoring[-1]) == (5, 90)
    assert 100 in percent


def test_the_area_of_interest_is_a_layer_in_memory_or_an_extent(outcomes, place):
    grids = [summary_of(place, name)["grid"] for name in ("plain", "area", "box")]
    assert grids[1] == grids[2]
    assert grids[1]["width"] == pytest.approx(grids[0]["width"] / 2, abs=2)
    assert summary_of(place, "box")["request"]["region_crs"] == "EPSG:4326"
    assert "clear either the layer or the extent" in outcomes["both"]["refused"]
    assert "has no polygons" in outcomes["empty"]["failed"]


def test_a_layer_that_is_no_file_is_named_with_the_way_out(outcomes):
    assert outcomes["tiles"]["failed"].startswith(
        "the layer 'map of a server' is from the source 'wms' and not a file"
    )


def test_a_crs_that_only_the_project_knows_is_told(outcomes, place):
    [warning] = [text for text in outcomes["moved"]["warning"] if "größe: a" in text]
    assert "EPSG:4326" in warning
    assert "EPSG:32650" in warning
    assert summary_of(place, "moved")["grid"]["crs_code"] == "EPSG:4326"


def test_pictures_get_styles_too(outcomes):
    styles = [layer["style"] for layer in outcomes["pictures"]["layers"]]
    assert styles == ["paletted", "singlebandpseudocolor"]


@pytest.mark.parametrize(
    ("name", "how", "expected"),
    [
        ("again", "failed", "contains the results of another run (summary.json)"),
        ("no model", "refused", "no model is chosen"),
        ("other model", "failed", "any-change"),
        ("torch", "failed", "pip install '.[torch]'"),
        ("no command", "refused", "is neither the changedet command nor an environment"),
        ("killed", "failed", "ended by signal 9, often because memory ran out"),
    ],
)
def test_what_goes_wrong_is_said_in_one_line(outcomes, place, name, how, expected):
    message = outcomes[name][how]
    assert expected in message
    assert "\n" not in message.strip()
    assert not (place / "results" / "none").exists()


def test_a_cancelled_run_ends_soon_and_can_be_gone_on_with(outcomes, place):
    cancelled = outcomes["cancelled"]
    assert cancelled["layers"] == []
    assert set(cancelled["results"]) == {"OUTPUT"}
    assert 100 not in cancelled["percent"]
    assert any("the next run goes on" in text for text in cancelled["info"])
    assert len(outcomes["gone on"]["layers"]) == 3
    first, second = (place / "results" / name / "mask.tif" for name in ("plain", "cancelled"))
    with rasterio.open(first) as one, rasterio.open(second) as other:
        np.testing.assert_array_equal(one.read(), other.read())
