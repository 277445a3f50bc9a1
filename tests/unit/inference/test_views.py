from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from changedet.card import ModelCard
from changedet.errors import ConfigError
from changedet.inference.torch_scorer import TorchScorer
from changedet.inference.views import views
from changedet.types import ChangeOutput, Normalisation, TestTime

PLAIN = Normalisation((0.0,) * 3, (0.0,) * 3, (255.0,) * 3, (255.0,) * 3)
CARD = ModelCard("stand-in", {}, PLAIN)
COUNTS: dict[TestTime, int] = {"none": 1, "mirror": 2, "flips": 4, "turns": 8}


class LooksRight(nn.Module):
    """Stands in for a network that is not symmetric: it sees a pixel and those right and below."""

    stride = 4
    fixed_tile = False

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, before: Tensor, after: Tensor, *, branches: str) -> ChangeOutput:
        self.shapes.append(tuple(before.shape))
        difference = (after - before).abs().mean(1)
        right = nn.functional.pad(difference, (0, 1))[..., 1:]
        below = nn.functional.pad(difference, (0, 0, 0, 1))[..., 1:, :]
        mixed = 0.6 * difference + 0.3 * right + 0.1 * below
        return ChangeOutput(score=mixed, branches={})


def make_images(count: int, height: int, width: int, seed: int = 0) -> list[list]:
    rng = torch.Generator().manual_seed(seed)
    shape = (2, count, height, width, 3)
    first, second = torch.randint(0, 256, shape, dtype=torch.uint8, generator=rng).numpy()
    return [list(first), list(second)]


def scores(test_time: TestTime, before: list, after: list) -> Tensor:
    scorer = TorchScorer(LooksRight(), CARD, device="cpu", test_time=test_time)
    return scorer.score_resident(before, after)


@settings(deadline=None)
@given(st.sampled_from(list(COUNTS)), st.integers(1, 5), st.integers(1, 5))
def test_undoing_a_view_brings_every_pixel_back_to_its_place(test_time, height, width):
    image = torch.arange(2 * height * width).reshape(2, height, width)
    for view in views(test_time):
        assert torch.equal(view.invert(view.apply(image), (height, width)), image)


@pytest.mark.parametrize(("test_time", "count"), COUNTS.items())
def test_the_views_are_so_many_different_ones_and_the_first_is_the_tile_itself(test_time, count):
    square = torch.arange(9).reshape(3, 3)
    shown = [view.apply(square) for view in views(test_time)]
    assert len({tuple(view.flatten().tolist()) for view in shown}) == len(shown) == count
    assert torch.equal(shown[0], square)


def test_the_views_are_the_mirror_images_and_turns_that_their_names_say():
    square = torch.arange(9).reshape(3, 3)

    def shown(test_time: TestTime) -> set[tuple[int, ...]]:
        return {tuple(view.apply(square).flatten().tolist()) for view in views(test_time)}

    def flat(*images: Tensor) -> set[tuple[int, ...]]:
        return {tuple(image.flatten().tolist()) for image in images}

    half_turn = torch.rot90(square, 2)
    assert shown("mirror") == flat(square, square.fliplr())
    assert shown("flips") == flat(square, square.fliplr(), square.flipud(), half_turn)
    turned = [torch.rot90(square, quarter) for quarter in range(4)]
    assert shown("turns") == flat(*turned, *(image.fliplr() for image in turned))


@pytest.mark.parametrize("shape", [(8, 8), (8, 12)])
def test_the_score_is_the_mean_over_what_the_network_says_of_each_view(shape):
    before, after = make_images(2, *shape)
    model = LooksRight()
    first, second = (
        torch.stack([torch.from_numpy(image).permute(2, 0, 1) / 255.0 for image in images])
        for images in (before, after)
    )
    means = []
    for mirrored in (False, True):
        for quarters in range(4):
            turned = [torch.rot90(date, quarters, (2, 3)) for date in (first, second)]
            shown = [date.flip(3) if mirrored else date for date in turned]
            found = model(*shown, branches="fused").score
            found = found.flip(2) if mirrored else found
            means.append(torch.rot90(found, -quarters, (1, 2)))
    torch.testing.assert_close(scores("turns", before, after), torch.stack(means).mean(0))


@pytest.mark.parametrize("test_time", ["mirror", "flips", "turns"])
def test_mirrored_images_get_mirrored_scores_although_the_network_is_not_symmetric(test_time):
    before, after = make_images(1, 8, 12)
    mirrored = [[image[:, ::-1] for image in images] for images in (before, after)]
    straight = scores(test_time, before, after)
    torch.testing.assert_close(scores(test_time, *mirrored).flip(2), straight)
    alone = scores("none", before, after)
    assert (scores("none", *mirrored).flip(2) - alone).abs().max() > 0.05


