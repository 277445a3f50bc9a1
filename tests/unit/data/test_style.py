import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from changedet.data.training.sample import PairSample
from changedet.data.training.style import swap_amplitudes, swap_statistics
from changedet.types import IGNORED

SWAPS = [
    lambda sample, donor, amount: swap_statistics(sample, donor, amount=amount),
    lambda sample, donor, amount: swap_amplitudes(sample, donor, amount=amount, reach=0.1),
]
both = pytest.mark.parametrize("swap", SWAPS, ids=["statistics", "amplitudes"])


def sample_of(before, after, label=None):
    before, after = (torch.from_numpy(np.ascontiguousarray(image)) for image in (before, after))
    if label is None:
        label = np.zeros(before.shape[-2:], np.uint8)
    return PairSample(before, after, torch.from_numpy(label), torch.tensor(7))


def noisy(mean, spread, *, seed=0, side=24, channels=3, dtype=np.float32):
    generator = np.random.default_rng(seed)
    values = np.asarray(mean).reshape(-1, 1, 1) + spread * generator.normal(
        size=(channels, side, side)
    )
    if dtype == np.uint8:
        values = values.round().clip(0, 255)
    return values.astype(dtype)


def moments(image):
    values = image.numpy().astype(np.float64)
    return values.mean(axis=(1, 2)), values.std(axis=(1, 2))


def test_each_date_takes_over_mean_and_spread_of_the_donors_date():
    sample = sample_of(noisy((90, 100, 110), 20.0, seed=1), noisy((90, 100, 110), 20.0, seed=2))
    donor = sample_of(noisy((40, 60, 50), 30.0, seed=3), noisy((140, 120, 110), 10.0, seed=4))
    got = swap_statistics(sample, donor, amount=1.0)

    for image, wanted in ((got.before, donor.before), (got.after, donor.after)):
        mean, spread = moments(image)
        # The pair's own figures are those of both dates, which differ a little from one date's.
        np.testing.assert_allclose(mean, moments(wanted)[0], atol=2.0)
        np.testing.assert_allclose(spread, moments(wanted)[1], rtol=0.1)
    half = swap_statistics(sample, donor, amount=0.5)
    middle = (moments(sample.before)[0] + moments(got.before)[0]) / 2
    np.testing.assert_allclose(moments(half.before)[0], middle, atol=0.1)


def test_a_change_all_over_a_date_outlives_the_swap():
    field, bare = noisy((80,) * 3, 5.0, seed=1), noisy((140,) * 3, 5.0, seed=2)
    donor = sample_of(noisy((50,) * 3, 30.0, seed=3), noisy((50,) * 3, 30.0, seed=4))
    for swap in SWAPS:
        got = swap(sample_of(field, bare), donor, 1.0)
        difference = (got.after - got.before).numpy()
        # What is left of it stands out from the noise within each date.
        assert difference.mean() > 3 * got.before.numpy().std()


def test_equal_dates_stay_equal_when_their_amplitudes_are_swapped():
    image = noisy((90, 100, 110), 20.0, dtype=np.uint8)
    donor = sample_of(noisy((40,) * 3, 9.0, seed=3), noisy((140,) * 3, 10.0, seed=4))
    got = swap_amplitudes(sample_of(image, image), donor, amount=1.0, reach=0.1)
    assert torch.equal(got.before, got.after)
    assert not torch.equal(got.before, torch.from_numpy(image))


def test_swapped_amplitudes_are_the_donors_up_to_the_reach_and_the_phases_stay():
    y, x = np.mgrid[0:32, 0:32] * (2 * np.pi / 32)
    own = (100 + 10 * np.cos(2 * x + 0.7) + 8 * np.cos(9 * y))[None].astype(np.float32)
    other = (90 + 20 * np.cos(2 * x - 0.4) + 24 * np.cos(9 * y))[None].astype(np.float32)
    got = swap_amplitudes(
        sample_of(own, own), sample_of(other, other), amount=1.0, reach=4 / 32
    ).before.numpy()
    expected = 90 + 20 * np.cos(2 * x + 0.7) + 8 * np.cos(9 * y)
    np.testing.assert_allclose(got[0], expected, atol=1e-3)


