import pytest

from changedet.card import read_card
from stand_ins import write_kinds_model

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def test_a_model_is_exported_and_used_like_any_other(run, tmp_path):
    model, out = write_kinds_model(tmp_path / "model.safetensors"), tmp_path / "model.onnx"
    ended = run("export", model, "--out", out, "--kind", "building")
    assert ended.code == 0, ended.err
    assert f"{out}: 0." in ended.out
    assert "tiles of any multiple of 32 px" in ended.out
    assert "0 % of the mask differs" in ended.out
    assert [kind.name for kind in read_card(out).kinds] == ["building"]
    assert "building (threshold 0.2000)" in run("info", out).out

    ended = run("export", model, "--out", out)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == f"changedet: {out} exists; choose another name, or use --overwrite\n"
    assert run("export", model, "--out", out, "--overwrite").code == 0
    assert len(read_card(out).kinds) == 3

    again = run("export", out, "--out", tmp_path / "again.onnx")
    assert (again.code, again.out) == (2, "")
    assert "is exported already" in again.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--out", "model.pt"), "an exported model must end in .onnx"),
        (("--out", "model.onnx", "--kind", "roads"), "does not know the kind of change 'roads'"),
    ],
)
def test_mistakes_are_told_in_one_line(words, message, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = write_kinds_model(tmp_path / "model.safetensors")
    ended = run("export", model, *words)
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err
    assert ended.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_a_runtime_that_does_not_read_the_file_is_told_at_once(run, tmp_path):
    model = write_kinds_model(tmp_path / "model.safetensors")
    for date in ("before", "after"):
        (tmp_path / f"{date}.png").touch()
    ended = run(
        *("predict", tmp_path / "before.png", tmp_path / "after.png", "--model", model),
        *("--runtime", "onnx", "--out", tmp_path / "out"),
    )
    assert (ended.code, ended.out) == (2, "")
    assert "which --runtime onnx reads; export it first (`changedet export`)" in ended.err
    assert not (tmp_path / "out").exists()
