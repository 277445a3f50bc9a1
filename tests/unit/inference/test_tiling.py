from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from changedet.card import ModelCard
from changedet.errors import ConfigError
from changedet.inference.tiling import score_pairs
from changedet.inference.torch_scorer import TorchScorer, evaluating
from changedet.models.base import ChangeModel
from changedet.models.registry import create_model
from changedet.nn.normaliser import normalise
from changedet.raster.grid import default_overlap
from changedet.types import ChangeOutput, Normalisation
from stand_ins import BlurredDifference, output_of

PLAIN = Normalisation((0.0,) * 3, (0.0,) * 3, (255.0,) * 3, (255.0,) * 3)
USUAL = Normalisation((120.0,) * 3, (110.0,) * 3, (60.0,) * 3, (60.0,) * 3)
CPU = torch.device("cpu")
Image = NDArray[np.uint8]


def make_pair(height: int, width: int, seed: int = 0) -> tuple[Image, Image]:
    rng = np.random.default_rng(seed)
    shape = (height, width, 3)
    return tuple(rng.integers(0, 256, shape, dtype=np.uint8) for _ in range(2))  # type: ignore[return-value]


def scores_of(model: nn.Module, *pairs: tuple[Image, Image], **options: object) -> list[Tensor]:
    scorer = scorer_of(model, options.pop("normalisation", PLAIN), options.pop("test_time", "none"))
    settings: dict[str, object] = {"tile_px": 64, "overlap_px": 16, "batch_size": 4}
    scored = list(score_pairs(scorer, pairs, images=lambda pair: pair, **{**settings, **options}))  # type: ignore[arg-type]
    assert all(item is pair for (item, _), pair in zip(scored, pairs, strict=True))
    return [score for _, score in scored]


def scorer_of(model: nn.Module, normalisation: object, test_time: object) -> TorchScorer:
    card = ModelCard("stand-in", {}, normalisation)  # type: ignore[arg-type]
    return TorchScorer(model, card, device=CPU, test_time=test_time)  # type: ignore[arg-type]


def tiny_model(attention: str = "none", **options: object) -> ChangeModel:
    torch.manual_seed(3)
    return create_model(
        "dasnet_v2", encoder="resnet18", head_width=16, attention=attention, **options
    )


def direct_score(model: ChangeModel, before: Image, after: Image) -> Tensor:
    batches = [torch.from_numpy(image[None]).permute(0, 3, 1, 2) for image in (before, after)]
    with torch.no_grad():
        return model.eval()(*normalise(*batches, USUAL)).score[0]


def test_an_image_of_one_tile_gets_exactly_the_models_own_scores():
    model = tiny_model()
    before, after = make_pair(64, 64)
    (score,) = scores_of(model, (before, after), normalisation=USUAL)
    assert torch.equal(score, direct_score(model, before, after))


def test_a_network_that_does_not_attend_pads_small_images_to_its_stride_only():
    model = tiny_model()
    before, after = make_pair(40, 56)
    (score,) = scores_of(model, (before, after), normalisation=USUAL)
    assert torch.equal(score, direct_score(model, before, after))


@pytest.mark.parametrize(("height", "width"), [(64, 64), (100, 64), (130, 217), (7, 90), (1, 1)])
def test_an_image_of_any_size_gets_a_score_at_every_pixel(height: int, width: int):
    before, after = make_pair(height, width)
    for model in (BlurredDifference(), BlurredDifference(fixed_tile=True)):
        (score,) = scores_of(model, (before, after))
        assert score.shape == (height, width)
        assert score.dtype == torch.float32
        assert 0.0 < score.min() <= score.max() <= 1.0


def test_tiles_put_together_give_what_the_whole_image_gives_and_leave_no_seam():
    before, after = make_pair(150, 211)
    (whole,) = scores_of(BlurredDifference(), (before, after), tile_px=256, overlap_px=0)
    (tiled,) = scores_of(BlurredDifference(), (before, after), tile_px=64, overlap_px=32)
    # The outermost 3 pixels of a tile see its padding; where they meet a neighbour they count for
    # sin^2(pi 2.5/64) / sin^2(pi 29.5/64) < 2 % of an error that is at most 0.25 here. The last
    # pixels are left out: there the whole image was padded to a multiple of 8, the tiles were not.
    difference = (tiled - whole)[:144, :203].abs()
    assert difference.max() < 5e-3
    assert difference.mean() < 2e-4


def test_side_by_side_tiles_show_seams_that_overlapping_ones_do_not():
    before, after = make_pair(128, 128)
    (whole,) = scores_of(BlurredDifference(), (before, after), tile_px=128)
    (beside,) = scores_of(BlurredDifference(), (before, after), overlap_px=0)
    (blended,) = scores_of(BlurredDifference(), (before, after), overlap_px=32)
    assert (beside - whole)[:, 61:67].abs().max() > 20 * (blended - whole)[:, 61:67].abs().max()


def test_a_deep_network_without_attention_scores_alike_with_other_tiles():
    model = tiny_model()
    rng = np.random.default_rng(5)
    coarse = rng.integers(0, 256, (2, 12, 12, 3), dtype=np.uint8)
    before, after = (np.kron(image, np.ones((16, 16, 1), dtype=np.uint8)) for image in coarse)
    whole, tiled = (
        scores_of(model, (before, after), normalisation=USUAL, tile_px=tile, overlap_px=96)[0]
        for tile in (192, 128)
    )
    # This encoder sees further than a tile, so scores near the tiles' borders differ a bit; what
    # is asked for is that the map stays the same map.
    difference = (tiled - whole)[32:-32, 32:-32].abs()
    assert difference.mean() < 0.1 * whole.std()
    assert np.corrcoef(tiled.flatten(), whole.flatten())[0, 1] > 0.99


