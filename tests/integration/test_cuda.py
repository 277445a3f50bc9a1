"""What only a GPU can show: the figures of a CPU, bfloat16 near float32, runs that go on."""

import csv
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from changedet.losses.registry import LossOptions, build_pixel_losses
from changedet.losses.supervision import BranchLoss
from changedet.models.registry import create_model
from changedet.nn.attention import ChannelAttention, PositionAttention

pytestmark = pytest.mark.cuda
VARIANTS = {
    "dasnet_v2 with attention": ("dasnet_v2", {"head_width": 16}),
    "dasnet_v2 without": ("dasnet_v2", {"head_width": 16, "attention": "none"}),
    "pyramid": ("siamese_pyramid", {"decoder_width": 16, "fusion": "both"}),
}
SETTINGS = (
    "model.encoder=test_efficientnet",
    "model.encoder_weights=none",
    "model.head_width=16",
    "data.crop_px=32",
    "data.workers=1",
    "training.batch_size=2",
    "training.log_every=1",
)


@pytest.fixture(params=VARIANTS.values(), ids=VARIANTS)
def model(request):
    name, options = request.param
    torch.manual_seed(0)
    made = create_model(name, encoder="resnet10t", **options)
    for parameter_name, parameter in made.named_parameters():
        # Attentions start switched off.
        if parameter_name.endswith("gamma"):
            torch.nn.init.constant_(parameter, 0.5)
    return made


@pytest.fixture
def crops():
    """Before and after, (4, 3, 64, 64), and a label, (4, 64, 64)."""
    torch.manual_seed(1)
    before, after = torch.randn(2, 4, 3, 64, 64)
    return before, after, (torch.rand(4, 64, 64) < 0.2).byte()


def on_gpu(*tensors):
    return [
        tensor.cuda().contiguous(memory_format=torch.channels_last)
        if tensor.ndim == 4
        else tensor.cuda()
        for tensor in tensors
    ]


def step_loss(model, crops, *, dtype=None):
    """Loss and gradients of a training step on the GPU, as the trainer takes it."""
    before, after, label = on_gpu(*crops)
    loss = BranchLoss(
        build_pixel_losses({"wdmc": 1.0}, LossOptions("l2", changed_share=0.2)),
        branch_weights={"fused": 1.0},
    ).cuda()
    model.zero_grad(set_to_none=True)
    with torch.autocast("cuda", dtype=dtype, enabled=dtype is not None):
        output = model(before, after, branches=loss.branches, levels=loss.levels)
    total = loss(output, label).total
    total.backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    return total.item(), torch.cat([gradient.float().flatten() for gradient in gradients])


def test_scores_are_those_of_a_cpu(model, crops, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    model.eval()
    with torch.inference_mode():
        expected = model(*crops[:2], branches="fused").score
        got = model.cuda()(*on_gpu(*crops[:2]), branches="fused").score
    torch.testing.assert_close(got.cpu(), expected, rtol=1e-3, atol=1e-3)


def test_scores_in_bfloat16_are_near_those_in_float32(model, crops):
    model.eval().cuda()
    images = on_gpu(*crops[:2])
    with torch.inference_mode():
        exact = model(*images, branches="fused").score
        with torch.autocast("cuda", dtype=torch.bfloat16):
            rounded = model(*images, branches="fused").score
    assert rounded.isfinite().all()
    assert (rounded.float() - exact).abs().mean() < 0.02


def test_a_training_step_in_bfloat16_is_finite_and_near_that_in_float32(model, crops):
    model.train().cuda()
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    seeds = torch.cuda.get_rng_state()
    exact, gradient = step_loss(model, crops)
    # The statistics of batch norm have moved, and dropout has drawn.
    model.load_state_dict(state)
    torch.cuda.set_rng_state(seeds)
    rounded, rounded_gradient = step_loss(model, crops, dtype=torch.bfloat16)
    assert rounded_gradient.isfinite().all()
    assert rounded == pytest.approx(exact, rel=0.1)
    cosine = torch.nn.functional.cosine_similarity(gradient, rounded_gradient, dim=0)
    assert cosine > 0.8


@pytest.mark.parametrize("channels", [20, 64, 512])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def test_position_attention_follows_its_formula(channels, dtype):
    torch.manual_seed(0)
    module = PositionAttention(channels).cuda()
    torch.nn.init.constant_(module.gamma, 0.5)
    features = torch.randn(2, channels, 32, 32, device="cuda")
    with torch.no_grad():
        query, key, value = (
            convolution(features).flatten(2)
            for convolution in (module.query, module.key, module.value)
        )
        attention = torch.softmax(query.transpose(1, 2) @ key, dim=-1)
        plain = module.gamma * (value @ attention.transpose(1, 2)).view_as(features) + features
        with torch.autocast("cuda", dtype=dtype, enabled=dtype != torch.float32):
            ours = module(features).float()
    tolerance = 5e-3 if dtype == torch.float32 else 5e-2
    torch.testing.assert_close(ours, plain, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def test_position_attention_never_holds_a_matrix_of_all_positions(dtype):
    module = PositionAttention(64).cuda()
    features = torch.randn(2, 64, 128, 128, device="cuda", requires_grad=True)
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    with torch.autocast("cuda", dtype=dtype, enabled=dtype != torch.float32):
        module(features).float().square().sum().backward()
    # The matrix alone would be 2 x 16384 x 16384: 1 GB in bfloat16, 2 GB in float32.
    assert torch.cuda.max_memory_allocated() - before < 4e8


def test_channel_attention_is_that_of_a_cpu_even_in_bfloat16():
    torch.manual_seed(0)
    module = ChannelAttention()
    torch.nn.init.constant_(module.gamma, 0.5)
    features = torch.randn(2, 64, 32, 32)
    expected = module(features)
    with torch.autocast("cuda", dtype=torch.bfloat16):
        got = module.cuda()(features.cuda())
    torch.testing.assert_close(got.float().cpu(), expected, rtol=2e-2, atol=2e-2)


def changedet(*words):
    ended = subprocess.run(
        [sys.executable, "-m", "changedet", *map(str, words)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr


def losses_of(run):
    with (run / "logs" / "train.csv").open() as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


@pytest.mark.slow
def test_a_run_that_goes_on_takes_the_way_of_an_undisturbed_one(
    pairs_folder, tmp_path, record_property
):
    settings = [word for item in SETTINGS for word in ("--set", item)]
    start = ["--data", pairs_folder, "--device", "cuda", *settings]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    changedet("train", "--out", whole, *start, "--set", "schedule.kind=constant", *_epochs(2))
    changedet("train", "--out", parts, *start, "--set", "schedule.kind=constant", *_epochs(1))
    changedet("train", "--out", parts, "--resume", "--device", "cuda", *_epochs(2))
    first, second = (load_file(run / "checkpoints/last.safetensors") for run in (whole, parts))
    assert first.keys() == second.keys()
    is_exact = all(torch.equal(first[name], second[name]) for name in first)
    # Resizing adds up in any order on a GPU, so the last digits may differ.
    record_property("exact", str(is_exact))
    assert losses_of(parts) == pytest.approx(losses_of(whole), rel=0.05)


def _epochs(count):
    return ["--set", f"training.epochs={count}"]
