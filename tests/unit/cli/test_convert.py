import os

import pytest
import torch

from changedet.cli.convert import convert
from changedet.errors import CheckpointError, ConfigError


class RunsCode:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_malicious_checkpoint_is_refused_and_leaves_no_file(tmp_path):
    torch.save({"net": RunsCode(tmp_path / "code_was_run")}, tmp_path / "evil.pth")
    with pytest.raises(CheckpointError, match="could run code"):
        convert(tmp_path / "evil.pth", tmp_path / "model.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["evil.pth"]


def test_a_wrong_path_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"no weights file .*absent\.pth"):
        convert(tmp_path / "absent.pth", tmp_path / "model.safetensors")


def test_a_wrong_normalisation_is_refused(tmp_path):
    (tmp_path / "a.pth").touch()
    with pytest.raises(ConfigError, match="`normalisation` must be cdd, imagenet"):
        convert(tmp_path / "a.pth", tmp_path / "b.safetensors", normalisation="CDD2014")
