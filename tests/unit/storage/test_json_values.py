import json
import math

import numpy as np
import pytest

from changedet.storage.json_values import to_json_value


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float32("nan"), np.nan])
def test_what_is_no_number_becomes_null(value):
    assert to_json_value(value) is None


def test_nested_results_become_plain_json():
    value = {"a": (1.5, math.nan), 2: [np.int64(3), True, None], "c": np.array([0.5, np.inf])}

    plain = to_json_value(value)

    assert plain == {"a": [1.5, None], "2": [3, True, None], "c": [0.5, None]}
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain


def test_what_json_does_not_know_is_refused():
    with pytest.raises(TypeError, match="no JSON type for object"):
        to_json_value({"a": object()})
