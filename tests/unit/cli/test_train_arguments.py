"""``--resume RUN``, ``--epochs``, ``--batch-size`` and ``--lr`` of ``changedet train``."""

from pathlib import Path

import pytest

from changedet.cli.train_arguments import name_resumed_run, with_short_forms
from changedet.errors import ConfigError


@pytest.fixture
def run_folder(tmp_path) -> Path:
    """A folder that looks like that of a run."""
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    (run / "run.json").write_text("{}")
    for name in ("last", "best_3_40"):
        (run / "checkpoints" / f"{name}.safetensors").touch()
    (run / "best.safetensors").touch()
    return run


@pytest.mark.parametrize("named", ["", "checkpoints/last.safetensors"])
@pytest.mark.parametrize("before", [[], ["dasnet_v2_cosine"], ["--device", "cpu"]])
@pytest.mark.parametrize("is_joined", [False, True])
def test_resume_with_a_run_means_out_and_resume(run_folder, named, before, is_joined):
    path = str(run_folder / named)
    words = [f"--resume={path}"] if is_joined else ["--resume", path]
    after = ["--start-epoch", "3"]
    assert name_resumed_run([*before, *words, *after]) == [
        *before,
        *after,
        "--out",
        str(run_folder),
        "--resume",
    ]


@pytest.mark.parametrize(
    "words",
    [
        ["--out", "run", "--resume"],
        ["--resume", "--out", "run"],
        ["--out", "run", "--resume", "dasnet_v2_cosine"],
        ["--data", "CDD", "--out", "run"],
    ],
)
def test_without_a_run_resume_stays_a_flag(words):
    assert name_resumed_run(words) == words


def test_a_settings_file_behind_the_flag_stays_the_settings(tmp_path):
    settings = tmp_path / "mine.yaml"
    settings.touch()
    words = ["--out", "run", "--resume", str(settings)]
    assert name_resumed_run(words) == words


def test_a_checkpoint_of_the_current_folder_shows_its_run(run_folder, monkeypatch):
    monkeypatch.chdir(run_folder / "checkpoints")
    assert name_resumed_run(["--resume", "last.safetensors"])[1] == str(run_folder)
    monkeypatch.chdir(run_folder)
    assert name_resumed_run(["--resume", "."])[1] == "."


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none", "there is no run"),
        ("run/best.safetensors", "resumes from its checkpoints/last.safetensors, not from"),
        ("run/checkpoints/best_3_40.safetensors", "or begin a new run with these weights"),
        ("run/checkpoints", "contains no run to resume"),
        ("lone/last.safetensors", "does not lie in the folder of a run"),
        ("notes.txt", "is not a checkpoint"),
    ],
)
def test_what_is_no_run_is_one_line(run, run_folder, tmp_path, name, message):
    (tmp_path / "lone").mkdir()
    (tmp_path / "lone" / "last.safetensors").touch()
    (tmp_path / "notes.txt").touch()
    ended = run("train", "--resume", run_folder.parent / name)
    assert ended.code == 2
    assert message in ended.err
    assert len(ended.err.strip().splitlines()) == 1
    assert "`" not in ended.err


def test_out_may_name_the_same_run_again_but_no_other(run_folder, tmp_path):
    same = ["--out", str(run_folder), "--resume", str(run_folder)]
    assert name_resumed_run(same) == ["--out", str(run_folder), "--resume"]
    with pytest.raises(ConfigError, match="name two folders"):
        name_resumed_run(["--out", str(tmp_path / "other"), "--resume", str(run_folder)])


def test_short_forms_are_settings():
    short_forms = {"--epochs": 3, "--batch-size": None, "--lr": 1e-5}
    assert with_short_forms(["model.dropout=0"], short_forms) == (
        "model.dropout=0",
        "training.epochs=3",
        "optimizer.lr=1e-05",
    )


def test_a_setting_and_its_short_form_exclude_each_other(run, tmp_path):
    words = ("--out", tmp_path / "run", "--data", tmp_path, "--set", "training.epochs=2")
    ended = run("train", *words, "--epochs", "3")
    assert ended.code == 2
    assert "--epochs 3 and --set training.epochs=2 are the same setting" in ended.err
    assert len(ended.err.strip().splitlines()) == 1


def test_a_learning_rate_beside_a_table_of_them_is_refused(run, tmp_path):
    words = ("--out", tmp_path / "run", "--data", tmp_path, "--lr", "0.01")
    ended = run("train", "dasnet_v2_cosine", *words)
    assert ended.code == 2
    assert "has no effect here" in ended.err
    assert "schedule.steps" in ended.err
