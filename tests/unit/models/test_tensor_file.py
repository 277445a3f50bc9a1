import os
import pickle
import zipfile

import pytest
import safetensors.torch
import torch

from changedet.errors import CheckpointError
from changedet.models.tensor_file import read_tensors, tensor_differences

TENSORS = {"a.weight": torch.arange(6.0).view(2, 3), "a.bias": torch.ones(2)}


def check_read(path):
    tensors = read_tensors(path)
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)


@pytest.mark.parametrize("wrapper", [None, "net", "state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_weights_are_found_under_any_usual_wrapper_and_prefix(tmp_path, wrapper, prefix):
    weights = {prefix + name: tensor for name, tensor in TENSORS.items()}
    content = weights if wrapper is None else {wrapper: weights, "epoch": 3, "optimizer": {}}
    torch.save(content, tmp_path / "weights.pth")
    check_read(tmp_path / "weights.pth")


def test_the_format_of_old_torch_versions_is_read(tmp_path):
    torch.save(TENSORS, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    check_read(tmp_path / "old.pth")


def test_safetensors_are_read(tmp_path):
    safetensors.torch.save_file(TENSORS, tmp_path / "weights.safetensors")
    check_read(tmp_path / "weights.safetensors")


class RunsCode:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_malicious_pickle_is_refused_and_not_run(tmp_path, is_zip):
    proof = tmp_path / "code_was_run"
    path = tmp_path / "evil.pth"
    torch.save(
        {"net": TENSORS, "extra": RunsCode(proof)}, path, _use_new_zipfile_serialization=is_zip
    )
    with pytest.raises(CheckpointError, match=r"evil\.pth is refused.*could run code") as caught:
        read_tensors(path)
    assert "\n" not in str(caught.value)
    assert not proof.exists()


def test_a_bare_malicious_pickle_is_refused_and_not_run(tmp_path):
    proof = tmp_path / "code_was_run"
    path = tmp_path / "evil.pth"
    path.write_bytes(pickle.dumps(RunsCode(proof)))
    with pytest.raises(CheckpointError):
        read_tensors(path)
    assert not proof.exists()


@pytest.mark.parametrize(
    "content", [b"", b"no checkpoint at all", b"PK\x03\x04 cut short", b"\x80\x02cut short"]
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_broken_files_are_named(tmp_path, content, suffix):
    path = tmp_path / f"broken{suffix}"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"broken\.(pth|safetensors)"):
        read_tensors(path)


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.95])
def test_truncated_files_are_named(tmp_path, kept):
    for name, save in (("cut.pth", torch.save), ("cut.safetensors", safetensors.torch.save_file)):
        path = tmp_path / name
        save(TENSORS, path)
        whole = path.read_bytes()
        path.write_bytes(whole[: int(len(whole) * kept)])
        with pytest.raises(CheckpointError, match="cut"):
            read_tensors(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"no weights file .*absent\.pth"):
        read_tensors(tmp_path / "absent.pth")


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, {}, {"net": {"a": 1}}, torch.ones(2)])
def test_a_file_without_weights_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="has no state dict"):
        read_tensors(tmp_path / "other.pth")


def test_differences_are_put_into_words():
    wanted = {"a": torch.ones(2), "b": torch.ones(3)}
    stored = {"b": torch.ones(4), "c": torch.ones(1)}
    assert tensor_differences(stored, wanted) == [
        "lacks a",
        "has an extra c",
        "has b as (4,), not (3,)",
    ]
    assert tensor_differences(wanted, wanted) == []


def test_a_tensor_that_holds_less_than_its_shape_says_is_refused(tmp_path):
    path = tmp_path / "a.pth"
    torch.save({"small": torch.zeros(2), "huge": torch.zeros(1).expand(10**6, 10**6)}, path)
    assert path.stat().st_size < 10_000
    with pytest.raises(CheckpointError, match=r"less than their shapes say.*: huge;"):
        read_tensors(path)


def test_a_compressed_archive_is_refused_before_it_is_unpacked(tmp_path):
    plain, packed = tmp_path / "plain.pth", tmp_path / "packed.pth"
    torch.save({"a": torch.zeros(1_000_000)}, plain)
    with (
        zipfile.ZipFile(plain) as source,
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for part in source.infolist():
            target.writestr(part.filename, source.read(part))
    assert read_tensors(plain)["a"].shape == (1_000_000,)
    with pytest.raises(CheckpointError, match="is a compressed archive of 4,0"):
        read_tensors(packed)


@pytest.mark.parametrize("fault", [OSError(22, "Invalid argument"), MemoryError()])
def test_an_archive_that_cannot_be_opened_is_one_line(tmp_path, monkeypatch, fault):
    def fail(*_args, **_options):
        raise fault

    torch.save(TENSORS, tmp_path / "a.pth")
    monkeypatch.setattr("torch.load", fail)
    with pytest.raises(CheckpointError, match=r"a\.pth cannot be read as a PyTorch checkpoint"):
        read_tensors(tmp_path / "a.pth")
