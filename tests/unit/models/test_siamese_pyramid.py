"""Siamese pyramid: fusions, outputs, decoders, what is supervised."""

import pytest
import torch

from changedet.errors import ConfigError
from changedet.models.registry import create_model
from changedet.models.siamese_pyramid import fuse

SMALL = {"encoder": "resnet10t", "decoder_width": 16}


@pytest.fixture
def pair():
    torch.manual_seed(1)
    before, after = torch.randn(2, 1, 3, 64, 96)
    return before, after


def build(**options):
    torch.manual_seed(0)
    return create_model("siamese_pyramid", **{**SMALL, **options}).eval()


@pytest.mark.parametrize("decoder", ["fpn", "unet"])
@pytest.mark.parametrize("fusion", ["difference", "concatenation", "both"])
def test_the_distance_of_a_logit_is_twice_its_probability(pair, fusion, decoder):
    output = build(fusion=fusion, decoder=decoder)(*pair)
    logit = output.branches["fused"].logit
    assert logit.shape == (1, 64, 96)
    torch.testing.assert_close(output.score, logit.sigmoid())
    torch.testing.assert_close(output.distance, 2 * logit.sigmoid())


def test_level_logits_belong_to_the_levels(pair):
    branch = build()(*pair, levels="all").branches["fused"]
    assert len(branch.level_logits) == len(branch.levels) == 5
    for level, logit in zip(branch.levels, branch.level_logits, strict=True):
        torch.testing.assert_close(level, 2 * logit.sigmoid())


def test_an_untrained_classifier_expects_a_tenth_to_have_changed(pair):
    assert 0.03 < build()(*pair).score.mean() < 0.3


def test_distances_come_with_their_embeddings_and_without_logits(pair):
    branch = build(output="distance")(*pair).branches["fused"]
    assert branch.logit is None
    assert branch.level_logits == ()
    apart = (branch.before - branch.after).norm(dim=1)
    torch.testing.assert_close(branch.distance, apart, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", ["l2", "cosine"])
def test_equal_images_are_not_apart(pair, kind):
    model = build(output="distance", distance=kind)
    assert model(pair[0], pair[0].clone()).distance.max() < 1e-3


def test_only_the_difference_ignores_which_date_comes_first(pair):
    before, after = pair
    for fusion, is_symmetric in (("difference", True), ("concatenation", False), ("both", False)):
        model = build(fusion=fusion)
        there, back = model(before, after).score, model(after, before).score
        assert torch.allclose(there, back, atol=1e-5) is is_symmetric


def test_fusion_lines_up_before_after_and_their_difference():
    before, after = torch.tensor([1.0, 5.0]), torch.tensor([4.0, 3.0])
    before, after = before.view(1, 2, 1, 1), after.view(1, 2, 1, 1)
    assert fuse(before, after, "difference").flatten().tolist() == [3, 2]
    assert fuse(before, after, "concatenation").flatten().tolist() == [1, 5, 4, 3]
    assert fuse(before, after, "both").flatten().tolist() == [1, 5, 4, 3, 3, 2]


def test_levels_finer_than_a_quarter_are_left_out():
    model = build()
    assert model.encoder.level_strides == (4, 8, 16, 32)
    assert len(model.lateral) == 4


def test_levels_of_one_size_are_decoded_too(pair):
    model = build(encoder="vit_tiny_patch16_224")
    assert set(model.encoder.strides) == {16}
    assert model(*pair).score.shape == (1, 64, 96)


def test_both_dates_share_their_batch_statistics(pair):
    # With a batch of each date by itself, a change of the whole image would be normalised away.
    model = build(output="distance", dropout=0.0).train()
    before = pair[0]
    moved = model(before, before + 2.0, branches="fused").distance.mean()
    same = model(before, before.clone(), branches="fused").distance.mean()
    assert moved > 10 * same


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fusion": "sum"}, "fusion must be one of difference, concatenation, both, got 'sum'"),
        ({"decoder": "fpnn"}, "decoder must be one of fpn, unet, got 'fpnn'"),
        ({"output": "score"}, "output must be one of logit, distance, got 'score'"),
        ({"distance": "l1"}, "distance must be one of l2, cosine"),
        ({"decoder_width": 0}, "decoder_width must be at least 1, got 0"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1"),
        ({"drop_path": -0.1}, r"drop_path must be in \[0, 1\), got -0.1"),
        ({"encoder": "vgg11", "drop_path": 0.2}, r"vgg11.* no stochastic depth; .*drop_path=0"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        build(**options)


def test_stochastic_depth_skips_blocks_in_training_alone(pair):
    # A ResNet's blocks add nothing before they are trained, so skipping them would not show.
    options = {"encoder": "tf_efficientnet_lite0", "dropout": 0.0}
    plain, skipping = (build(**options, drop_path=share) for share in (0.0, 0.9))
    assert skipping.options["drop_path"] == 0.9
    torch.testing.assert_close(skipping(*pair).distance, plain(*pair).distance)
    for model, is_random in ((plain, False), (skipping, True)):
        model.train()
        once, again = (model(*pair).distance for _ in range(2))
        assert torch.equal(once, again) is not is_random


def test_each_kind_of_change_has_maps_of_its_own(pair):
    model = build(kinds=("any", "building", "cropland"))
    before, after = (torch.cat([date, date.flip(-1)]) for date in pair)
    output = model(before, after, levels="all")
    assert output.score.shape == (6, 64, 96)
    for index in range(3):
        one = model(before, after, levels="all", kinds=[index])
        torch.testing.assert_close(one.score, output.score[index::3])
        branch, whole = one.branches["fused"], output.branches["fused"]
        for level, every in zip(branch.level_logits, whole.level_logits, strict=True):
            torch.testing.assert_close(level, every[index::3])
    assert not torch.equal(output.score[0], output.score[1])


def test_distances_are_of_one_kind():
    with pytest.raises(ConfigError, match=r"one kind of change, got 2.*model\.output=logit"):
        build(output="distance", kinds=("any", "building"))
