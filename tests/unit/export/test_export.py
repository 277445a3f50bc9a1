import json

import numpy as np
import pytest
import torch

from changedet._optional import OPENVINO
from changedet.card import ModelCard, read_card, read_parameter_count
from changedet.errors import ConfigError, ExportError
from changedet.evaluation.cost import measure_cost
from changedet.export.export import export_model
from changedet.export.metadata import stored_thresholds
from changedet.export.parity import generated_pair
from changedet.inference.detector import load
from changedet.inference.runtimes import OnnxGraph
from changedet.kinds import KindOfChange
from changedet.models.ensemble import Ensemble
from changedet.models.registry import list_models
from changedet.storage.onnx_file import read_facts
from changedet.types import CDD_NORMALISATION, Normalisation
from stand_ins import lively_network, write_kinds_model, write_network

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


def images(side: int = 96, *, channels: int = 3):
    """Two images of which a part has changed."""
    random = np.random.default_rng(3)
    before = random.integers(0, 255, (side, side + 16, channels), dtype=np.uint8)
    after = before.copy()
    after[20:60, 10:70] = random.integers(0, 255, (40, 60, channels), dtype=np.uint8)
    return before, after


def check_agreement(model, exported, **options) -> None:
    """Every runtime gives the scores of the model file, and the same change map."""
    pair = images(channels=len(read_card(model).normalisation.mean_before))
    wanted = load(model, **options).predict(*pair).score
    assert wanted.std() > 1e-3, "equal scores everywhere would agree with anything"
    threshold = np.median(wanted)
    for runtime in ("onnx", "openvino") if OPENVINO.is_installed else ("onnx",):
        given = load(exported, runtime=runtime, **options).predict(*pair).score
        np.testing.assert_allclose(given, wanted, atol=2e-5)
        assert np.mean((given >= threshold) == (wanted >= threshold)) >= 0.9999


@pytest.mark.parametrize("name", [*list_models(), "ensemble"])
def test_every_architecture_gives_the_same_scores_without_pytorch(name, tmp_path):
    if name == "ensemble":
        kinds = (("any",), ("any", "building"))
        members = [lively_network("siamese_pyramid", seed=len(one), kinds=one) for one in kinds]
        network = Ensemble(members).eval()
        fields = {"kinds": (KindOfChange("any", 0.5), KindOfChange("building", 0.5))}
    else:
        network, fields = lively_network(name), {}
    model = write_network(tmp_path / "model.safetensors", network, **fields)
    report = export_model(model, tmp_path / "model.onnx")
    check_agreement(model, report.out)
    assert (report.tile_px is None) != network.fixed_tile
    assert report.stride == network.stride
    assert report.largest_difference < 1e-3
    assert report.flipped_share == 0.0
    assert report.size_bytes == report.out.stat().st_size
    side = report.tile_px or 2 * network.stride
    growth, fixed = read_facts(report.out).gflop
    counted = measure_cost(network, side_px=side).gflop
    assert growth * side**2 / 1e6 + fixed == pytest.approx(counted, rel=1e-6)


def test_the_graph_takes_stored_values_of_any_size_and_gives_every_kind(tmp_path):
    model = write_kinds_model(tmp_path / "model.safetensors")
    out = export_model(model, tmp_path / "model.onnx").out
    graph = onnx.load(out).graph
    ((image,), (score,)) = (graph.input, graph.output)
    shape = [one.dim_param or one.dim_value for one in image.type.tensor_type.shape.dim]
    assert (image.name, shape) == ("image", ["batch", 6, "height", "width"])
    shape = [one.dim_param or one.dim_value for one in score.type.tensor_type.shape.dim]
    assert (score.name, shape) == ("score", ["batch", 3, "height", "width"])
    for kind in ("any", "building", "cropland"):
        check_agreement(model, out, kind=kind)
    assert read_card(out) == read_card(model)
    assert read_parameter_count(out) == read_parameter_count(model)


def test_one_kind_of_change_is_exported_by_itself(tmp_path):
    model = write_kinds_model(tmp_path / "model.safetensors")
    out = export_model(model, tmp_path / "model.onnx", kind="building").out
    assert read_facts(out).kinds == 1
    wanted = load(model, kind="building").predict(*images())
    given = load(out, runtime="onnx").predict(*images())
    np.testing.assert_allclose(given.score, wanted.score, atol=2e-5)
    assert given.threshold == wanted.threshold == 0.2
    with pytest.raises(ConfigError, match="does not know the kind of change 'cropland'"):
        load(out, kind="cropland")
    with pytest.raises(ConfigError, match="does not know the kind of change 'roads'"):
        export_model(model, tmp_path / "roads.onnx", kind="roads")


