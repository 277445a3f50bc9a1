"""Cost of the networks: operations for one pair, and the memory of position attention.

    python benchmarks/model_cost.py [--no-memory]

Operations (2 x MAC) for a 256x256 pair are counted without computing anything. Memory is what
evaluation or training on 128x128 positions adds to the peak of a separate process, compared with
the plain form, which holds a matrix of all pairs of positions.
"""

import argparse
import resource
import subprocess
import sys
from collections.abc import Callable
from typing import get_args

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from changedet.nn.attention import PositionAttention
from changedet.training.build import build_model
from changedet.training.config import load_config
from changedet.types import SegmentationDecoder

_LITE0 = ("model.encoder=tf_efficientnet_lite0",)
#: What is counted: title, recipe, settings, branches.
_MODELS = (
    ("DASNet-V2, ResNet-50, all three branches", "dasnet_v2_l2", (), "all"),
    ("the same, fused branch only, as in evaluation mode", "dasnet_v2_l2", (), "fused"),
    ("without attention", "dasnet_v2_l2_no_attention", (), "fused"),
    ("with the plain head", "dasnet_v2_l2_plain_head", (), "fused"),
    ("DASNet, ResNet-50, fused branch only", "dasnet", (), "fused"),
    (
        "DASNet-V2, EfficientNet-Lite0, head width 64, fused branch only",
        "dasnet_v2_l2",
        (*_LITE0, "model.head_width=64"),
        "fused",
    ),
    ("Siamese pyramid, EfficientNet-Lite0", "pyramid_small", (), "fused"),
    ("TinyCD, EfficientNet-B4", "tinycd", ("model.encoder=efficientnet_b4",), "fused"),
    ("TinyCD, EfficientNet-Lite0", "tinycd", (), "fused"),
    ("BIT, ResNet-18", "bit", ("model.encoder=resnet18",), "fused"),
    ("BIT, EfficientNet-Lite0", "bit", (), "fused"),
    *(
        (
            f"{decoder} decoder, EfficientNet-Lite0, {words}",
            "pyramid_small",
            (
                "model.name=siamese_segmentation",
                f"model.decoder={decoder}",
                f"model.decoder_width={width}",
            ),
            "fused",
        )
        for decoder in get_args(SegmentationDecoder)
        for width, words in ((64, "64 channels"), ("null", "the package's width"))
        if (decoder, width) != ("linknet", 64)
    ),
)
_CHANNELS = 512
_SIDE = 128


def count(recipe: str, settings: tuple[str, ...], branches: str) -> tuple[float, float]:
    """Return 10^9 operations of one pair, and 10^6 parameters."""
    config = load_config(recipe, overrides=["model.encoder_weights=none", *settings])
    with torch.device("meta"):
        model = build_model(config.model, pretrained=False).eval()
        image = torch.empty(1, 3, 256, 256)
        with torch.inference_mode(), FlopCounterMode(display=False) as counter:
            model(image, image, branches=branches)
    return counter.get_total_flops() / 1e9, model.parameter_count / 1e6


def plain(module: PositionAttention, features: Tensor) -> Tensor:
    """Attend with the whole matrix of position pairs, as the public code does."""
    query, key, value = (
        layer(features).flatten(2) for layer in (module.query, module.key, module.value)
    )
    attention = (query.transpose(1, 2) @ key).softmax(dim=-1)
    context = value @ attention.transpose(1, 2)
    result: Tensor = features + module.gamma * context.reshape(features.shape)
    return result


def peak_mib() -> float:
    """Peak memory of this process so far; Linux counts in KiB, macOS in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def measure(form: str, mode: str) -> None:
    """Print the memory, in MiB, that one pass adds to this process."""
    torch.manual_seed(0)
    module = PositionAttention(_CHANNELS)
    attend: Callable[[Tensor], Tensor] = (
        module if form == "here" else lambda features: plain(module, features)
    )
    is_training = mode == "training"

    def run(side: int) -> None:
        features = torch.randn(1, _CHANNELS, side, side, requires_grad=is_training)
        with torch.set_grad_enabled(is_training):
            attended = attend(features)
        if is_training:
            torch.autograd.backward(attended.sum())

    run(4)
    before = peak_mib()
    run(_SIDE)
    # The input itself is not the module's.
    print(peak_mib() - before - 4 * _CHANNELS * _SIDE**2 / 2**20)


def main() -> None:
    """Count, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--no-memory", action="store_true", help="count operations only")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(*options.measure)
        return
    for title, recipe, settings, branches in _MODELS:
        gflop, parameters = count(recipe, settings, branches)
        print(f"{gflop:8.1f} GFLOP {parameters:7.2f} M parameters  {title}", flush=True)
    for mode in ("evaluation", "training") if not options.no_memory else ():
        mib = {}
        for form in ("plain", "here"):
            command = [sys.executable, __file__, "--measure", form, mode]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            mib[form] = float(done.stdout)
        print(
            f"position attention, {_CHANNELS} channels, {_SIDE * _SIDE} positions, {mode}: "
            f"{mib['plain']:.0f} MiB quadratic, {mib['here']:.0f} MiB here",
            flush=True,
        )


if __name__ == "__main__":
    main()
