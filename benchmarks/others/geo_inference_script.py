"""The network in geo-inference, in the environment of install.sh.

    python geo_inference_script.py NETWORK.pt STACK.tif FOLDER THRESHOLD

It takes networks of several classes only: the score becomes the second one of two, whose larger one
wins; it makes a mask and no scores.
"""

import sys
from pathlib import Path

import torch
from geo_inference.geo_inference import GeoInference  # type: ignore[import-not-found]


class TwoClasses(torch.nn.Module):
    """Logits of unchanged and changed, equal at the threshold."""

    def __init__(self, network: torch.nn.Module, threshold: float) -> None:
        super().__init__()
        self.network = network
        self.threshold = threshold

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Score (B, 6, H, W) stored values; returns (B, 2, H, W)."""
        score = self.network(image)
        return torch.cat([torch.zeros_like(score) + self.threshold, score], dim=1)


def main() -> None:
    """Make a mask of one raster that holds both dates."""
    network_path, stack, folder, threshold = sys.argv[1:]
    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    network = TwoClasses(
        torch.jit.load(network_path).eval(),  # type: ignore[no-untyped-call]
        float(threshold),
    )
    model = out / "two_classes.pt"
    torch.jit.script(network).save(str(model))  # type: ignore[no-untyped-call]
    infer = GeoInference(
        model=str(model), work_dir=str(out), mask_to_vec=False, device="cpu", num_classes=2
    )
    infer(inference_input=stack, patch_size=512)


if __name__ == "__main__":
    main()