@pytest.mark.parametrize("attention", ["none", "dual"])
def test_the_batch_size_does_not_change_the_scores(attention: str):
    model = tiny_model(attention)
    pairs = [make_pair(70, 100, seed=1), make_pair(64, 64, seed=2), make_pair(30, 40, seed=3)]
    one_by_one = scores_of(model, *pairs, normalisation=USUAL, batch_size=1)
    together = scores_of(model, *pairs, normalisation=USUAL, batch_size=7)
    for first, second in zip(one_by_one, together, strict=True):
        torch.testing.assert_close(first, second, rtol=0, atol=1e-5)


def test_tiles_of_many_images_share_batches():
    model = BlurredDifference()
    scores = scores_of(model, *(make_pair(64, 64, seed=seed) for seed in range(6)))
    assert [shape[0] for shape in model.shapes] == [4, 2]
    assert len(scores) == 6


def test_scores_come_in_the_order_of_the_pairs_whatever_their_sizes():
    pairs = [make_pair(*shape, seed=i) for i, shape in enumerate([(64, 64), (20, 90), (130, 70)])]
    together = scores_of(BlurredDifference(), *pairs)
    for score, pair in zip(together, pairs, strict=True):
        torch.testing.assert_close(score, scores_of(BlurredDifference(), pair)[0])


def test_an_attending_model_only_ever_sees_tiles_of_its_own_size():
    model = BlurredDifference(fixed_tile=True)
    scores_of(model, make_pair(64, 64), make_pair(10, 12), make_pair(100, 65), tile_px=60)
    assert {shape[2:] for shape in model.shapes} == {(64, 64)}


def test_an_attending_model_sees_a_small_image_continued_by_its_reflection():
    before, after = make_pair(48, 64)
    mirrored = [np.concatenate([image, image[-2:-18:-1]]) for image in (before, after)]
    model = BlurredDifference(fixed_tile=True)
    (score,) = scores_of(model, (before, after))
    (expected,) = scores_of(model, (mirrored[0], mirrored[1]))
    assert torch.equal(score, expected[:48])


def test_pairs_are_read_only_as_they_are_needed():
    read: list[int] = []

    def reading() -> Iterator[tuple[Image, Image]]:
        for number in range(20):
            read.append(number)
            yield make_pair(64, 64)

    scores = score_pairs(
        scorer_of(BlurredDifference(), PLAIN, "none"),
        reading(),
        images=lambda pair: pair,
        tile_px=64,
        overlap_px=16,
        batch_size=4,
    )
    assert read == []
    next(scores)
    assert read == [0, 1, 2, 3]


def test_the_model_is_in_its_own_mode_between_scores_and_evaluating_within():
    model = BlurredDifference()
    frozen = nn.BatchNorm2d(3).eval()
    model.frozen = frozen  # type: ignore[assignment]
    scorer = scorer_of(model, PLAIN, "none")
    pairs = [make_pair(64, 64)] * 2
    for _ in score_pairs(scorer, pairs, images=lambda pair: pair, tile_px=64, batch_size=1):
        assert model.training
        assert not frozen.training
    assert model.modes == [False, False]


def test_evaluating_restores_the_mode_after_an_error():
    model = nn.Sequential(nn.Dropout(), nn.Dropout().eval())
    during = []

    def fail() -> None:
        with evaluating(model):
            during.extend(module.training for module in model.modules())
            raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        fail()
    assert during == [False, False, False]
    assert [module.training for module in model.modules()] == [True, True, False]


def test_scores_can_go_on_into_training_code():
    (score,) = scores_of(tiny_model(), make_pair(64, 64), normalisation=USUAL)
    weight = torch.ones((), requires_grad=True)
    (weight * score).sum().backward()
    torch.testing.assert_close(weight.grad, score.sum())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"overlap_px": 64}, r"overlap must be in \[0, 64\), got 64"),
        ({"overlap_px": -1}, r"overlap must be in \[0, 64\), got -1"),
        ({"batch_size": 0}, "batch size must be at least 1, got 0"),
        ({"tile_px": 0}, "tile size must be at least 1 pixel, got 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(options: dict[str, int], message: str):
    with pytest.raises(ConfigError, match=message):
        scores_of(BlurredDifference(), make_pair(64, 64), **options)


def test_the_default_overlap_is_a_quarter_of_the_tile():
    assert default_overlap(256) == 64


class BrightOnTheRight(BlurredDifference):
    """Scores what lies in the right half of a tile twice as high."""

    def forward(self, before: Tensor, after: Tensor, *, branches: str) -> ChangeOutput:
        plain = super().forward(before, after, branches=branches).score
        weight = torch.ones(plain.shape[-1])
        weight[: plain.shape[-1] // 2] = 0.5
        return output_of(plain * weight)


def test_test_time_augmentation_applies_to_every_tile_whatever_its_shape():
    pairs = [make_pair(40, 100, seed=1), make_pair(64, 64, seed=2)]
    plain = scores_of(BlurredDifference(), *pairs)
    mirrored = scores_of(BrightOnTheRight(), *pairs, test_time="mirror")
    for score, expected in zip(mirrored, plain, strict=True):
        torch.testing.assert_close(score, 0.75 * expected)
    model = BlurredDifference()
    turned = scores_of(model, *pairs, test_time="turns")
    for score, expected in zip(turned, plain, strict=True):
        torch.testing.assert_close(score, expected)
    assert {shape[2:] for shape in model.shapes} == {(40, 64), (64, 40), (64, 64)}
