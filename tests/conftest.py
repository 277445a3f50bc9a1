"""Tiny data that every test may use: made from a seed, in a temporary folder."""

import functools
import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

# Several test processes with several threads each wait for one another most of the time.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import jsonschema
import numpy as np
import pytest
from PIL import Image

from changedet.results import KINDS, read_results
from changedet.storage.results import Results, json_schema

# How long an example takes says more of the machine than of the code.
hypothesis.settings.register_profile("changedet", deadline=None)
hypothesis.settings.load_profile("changedet")


def write_pair(
    root: Path, name: str, *, seed: int, size_px: int = 64, changed: bool = True
) -> None:
    """Write A/NAME.png, B/NAME.png and label/NAME.png; the change is a bright square."""
    rng = np.random.default_rng(seed)
    ground = rng.integers(60, 120, (size_px, size_px, 3), dtype=np.uint8)
    label = np.zeros((size_px, size_px), np.uint8)
    if changed:
        top, left = rng.integers(0, size_px // 2, 2)
        label[top : top + size_px // 2, left : left + size_px // 2] = 255
    after = ground + rng.integers(0, 20, ground.shape, dtype=np.uint8)
    after[label > 0] = rng.integers(200, 255, (int((label > 0).sum()), 3), dtype=np.uint8)
    for folder, array in (("A", ground), ("B", after), ("label", label)):
        path = root / folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(path)


def write_split_folders(root: Path, *, size_px: int = 64, counts: tuple[int, int, int]) -> Path:
    """Write train/, val/ and test/ with so many pairs each."""
    for number, (split, count) in enumerate(zip(("train", "val", "test"), counts, strict=True)):
        for index in range(count):
            write_pair(root / split, f"{index:03}", seed=100 * number + index, size_px=size_px)
    return root


@pytest.fixture(scope="session")
def pairs_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """64x64 pairs: 7 for training, 2 for validation, 2 for testing. Do not change them."""
    return write_split_folders(tmp_path_factory.mktemp("pairs"), counts=(7, 2, 2))


@pytest.fixture
def own_pairs_folder(tmp_path: Path) -> Path:
    """The same, smaller, for tests that damage it."""
    return write_split_folders(tmp_path / "own", counts=(4, 2, 1))


@pytest.fixture
def blank_labels() -> Callable[[Path], None]:
    """Make a function that sets all labels of a split folder to unchanged."""

    def blank(split: Path) -> None:
        for path in (split / "label").glob("*.png"):
            Image.fromarray(np.zeros_like(np.asarray(Image.open(path)))).save(path)

    return blank


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a GPU where there is none."""
    if item.get_closest_marker("cuda") is not None:
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs an NVIDIA GPU")


class WrittenScene(NamedTuple):
    """A georeferenced pair of rasters with labels, and what was put into them."""

    folder: Path
    before: np.ndarray
    after: np.ndarray
    truth: np.ndarray

    @property
    def manifest(self) -> Path:
        """The manifest of this one scene."""
        return self.folder / "scenes.yaml"


def write_raster(path: Path, pixels: np.ndarray, **options: Any) -> None:
    """Write (H, W) or (H, W, C) as a GeoTIFF of half-metre pixels in UTM zone 31."""
    import rasterio
    from affine import Affine

    bands = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    profile = {
        "driver": "GTiff",
        "dtype": pixels.dtype,
        "crs": "EPSG:32631",
        "transform": Affine(0.5, 0.0, 500_000.0, 0.0, -0.5, 5_000_000.0),
        "tiled": True,
        "blockxsize": 64,
        "blockysize": 64,
        **options,
    }
    count, height, width = bands.shape
    if count > 3:
        # Else GDAL takes the fourth band for alpha.
        profile["photometric"] = "minisblack"
    with rasterio.open(path, "w", count=count, height=height, width=width, **profile) as file:
        file.write(bands)


def write_polygons(path: Path, boxes: list[tuple[int, int, int, int]]) -> None:
    """Write rectangles (top, left, bottom, right in pixels of :func:`write_raster`)."""
    import pyogrio
    import shapely

    shapes = [
        shapely.box(5e5 + 0.5 * left, 5e6 - 0.5 * bottom, 5e5 + 0.5 * right, 5e6 - 0.5 * top)
        for top, left, bottom, right in boxes
    ]
    pyogrio.raw.write(
        path,
        geometry=shapely.to_wkb(np.array(shapes, dtype=object)),
        field_data=[],
        fields=[],
        crs="EPSG:32631",
        geometry_type="Polygon",
        driver="GPKG",
    )


@pytest.fixture
def write_scene(tmp_path: Path) -> Callable[..., WrittenScene]:
    """Make a function that writes a scene with bright squares as change, and its manifest."""

    def write(
        *,
        shape: tuple[int, int] = (256, 320),
        bands: int = 3,
        dtype: str = "uint8",
        labels: str = "labels.gpkg",
        seed: int = 0,
        split: str = "{block_px: 64, gap_px: 4}",
    ) -> WrittenScene:
        rng = np.random.default_rng(seed)
        scale = 1 if dtype == "uint8" else 40
        before = (rng.integers(60, 120, (*shape, bands)) * scale).astype(dtype)
        after = before + (rng.integers(0, 20, before.shape) * scale).astype(dtype)
        truth = np.zeros(shape, np.uint8)
        boxes = []
        for top in range(12, shape[0] - 24, 64):
            for left in range(20, shape[1] - 24, 64):
                boxes.append((top, left, top + 24, left + 20))
                truth[top : top + 24, left : left + 20] = 1
        bright = rng.integers(200, 255, (int(truth.sum()), bands)) * scale
        after[truth > 0] = bright.astype(dtype)
        write_raster(tmp_path / "before.tif", before)
        write_raster(tmp_path / "after.tif", after)
        if labels.endswith(".gpkg"):
            write_polygons(tmp_path / labels, boxes)
        else:
            write_raster(tmp_path / labels, truth * np.uint8(255))
        (tmp_path / "scenes.yaml").write_text(
            "scenes:\n"
            f"  - {{name: town, before: before.tif, after: after.tif, labels: {labels}}}\n"
            f"split: {split}\n"
        )
        return WrittenScene(tmp_path, before, after, truth)

    return write


@functools.cache
def validator(model: type[Results]) -> jsonschema.protocols.Validator:
    schema = json_schema(model)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.fixture(autouse=True)
def _published_results(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every result file that a test writes fits its published schema and is read back as it is."""
    write = Results.write

    def checked(results: Results, path: Path) -> None:
        write(results, path)
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=pytest.fail)
        validator(type(results)).validate(content)
        assert KINDS[content["kind"]][1] == type(results).__name__
        assert read_results(path).to_json() == path.read_text(encoding="utf-8")

    monkeypatch.setattr(Results, "write", checked)


@pytest.fixture
def few_shift_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure the shift of a scene on six tiles instead of 25, which is most of the work."""
    from changedet.predict import measures

    monkeypatch.setattr(measures, "estimate_shift", partial(measures.estimate_shift, tiles=6))


@pytest.fixture
def blank_charts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Save charts without drawing them, which takes longer than a tiny network's training."""
    from matplotlib.figure import Figure

    def save(figure: Figure, file: Any, *, format: str) -> None:
        Image.new("L", (1, 1)).save(file, format)

    monkeypatch.setattr(Figure, "savefig", save)
