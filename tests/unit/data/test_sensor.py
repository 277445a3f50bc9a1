import numpy as np
import pytest
import torch

from changedet.data.training.sensor import vary_sensor


class Drawn:
    """A generator that draws what it is told: gamma, haze, coarser, noise, compression; tint."""

    def __init__(self, tint=0.0, **parts):
        order = ("gamma", "haze", "coarser", "noise", "compression")
        self.draws = [[parts.get(name, 0.0) for name in order], tint]

    def uniform(self, low, high, size):
        assert (low, high) == (-1.0, 1.0)
        return np.broadcast_to(np.array(self.draws.pop(0), float), size)

    def standard_normal(self, shape, dtype):
        return np.random.default_rng(0).standard_normal(shape, dtype)


def picture(channels=3, side=48):
    """Stripes of 2 px on a ramp."""
    y, x = np.mgrid[0:side, 0:side]
    image = 60 + 80 * (x // 2 % 2) + y
    return torch.from_numpy(np.repeat(image[None], channels, axis=0).astype(np.uint8))


def vary(strength=1.0, channels=3, **parts):
    return vary_sensor(picture(channels), Drawn(**parts), strength=strength)


def test_without_a_draw_or_strength_the_image_stays():
    assert torch.equal(vary(), picture())
    full = {"gamma": 1.0, "haze": 1.0, "coarser": 1.0, "noise": 1.0, "tint": 1.0}
    assert torch.equal(vary(0.0, **full), picture())


def test_gamma_keeps_black_and_white_and_moves_the_rest():
    ends = torch.tensor([0, 255, 128], dtype=torch.uint8).expand(3, 1, 3).clone()
    darker = vary_sensor(ends, Drawn(gamma=1.0), strength=1.0)
    assert darker[0, 0].tolist() == [0, 255, 64]
    assert vary_sensor(ends, Drawn(gamma=-1.0), strength=1.0)[0, 0].tolist() == [0, 255, 181]


def test_haze_brightens_and_takes_contrast_and_its_opposite_adds_it():
    hazed, cleared = vary(haze=1.0).float(), vary(haze=-0.5).float()
    plain = picture().float()
    assert hazed.mean() > plain.mean() + 20 > cleared.mean() + 30
    assert hazed.std() < 0.8 * plain.std()
    assert cleared.std() > plain.std()


def test_a_tint_is_of_one_channel():
    tinted = vary(tint=[1.0, 0.0, 0.0])
    assert tinted[0].float().mean() > picture()[0].float().mean() + 5
    assert torch.equal(tinted[1:], picture()[1:])


def test_a_coarser_image_loses_its_stripes_and_stays_in_place():
    coarse = vary(coarser=1.0)
    assert coarse.shape == picture().shape
    rows = coarse[0].float()
    assert rows.std(dim=1).mean() < 0.3 * picture()[0].float().std(dim=1).mean()
    assert torch.allclose(rows.mean(dim=1), picture()[0].float().mean(dim=1), atol=4)


def test_noise_is_as_strong_as_asked():
    half, full = (vary(s, noise=1.0).float() - picture().float() for s in (0.5, 1.0))
    assert full.std() == pytest.approx(0.06 * 255, rel=0.05)
    assert half.std() == pytest.approx(0.03 * 255, rel=0.05)


@pytest.mark.parametrize("channels", [1, 3, 9])
def test_compression_loses_a_little_of_any_number_of_bands(channels):
    lost = (vary(channels=channels, compression=1.0).int() - picture(channels).int()).abs()
    assert lost.shape[0] == channels
    assert 0 < lost.float().mean() < 20


@pytest.mark.parametrize("channels", [1, 3, 9])
def test_the_generator_decides_everything_and_the_image_is_left_as_it_is(channels):
    image = picture(channels)
    first, again, other = (
        vary_sensor(image, np.random.default_rng(seed), strength=0.7) for seed in (1, 1, 2)
    )
    assert first.dtype == torch.uint8
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(image, picture(channels))
