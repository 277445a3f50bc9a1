import pytest

from changedet.errors import CheckpointError
from changedet.storage.onnx_file import GRAPH_KEY, parse_onnx, read_facts, read_metadata

onnx = pytest.importorskip("onnx")

from graphs import difference_graph, write_graph  # noqa: E402


@pytest.fixture
def model(tmp_path):
    return write_graph(tmp_path / "model.onnx")


def change(path, alter):
    """Load an exported model, alter it, and write it again."""
    proto = onnx.load(path)
    alter(proto)
    path.write_bytes(proto.SerializeToString())


def test_what_a_file_says_is_what_onnx_itself_reads(model):
    proto = onnx.load(model)
    assert read_metadata(model) == {entry.key: entry.value for entry in proto.metadata_props}
    file = parse_onnx(model.read_bytes(), model)
    assert bytes(file.graph) == proto.graph.SerializeToString()
    assert (file.producer, file.opsets, file.functions) == ("tests", {"": 17}, 0)


@pytest.mark.parametrize(("tile_px", "expected"), [(None, (None, None)), (64, (64, 64))])
def test_a_graph_is_known_by_its_shapes(tile_px, expected, tmp_path):
    proto = difference_graph(channels=8, kinds=2, tile_px=tile_px)
    facts = read_facts(write_graph(tmp_path / "model.onnx", proto, fixed_tile=tile_px is not None))
    assert (facts.channels, facts.kinds) == (8, 2)
    assert (facts.height, facts.width) == expected
    assert (facts.stride, facts.fixed_tile) == (8, tile_px is not None)


def other_weights(proto):
    proto.graph.initializer[0].raw_data = b"\0" * len(proto.graph.initializer[0].raw_data)


def other_opset_than_summed(proto):
    proto.opset_import[0].version = 18


def no_card(proto):
    del proto.metadata_props[:]
    proto.producer_name = "pytorch"


def old_operators(proto):
    proto.opset_import[0].version = 9


def own_operators(proto):
    proto.opset_import.add(domain="com.microsoft", version=1)


def functions(proto):
    proto.functions.add(name="mine", domain="")


def weights_elsewhere(proto):
    proto.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL


def weights_elsewhere_in_a_branch(proto):
    inner = onnx.GraphProto(name="inner", initializer=[proto.graph.initializer[0]])
    inner.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    attribute = onnx.AttributeProto(name="then", type=onnx.AttributeProto.GRAPH, g=inner)
    proto.graph.node[0].attribute.append(attribute)


def newer_format(proto):
    next(
        entry for entry in proto.metadata_props if entry.key == GRAPH_KEY
    ).value = '{"format": 99, "stride": 8, "fixed_tile": false, "sha256": "x"}'


def nonsense(proto):
    next(entry for entry in proto.metadata_props if entry.key == GRAPH_KEY).value = "[]"


@pytest.mark.parametrize(
    ("alter", "message"),
    [
        (other_weights, "is damaged: its graph and weights do not have the checksum"),
        (other_opset_than_summed, "is damaged"),
        (no_card, "was written by pytorch, not by `changedet export`"),
        (old_operators, r"uses version 9 of ONNX's operators \(opset\), and versions 17 to 23"),
        (own_operators, r"operators that are not part of ONNX \(com.microsoft\)"),
        (functions, "functions of its own"),
        (weights_elsewhere, "weights in other files"),
        (weights_elsewhere_in_a_branch, "weights in other files"),
        (newer_format, "format 99 is newer than 1"),
        (nonsense, "does not say how its graph is used"),
    ],
)
def test_what_no_runtime_should_be_given_is_refused_in_one_line(alter, message, model):
    change(model, alter)
    with pytest.raises(CheckpointError, match=message) as error:
        read_facts(model)
    assert str(model) in str(error.value)
    assert "\n" not in str(error.value)


def test_another_input_is_refused(tmp_path):
    proto = difference_graph()
    proto.graph.input[0].name = "pixels"
    proto.graph.node[0].input[0] = "pixels"
    path = write_graph(tmp_path / "model.onnx", proto)
    with pytest.raises(CheckpointError, match=r"takes pixels \(any, 6, any, any\)"):
        read_facts(path)


@pytest.mark.parametrize("kept", [0, 1, 10, 0.5, 0.99])
def test_what_is_cut_short_is_refused(kept, model):
    content = model.read_bytes()
    model.write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept])
    with pytest.raises(CheckpointError):
        read_facts(model)


def test_no_byte_that_is_changed_makes_anything_but_an_error_or_the_same(model):
    whole = model.read_bytes()
    expected = read_facts(model)
    for place in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[place] ^= 0x55
        model.write_bytes(damaged)
        try:
            assert read_facts(model).sha256 == expected.sha256
        except CheckpointError:
            continue


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="there is no model file"):
        read_facts(tmp_path / "none.onnx")
