"""Freed memory is kept by the process, where there is a glibc; its peak is read."""

import sys

import pytest

from changedet.inference import memory as module
from changedet.inference.memory import keep_freed_memory, peak_process_memory
from processes import run_code

CPU = "cpu"

FREED_AND_TAKEN_AGAIN = """
import resource, sys
import torch
from changedet.inference.memory import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory("cpu")
def touch():
    torch.ones(16 * 2**20).sum()
# The heap needs some rounds until its pieces fit.
for _ in range(20):
    touch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    touch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(how, folder):
    return int(run_code(FREED_AND_TAKEN_AGAIN, how, folder=folder / how))


@pytest.mark.skipif(not keep_freed_memory(CPU), reason="there is no glibc")
def test_kept_memory_is_not_mapped_again(tmp_path):
    # Four blocks of 64 MB: mapped anew, each of their pages is a fault (fewer where they are huge).
    assert page_faults("kept", tmp_path) < 50 < page_faults("returned", tmp_path)


def test_other_systems_are_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert keep_freed_memory(CPU) is False


def test_other_c_libraries_are_left_alone(monkeypatch):
    monkeypatch.setattr("changedet.inference.memory.ctypes.CDLL", lambda name: object())
    assert keep_freed_memory(CPU) is False


def test_other_devices_are_left_alone():
    assert keep_freed_memory("cuda:0") is False


def test_memory_is_unknown_where_the_system_does_not_tell(monkeypatch):
    def refuse(*arguments, **options) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(module.Path, "exists", lambda path: True)
    monkeypatch.setattr(module.Path, "read_text", refuse)
    assert peak_process_memory() is None
