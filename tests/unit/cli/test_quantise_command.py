from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from changedet.storage.onnx_file import read_facts
from graphs import graph_card, layered_graph, write_graph


def write_pairs(folder: Path) -> Path:
    random = np.random.default_rng(2)
    for number in range(4):
        for part in "AB":
            path = folder / "train" / part / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(random.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(path)
    return folder


def test_a_model_is_quantised_and_it_is_said_what_that_changed(run, tmp_path):
    model = write_graph(tmp_path / "m.onnx", layered_graph(), card=graph_card(threshold=0.4))
    pairs, out = write_pairs(tmp_path / "pairs"), tmp_path / "small.onnx"
    words = ("quantise", model, "--data", pairs, "--out", out)
    ended = run(*words, "--largest-flipped", "0.2")
    assert ended.code == 0, ended.err
    assert f"{out}: 0.0 MB, 5 of 9 convolutions in 8 bits, calibrated on 3 pairs" in ended.out
    assert "compared with float32 on 1 other pairs: scores differ by " in ended.out
    assert "% of the mask differs, F1 of the masks " in ended.out
    assert read_facts(out).is_int8

    ended = run(*words)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == f"changedet: {out} exists; choose another name, or use --overwrite\n"
    again = run("quantise", out, "--data", pairs, "--out", tmp_path / "again.onnx")
    assert (again.code, again.out) == (2, "")
    assert "is quantised already" in again.err


def test_more_than_is_allowed_ends_with_code_1_in_one_line(run, tmp_path):
    model = write_graph(tmp_path / "m.onnx", layered_graph(), card=graph_card(threshold=0.4))
    pairs, out = write_pairs(tmp_path / "pairs"), tmp_path / "small.onnx"
    words = ("quantise", model, "--data", pairs, "--out", out, "--largest-flipped", "0")
    ended = run(*words)
    assert (ended.code, ended.out) == (1, "")
    assert "% of the pixels change sides, and 0 % may; scores of kind 0 differ" in ended.err
    assert "a larger share (--largest-flipped)" in ended.err
    assert ended.err.count("\n") == 1
    assert not out.exists()
    assert not out.with_suffix(".json").exists()
