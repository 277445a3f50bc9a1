"""The public code's figures, and the weights and inputs that they belong to."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def golden():
    with np.load(HERE / "dasnet_reference.npz") as file:
        return {name: torch.from_numpy(np.asarray(file[name])) for name in file.files}


@pytest.fixture(scope="session")
def fill_script():
    spec = importlib.util.spec_from_file_location("golden_fill", HERE / "fill.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def upstream_weights(golden, fill_script):
    """State dict of the public DASNet-V2, 379 tensors, rebuilt from the seed. Do not change it."""
    shapes = json.loads((HERE / "upstream_state_dict_keys.json").read_text())
    weights = {
        name: torch.zeros(shape, dtype=torch.int64 if name.endswith("tracked") else torch.float32)
        for name, shape in shapes.items()
    }
    fill_script.fill_(weights, int(golden["meta/seed_n_h_w"][0]))
    return weights


@pytest.fixture(scope="session")
def inputs(golden, fill_script):
    """Two normalised image batches (2, 3, 64, 64) and a label (2, 64, 64), uint8."""
    seed, count, height, width = golden["meta/seed_n_h_w"].tolist()
    before, after, label = fill_script.inputs(seed, count, height, width)
    return before, after, label.to(torch.uint8)


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory, upstream_weights):
    """The two checkpoints as the public code writes them, old and new style."""
    folder = tmp_path_factory.mktemp("checkpoints")
    weights = torch.nn.Parameter(torch.zeros(3))
    optimiser = torch.optim.Adam([weights])
    weights.sum().backward()
    optimiser.step()
    torch.save(
        {"net": upstream_weights, "optimizer": optimiser.state_dict()}, folder / "dasnet_v2.pth"
    )
    torch.save(
        {
            "state_dict": {
                f"module.{name}": tensor
                for name, tensor in upstream_weights.items()
                if not name.startswith("decoder.")
            },
            "optimizer": optimiser.state_dict(),
        },
        folder / "dasnet.pth",
        _use_new_zipfile_serialization=False,
    )
    return {name: folder / f"{name}.pth" for name in ("dasnet", "dasnet_v2")}
