import numpy as np

from changedet.rendering.display import as_rgb


def test_bytes_are_shown_as_they_are():
    image = np.random.default_rng(0).integers(0, 255, (4, 5, 4), dtype=np.uint8)
    assert np.array_equal(as_rgb(image), image[..., :3])
    assert np.array_equal(as_rgb(image[..., :1]), np.repeat(image[..., :1], 3, axis=2))


def test_wide_values_are_stretched_by_the_same_factor_in_all_bands():
    rng = np.random.default_rng(1)
    image = rng.uniform(2000, 4000, (50, 60, 5)).astype(np.float32)
    image[..., 2] -= 1000
    shown = as_rgb(image)

    assert shown.dtype == np.uint8
    assert shown.shape == (50, 60, 3)
    assert shown.min() == 0
    assert shown.max() == 255
    # The third band is darker by the same as it is stored.
    assert 60 < shown[..., 0].mean() - shown[..., 2].mean() < 120


def test_pixels_without_an_image_do_not_spoil_the_stretch():
    image = np.zeros((20, 20, 3), np.float32)
    image[:10] = np.linspace(5000, 5100, 600).reshape(10, 20, 3)
    shown = as_rgb(image)
    assert shown[:10].std() > 50
    assert not shown[10:].any()


def test_a_constant_or_empty_image_is_shown_without_a_warning():
    assert as_rgb(np.full((3, 3, 1), 7, np.float32)).max() <= 255
    assert not as_rgb(np.zeros((3, 3, 3), np.float32)).any()
