import numpy as np
import pytest

from changedet.domain import Domain, ValueRange
from changedet.errors import ConfigError
from changedet.predict.far_domain import far_bands, far_gsd, levels_of_image
from changedet.predict.remarks import remarks_on_domain, remarks_on_images, warnings_of

SEEN = Domain(
    gsd_m=(0.5, 2.0),
    change="cropland change",
    region="Guangdong",
    values=(ValueRange(25, 82, 228), ValueRange(57, 113, 225), ValueRange(50, 98, 216)),
)
NEAR = ((30.0, 90.0, 220.0), (60.0, 120.0, 220.0), (50.0, 100.0, 210.0))


@pytest.mark.parametrize(
    ("gsd_m", "factor"),
    [(0.5, None), (2.0, None), (4.0, None), (0.25, None), (10.0, 5.0), (0.1, 5.0), (None, None)],
)
def test_pixels_more_than_twice_as_large_or_small_are_far(
    gsd_m: float | None, factor: float | None
):
    far = far_gsd(gsd_m, SEEN)
    assert (far and far.factor) == (factor and pytest.approx(factor))
    warned = warnings_of(remarks_on_domain(SEEN, gsd_m, None))
    assert len(warned) == (factor is not None)
    if factor is not None:
        assert "trained on pixels of 0.5 to 2 m" in warned[0]


def test_what_is_not_known_is_not_compared():
    assert far_gsd(10.0, None) is None
    assert far_gsd(10.0, Domain()) is None
    assert far_bands(NEAR, Domain()) == ()
    assert far_bands(None, SEEN) == ()
    assert list(remarks_on_domain(None, 10.0, None)) == []


def test_values_beyond_those_of_the_training_are_far():
    assert far_bands(NEAR, SEEN) == ()
    one_dark = ((0.0, 3.0, 200.0), *NEAR[1:])
    assert far_bands(one_dark, SEEN) == ()
    dark = tuple((0.0, 3.0, 20.0) for _ in range(3))
    assert [band.channel for band in far_bands(dark, SEEN)] == [1, 2, 3]
    flat = tuple((middle - 5, middle, middle + 5) for _, middle, _ in NEAR)
    assert len(far_bands(flat, SEEN)) == 3


def test_images_are_counted_and_few_strange_ones_are_not_spoken_of():
    image = np.full((40, 40, 3), 3, np.uint8)
    strange = far_bands(levels_of_image(image), SEEN)
    (warned,) = warnings_of(remarks_on_images(SEEN, [("a.png", strange)], images=10))
    assert warned.startswith("1 of 10 images: the values of a.png are far")
    assert "channel 1: median 3, 98 % from 3 to 3; in training 82, 25 to 228" in warned
    assert warnings_of(remarks_on_images(SEEN, [("a.png", strange)], images=100)) == ()


def test_what_a_model_was_trained_on_is_said():
    (said,) = remarks_on_domain(SEEN, 1.0, None)
    assert said.text == "the model was trained on: cropland change, Guangdong, pixels of 0.5 to 2 m"
    generated = Domain(is_generated=True, gsd_m=(0.3, 0.3))
    (warned,) = warnings_of(remarks_on_domain(generated, 0.3, None))
    assert "generated pictures alone" in warned


@pytest.mark.parametrize("gsd_m", [(0.0, 1.0), (2.0, 1.0), (1.0, float("inf"))])
def test_lengths_that_are_none_are_refused(gsd_m: tuple[float, float]):
    with pytest.raises(ConfigError, match="gsd_m"):
        Domain(gsd_m=gsd_m)


def test_a_range_of_values_must_be_in_order():
    with pytest.raises(ConfigError, match="in order"):
        ValueRange(3.0, 2.0, 4.0)
