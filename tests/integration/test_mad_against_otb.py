"""Our first iteration of IR-MAD against Orfeo ToolBox's multivariate alteration detection."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "mad_against_otb.py"

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(
        shutil.which("otbcli_MultivariateAlterationDetector") is None,
        reason="needs Orfeo ToolBox (Debian: otb-bin)",
    ),
]


def write(path: Path, values: np.ndarray) -> Path:
    bands, height, width = values.shape
    profile = {"count": bands, "height": height, "width": width, "dtype": values.dtype}
    place = Affine(10, 0, 500_000, 0, -10, 5_000_000)
    with rasterio.open(path, "w", "GTiff", **profile, crs="EPSG:32632", transform=place) as raster:
        raster.write(values)
    return path


def test_all_variates_are_those_of_orfeo_toolbox_but_for_their_sign(tmp_path):
    rng = np.random.default_rng(0)
    smooth = rng.normal(0, 1, (5, 30, 40)).repeat(8, axis=1).repeat(8, axis=2)
    before = 2000 + 300 * smooth + rng.normal(0, 60, smooth.shape)
    mixing = np.eye(5) + rng.uniform(-0.3, 0.3, (5, 5))
    after = 500 + np.tensordot(mixing, 0.6 * before, axes=1)
    after += rng.normal(0, 1, after.shape) * np.array([30, 60, 120, 240, 480])[:, None, None]
    after[:, 60:120, 80:160] = rng.normal(1500, 200, (5, 60, 80))
    paths = [
        write(tmp_path / f"{name}.tif", np.clip(values, 0, 65_535).astype(np.uint16))
        for name, values in (("before", before), ("after", after))
    ]
    run = subprocess.run(
        [sys.executable, SCRIPT, *paths], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    agreements = [float(text) for text in re.findall(r"agreement ([\d.]+)", run.stdout)]
    assert len(agreements) == 5
    assert min(agreements) > 0.99999
