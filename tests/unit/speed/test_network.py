"""Operations of an exported model, from what its file says."""

from pathlib import Path

import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from changedet.inference.detector import load
from changedet.predict.tiling import choose_tiling
from changedet.speed.network import Ceiling, measure_inference
from changedet.storage.onnx_file import GraphFacts
from graphs import write_graph


def test_operations_of_all_views_are_counted(tmp_path: Path):
    path = write_graph(tmp_path / "model.onnx", gflop=(100.0, 0.5))
    detector = load(path, runtime="onnx", test_time="coarse_few")
    tiling = choose_tiling(detector, tile_px=64, overlap_px=16, batch_size=2)
    rate, notes = measure_inference(detector, tiling, repeats=1, ceiling=Ceiling(10.0, "a test"))
    # Views of 48 and 32 px.
    assert rate.gflop_per_pair == pytest.approx(100.0 * (48**2 + 32**2) / 1e6 + 2 * 0.5)
    assert rate.gflop_per_s == pytest.approx(rate.gflop_per_pair * rate.pairs_per_s)
    assert rate.share_of_ceiling == pytest.approx(rate.gflop_per_s / 10.0)
    assert notes == []


def test_what_the_file_does_not_say_is_not_made_up(tmp_path: Path):
    detector = load(write_graph(tmp_path / "model.onnx"), runtime="onnx")
    tiling = choose_tiling(detector, tile_px=64, overlap_px=16, batch_size=1)
    rate, notes = measure_inference(detector, tiling, repeats=1, ceiling=Ceiling(10.0, "a test"))
    assert (rate.gflop_per_pair, rate.gflop_per_s, rate.share_of_ceiling) == (None, None, None)
    assert "export the model again" in notes[0]


def test_files_from_before_are_read():
    facts = GraphFacts(stride=8, fixed_tile=False, sha256="0")
    assert "gflop" not in facts.to_json()
