import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from changedet.data.labelled import DecodedPair
from changedet.data.training.sampling import SampleKey, sample_generator
from changedet.data.training.transforms import (
    Augmentation,
    ColourDraw,
    Draw,
    PairSample,
    Paste,
    apply_transform,
    draw_transform,
    paste,
)
from changedet.errors import ConfigError
from changedet.types import IGNORED

PLAIN_COLOUR = ColourDraw(1.0, 1.0, 1.0, 0.0)
PLAIN = Draw(
    top=0,
    left=0,
    window_px=32,
    is_mirrored=False,
    is_upside_down=False,
    turns=0,
    is_swapped=False,
    shift_px=(0.0, 0.0),
    before=PLAIN_COLOUR,
    after=PLAIN_COLOUR,
)


def smooth_pair(height=32, width=32, seed=0):
    """Before, after and label that all show one blob, so that any misplacement is seen."""
    y, x = np.mgrid[0:height, 0:width]
    blob = np.hypot(y - 10, x - 20) < 7
    before = np.repeat((blob * 200 + 20)[:, :, None], 3, axis=2).astype(np.uint8)
    after = before + 10
    return before, after, blob.astype(np.uint8)


def transform(draw, *, crop_px=32, **size):
    before, after, label = smooth_pair(**size)
    return apply_transform(draw, DecodedPair(before, after, label), crop_px=crop_px)


def draw_with(augmentation, seed=0, *, height=32, width=32, crop_px=32):
    generator = np.random.default_rng(seed)
    return draw_transform(augmentation, generator, height=height, width=width, crop_px=crop_px)


def test_without_a_variation_the_pair_comes_out_as_stored():
    before, after, label = smooth_pair()
    draw = draw_with(Augmentation())
    assert draw == PLAIN
    sample = apply_transform(draw, DecodedPair(before, after, label), crop_px=32)
    np.testing.assert_array_equal(sample.before.numpy(), before.transpose(2, 0, 1))
    np.testing.assert_array_equal(sample.after.numpy(), after.transpose(2, 0, 1))
    np.testing.assert_array_equal(sample.label.numpy(), label)


@pytest.mark.parametrize(
    "change",
    [
        {"is_mirrored": True},
        {"is_upside_down": True},
        {"turns": 1},
        {"turns": 2, "is_mirrored": True},
        {"turns": 3, "top": 1, "left": 5, "window_px": 24},
        {"top": 2, "left": 8, "window_px": 20},
        {"window_px": 40},
    ],
)
def test_geometry_keeps_both_dates_and_the_label_together(change):
    sample = transform(PLAIN._replace(**change))
    seen = sample.label != IGNORED
    bright = sample.before[0] > 120
    # Bilinear edges against nearest labels may differ by a pixel along the blob's outline.
    disagreeing = (bright != (sample.label == 1))[seen].float().mean()
    assert disagreeing < (0.0 if change.get("window_px", 32) == 32 else 0.03) + 1e-9
    assert torch.equal(sample.after, sample.before + 10)
    plain = transform(PLAIN)
    assert not torch.equal(sample.before, plain.before)


def test_mirroring_and_turning_do_what_numpy_does():
    before, _, label = smooth_pair()
    mirrored = transform(PLAIN._replace(is_mirrored=True))
    np.testing.assert_array_equal(mirrored.label.numpy(), label[:, ::-1])
    upside_down = transform(PLAIN._replace(is_upside_down=True))
    np.testing.assert_array_equal(upside_down.label.numpy(), label[::-1])
    turned = transform(PLAIN._replace(turns=1))
    np.testing.assert_array_equal(turned.label.numpy(), np.rot90(label))
    np.testing.assert_array_equal(
        turned.before.numpy(), np.rot90(before, axes=(0, 1)).transpose(2, 0, 1)
    )


def test_swapping_exchanges_the_dates_and_leaves_the_label():
    plain, swapped = transform(PLAIN), transform(PLAIN._replace(is_swapped=True))
    assert torch.equal(swapped.before, plain.after)
    assert torch.equal(swapped.after, plain.before)
    assert torch.equal(swapped.label, plain.label)


def test_a_whole_shift_moves_only_after_and_replicates_the_edge():
    plain, shifted = transform(PLAIN), transform(PLAIN._replace(shift_px=(3.0, -2.0)))
    assert torch.equal(shifted.before, plain.before)
    assert torch.equal(shifted.label, plain.label)
    assert torch.equal(shifted.after[:, 3:, :-2], plain.after[:, :-3, 2:])
    assert torch.equal(shifted.after[:, 0], shifted.after[:, 3])
    assert torch.equal(shifted.after[:, :, -1], shifted.after[:, :, -3])


