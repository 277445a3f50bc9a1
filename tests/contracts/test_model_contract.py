"""What every network in the registry must do, whatever it is made of."""

import json
import math
from typing import get_args

import pytest
import torch
from torch import nn

from changedet.card import ModelCard
from changedet.errors import ConfigError
from changedet.losses.registry import LossOptions, build_pixel_losses
from changedet.losses.supervision import BranchLoss
from changedet.models.base import for_kinds
from changedet.models.ensemble import Ensemble
from changedet.models.model_file import load_model, rounded_tensors, save_model
from changedet.models.options import network_options, option_names
from changedet.models.registry import create_model, list_models
from changedet.types import CDD_NORMALISATION, MAX_DISTANCE, SegmentationDecoder

TINY = {"encoder": "test_efficientnet"}
DASNETS = {name: (name, {**TINY, "head_width": 16}) for name in ("dasnet", "dasnet_v2")}
PYRAMID = {**TINY, "decoder_width": 16}
VARIANTS = {
    **DASNETS,
    "pyramid of logits": ("siamese_pyramid", {**PYRAMID, "fusion": "both"}),
    "pyramid of distances": ("siamese_pyramid", {**PYRAMID, "output": "distance"}),
    "U-Net of logits": ("siamese_pyramid", {**PYRAMID, "decoder": "unet"}),
    "TinyCD": ("tinycd", {**TINY, "decoder_width": 64}),
    **{
        f"{decoder} of logits": (
            "siamese_segmentation",
            {**TINY, "decoder": decoder, "decoder_width": None if decoder == "linknet" else 16},
        )
        for decoder in get_args(SegmentationDecoder)
    },
    "upernet of distances": (
        "siamese_segmentation",
        {**TINY, "decoder": "upernet", "decoder_width": 16, "output": "distance"},
    ),
    "unet of both dates": ("siamese_segmentation", {**TINY, "decoder_width": 16, "fusion": "both"}),
    "BIT": ("bit", {**TINY, "decoder_width": 16, "decoder_layers": 2}),
}


def contrastive(distance, *, changed_share):
    return build_pixel_losses({"wdmc": 1.0}, LossOptions(distance, changed_share))


def card_of(model):
    return ModelCard(
        architecture=model.architecture, options=model.options, normalisation=CDD_NORMALISATION
    )


