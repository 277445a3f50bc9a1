"""Exported models in 8 bits, without PyTorch: the graphs are written by hand."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnx

import changedet
from changedet._optional import OPENVINO
from changedet.card import read_card
from changedet.errors import CheckpointError, ConfigError, DataError, ExportError, MissingExtraError
from changedet.export.layers import layers_in_8_bits
from changedet.inference.detector import load
from changedet.inference.runtimes import OnnxGraph, OpenVinoGraph, settle_runtime
from changedet.storage.onnx_file import read_facts
from graphs import graph_card, layered_graph, write_graph

SIDE = 32
ENDS = ("", "_relu")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pairs")
    random = np.random.default_rng(1)
    for split, count in (("train", 8), ("val", 1)):
        for number in range(count):
            before = random.integers(40, 200, (SIDE, SIDE, 3), dtype=np.uint8)
            after = before.copy()
            after[8:20, 6:24] = random.integers(0, 255, 3)
            label = np.zeros((SIDE, SIDE), np.uint8)
            label[8:20, 6:24] = 255
            for part, image in (("A", before), ("B", after), ("label", label)):
                path = folder / split / part / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(image).save(path)
    return folder


@pytest.fixture(scope="module")
def images(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same pairs without labels."""
    folder = tmp_path_factory.mktemp("images")
    for part in "AB":
        shutil.copytree(pairs / "train" / part, folder / "train" / part)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    return write_graph(path, layered_graph(), card=graph_card(threshold=0.4))


@pytest.fixture(scope="module")
def made(model: Path, pairs: Path, tmp_path_factory: pytest.TempPathFactory):
    out = tmp_path_factory.mktemp("made") / "small.onnx"
    return changedet.quantise_model(model, pairs, out, pairs=8, largest_flipped=0.05)


def test_layers_of_the_image_the_fusion_and_the_logit_stay_in_float32():
    dates = ("before", "after")
    assert set(layers_in_8_bits(layered_graph())) == {
        *(f"{name}_{date}{end}" for name in ("deep", "deeper") for date in dates for end in ENDS),
        *(f"joining{end}" for end in ENDS),
    }


def test_depthwise_convolutions_right_after_those_of_the_image_stay_in_float32_too():
    proto = layered_graph()
    for node in proto.graph.node:
        if node.name.startswith(("deep_", "deeper_")):
            node.attribute.append(onnx.helper.make_attribute("group", 8))
    assert set(layers_in_8_bits(proto)) == {
        *(f"deeper_{date}{end}" for date in ("before", "after") for end in ENDS),
        *(f"joining{end}" for end in ENDS),
    }


def test_the_scores_in_8_bits_are_near_those_in_float32(made, model: Path, pairs: Path):
    assert (made.layers, made.layers_in_8_bits) == (9, 5)
    assert (made.calibrated_on, made.compared_on) == (6, 2)
    assert 0.0 < made.mean_difference < 0.05
    assert made.mean_difference <= made.largest_difference < 0.3
    assert made.agreement is not None
    assert made.agreement > 0.95
    exact, small = load(model, runtime="onnx"), load(made.out)
    assert (exact.runtime, small.runtime) == ("onnx", "onnx (int8)")
    images = (pairs / "val" / "A" / "0.png", pairs / "val" / "B" / "0.png")
    wanted, given = exact.predict(*images).score, small.predict(*images).score
    assert 0.05 < wanted.mean() < 0.95
    assert 0.0 < np.abs(wanted - given).mean() < 0.05


def test_the_file_is_one_like_any_exported_one(made, model: Path):
    assert read_card(made.out) == read_card(model)
    facts = read_facts(made.out)
    assert facts.is_int8
    assert not read_facts(model).is_int8
    proto = onnx.load(made.out)
    assert {entry.domain for entry in proto.opset_import} <= {"", "ai.onnx"}
    codes = [
        tensor for tensor in proto.graph.initializer if tensor.data_type == onnx.TensorProto.INT8
    ]
    assert len([tensor for tensor in codes if len(tensor.dims) == 4]) >= 3
    item = json.loads(made.item.read_text())
    assert item["properties"]["changedet:precision"] == "int8"
    assert "quantised" in item["properties"]["description"]
    assert made.size_bytes == made.out.stat().st_size


def test_auto_takes_the_runtime_that_the_scores_were_compared_with(made, model: Path, monkeypatch):
    monkeypatch.setattr("changedet._optional.Requirement.is_installed", property(lambda one: True))
    assert settle_runtime(model) == "openvino"
    assert settle_runtime(made.out) == "onnx"
    assert settle_runtime(made.out, "openvino") == "openvino"


def test_8_bits_are_asked_for_of_a_file_that_has_them(made, model: Path, tmp_path, monkeypatch):
    monkeypatch.setattr("changedet._optional.Requirement.is_installed", property(lambda one: True))
    assert settle_runtime(made.out, precision="int8") == "onnx"
    assert load(made.out, precision="int8").runtime == "onnx (int8)"
    plain, beside = tmp_path / "model.onnx", tmp_path / "model-int8.onnx"
    plain.write_bytes(model.read_bytes())
    with pytest.raises(ConfigError, match=r"in float32; write it in 8 bits first \(`changedet qu"):
        settle_runtime(plain, precision="int8")
    beside.write_bytes(made.out.read_bytes())
    with pytest.raises(ConfigError, match=r"in float32; use .*model-int8\.onnx, or remove `prec"):
        settle_runtime(plain, precision="int8")


