"""Which device each of several processes gets, and what becomes of those that meet nobody."""

import pytest
import torch

from changedet.errors import ConfigError, TrainingError
from changedet.training import processes
from changedet.training.launch import Launch
from changedet.training.processes import device_for, joined

SECOND = Launch(1, 2, local_rank=1, local_world=2)


@pytest.fixture
def gpus(monkeypatch):
    """Make this machine one with so many GPUs."""

    def have(count, *, nccl=True):
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.distributed, "is_nccl_available", lambda: nccl)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)

    return have


def test_each_process_has_the_gpu_of_its_number(gpus):
    gpus(2)
    assert device_for("auto", SECOND) == torch.device("cuda:1")
    assert device_for("cuda", SECOND) == torch.device("cuda:1")
    assert device_for("cpu", SECOND) == torch.device("cpu")


def test_without_a_gpu_processes_share_the_cpu_and_none_is_invented(gpus):
    gpus(0)
    assert device_for("auto", SECOND) == torch.device("cpu")
    with pytest.raises(ConfigError, match="no device 'cuda'; use auto or cpu"):
        device_for("cuda", SECOND)


def test_more_processes_than_gpus_are_refused(gpus):
    gpus(1)
    with pytest.raises(ConfigError, match=r"2 processes on .* it has 1 GPU; start at most 1 on it"):
        device_for("auto", SECOND)


def test_gpus_need_nccl(gpus):
    gpus(2, nccl=False)
    with pytest.raises(ConfigError, match="has no NCCL"):
        device_for("auto", SECOND)


def test_one_gpu_for_all_is_refused(gpus):
    gpus(2)
    with pytest.raises(ConfigError, match=r"`device=cuda:1` names one GPU.*use `device=cuda`"):
        device_for("cuda:1", SECOND)


def test_a_process_that_finds_nobody_says_where_it_looked(monkeypatch):
    for name, value in {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}.items():
        monkeypatch.setenv(name, value)
    alone = joined(Launch(0, 2), device_name="cpu", meeting_s=1.0)
    with (
        pytest.raises(
            TrainingError,
            match=r"process 0 of 2 has not found the others at 127.0.0.1:0 within 1 sec",
        ),
        alone,
    ):
        pass


def test_an_error_of_a_lost_connection_is_told_from_a_bug():
    lost = RuntimeError("[../gloo/transport/tcp/pair.cc:534] Connection closed by peer [::1]:35")
    assert processes._is_of_connection(lost)
    assert processes._is_of_connection(torch.distributed.DistNetworkError("no route"))
    assert not processes._is_of_connection(RuntimeError("mat1 and mat2 shapes cannot be multip"))
