"""What the README promises of ``import changedet``."""

import subprocess
import sys
from importlib.metadata import version

import numpy as np
import pytest
import torch

import changedet
from changedet._optional import require
from changedet.errors import MissingExtraError


def test_every_public_name_is_there():
    for name in changedet.__all__:
        assert getattr(changedet, name) is not None
    assert dir(changedet) == changedet.__all__ == sorted(changedet.__all__, key=str)
    assert changedet.__version__ == version("changedet")
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = changedet.nonsense


def test_importing_the_package_imports_no_torch():
    code = "import sys, changedet, changedet.cli.main; print('torch' in sys.modules)"
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


def test_what_scenes_are_predicted_with_knows_no_torch():
    modules = "changedet.card, changedet.inference.detector, changedet.predict.rasters"
    code = f"import sys, {modules}, changedet.predict.folders; print('torch' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "False"


def test_the_documented_python_works(tmp_path):
    assert {"dasnet", "dasnet_v2"} <= set(changedet.list_models())
    model = changedet.create_model(
        "dasnet_v2",
        distance="cosine",
        attention="none",
        encoder="test_efficientnet",
        head_width=16,
        pretrained=False,
    ).eval()
    size = 4 * model.stride
    before, after = torch.randn(2, 1, 3, size, size)
    out = model(before, after)
    assert out.distance.shape == (1, size, size)
    assert torch.equal(out.score, (out.distance / 2).clamp(0, 1))
    assert set(out.branches) == {"fused"}
    branches = model(before, after, branches="all").branches
    assert set(branches) == {"position", "channel", "fused"}
    assert branches["position"].before.shape == branches["position"].after.shape

    statistics = changedet.Normalisation((0.0,) * 3, (0.0,) * 3, (255.0,) * 3, (255.0,) * 3)
    card = changedet.ModelCard(
        architecture=model.architecture,
        options=model.options,
        normalisation=statistics,
        tile_px=32,
        threshold=0.3,
    )
    changedet.save_model(tmp_path / "model.safetensors", model, card)
    detector = changedet.load(tmp_path / "model.safetensors", device="cpu")
    assert isinstance(detector.model, torch.nn.Module)
    images = np.random.default_rng(0).integers(0, 255, (2, 50, 70, 3), dtype=np.uint8)
    pred = detector.predict(images[0], images[1])
    assert (pred.score.dtype, pred.score.shape) == (np.float32, (50, 70))
    assert 0 <= pred.score.min() <= pred.score.max() <= 1
    assert np.array_equal(pred.mask, pred.score >= np.float32(0.3))
    many = list(detector.predict_batch([(images[0], images[1])] * 3, batch_size=2))
    assert len(many) == 3


def test_a_missing_extra_names_the_command_that_installs_it():
    with pytest.raises(MissingExtraError, match=r"pip install '\.\[nothing\]'"):
        require("no_such_module", extra="nothing")
    assert require("json", extra="nothing").loads("1") == 1