def test_a_sub_pixel_shift_interpolates_linearly():
    ramp = np.repeat(np.tile(np.arange(0, 128, 4, dtype=np.uint8), (32, 1))[:, :, None], 3, axis=2)
    label = np.zeros((32, 32), np.uint8)
    sample = apply_transform(
        PLAIN._replace(shift_px=(0.3, 0.25)), DecodedPair(ramp, ramp, label), crop_px=32
    )
    moved = sample.after[0, :, 1:].float() - sample.before[0, :, 1:].float()
    assert torch.allclose(moved, torch.full_like(moved, -1.0))


@given(
    down=st.floats(-40, 40, allow_nan=False),
    right=st.floats(-40, 40, allow_nan=False),
)
def test_no_shift_leaves_the_range_of_the_image(down, right):
    sample = transform(PLAIN._replace(shift_px=(down, right)))
    assert sample.after.min() >= 30
    assert sample.after.max() <= 230


def test_colour_is_drawn_for_each_date_by_itself_and_leaves_the_label():
    draw = draw_with(Augmentation(brightness=0.4, contrast=0.3, saturation=0.3, hue=0.1))
    assert all(a != b for a, b in zip(draw.before, draw.after, strict=True))
    plain, coloured = transform(PLAIN), transform(draw)
    assert not torch.equal(coloured.before, plain.before)
    assert not torch.equal(coloured.after, plain.after)
    assert torch.equal(coloured.label, plain.label)


@pytest.mark.parametrize(
    ("colour", "expected"),
    [
        (ColourDraw(0.5, 1.0, 1.0, 0.0), (50, 25, 10)),
        (ColourDraw(1.0, 0.0, 1.0, 0.0), (61, 61, 61)),
        (ColourDraw(1.0, 1.0, 0.0, 0.0), (61, 61, 61)),
        (ColourDraw(1.0, 1.0, 1.0, 1 / 3), (20, 100, 50)),
    ],
)
def test_each_colour_change_does_what_it_says(colour, expected):
    image = np.full((8, 8, 3), (100, 50, 20), np.uint8)
    draw = PLAIN._replace(window_px=8, before=colour)
    label = np.zeros((8, 8), np.uint8)
    sample = apply_transform(draw, DecodedPair(image, image, label), crop_px=8)
    np.testing.assert_allclose(sample.before[:, 0, 0].numpy(), expected, atol=2)
    assert tuple(sample.after[:, 0, 0].tolist()) == (100, 50, 20)


def test_an_image_smaller_than_the_crop_is_reflected_and_ignored_there():
    before, after, label = smooth_pair(height=20, width=28)
    draw = draw_with(Augmentation(), height=20, width=28)
    sample = apply_transform(draw, DecodedPair(before, after, label), crop_px=32)
    assert sample.before.shape == (3, 32, 32)
    assert (sample.label[20:] == IGNORED).all()
    assert (sample.label[:, 28:] == IGNORED).all()
    np.testing.assert_array_equal(sample.label[:20, :28].numpy(), label)
    assert torch.equal(sample.before[:, 20:, :28], sample.before[:, 7:19, :28].flip(1))


def test_the_sample_shares_no_memory_with_the_stored_pair():
    before = np.zeros((8, 8, 1), np.uint8)
    label = np.zeros((8, 8), np.uint8)
    before.flags.writeable = label.flags.writeable = False
    sample = apply_transform(
        PLAIN._replace(window_px=8), DecodedPair(before, before, label), crop_px=8
    )
    sample.before.fill_(9)
    sample.label.fill_(9)
    assert before.max() == label.max() == 0


def test_crops_reach_every_corner_of_a_larger_image():
    draws = [draw_with(Augmentation(), seed, height=34, width=33) for seed in range(200)]
    assert {draw.top for draw in draws} == {0, 1, 2}
    assert {draw.left for draw in draws} == {0, 1}
    assert {draw.window_px for draw in draws} == {32}