class ScoreOnly(nn.Module):
    """Exporters want tensors from a network, and no dataclass."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, before, after):
        return self.model(before, after).score


@pytest.fixture
def make(variant):
    name, small = VARIANTS[variant]

    def build(**options):
        torch.manual_seed(0)
        model = create_model(name, **{**small, **options})
        for parameter_name, parameter in model.named_parameters():
            # Attentions start switched off.
            if parameter_name.endswith("gamma"):
                torch.nn.init.constant_(parameter, 0.5)
        return model.eval()

    return build


@pytest.fixture
def pair():
    torch.manual_seed(1)
    before, after = torch.randn(2, 2, 3, 64, 128)
    return before, after


def test_every_network_is_tried():
    assert {name for name, _ in VARIANTS.values()} == set(list_models())


#: Decoders that are built like others, and take as long.
LONG = {f"{name} of logits" for name in ("unetplusplus", "manet", "fpn", "pspnet", "deeplabv3")}


@pytest.mark.parametrize(
    "variant",
    [pytest.param(name, marks=[pytest.mark.full] if name in LONG else []) for name in VARIANTS],
)
class TestEveryModel:
    def test_it_can_be_made_without_memory_to_count_what_it_costs(self, make, variant):
        with torch.device("meta"):
            model = make()
            image = torch.empty(1, 3, 64, 64)
            assert model(image, image).score.shape == (1, 64, 64)

    def test_scores_have_the_images_size_and_lie_between_0_and_1(self, make, pair):
        output = make()(*pair)
        assert output.distance.shape == output.score.shape == (2, 64, 128)
        assert output.distance.dtype == torch.float32
        assert output.distance.min() >= 0
        assert output.distance.max() <= MAX_DISTANCE + 1e-4
        assert torch.allclose(output.score, output.distance / 2, atol=1e-4)

    def test_a_pair_gives_the_same_alone_and_in_a_batch(self, make, pair):
        model = make()
        alone = model(pair[0][:1], pair[1][:1]).distance
        torch.testing.assert_close(model(*pair).distance[:1], alone, rtol=1e-4, atol=1e-5)

    def test_asking_for_more_leaves_the_fused_distance_unchanged(self, make, pair):
        model = make()
        torch.testing.assert_close(
            model(*pair, branches="all", levels="all").distance, model(*pair).distance
        )

    def test_levels_go_from_coarse_to_fine_and_end_with_the_distance(self, make, pair):
        for branch in make()(*pair, branches="all", levels="all").branches.values():
            heights = [level.shape[-2] for level in branch.levels]
            assert heights == sorted(heights)
            assert torch.equal(branch.levels[-1], branch.distance)
            assert all(0 <= level.min() <= level.max() <= 2.001 for level in branch.levels)

    def test_levels_are_empty_unless_asked_for(self, make, pair):
        assert make()(*pair).branches["fused"].levels == ()

    def test_every_parameter_learns_from_all_branches_and_levels(self, make, pair):
        model = make().train()
        output = model(*pair, levels="all")
        count = len(output.branches["fused"].levels)
        criterion = BranchLoss(
            contrastive("l2", changed_share=0.3),
            branch_weights=dict.fromkeys(model.branch_names, 1.0),
            level_weights=(1.0,) * count,
        )
        criterion(output, torch.randint(0, 2, (2, 64, 128), dtype=torch.uint8)).total.backward()
        for parameter_name, parameter in model.named_parameters():
            assert parameter.grad is not None, parameter_name
            assert parameter.grad.isfinite().all(), parameter_name

    def test_a_few_steps_learn_a_pair(self, make):
        torch.manual_seed(3)
        before = torch.randn(2, 3, 64, 64)
        after = before + 0.1 * torch.randn_like(before)
        label = torch.zeros(2, 64, 64, dtype=torch.uint8)
        label[:, :, 32:] = 1
        after[:, :, :, 32:] += 2.0
        model = make(dropout=0.0).train()
        criterion = BranchLoss(contrastive("l2", changed_share=0.5), branch_weights={"fused": 1.0})
        optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
        losses = []
        for _ in range(25):
            loss = criterion(model(before, after, branches="fused"), label).total
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        assert losses[-1] < 0.7 * losses[0]

    def test_channels_last_gives_the_same_result(self, make, pair):
        model = make()
        plain = model(*pair).distance
        last = model.to(memory_format=torch.channels_last)(
            *(images.contiguous(memory_format=torch.channels_last) for images in pair)
        )
        torch.testing.assert_close(last.distance, plain, rtol=1e-3, atol=1e-4)

    def test_bfloat16_autocast_stays_near_float32(self, make, pair, variant):
        # Attention's sums are rougher.
        model = make(**({"attention": "none"} if variant in DASNETS else {}))
        exact = model(*pair).distance
        with torch.autocast("cpu", torch.bfloat16):
            rough = model(*pair).distance
        assert rough.dtype == torch.float32
        torch.testing.assert_close(rough, exact, rtol=0.1, atol=0.01)

    def test_options_rebuild_the_network(self, make, variant):
        # Networks that compare no embeddings have no distance to choose.
        has_distance = "distance" in option_names(network_options(VARIANTS[variant][0]))
        model = make(in_channels=9, **({"distance": "cosine"} if has_distance else {}))
        options = json.loads(json.dumps(model.options))
        again = create_model(model.architecture, **options)
        assert again.options == model.options
        again.load_state_dict(model.state_dict())

    def test_networks_that_classify_tell_kinds_of_change_apart(self, make, pair):
        model = make()
        if "kinds" not in model.options or model.options.get("output") == "distance":
            assert model.kinds == ("any",)
            return
        model = make(kinds=("any", "building", "cropland"))
        output = model(*pair)
        assert output.score.shape == (6, 64, 128)
        assert not torch.equal(output.score[0], output.score[1])
        torch.testing.assert_close(model(*pair, kinds=[2]).score, output.score[2::3])
        assert create_model(model.architecture, **model.options).kinds == model.kinds
        # Fewer kinds, in another order, from the weights of this one.
        fewer = make(kinds=("building", "any"))
        weights = for_kinds(model.state_dict(), had=model.kinds, model=fewer)
        fewer.load_state_dict(weights)
        torch.testing.assert_close(fewer(*pair, kinds=[1]).score, output.score[0::3])
        torch.testing.assert_close(fewer(*pair, kinds=[0]).score, output.score[1::3])

    def test_one_kind_may_have_another_name(self, make):
        model = make()
        if "kinds" in model.options:
            other = make(kinds=("building",))
            other.load_state_dict(for_kinds(model.state_dict(), had=model.kinds, model=other))
            assert other.kinds == ("building",)

    @pytest.mark.parametrize("channels", [1, 3, 9])
    def test_images_may_have_any_number_of_channels(self, make, channels):
        images = torch.randn(2, 1, channels, 64, 64)
        assert make(in_channels=channels)(*images).score.shape == (1, 64, 64)

    @pytest.mark.parametrize("precision", ["float16", "int8"])
    def test_files_of_rounded_weights_give_the_rounded_network(
        self, make, pair, tmp_path, precision
    ):
        model = make()
        path = tmp_path / "model.safetensors"
        save_model(path, model, card_of(model), precision=precision)
        model.load_state_dict(rounded_tensors(model, precision=precision))
        loaded, _ = load_model(path)
        with torch.inference_mode():
            assert torch.equal(loaded(*pair).distance, model(*pair).distance)

    def test_it_can_be_a_member_of_an_ensemble(self, make, pair, tmp_path):
        model = make()
        path = tmp_path / "model.safetensors"
        ensemble = Ensemble([model, make(in_channels=3)]).eval()
        save_model(path, ensemble, card_of(ensemble))
        loaded, _ = load_model(path)
        with torch.inference_mode():
            torch.testing.assert_close(loaded(*pair).score, model(*pair).score)

    def test_its_forward_can_be_exported(self, make, pair):
        model = make()
        exported = torch.export.export(ScoreOnly(model), pair).module()
        torch.testing.assert_close(exported(*pair), model(*pair).score)

    def test_save_and_load_give_equal_outputs(self, make, pair, tmp_path):
        model = make()
        save_model(tmp_path / "model.safetensors", model, card_of(model))
        loaded, _ = load_model(tmp_path / "model.safetensors")
        with torch.inference_mode():
            assert torch.equal(loaded(*pair).distance, model(*pair).distance)

    def test_the_encoders_own_stride_is_the_models(self, make):
        model = make(encoder="vit_tiny_patch16_224", in_channels=2)
        # Borrowed decoders may ask for more.
        plan = getattr(model.decoder, "plan", None) if hasattr(model, "decoder") else None
        assert model.stride == (16 if plan is None else math.lcm(16, plan.map_strides[-1]))
        height, width = 2 * model.stride, 3 * model.stride
        images = torch.randn(1, 2, height, width)
        assert model(images, images).distance.shape == (1, height, width)

    def test_a_size_that_is_no_multiple_of_the_stride_is_refused(self, make):
        model = make()
        images = torch.randn(1, 3, 32, 36)
        with pytest.raises(ConfigError, match=f"multiples of {model.stride}, got 32 x 36"):
            model(images, images)

    def test_images_of_different_sizes_are_refused(self, make):
        with pytest.raises(ConfigError, match=r"equal shape, got \(1, 3, 32, 32\)"):
            make()(torch.randn(1, 3, 32, 32), torch.randn(1, 3, 32, 64))

    def test_another_number_of_channels_is_refused(self, make):
        images = torch.randn(1, 4, 32, 32)
        with pytest.raises(ConfigError, match="takes images of 3 channels, got 4"):
            make()(images, images)

    def test_unknown_branches_are_refused(self, make, pair):
        with pytest.raises(ConfigError, match="branches must be one of fused, all, got 'some'"):
            make()(*pair, branches="some")

    def test_unknown_levels_are_refused(self, make, pair):
        with pytest.raises(ConfigError, match="levels must be one of last, all, got 'first'"):
            make()(*pair, levels="first")


@pytest.mark.parametrize("variant", DASNETS)
class TestDualAttentionModels:
    @pytest.mark.parametrize("distance", ["l2", "cosine"])
    @pytest.mark.parametrize("head", ["dual", "plain"])
    def test_distances_have_the_images_size_and_lie_between_0_and_2(
        self, make, pair, distance, head
    ):
        output = make(distance=distance, head=head)(*pair)
        assert output.distance.shape == (2, 64, 128)
        assert output.distance.dtype == torch.float32
        assert output.distance.min() >= 0
        assert output.distance.max() <= MAX_DISTANCE + 1e-4
        assert torch.allclose(output.score, output.distance / 2)

    @pytest.mark.parametrize("attention", ["dual", "position", "channel", "none"])
    @pytest.mark.parametrize("distance", ["l2", "cosine"])
    def test_swapping_the_dates_leaves_the_distance_unchanged(
        self, make, pair, distance, attention
    ):
        model = make(distance=distance, attention=attention)
        before, after = pair
        torch.testing.assert_close(model(before, after).distance, model(after, before).distance)

    @pytest.mark.parametrize("distance", ["l2", "cosine"])
    def test_identical_images_are_not_apart(self, make, pair, distance):
        assert make(distance=distance)(pair[0], pair[0].clone()).distance.max() < 1e-3

    def test_a_change_shows_and_most_where_it_is(self, make):
        torch.manual_seed(2)
        before = torch.randn(1, 3, 128, 128)
        after = before.clone()
        after[:, :, :32, :32] += 3.0
        distance = make(attention="none")(before, after).distance[0]
        assert distance[:32, :32].mean() > 2 * distance[-32:, -32:].mean()

    def test_eval_computes_the_fused_branch_and_training_all(self, make, pair):
        model = make()
        assert set(model(*pair).branches) == {"fused"}
        assert set(model(*pair, branches="all").branches) == {"position", "channel", "fused"}
        model.train()
        assert set(model(*pair).branches) == {"position", "channel", "fused"}
        assert set(model(*pair, branches="fused").branches) == {"fused"}

    def test_a_plain_head_has_the_fused_branch_alone(self, make, pair):
        assert set(make(head="plain")(*pair, branches="all").branches) == {"fused"}

    def test_embeddings_are_unit_vectors_of_the_distances_size(self, make, pair):
        for branch in make()(*pair, branches="all").branches.values():
            for embedding in (branch.before, branch.after):
                assert embedding.shape[-2:] == branch.distance.shape[-2:]
                assert torch.allclose(embedding.norm(dim=1), torch.ones(()), atol=1e-4)

    @pytest.mark.parametrize("distance", ["l2", "cosine"])
    def test_identical_images_have_finite_gradients(self, make, pair, distance):
        model = make(distance=distance, dropout=0.0).train()
        criterion = BranchLoss(
            contrastive(distance, changed_share=0.3), branch_weights={"fused": 1.0}
        )
        output = model(pair[0], pair[0].clone(), branches=criterion.branches)
        criterion(output, torch.ones(2, 64, 128, dtype=torch.uint8)).total.backward()
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        assert gradients
        assert all(gradient.isfinite().all() for gradient in gradients)

    def test_the_attention_is_rebuilt(self, make):
        model = make(distance="cosine", attention="channel", in_channels=4)
        again = create_model(model.architecture, **model.options)
        assert again.options == model.options
        again.load_state_dict(model.state_dict())


@pytest.mark.parametrize(
    "name", sorted(n for n in list_models() if "kinds" in option_names(network_options(n)))
)
def test_weights_of_each_kind_of_change_move_to_its_place(name):
    options = next(options for other, options in VARIANTS.values() if other == name)
    torch.manual_seed(0)
    two = create_model(name, **options, kinds=("any", "building")).eval()
    other = create_model(name, **options, kinds=("building", "road", "any")).eval()
    other.load_state_dict(for_kinds(two.state_dict(), had=two.kinds, model=other))
    before, after = torch.randn(2, 1, 3, 64, 64)
    with torch.no_grad():
        of_any, building = two(before, after).score
        moved = other(before, after).score
    torch.testing.assert_close(moved[0], building)
    torch.testing.assert_close(moved[1], of_any)
    torch.testing.assert_close(moved[2], of_any)