@pytest.mark.skipif(not OPENVINO.is_installed, reason="needs OpenVINO")
def test_openvino_reads_it_too(made, pairs: Path):
    assert made.openvino.mean_difference < 0.05
    assert read_facts(made.out).int8_runtimes == ("onnx", "openvino")
    small = load(made.out, runtime="openvino")
    assert small.runtime == "openvino (int8)"
    images = (pairs / "val" / "A" / "0.png", pairs / "val" / "B" / "0.png")
    assert np.isfinite(small.predict(*images).score).all()


def test_labels_decide_where_there_are_any(made):
    assert made.f1_float32 is not None
    assert abs(made.f1 - made.f1_float32) <= 0.005


def test_changes_that_are_rare_count_without_labels(model: Path, images: Path, tmp_path: Path):
    # So rare that all could be lost within a share of all pixels: here none is found at all.
    rare = write_graph(
        tmp_path / "rare.onnx", layered_graph(offset=-60.0), card=graph_card(threshold=0.4)
    )
    with pytest.raises(ExportError, match="no pixel of the pairs that it was compared on is"):
        changedet.quantise_model(rare, images, tmp_path / "small.onnx", pairs=4)
    report = changedet.quantise_model(
        rare, images, tmp_path / "small.onnx", pairs=4, largest_flipped=0.002
    )
    assert (report.agreement, report.f1) == (None, None)


@pytest.mark.skipif(not OPENVINO.is_installed, reason="needs OpenVINO")
def test_a_runtime_whose_scores_are_wrong_refuses_the_file(
    model: Path, pairs: Path, tmp_path: Path, monkeypatch
):
    run = OpenVinoGraph.run
    with monkeypatch.context() as spoilt:
        spoilt.setattr(OpenVinoGraph, "run", lambda self, image: 1 - run(self, image))
        report = changedet.quantise_model(model, pairs, tmp_path / "small.onnx", pairs=8)
    assert "F1 by the labels falls" in report.openvino
    assert read_facts(report.out).int8_runtimes == ("onnx",)
    with pytest.raises(CheckpointError, match="not found to be right in openvino; remove"):
        load(report.out, runtime="openvino")
    assert load(report.out).runtime == "onnx (int8)"
    monkeypatch.setattr(
        "changedet._optional.Requirement.is_installed",
        property(lambda one: one.module != "onnxruntime"),
    )
    with pytest.raises(MissingExtraError, match=r"pip install '\.\[onnx\]'"):
        load(report.out)


def spoiled(monkeypatch, spoil) -> None:
    """Let every graph in 8 bits give other scores."""
    run = OnnxGraph.run

    def run_and_spoil(self, image):
        score = run(self, image).copy()
        return spoil(score) if self.facts.is_int8 else score

    monkeypatch.setattr(OnnxGraph, "run", run_and_spoil)


def turned(score):
    return 1 - score


@pytest.mark.parametrize(
    ("spoil", "of", "options", "said"),
    [
        (
            lambda score: score * np.nan,
            "pairs",
            {},
            r"tile 1 \(32 x 32 px\) gets scores that are no finite",
        ),
        (
            turned,
            "pairs",
            {"largest_flipped": 0.002},
            "% of the pixels change sides, and 0.2 % may; scores of kind 0",
        ),
        (
            turned,
            "pairs",
            {},
            r"F1 by the labels falls from 0\.\d+ to 0\.\d+, and 0.005 may be lost",
        ),
        (turned, "images", {}, r"F1 of its masks is 0\.\d+ with those in float32 as the truth"),
        (lambda score: score * 0, "images", {}, r"F1 of its masks is 0\.000 with those in float32"),
    ],
    ids=["no numbers", "flipped", "by labels", "without labels", "all lost"],
)
def test_scores_that_differ_too_much_are_not_written(
    spoil, of: str, options, said: str, model: Path, tmp_path: Path, monkeypatch, request
):
    spoiled(monkeypatch, spoil)
    data = request.getfixturevalue(of)
    with pytest.raises(ExportError, match=said) as error:
        changedet.quantise_model(model, data, tmp_path / "small.onnx", pairs=4, **options)
    assert error.value.exit_code == 1
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_quantised_is_refused(made, model: Path, pairs: Path, tmp_path: Path):
    out = tmp_path / "small.onnx"

    def refused(said: str, *, of: Path = model, to: Path = out, **options: object) -> None:
        with pytest.raises((ConfigError, DataError), match=said):
            changedet.quantise_model(of, pairs, to, **options)

    refused("is quantised already", of=made.out)
    refused(r"must end in \.onnx", to=tmp_path / "small.pt")
    refused("is the model itself", to=model)
    refused("`pairs` must be 2 or more", pairs=1)
    refused("`largest_flipped` is a share .* between 0 and 1", largest_flipped=2.0)
    refused("`largest_loss` is a difference .* between 0 and 1", largest_loss=-0.1)
    refused("a single pair", split="val")
    refused("no layer that could be", of=write_graph(tmp_path / "plain.onnx"))
    network_file = tmp_path / "model.safetensors"
    network_file.write_bytes(b"")
    refused("is not an exported model", of=network_file)
    assert not out.exists()
