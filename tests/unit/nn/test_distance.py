import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from changedet.nn.distance import distance_map, unit_vectors

components = st.lists(
    st.floats(-5, 5, allow_nan=False, allow_infinity=False), min_size=3, max_size=3
).filter(lambda values: math.hypot(*values) > 0.1)


def pixel(values):
    return unit_vectors(torch.tensor(values).view(1, -1, 1, 1))


@given(components, components)
def test_distances_are_those_of_plain_arithmetic(first, second):
    before, after = pixel(first), pixel(second)
    a, b = before.flatten().tolist(), after.flatten().tolist()
    l2 = math.sqrt(sum((abs(x - y) + 1e-6) ** 2 for x, y in zip(a, b, strict=True)))
    cosine = 1 - sum(x * y for x, y in zip(a, b, strict=True))
    assert distance_map(before, after, "l2").item() == pytest.approx(l2, abs=1e-5)
    assert distance_map(before, after, "cosine").item() == pytest.approx(cosine, abs=1e-5)


@given(components, st.sampled_from(["l2", "cosine"]))
def test_opposite_vectors_are_two_apart_and_equal_ones_not_at_all(values, kind):
    vector = pixel(values)
    assert distance_map(vector, vector, kind).item() == pytest.approx(0, abs=1e-5)
    assert distance_map(vector, -vector, kind).item() == pytest.approx(2, abs=1e-5)


@pytest.mark.parametrize("kind", ["l2", "cosine"])
def test_identical_embeddings_have_finite_gradients(kind):
    features = torch.randn(1, 8, 4, 4, requires_grad=True)
    unit = unit_vectors(features)
    distance_map(unit, unit.detach(), kind).sum().backward()
    assert features.grad.isfinite().all()


@pytest.mark.parametrize("kind", ["l2", "cosine"])
def test_bfloat16_features_are_compared_in_float32(kind):
    before, after = torch.randn(2, 1, 8, 4, 4).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        distance = distance_map(unit_vectors(before), unit_vectors(after), kind)
    exact = distance_map(unit_vectors(before.float()), unit_vectors(after.float()), kind)
    assert distance.dtype == torch.float32
    torch.testing.assert_close(distance, exact)


def test_a_zero_vector_stays_zero():
    assert unit_vectors(torch.zeros(1, 3, 2, 2)).eq(0).all()
