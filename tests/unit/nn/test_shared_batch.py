"""Layers that look at a whole batch: several processes compute what one does."""

import copy

import pytest
import torch
import torch.distributed as dist
from torch import nn

from changedet.nn.shared_batch import Attendance, SharedDropout, share_batches
from changedet.nn.synced_norm import SyncedBatchNorm2d
from processes import start_ranks


class Activated(nn.BatchNorm2d):
    """As timm's norms are: an activation belongs to it."""

    def __init__(self, channels):
        super().__init__(channels)
        self.drop = nn.Identity()
        self.act = nn.ReLU()

    def forward(self, input):
        return self.act(self.drop(super().forward(input)))


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.Dropout2d(0.5),
        nn.Conv2d(4, 5, 3),
        Activated(5),
        nn.Dropout(0.3),
        nn.BatchNorm2d(5, affine=False, momentum=None),
        nn.Flatten(),
        nn.Linear(5 * 4 * 4, 2),
    )


def batches():
    """Two batches of two dates: of seven samples, and of two, of which one of three has none."""
    torch.manual_seed(1)
    return [torch.rand(2, samples, 3, 8, 8) * 5 for samples in (7, 2)]


def loss_of(output, stacks):
    """A loss that weighs every sample of both dates otherwise."""
    weights = torch.arange(1.0, stacks.shape[0] + 1)
    return (output.square().sum(1) * weights).sum()


def train_whole():
    model = network()
    for number, dates in enumerate(batches()):
        torch.manual_seed(10 + number)
        loss_of(model(dates.flatten(0, 1)), dates.flatten(0, 1)).backward()
    return model


def train_share():
    """What each process does; it fails where it finds other gradients or statistics."""
    dist.init_process_group("gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    model, share = network(), Attendance(rank=rank, world=world)
    names = list(model.state_dict())
    share_batches(model, share, sync_batch_norm=True)
    assert list(model.state_dict()) == names
    for number, dates in enumerate(batches()):
        own = dates[:, rank::world]
        share.own, share.whole = own.shape[1], dates.shape[1]
        own = own if share.own else dates[:, :1]
        torch.manual_seed(10 + number)
        output = model(own.flatten(0, 1)).unflatten(0, own.shape[:2])
        places = torch.arange(1.0, 2 * share.whole + 1).view(2, share.whole)
        weights = places[:, rank::world] if share.own else torch.zeros(2, 1)
        (output.square().sum(-1) * weights).sum().backward()
    expected = train_whole()
    for name, parameter in model.named_parameters():
        dist.all_reduce(parameter.grad)
        wanted = expected.get_parameter(name).grad
        torch.testing.assert_close(parameter.grad, wanted, rtol=2e-4, atol=2e-3, msg=name)
    for name, buffer in model.named_buffers():
        torch.testing.assert_close(buffer, expected.get_buffer(name), rtol=1e-5, atol=1e-6)
    dist.destroy_process_group()


@pytest.mark.parametrize("world", [2, 3])
def test_gradients_and_statistics_of_processes_are_those_of_one_with_the_whole_batch(
    tmp_path, world
):
    for program in start_ranks(world, train_share, folder=tmp_path / "printed"):
        assert program.wait() == 0, program.err


@pytest.fixture
def alone(tmp_path):
    store = dist.FileStore(str(tmp_path / "store"), 1)
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def whole_batch(samples):
    share = Attendance(rank=0, world=1)
    share.own = share.whole = samples
    return share


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_one_process_normalises_as_batch_norm_does(alone, dtype):
    norm = nn.BatchNorm2d(3)
    nn.init.uniform_(norm.weight)
    nn.init.uniform_(norm.bias)
    synced = SyncedBatchNorm2d(copy.deepcopy(norm), whole_batch(4))
    maps = (torch.rand(4, 3, 5, 5) * 100).to(dtype)
    inputs = [maps.clone().requires_grad_() for _ in range(2)]
    outputs = [module(own) for module, own in zip((norm, synced), inputs, strict=True)]
    assert outputs[1].dtype == dtype
    tolerance = {"rtol": 1e-4, "atol": 1e-5} if dtype == torch.float32 else {}
    torch.testing.assert_close(outputs[1], outputs[0], **tolerance)
    for output in outputs:
        (output.float() * torch.arange(300.0).view(4, 3, 5, 5)).sum().backward()
    torch.testing.assert_close(inputs[1].grad, inputs[0].grad, rtol=1e-2, atol=1e-2)
    torch.testing.assert_close(synced.running_var, norm.running_var)
    norm.eval()
    synced.eval()
    torch.testing.assert_close(synced(maps), norm(maps), **tolerance)


def test_a_single_value_of_a_channel_is_normalised_by_the_running_statistics(alone):
    synced = SyncedBatchNorm2d(nn.BatchNorm2d(3), whole_batch(1))
    value = torch.rand(1, 3, 1, 1)
    torch.testing.assert_close(synced(value), value, rtol=1e-4, atol=1e-4)
    assert int(synced.num_batches_tracked) == 0


class DropPath(nn.Module):
    """As timm's: whole samples are dropped."""

    def forward(self, input):
        shape = (input.shape[0],) + (1,) * (input.ndim - 1)
        return input * input.new_empty(shape).bernoulli_(0.5).div_(0.5)


@pytest.mark.parametrize("drop", [nn.Dropout(0.5), nn.Dropout2d(0.5), DropPath()])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_share_drops_what_the_whole_batch_drops_there(drop, layout):
    maps = torch.rand(2 * 5, 4, 6, 6).contiguous(memory_format=layout)
    torch.manual_seed(3)
    expected = drop(maps).unflatten(0, (2, 5))
    for rank in range(3):
        share = Attendance(rank=rank, world=3)
        own = maps.unflatten(0, (2, 5))[:, rank::3]
        share.own, share.whole = own.shape[1], 5
        torch.manual_seed(3)
        dropped = SharedDropout(drop, share)(own.flatten(0, 1).contiguous(memory_format=layout))
        assert torch.equal(dropped.unflatten(0, own.shape[:2]), expected[:, rank::3])


def test_nothing_is_dropped_outside_of_training():
    dropped = SharedDropout(nn.Dropout(0.5), whole_batch(2)).eval()
    maps = torch.rand(2, 3, 4, 4)
    assert torch.equal(dropped(maps), maps)


def test_layers_are_replaced_once_and_batch_norms_on_demand():
    model = network()
    share = Attendance(rank=0, world=2)
    share_batches(model, share, sync_batch_norm=False)
    assert not any(isinstance(layer, SyncedBatchNorm2d) for layer in model.modules())
    assert sum(isinstance(layer, SharedDropout) for layer in model.modules()) == 2
    share_batches(model, share, sync_batch_norm=True)
    share_batches(model, share, sync_batch_norm=True)
    assert sum(isinstance(layer, SyncedBatchNorm2d) for layer in model.modules()) == 3
    assert sum(isinstance(layer, SharedDropout) for layer in model.modules()) == 2
    assert isinstance(model[4].act, nn.ReLU)
