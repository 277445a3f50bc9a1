"""Weights that are whole numbers of steps, in graphs written by hand."""

import numpy as np
import pytest

pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper

from changedet.export.compact import store_whole_numbers, weights_as_numbers


def one_convolution(weights):
    graph = helper.make_graph(
        [helper.make_node("Conv", ["image", "weights"], ["score"], name="only")],
        "one",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, weights.shape[1], 8, 8])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, [1, len(weights), 8, 8])],
        [numpy_helper.from_array(weights, "weights")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def stepped_weights():
    """Whole numbers of a step for each of 40 channels."""
    random = np.random.default_rng(0)
    codes = random.integers(-126, 127, (40, 30, 1, 1))
    codes[:, 0] = 127
    steps = random.uniform(1e-3, 1e-2, (40, 1, 1, 1))
    return (codes * steps).astype(np.float32)


def weights_of(proto):
    return numpy_helper.to_array(proto.graph.initializer[0])


def test_whole_numbers_are_stored_as_such_and_given_back():
    weights = stepped_weights()
    proto = one_convolution(weights)
    assert store_whole_numbers(proto) == 1
    types = {tensor.data_type for tensor in proto.graph.initializer if len(tensor.dims) == 4}
    assert types == {TensorProto.INT8}
    weights_as_numbers(proto)
    np.testing.assert_allclose(weights_of(proto), weights, rtol=1e-6)


@pytest.mark.parametrize("tiny", [0.0, 7e-45, 1e-42, 3e-38])
def test_a_channel_that_training_has_switched_off_does_not_keep_the_others_in_float32(tiny):
    weights = stepped_weights()
    weights[3] = (np.linspace(-1, 1, 30)[:, None, None] * tiny).astype(np.float32)
    proto = one_convolution(weights)
    assert store_whole_numbers(proto) == 1
    weights_as_numbers(proto)
    np.testing.assert_allclose(weights_of(proto), weights, rtol=1e-6, atol=1e-37)
    assert not weights_of(proto)[3].any()


def test_other_weights_stay_as_they_are():
    weights = stepped_weights()
    weights[3] *= np.linspace(0.9, 1.1, 30, dtype=np.float32)[:, None, None]
    proto = one_convolution(weights)
    assert store_whole_numbers(proto) == 0
    np.testing.assert_array_equal(weights_of(proto), weights)