@both
def test_no_amount_changes_nothing_and_the_rest_of_the_sample_stays(swap):
    label = np.random.default_rng(0).choice(np.array([0, 1, IGNORED], np.uint8), (24, 24))
    before, after = (noisy((99,) * 3, 30.0, seed=seed, dtype=np.uint8) for seed in (1, 2))
    sample = sample_of(before, after, label)
    donor = sample_of(noisy((40,) * 3, 9.0, dtype=np.uint8), noisy((40,) * 3, 9.0, dtype=np.uint8))
    same = swap(sample, donor, 0.0)
    assert torch.equal(same.before, sample.before)
    assert torch.equal(same.after, sample.after)
    changed = swap(sample, donor, 1.0)
    assert torch.equal(changed.label, sample.label)
    assert changed.index == 7
    np.testing.assert_array_equal(sample.before.numpy(), before)
    np.testing.assert_array_equal(donor.label.numpy(), np.zeros((24, 24), np.uint8))


@both
@pytest.mark.parametrize(("channels", "dtype"), [(1, np.uint8), (9, np.uint8), (5, np.float32)])
def test_any_number_of_bands_of_either_type_is_swapped_band_by_band(swap, channels, dtype):
    scale = np.linspace(1.0, 2.0, channels) if dtype == np.uint8 else 10.0 ** np.arange(channels)
    own = [noisy(60 * scale, 9.0, seed=s, channels=channels, dtype=dtype) for s in (0, 1)]
    other = [noisy(90 * scale, 9.0, seed=s, channels=channels, dtype=dtype) for s in (2, 3)]
    got = swap(sample_of(*own), sample_of(*other), 1.0)
    assert got.before.dtype == torch.from_numpy(own[0]).dtype
    np.testing.assert_allclose(moments(got.before)[0], 90 * scale, rtol=0.03)


def test_a_swap_of_wide_values_does_not_stop_at_255():
    sample = sample_of(noisy((3000,), 200.0, channels=1), noisy((3000,), 200.0, channels=1))
    donor = sample_of(noisy((9000,), 300.0, channels=1), noisy((9000,), 300.0, channels=1))
    for swap in SWAPS:
        assert swap(sample, donor, 1.0).before.min() > 5000


def test_ignored_pixels_count_on_neither_side():
    label = np.zeros((24, 24), np.uint8)
    label[:12] = IGNORED
    framed = [noisy((100,) * 3, 10.0, seed=seed) for seed in (1, 2)]
    other = [noisy((60,) * 3, 10.0, seed=seed) for seed in (3, 4)]
    expected = swap_statistics(
        sample_of(*(image[:, 12:] for image in framed)),
        sample_of(*(image[:, 12:] for image in other)),
        amount=1.0,
    )
    for image in (*framed, *other):
        image[:, :12] = -9999.0
    got = swap_statistics(sample_of(*framed, label), sample_of(*other, label), amount=1.0)
    assert torch.allclose(got.before[:, 12:], expected.before, atol=1e-3)


def test_where_nothing_is_labelled_all_pixels_count():
    label = np.full((24, 24), IGNORED, np.uint8)
    images = [noisy((100,) * 3, 10.0, seed=seed) for seed in (1, 2, 3, 4)]
    first = swap_statistics(sample_of(*images[:2], label), sample_of(*images[2:], label), amount=1)
    second = swap_statistics(sample_of(*images[:2]), sample_of(*images[2:]), amount=1)
    assert torch.equal(first.before, second.before)


@both
@given(own=st.sampled_from([0.0, 100.0]), other=st.sampled_from([0.0, 200.0]))
def test_flat_images_neither_fail_nor_flatten_the_others(swap, own, other):
    flat = sample_of(*[np.full((1, 8, 8), own, np.float32)] * 2)
    lively = sample_of(*[noisy((100,), 20.0, channels=1, side=8)] * 2)
    donor = sample_of(*[np.full((1, 8, 8), other, np.float32)] * 2)
    assert torch.isfinite(swap(flat, donor, 1.0).before).all()
    assert swap(lively, donor, 1.0).before.std() > 6.0
