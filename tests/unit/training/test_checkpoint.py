import pytest
import torch
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
