"""Names that no file can have end as one line, wherever they are first looked at."""

import pytest

from changedet.cli.main import main


@pytest.mark.parametrize(
    "words",
    [
        ["info", "a" * 300],
        ["predict", "a" * 300, "b.tif", "--model", "baseline:ir_mad", "--out", "x"],
        ["predict", "a.tif", "b.tif", "--model", "a" * 300, "--out", "x"],
        ["predict", "a.tif", "b.tif", "--model", "baseline:ir_mad", "--out", "a" * 300],
        ["data", "check", "a" * 300],
        ["train", "a" * 300, "--data", "d", "--out", "x"],
        ["train", "--resume", "a" * 300, "--data", "d"],
        ["train", "dasnet_v2", "--data", "d" * 300, "--out", "x"],
        ["convert", "a" * 300, "b.safetensors"],
        ["schema", "a" * 300],
    ],
)
def test_a_name_over_255_bytes_is_one_line(words, monkeypatch, capfd, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["changedet", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code in (1, 2)
    said = capfd.readouterr().err.strip()
    assert said.startswith("changedet: ")
    assert "Traceback" not in said


def test_a_home_that_cannot_take_completion_is_one_line(monkeypatch, capfd, tmp_path):
    home = tmp_path / "home"
    home.touch()
    monkeypatch.setenv("HOME", str(home))
    # Tests may run without a shell around them.
    monkeypatch.setattr("shellingham.detect_shell", lambda: ("bash", "/bin/bash"))
    monkeypatch.setattr("sys.argv", ["changedet", "--install-completion"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    said = capfd.readouterr().err.strip()
    assert said.startswith(f"changedet: {home}")
    assert said.endswith("; check HOME")
    assert "\n" not in said