@given(
    seed=st.integers(0, 2**32),
    height=st.integers(1, 100),
    width=st.integers(1, 100),
    crop_px=st.integers(1, 64),
    low=st.floats(0.25, 1.0),
    high=st.floats(1.0, 4.0),
)
def test_the_window_stays_inside_an_image_that_can_hold_it(seed, height, width, crop_px, low, high):
    draw = draw_with(
        Augmentation(scale=(low, high)), seed, height=height, width=width, crop_px=crop_px
    )
    assert 1 <= draw.window_px <= max(crop_px, min(height, width))
    assert round(crop_px / high) - 1 <= draw.window_px <= crop_px / low + 1
    for start, length in ((draw.top, height), (draw.left, width)):
        assert start == 0 or 0 < start <= length - draw.window_px


def test_zoom_covers_its_range_evenly_on_a_logarithmic_scale():
    zooms = [
        256 / draw_with(Augmentation(scale=(0.5, 2.0)), seed, height=999, width=999, crop_px=256)[2]
        for seed in range(400)
    ]
    assert min(zooms) < 0.55
    assert max(zooms) > 1.8
    assert 0.4 < np.mean(np.array(zooms) < 1.0) < 0.6


def test_probabilities_are_kept():
    augmentation = Augmentation(
        horizontal_flip=0.5, vertical_flip=0.25, quarter_turns=1.0, swap_dates=0.75
    )
    draws = [draw_with(augmentation, seed) for seed in range(600)]
    assert 0.4 < np.mean([draw.is_mirrored for draw in draws]) < 0.6
    assert 0.18 < np.mean([draw.is_upside_down for draw in draws]) < 0.32
    assert 0.68 < np.mean([draw.is_swapped for draw in draws]) < 0.82
    turns = np.bincount([draw.turns for draw in draws], minlength=4)
    assert turns[0] == 0
    assert turns[1:].min() > 150


def test_switching_one_variation_on_leaves_the_others_as_they_were():
    few = draw_with(Augmentation(shift_px=2.0), 5, height=90, width=90)
    more = draw_with(
        Augmentation(shift_px=2.0, horizontal_flip=1.0, hue=0.2), 5, height=90, width=90
    )
    assert few == more._replace(is_mirrored=False, before=few.before, after=few.after)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("horizontal_flip", -0.1),
        ("vertical_flip", 1.1),
        ("quarter_turns", float("nan")),
        ("scale", (2.0, 1.0)),
        ("scale", (0.0, 1.0)),
        ("scale", (1.0,)),
        ("brightness", 1.5),
        ("contrast", -1.0),
        ("saturation", 2.0),
        ("hue", 0.6),
        ("swap_dates", 2.0),
        ("shift_px", -1.0),
        ("sensor", 1.5),
    ],
)
def test_a_value_out_of_range_is_refused_by_its_setting_name(name, value):
    with pytest.raises(ConfigError, match=rf"augmentation\.{name}.*got"):
        Augmentation(**{name: value})


def test_colour_changes_that_the_channels_do_not_have_are_refused():
    Augmentation(brightness=0.2, contrast=0.2).check_channels(1)
    Augmentation(horizontal_flip=0.5).check_channels(7)
    with pytest.raises(
        ConfigError,
        match=r"hue: .*3 channels .*got uint8 of 1; .*`augmentation.hue=0`",
    ):
        Augmentation(hue=0.1).check_channels(1)
    Augmentation(brightness=0.1, contrast=0.1).check_channels(4, pixel_type="uint16")
    with pytest.raises(ConfigError, match=r"saturation: .*8-bit images .*got uint16 of 3"):
        Augmentation(saturation=0.1).check_channels(3, pixel_type="uint16")


def test_another_sensor_is_for_8_bit_images_of_any_number_of_bands():
    Augmentation(sensor=0.5).check_channels(9)
    with pytest.raises(
        ConfigError,
        match=r"^augmentation.sensor: only 8-bit images .*got uint16; turn it off "
        r"\(`augmentation.sensor=0`\)$",
    ):
        Augmentation(sensor=0.5).check_channels(3, pixel_type="uint16")


def float_pair(channels, seed=0):
    rng = np.random.default_rng(seed)
    before = rng.uniform(0, 9000, (40, 48, channels)).astype(np.float32)
    return before, before + 100, rng.integers(0, 2, (40, 48), dtype=np.uint8)


def test_geometry_moves_wide_values_as_it_moves_bytes():
    before, after, label = smooth_pair(40, 48)
    settings = Augmentation(
        horizontal_flip=0.5, vertical_flip=0.5, quarter_turns=0.7, swap_dates=0.5, scale=(0.7, 1.4)
    )
    for seed in range(12):
        draw = draw_with(settings, seed, height=40, width=48)
        of_bytes = apply_transform(draw, DecodedPair(before, after, label), crop_px=32)
        of_floats = apply_transform(
            draw,
            DecodedPair(before.astype(np.float32), after.astype(np.float32), label),
            crop_px=32,
        )
        assert of_floats.before.dtype == torch.float32
        assert torch.equal(of_bytes.label, of_floats.label)
        assert (of_bytes.before.float() - of_floats.before).abs().max() <= 1.0