@pytest.mark.parametrize(
    ("normalisation", "pixel_type"),
    [
        (CDD_NORMALISATION, "uint8"),
        (Normalisation((1e3, 2e3, 3e3, 4e3), (900.0,) * 4, (500.0,) * 4, (400.0,) * 4), "uint16"),
    ],
)
def test_normalisation_is_part_of_the_graph(normalisation, pixel_type, tmp_path):
    channels = len(normalisation.mean_before)
    network = lively_network("siamese_pyramid", in_channels=channels)
    fields = {"normalisation": normalisation, "pixel_type": pixel_type}
    model = write_network(tmp_path / "model.safetensors", network, **fields)
    out = export_model(model, tmp_path / "model.onnx").out
    stored = generated_pair(read_card(model), (1, 64, 96), seed=0)
    (wanted, given) = (
        load(path).scorer.score(
            list(stored[:, :channels].transpose(0, 2, 3, 1)),
            list(stored[:, channels:].transpose(0, 2, 3, 1)),
        )
        for path in (model, out)
    )
    assert wanted.std() > 1e-3
    np.testing.assert_allclose(given, wanted, atol=2e-5)


def test_attention_never_holds_a_matrix_of_all_positions(tmp_path):
    network = lively_network("dasnet", head_width=8)
    torch.nn.init.constant_(network.head.position.attention.gamma, 0.5)
    model = write_network(tmp_path / "model.safetensors", network, tile_px=192)
    out = export_model(model, tmp_path / "model.onnx").out
    proto = onnx.load(out)
    products = [
        node.output[0] for node in proto.graph.node if node.op_type in ("MatMul", "Softmax")
    ]
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in products)
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    found = session.run(
        products, {"image": generated_pair(read_card(model), (1, 192, 192), seed=0)}
    )
    positions = (192 // network.stride) ** 2
    assert sum(array.shape[-1] == positions for array in found) > positions // 256
    assert max(array.shape[-2] for array in found if array.shape[-1] == positions) <= 256
    check_agreement(model, out)


def test_weights_that_a_file_holds_as_whole_numbers_stay_so(tmp_path):
    network = lively_network("siamese_pyramid", decoder_width=64)
    sizes = {}
    for precision in ("float32", "int8"):
        model = tmp_path / f"{precision}.safetensors"
        write_network(model, network, precision=precision)
        out = export_model(model, tmp_path / f"{precision}.onnx").out
        check_agreement(model, out)
        sizes[precision] = out.stat().st_size
        stored = {node.op_type for node in onnx.load(out).graph.node}
        assert ("DequantizeLinear" in stored) == (precision == "int8")
        assert "QuantizeLinear" not in stored, "nothing but weights is rounded"
    assert sizes["int8"] < 0.5 * sizes["float32"]


def test_padding_for_any_size_is_written_into_the_convolutions(tmp_path):
    network = lively_network("siamese_pyramid", encoder="tf_efficientnet_lite0")
    model = write_network(tmp_path / "model.safetensors", network)
    out = export_model(model, tmp_path / "model.onnx").out
    graph = onnx.load(out).graph
    assert "Pad" not in {node.op_type for node in graph.node}
    pads = {
        tuple(attribute.ints)
        for node in graph.node
        if node.op_type == "Conv"
        for attribute in node.attribute
        if attribute.name == "pads"
    }
    assert {(0, 0, 1, 1), (1, 1, 2, 2)} <= pads, "of strided kernels of 3 and 5 pixels"
    check_agreement(model, out)


def test_a_graph_that_differs_is_not_written_and_it_is_said_where(tmp_path, monkeypatch):
    model = write_network(tmp_path / "model.safetensors", lively_network("siamese_pyramid"))
    run = OnnxGraph.run

    def off_at_one_place(self, image):
        score = run(self, image).copy()
        score[0, 0, 5, 7] += 0.01
        return score

    monkeypatch.setattr(OnnxGraph, "run", off_at_one_place)
    with pytest.raises(ExportError, match=r"row 5, column 7 of tiles of \d+ x \d+ px") as error:
        export_model(model, tmp_path / "model.onnx")
    assert error.value.exit_code == 1
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_pixels_that_change_sides_fail_the_export_too(tmp_path, monkeypatch):
    network = lively_network("siamese_pyramid")
    model = write_network(tmp_path / "model.safetensors", network)
    run = OnnxGraph.run

    def other_side(self, image):
        return (run(self, image) < 0.5).astype(np.float32)

    monkeypatch.setattr(OnnxGraph, "run", other_side)
    monkeypatch.setattr("changedet.export.parity.LARGEST_DIFFERENCE", 1.0)
    with pytest.raises(ExportError, match="pixels change sides"):
        export_model(model, tmp_path / "model.onnx")


def test_the_description_is_valid_and_names_the_file(tmp_path):
    schema = pytest.importorskip("stac_model.schema")
    import hashlib

    import pystac

    model = write_kinds_model(tmp_path / "model.safetensors", data_name="pairs")
    report = export_model(model, tmp_path / "model.onnx")
    item = pystac.Item.from_file(str(report.item))
    stated = schema.MLModelProperties.model_validate(
        {name: value for name, value in item.properties.items() if name.startswith("mlm:")}
    )
    assert stated.input[0].input.shape == [-1, 6, -1, -1]
    assert [one.name for one in stated.output[0].classes] == ["any", "building", "cropland"]
    assert stated.framework == "ONNX"
    asset = item.assets["model"]
    checksum = hashlib.sha256(report.out.read_bytes()).hexdigest()
    assert asset.extra_fields["file:checksum"] == "1220" + checksum
    assert asset.extra_fields["file:size"] == report.size_bytes
    assert report.item.parent / asset.href == report.out


def test_other_programs_find_what_they_read(tmp_path):
    network = lively_network("siamese_pyramid")
    model = write_network(
        tmp_path / "model.safetensors", network, threshold=0.4, working_gsd_m=(0.5, 2.0)
    )
    proto = onnx.load(export_model(model, tmp_path / "model.onnx").out)
    found = {entry.key: entry.value for entry in proto.metadata_props}
    assert json.loads(found["model_type"]) == "Segmentor"
    assert json.loads(found["class_names"]) == {"0": "unchanged", "1": "change"}
    assert json.loads(found["tile_size"]) == json.loads(found["tiles_size"]) == 64
    assert json.loads(found["tiles_overlap"]) == 25
    assert json.loads(found["seg_thresh"]) == 0.4
    assert json.loads(found["resolution"]) == 50.0
    # Deepness divides by 255 first: this gives back the stored values.
    mean, std = (json.loads(found[f"standardization_{name}"]) for name in ("mean", "std"))
    value = (200 / 255 - np.array(mean)) / np.array(std)
    np.testing.assert_allclose(value, [200.0] * 6)


def test_thresholds_for_others_are_those_of_scores_without_a_temperature():
    card = ModelCard(
        "x",
        {},
        CDD_NORMALISATION,
        kinds=(KindOfChange("any", 0.8, temperature=2.0), KindOfChange("building")),
    )
    first, second = stored_thresholds(card, 2)
    assert 1 / (1 + np.exp(-np.log(first / (1 - first)) / 2.0)) == pytest.approx(0.8)
    assert second == 0.5


def test_what_cannot_be_exported_is_refused_before_anything_is_written(tmp_path):
    network = lively_network("dasnet", head_width=8)
    model = write_network(tmp_path / "model.safetensors", network, test_time="scales")
    out = tmp_path / "model.onnx"
    with pytest.raises(ConfigError, match="averages test-time views of other sizes"):
        export_model(model, out)
    with pytest.raises(ConfigError, match=r"must end in \.onnx"):
        export_model(model, tmp_path / "model.pt")
    (tmp_path / "model.json").write_text("{}")
    with pytest.raises(ConfigError, match="exists"):
        export_model(model, out)
    assert not out.exists()


def test_the_checksum_is_that_of_graph_and_weights(tmp_path):
    model = write_network(tmp_path / "model.safetensors", lively_network("siamese_pyramid"))
    out = export_model(model, tmp_path / "model.onnx").out
    facts = read_facts(out)
    assert (facts.channels, facts.kinds, facts.height) == (6, 1, None)
    proto = onnx.load(out)
    proto.doc_string = "described otherwise"
    onnx.save(proto, out)
    assert read_facts(out).sha256 == facts.sha256
