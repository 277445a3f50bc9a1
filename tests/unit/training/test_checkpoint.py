import json
import re

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from changedet.errors import CheckpointError
from changedet.training.checkpoint import TrainingPosition, load_checkpoint, save_checkpoint


def make() -> tuple[nn.Module, torch.optim.Optimizer]:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    return model, torch.optim.AdamW(model.parameters(), lr=0.1)


def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    model(torch.linspace(0, 1, 15).reshape(5, 3)).square().sum().backward()
    optimizer.step()


def test_training_goes_on_from_a_checkpoint_bit_by_bit(tmp_path):
    model, optimizer = make()
    step(model, optimizer)
    progress = TrainingPosition(epoch=3, batch=2, step=9, best_f_score=0.1 + 0.2, best_files=["a"])
    save_checkpoint(tmp_path / "last", model=model, optimizer=optimizer, progress=progress)
    step(model, optimizer)

    other, other_optimizer = make()
    read = load_checkpoint(tmp_path / "last", model=other, optimizer=other_optimizer)
    assert read == progress
    step(other, other_optimizer)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    model, optimizer = make()
    save_checkpoint(
        tmp_path / "last", model=model, optimizer=optimizer, progress=TrainingPosition()
    )
    other = nn.Linear(3, 4)
    with pytest.raises(CheckpointError, match="another model or optimiser"):
        load_checkpoint(
            tmp_path / "last", model=other, optimizer=torch.optim.AdamW(other.parameters())
        )


def test_a_file_of_plain_tensors_is_no_checkpoint(tmp_path):
    save_file({"x": torch.zeros(1)}, tmp_path / "plain.safetensors")
    model, optimizer = make()
    with pytest.raises(CheckpointError, match="not a training checkpoint"):
        load_checkpoint(tmp_path / "plain.safetensors", model=model, optimizer=optimizer)


def rewritten(path, change):
    """Write a checkpoint again with another description."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    (key,) = header["__metadata__"]
    text = change(header["__metadata__"][key])
    header["__metadata__"][key] = text
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    path.write_bytes(len(encoded).to_bytes(8, "little") + encoded + content[8 + length :])
    return path


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ('"epoch": 3', '"epoch": 0', "progress.epoch"),
        ('"epoch": 3', '"epoch": "3"', "progress.epoch"),
        ('"epoch": 3', '"epoch": 3, "age": 1', "age"),
        ('"best_files": []', '"best_files": ["../../x"]', "best_files"),
        ('"best_files": []', '"best_files": ["/etc/passwd"]', "best_files"),
        ('"format_version": 1', '"format_version": 2', "format_version"),
        ('"scalars"', '"scalar"', "scalar"),
        ("{", "", "Invalid JSON"),
        ("{", "[" * 10_000, "Invalid JSON"),
        ('"lr": 0.1', '"lr": NaN', "'lr'"),
        ('"lr": 0.1', '"lr": [1]', "'lr'"),
        ('"betas": [0.9', '"betas": [1.0', "'betas'"),
        ('"amsgrad": false', '"amsgrad": true', "'amsgrad'"),
        ('"params": [0', '"params": [7', "setting 'params'"),
        ('"param_groups": [', '"param_groups": [{}, ', "2 groups of parameters, not 1"),
    ],
)
def test_a_damaged_checkpoint_is_one_line(tmp_path, old, new, fault):
    model, optimizer = make()
    step(model, optimizer)
    path = tmp_path / "last.safetensors"
    save_checkpoint(path, model=model, optimizer=optimizer, progress=TrainingPosition(epoch=3))
    rewritten(path, lambda text: text.replace(old, new, 1))
    with pytest.raises(CheckpointError, match=re.escape(fault)):
        load_checkpoint(path, model=model, optimizer=optimizer)


def test_moments_of_another_shape_are_refused_before_the_first_step(tmp_path):
    model, optimizer = make()
    step(model, optimizer)
    path = tmp_path / "last.safetensors"
    save_checkpoint(path, model=model, optimizer=optimizer, progress=TrainingPosition())
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    for wrong in (torch.zeros(2), torch.zeros(4, 3, dtype=torch.int64)):
        save_file({**tensors, "optimizer.0.exp_avg": wrong}, path, metadata)
        with pytest.raises(CheckpointError, match="exp_avg of parameter 0 is of shape"):
            load_checkpoint(path, model=model, optimizer=optimizer)
    save_file({**tensors, "optimizer.99.step": torch.zeros(())}, path, metadata)
    with pytest.raises(CheckpointError, match="no parameter 99"):
        load_checkpoint(path, model=model, optimizer=optimizer)