def test_brightness_and_contrast_of_wide_values_do_not_stop_at_255():
    before, after, label = float_pair(5)
    colour = ColourDraw(1.5, 0.5, 1.0, 0.0)
    sample = apply_transform(
        PLAIN._replace(before=colour), DecodedPair(before, after, label), crop_px=32
    )

    seen = before[:32, :32].transpose(2, 0, 1).astype(np.float64) * 1.5
    expected = seen * 0.5 + 0.5 * seen.mean(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(sample.before.numpy(), expected, rtol=1e-4)
    assert sample.before.max() > 5000
    np.testing.assert_array_equal(sample.after.numpy(), after[:32, :32].transpose(2, 0, 1))
    assert before.max() <= 9000  # What was given is left as it is.


def test_bytes_of_any_number_of_bands_are_brightened_and_stop_at_255():
    image = np.full((8, 8, 4), 100, np.uint8)
    image[..., 3] = 240
    draw = PLAIN._replace(window_px=8, before=ColourDraw(1.2, 1.0, 1.0, 0.0))
    sample = apply_transform(draw, DecodedPair(image, image, np.zeros((8, 8), np.uint8)), crop_px=8)

    assert sample.before[:, 0, 0].tolist() == [120, 120, 120, 255]


def test_a_shift_of_wide_values_keeps_their_fractions():
    before, after, label = float_pair(1)
    draw = PLAIN._replace(shift_px=(0.5, 0.0))
    sample = apply_transform(draw, DecodedPair(before, after / 7, label), crop_px=32)

    expected = (after[:31, :32, 0] / 7 + after[1:32, :32, 0] / 7) / 2
    np.testing.assert_allclose(sample.after[0, 1:].numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize("height_px", [20, 32, 90])
def test_a_cut_window_gives_the_same_sample_as_the_whole_image(height_px):
    before, after, label = smooth_pair(height_px, 70)
    for seed in range(8):
        draw = draw_with(Augmentation(scale=(0.5, 2.0)), seed, height=height_px, width=70)
        window = draw.window(height_px, 70)
        seen = np.s_[window.top : window.bottom, window.left : window.right]
        whole = apply_transform(draw, DecodedPair(before, after, label), crop_px=32)
        cut = apply_transform(
            draw.on_window(), DecodedPair(before[seen], after[seen], label[seen]), crop_px=32
        )
        assert all(torch.equal(one, other) for one, other in zip(whole, cut, strict=True))


def test_a_matched_date_gets_the_others_histogram_and_keeps_its_geometry():
    before, after, label = smooth_pair()
    after = (after // 2 + 90).astype(np.uint8)
    for date in ("before", "after"):
        sample = apply_transform(
            PLAIN._replace(matched=date), DecodedPair(before, after, label), crop_px=32
        )
        # Before and after show the same blob: matched, they are equal but for rounding.
        difference = sample.before.int() - sample.after.int()
        assert difference.abs().max() <= 1
        kept = after if date == "before" else before
        other = sample.after if date == "before" else sample.before
        assert np.array_equal(other.permute(1, 2, 0).numpy(), kept)


def test_matching_wide_values_keeps_their_type_and_range():
    before = np.random.default_rng(0).random((32, 32, 2), np.float32) * 5000
    after = np.random.default_rng(1).random((32, 32, 2), np.float32) * 900
    label = np.zeros((32, 32), np.uint8)
    sample = apply_transform(
        PLAIN._replace(matched="before"), DecodedPair(before, after, label), crop_px=32
    )
    assert sample.before.dtype == torch.float32
    assert sample.before.max() <= 901


def test_each_date_is_matched_as_often_as_the_other():
    draws = [draw_with(Augmentation(match_histograms=0.5), seed).matched for seed in range(2000)]
    assert 0.2 < draws.count("before") / 2000 < 0.3
    assert 0.2 < draws.count("after") / 2000 < 0.3


@given(
    shares=st.tuples(*[st.floats(0, 1, exclude_max=True)] * 4),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
)
def test_a_pasted_rectangle_comes_from_the_donor_and_the_rest_stays(shares, height, width):
    def flat(value):
        images = torch.full((3, height, width), value, dtype=torch.uint8)
        label = torch.full((height, width), value // 100).byte()
        return PairSample(images, images + 1, label, torch.tensor(value))

    sample, donor = flat(0), flat(100)
    pasted = paste(sample, donor, Paste(0.0, *shares))
    is_pasted = pasted.label == 1
    assert 0 < is_pasted.sum() <= max(1, 0.76 * height + 1) * max(1, 0.76 * width + 1)
    rows, columns = is_pasted.any(dim=1), is_pasted.any(dim=0)
    assert torch.equal(is_pasted, rows[:, None] & columns)
    assert torch.equal(pasted.before == 100, is_pasted.expand(3, -1, -1))
    assert torch.equal(pasted.after == 101, is_pasted.expand(3, -1, -1))
    assert sample.label.max() == 0
    assert pasted.index == 0


def test_pasting_happens_as_often_as_asked():
    draws = [draw_with(Augmentation(paste=0.3), seed) for seed in range(2000)]
    assert 0.26 < sum(draw.pasted is not None for draw in draws) / 2000 < 0.34


def test_contrast_of_a_raster_keeps_the_mean_of_each_band():
    rng = np.random.default_rng(0)
    bands = rng.normal((100.0, 3000.0), (10.0, 300.0), (24, 24, 2)).astype(np.float32)
    pair = DecodedPair(bands, bands, np.zeros((24, 24), np.uint8))
    draw = draw_with(Augmentation(contrast=0.5), crop_px=24, height=24, width=24)

    before = apply_transform(draw, pair, crop_px=24).before.numpy()

    factor = draw.before.contrast
    assert factor != 1.0
    assert before.mean(axis=(1, 2)) == pytest.approx(bands.mean(axis=(0, 1)), rel=1e-5)
    assert before.std(axis=(1, 2)) == pytest.approx(factor * bands.std(axis=(0, 1)), rel=1e-4)


def test_brightness_shifts_values_that_may_be_negative():
    rng = np.random.default_rng(0)
    decibels = rng.normal(-12.0, 3.0, (24, 24, 2)).astype(np.float32)
    pair = DecodedPair(decibels, decibels, np.zeros((24, 24), np.uint8))
    draw = draw_with(Augmentation(brightness=0.5), crop_px=24, height=24, width=24)

    before = apply_transform(draw, pair, crop_px=24).before.numpy().transpose(1, 2, 0)

    shift = (draw.before.brightness - 1.0) * decibels.std(axis=(0, 1))
    assert before - decibels == pytest.approx(np.broadcast_to(shift, decibels.shape), abs=1e-4)


def test_draws_are_those_of_earlier_releases():
    settings = Augmentation(
        horizontal_flip=0.5,
        vertical_flip=0.5,
        quarter_turns=0.5,
        scale=(0.8, 1.5),
        brightness=0.2,
        contrast=0.2,
        saturation=0.2,
        hue=0.05,
        swap_dates=0.5,
        shift_px=1.0,
        match_histograms=0.5,
        paste=0.5,
        changed_crops=0.5,
        sensor=1.0,
    )

    def draw(**use):
        generator = sample_generator(11, SampleKey(3, 5), **use)
        return draw_transform(settings, generator, height=99, width=140, crop_px=64)

    own, again, given_away = draw(), draw(attempt=2), draw(receiver=4)
    # Measured before sensors were varied.
    assert own[:3] == (20, 61, 47)
    assert own.after.hue == pytest.approx(0.04668028171778163, abs=1e-15)
    assert own.pasted is None
    assert again[:3] == (9, 56, 55)
    assert again.matched == "after"
    assert given_away[:3] == (20, 19, 78)
    assert given_away.pasted == pytest.approx(
        (
            0.7987747209547534,
            0.9389135146842393,
            0.2725270394799504,
            0.96740676404532,
            0.8288466852383589,
        ),
        abs=1e-15,
    )


def test_each_date_has_a_sensor_of_its_own_and_the_label_stays():
    plain = transform(PLAIN)
    draw = draw_with(Augmentation(sensor=1.0))
    varied = transform(draw)
    assert draw._replace(sensor=None) == PLAIN
    assert torch.equal(varied.label, plain.label)
    assert not torch.equal(varied.before, plain.before)
    # The dates differ by a constant; two sensors leave more between them.
    assert (varied.after.int() - varied.before.int()).unique().numel() > 5
