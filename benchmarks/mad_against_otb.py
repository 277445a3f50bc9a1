"""Check our MAD against the Orfeo ToolBox (OTB), variate by variate.

    python benchmarks/mad_against_otb.py BEFORE.tif AFTER.tif

Both rasters must share one grid and have data everywhere, because OTB's application does not handle
nodata. It does not reweight either, so it is compared with our first iteration. Sign and order of
the variates are arbitrary: ours are sorted by falling correlation, OTB's the other way round. Fails
if the correlation of a variate with OTB's is below 0.999.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from changedet.baselines.ir_mad import fit_ir_mad
from changedet.baselines.standardise import standardise

PROGRAM = "otbcli_MultivariateAlterationDetector"
AGREEMENT = 0.999


def read_bands(path: Path) -> NDArray[np.float64]:
    """Read all bands, (H, W, C)."""
    import rasterio

    with rasterio.open(path) as raster:
        values: NDArray[np.float64] = raster.read().transpose(1, 2, 0).astype(np.float64)
    return values


def otb_variates(before: Path, after: Path) -> NDArray[np.float64]:
    """Run OTB; give its variates, best agreement first, (H, W, K)."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "mad.tif"
        command = [PROGRAM, "-in1", before, "-in2", after, "-out", out, "float"]
        subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)
        return read_bands(out)[..., ::-1]


def main() -> int:
    """Print the agreement of each variate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    arguments = parser.parse_args()
    pair = standardise(read_bands(arguments.before), read_bands(arguments.after))
    bands = pair.before.shape[2]
    first, second = pair.before.reshape(-1, bands), pair.after.reshape(-1, bands)
    fit = fit_ir_mad(first, second, max_iterations=1)
    if fit.pairs is None:
        sys.exit("a date is constant")
    ours = fit.pairs.mad_variates(first, second)
    theirs = otb_variates(arguments.before, arguments.after).reshape(-1, bands)
    lowest = 1.0
    for number in range(bands):
        a, b = ours[:, number], theirs[:, number]
        agreement = float(np.corrcoef(a, b)[0, 1])
        difference = float(np.abs(a - np.sign(agreement) * b).max())
        lowest = min(lowest, abs(agreement))
        print(
            f"variate {number + 1}: canonical correlation {fit.pairs.correlation[number]:.6f}, "
            f"agreement {abs(agreement):.9f}, largest difference {difference:.1e}"
        )
    return int(lowest < AGREEMENT)


if __name__ == "__main__":
    sys.exit(main())