def test_turned_images_get_turned_scores_only_with_all_eight_views():
    before, after = make_images(1, 8, 12)
    turned = [[image.swapaxes(0, 1) for image in images] for images in (before, after)]
    expected = scores("turns", before, after).transpose(1, 2)
    torch.testing.assert_close(scores("turns", *turned), expected)
    flips = scores("flips", before, after).transpose(1, 2)
    assert (scores("flips", *turned) - flips).abs().max() > 0.05


def test_a_tile_that_is_no_square_goes_through_the_network_in_both_orientations():
    model = LooksRight()
    scorer = TorchScorer(model, CARD, device="cpu", test_time="turns")
    score = scorer.score_resident(*make_images(3, 8, 12))
    assert score.shape == (3, 8, 12)
    assert model.shapes == [(3, 3, 8, 12)] * 4 + [(3, 3, 12, 8)] * 4


def test_coarser_views_show_the_whole_tile_in_fewer_pixels():
    tile = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    full, three_quarters, half = (view.apply(tile) for view in views("scales"))
    assert torch.equal(full, tile)
    assert three_quarters.shape == (1, 3, 48, 72)
    # Half the lengths: about the mean of each 2 x 2 pixels, a little softer (no aliasing).
    means = torch.nn.functional.avg_pool2d(tile.flip(2, 3), 2)
    assert half.shape == means.shape
    assert torch.corrcoef(torch.stack([half.flatten(), means.flatten()]))[0, 1] > 0.85
    torch.testing.assert_close(half.mean(), tile.mean(), atol=0.01, rtol=0.0)


def test_no_pixel_counts_much_less_in_a_coarser_view_than_another():
    # A bright line in each column in turn: plain bilinear sampling at three quarters sees every
    # other one by a fifth less.
    lines = torch.eye(32)[:, None, None, :].expand(32, 3, 32, 32)
    three_quarters = views("coarse_few")[0].apply(lines)
    seen = three_quarters[4:28, 0, 0].sum(-1)
    assert seen.min() > 0.9 * seen.max()


def test_few_coarse_views_are_two_of_the_coarse_ones():
    first, _, half, _ = views("coarse")
    assert views("coarse_few") == (first, half)


def test_coarse_views_leave_out_the_tile_itself():
    tile = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    first, mirrored, half, turned = (view.apply(tile) for view in views("coarse"))
    assert first.shape == (1, 3, 48, 72)
    assert half.shape == (1, 3, 32, 48)
    torch.testing.assert_close(mirrored, first.flip(3))
    torch.testing.assert_close(turned, half.flip(2, 3))
    assert not torch.allclose(first, mirrored, atol=0.1)


@pytest.mark.parametrize("test_time", ["scales", "coarse", "coarse_few"])
def test_scores_of_coarser_views_return_to_the_place_and_size_of_the_tile(test_time):
    rows, columns = torch.meshgrid(torch.arange(64.0), torch.arange(96.0), indexing="ij")
    tile = torch.stack([rows, columns, rows + columns])[None]
    for view in views(test_time):
        for channel in range(3):
            found = view.invert(view.apply(tile)[:, channel], (64, 96))
            # A ramp is resized exactly but for the edge, where there is nothing beyond.
            inner = (..., slice(4, -4), slice(4, -4))
            torch.testing.assert_close(found[inner], tile[:, channel][inner], atol=0.05, rtol=0.0)


def test_coarser_views_have_sizes_that_the_network_takes():
    model = LooksRight()
    scorer = TorchScorer(model, CARD, device="cpu", test_time="scales")
    assert scorer.score(*make_images(2, 20, 4)).shape == (2, 20, 4)
    # 15 and 10 of 20, 3 and 2 of 4, each to the nearest multiple of the stride, which is 4.
    assert model.shapes == [(2, 3, 20, 4), (2, 3, 16, 4), (2, 3, 8, 4)]


@pytest.mark.parametrize("test_time", ["scales", "coarse"])
def test_the_score_of_several_scales_is_the_mean_of_what_each_gives(test_time):
    before, after = make_images(2, 16, 16)
    seen = views(test_time)
    parts = []
    for view in seen:
        scorer = TorchScorer(LooksRight(), CARD, device="cpu")
        scorer._views = (view,)
        parts.append(scorer.score_resident(before, after))
    mean = torch.stack(parts).mean(0)
    torch.testing.assert_close(scores(test_time, before, after), mean)
    assert (parts[0] - parts[2]).abs().max() > 0.05


def test_without_augmentation_the_network_is_asked_once():
    model = LooksRight()
    before, after = make_images(2, 8, 8)
    score = TorchScorer(model, CARD, device="cpu").score_resident(before, after)
    assert model.shapes == [(2, 3, 8, 8)]
    assert torch.equal(score, scores("none", before, after))


def test_full_scores_stay_within_their_range():
    before, after = make_images(1, 4, 4)
    white, black = [image * 0 + 255 for image in before], [image * 0 for image in after]
    for test_time in get_args(TestTime):
        assert scores(test_time, black, white).max() <= 1.0


def test_an_unknown_augmentation_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match="test_time must be one of none, mirror, flips, turns"):
        TorchScorer(LooksRight(), CARD, device="cpu", test_time="rotate")
