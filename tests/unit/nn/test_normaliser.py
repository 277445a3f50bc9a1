import pytest
import torch

from changedet.errors import ConfigError
from changedet.nn.normaliser import normalise
from changedet.types import CDD_NORMALISATION, Normalisation

STATS = Normalisation(
    mean_before=(1.0, 2.0, 3.0),
    mean_after=(4.0, 5.0, 6.0),
    std_before=(2.0, 4.0, 8.0),
    std_after=(1.0, 10.0, 100.0),
)


def image(*values):
    return torch.tensor(values, dtype=torch.uint8).view(1, -1, 1, 1)


def test_each_date_has_its_own_statistics():
    before, after = normalise(image(5, 6, 7), image(5, 15, 106), STATS)
    assert before.flatten().tolist() == [2.0, 1.0, 0.5]
    assert after.flatten().tolist() == [1.0, 1.0, 1.0]
    assert before.dtype == torch.float32


def test_the_seed_takes_blue_first_and_subtracts_its_means():
    before, after = normalise(image(10, 20, 30), image(10, 20, 30), CDD_NORMALISATION)
    assert before.flatten().tolist() == pytest.approx([30 - 87.72, 20 - 100.20, 10 - 90.43])
    assert after.flatten().tolist() == pytest.approx([30 - 120.24, 20 - 127.93, 10 - 121.18])


@pytest.mark.parametrize("stats", [STATS, CDD_NORMALISATION])
def test_channels_last_is_kept(stats):
    images = torch.randint(0, 256, (2, 3, 4, 5), dtype=torch.uint8)
    last = images.contiguous(memory_format=torch.channels_last)
    before, _ = normalise(last, last, stats)
    assert before.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(before, normalise(images, images, stats)[0])


def test_the_input_is_left_as_it_was():
    images = image(5, 6, 7)
    normalise(images, images, CDD_NORMALISATION)
    assert images.flatten().tolist() == [5, 6, 7]


def test_statistics_of_three_channels_do_not_fit_four():
    with pytest.raises(ConfigError, match="statistics of 3 channels, the image has 4"):
        normalise(image(1, 2, 3, 4), image(1, 2, 3, 4), STATS)
