"""What stands where a scene holds no image."""

import numpy as np
import pytest

from changedet.raster.nodata import fill_gaps
from changedet.raster.pair import PairPixels
from changedet.types import Normalisation

MEANS = (10.6, 20.4), (30.6, 40.4)
VALID = np.array([[True, False], [False, True]])


@pytest.mark.parametrize("bands", ["rgb", "bgr"])
@pytest.mark.parametrize(("dtype", "digits"), [("uint8", 0), ("float32", 5)])
def test_a_gap_holds_each_dates_mean_in_the_order_of_the_file(bands, dtype, digits):
    pixels = PairPixels(np.full((2, 2, 2), 7, dtype), np.full((2, 2, 2), 8, dtype), VALID)
    found = fill_gaps(pixels, Normalisation(*MEANS, (1.0, 1.0), (1.0, 1.0), bands=bands))

    for image, mean, stored in ((found.before, MEANS[0], 7), (found.after, MEANS[1], 8)):
        assert image.dtype == dtype
        assert (image[VALID] == stored).all()
        expected = np.round(mean[::-1] if bands == "bgr" else mean, digits).astype(dtype)
        assert (image[~VALID] == expected).all()
