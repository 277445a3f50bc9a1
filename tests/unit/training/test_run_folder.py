from pathlib import Path

import pytest

from changedet.errors import ConfigError
from changedet.training.run_folder import check_free


def begin(out: Path) -> None:
    """Leave what a run has written before its first checkpoint."""
    (out / "checkpoints").mkdir(parents=True)
    (out / "run.json").write_text('{"kind": "training"}')
    (out / "logs").mkdir()


def test_a_run_killed_before_its_first_checkpoint_is_started_anew(tmp_path):
    begin(tmp_path)
    check_free(tmp_path, mode="new")


@pytest.mark.parametrize("name", ["best.safetensors", "checkpoints/last.safetensors", "notes.txt"])
def test_a_folder_that_holds_anything_of_worth_is_refused(tmp_path, name):
    begin(tmp_path)
    (tmp_path / name).write_text("")
    with pytest.raises(ConfigError, match=r"already contains a run"):
        check_free(tmp_path, mode="new")
    check_free(tmp_path, mode="overwrite")
