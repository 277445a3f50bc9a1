"""Our networks and losses against what the public code computed (see README.md here)."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from changedet.losses.contrastive import WeightedDoubleMargin
from changedet.losses.registry import LossOptions, build_pixel_losses
from changedet.losses.supervision import BranchLoss, resize_label
from changedet.models.registry import create_model
from changedet.models.upstream import read_checkpoint

ARCHITECTURES = ["dasnet", "dasnet_v2"]
BRANCHES = {"position": "sa", "channel": "ca", "fused": "saca"}
# Share of changed pixels in CDD (spec 2).
CHANGED_SHARE = 0.147
# The public code's own agreement between machines (README.md here).
DISTANCE_TOLERANCE = 1e-4
LOSS_TOLERANCE = 1e-5
TRAINING_TOLERANCES = (1e-5, 2e-3, 1e-2)


@pytest.fixture(scope="module", params=ARCHITECTURES)
def architecture(request):
    return request.param


@pytest.fixture(scope="module")
def outputs(architecture, checkpoints, inputs):
    """Output of all branches by distance."""
    results = {}
    for distance in ("l2", "cosine"):
        model = read_checkpoint(checkpoints[architecture], distance=distance)
        with torch.inference_mode():
            results[distance] = model(*inputs[:2], branches="all")
    return results


@pytest.mark.parametrize(("distance", "key"), [("l2", "l2"), ("cosine", "cos")])
@pytest.mark.parametrize("branch", BRANCHES)
def test_distance_maps_are_those_of_the_public_code(
    outputs, golden, architecture, distance, key, branch
):
    ours = outputs[distance].branches[branch].distance
    theirs = golden[f"{architecture}/{BRANCHES[branch]}/{key}"]
    torch.testing.assert_close(ours, theirs, rtol=0, atol=DISTANCE_TOLERANCE)


@pytest.mark.parametrize("branch", BRANCHES)
def test_embeddings_are_those_of_the_public_code(outputs, golden, architecture, branch):
    ours = outputs["l2"].branches[branch].before[:, :8]
    theirs = golden[f"{architecture}/{BRANCHES[branch]}/embedding_t0_c0_7"]
    torch.testing.assert_close(ours, theirs, rtol=0, atol=DISTANCE_TOLERANCE)


@pytest.mark.parametrize(
    ("key", "changed_share"), [("wdmc", CHANGED_SHARE), ("dmc_unweighted", None)]
)
@pytest.mark.parametrize("branch", BRANCHES)
def test_losses_are_those_of_the_public_code(
    outputs, golden, inputs, architecture, branch, key, changed_share
):
    distance = outputs["l2"].branches[branch].distance
    label = resize_label(inputs[2], *distance.shape[-2:])
    loss = WeightedDoubleMargin("l2", changed_share=changed_share)(distance, label).value()
    theirs = golden[f"{architecture}/{BRANCHES[branch]}/{key}"].float()
    torch.testing.assert_close(loss, theirs, rtol=LOSS_TOLERANCE, atol=0)


def test_dasnet_resizes_the_fused_distance_to_the_image(checkpoints, inputs, golden):
    model = read_checkpoint(checkpoints["dasnet"])
    with torch.inference_mode():
        distance = model(*inputs[:2]).distance
    # With align_corners=True the corners are kept.
    coarse = golden["dasnet/saca/l2"]
    assert distance.shape == (2, 64, 64)
    torch.testing.assert_close(
        distance[:, :: 64 - 1, :: 64 - 1],
        coarse[:, :: 8 - 1, :: 8 - 1],
        rtol=0,
        atol=DISTANCE_TOLERANCE,
    )


def test_three_training_steps_are_those_of_the_public_code(checkpoints, inputs, golden):
    before, after, label = inputs
    model = create_model("dasnet_v2", dropout=0.0)
    model.load_state_dict(read_checkpoint(checkpoints["dasnet_v2"]).state_dict())
    model.train()
    criterion = BranchLoss(
        build_pixel_losses({"wdmc": 1.0}, LossOptions("l2", changed_share=CHANGED_SHARE)),
        branch_weights={"position": 1.0, "channel": 1.0, "fused": 1.0},
    )
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-4, weight_decay=5e-5)
    theirs = golden["dasnet_v2/train3/loss"].tolist()
    for expected, tolerance in zip(theirs, TRAINING_TOLERANCES, strict=True):
        loss = criterion(model(before, after), label).total
        assert loss.item() == pytest.approx(expected, rel=tolerance)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def test_dasnet_v2_has_the_published_number_of_parameters():
    model = create_model("dasnet_v2")
    classifier = 2048 * 1000 + 1000
    total = _millions(model)
    assert total == pytest.approx(50.91, abs=0.005)
    assert total + classifier / 1e6 == pytest.approx(52.96, abs=0.005)
    assert _millions(model.decoder) == pytest.approx(2.69, abs=0.005)


def _millions(module):
    return sum(parameter.numel() for parameter in module.parameters()) / 1e6


def test_only_the_wanted_branches_cost_anything():
    # Spec 1.4: the public code decodes all three, 269.9 GFLOP for one 256x256 pair.
    with torch.device("meta"):
        model = create_model("dasnet_v2").eval()
        images = torch.empty(1, 3, 256, 256)
        gflop = {}
        for branches in ("fused", "all"):
            with torch.inference_mode(), FlopCounterMode(display=False) as counter:
                model(images, images, branches=branches)
            gflop[branches] = counter.get_total_flops() / 1e9
    assert gflop["all"] == pytest.approx(269.9, rel=0.01)
    assert gflop["fused"] == pytest.approx(226.6, rel=0.01)
