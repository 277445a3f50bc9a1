"""timm without the compiler that it drags in."""

import subprocess
import sys

import pytest

PROGRAM = """
import sys

import torch

from changedet.nn.encoder import PyramidEncoder
from changedet.nn.shapes import shapes_only
from changedet.nn.timm_library import _marked_on_demand, load_timm

with torch.inference_mode():
    maps = PyramidEncoder("test_efficientnet")(torch.zeros(1, 3, 64, 64))
assert len(maps) == 4
with shapes_only():
    PyramidEncoder("test_efficientnet")
assert "torch._dynamo" not in sys.modules

# What was put off works when it is asked for.
import torchvision

roi_align = sys.modules["torchvision.ops.roi_align"]
assert roi_align.is_compile_supported("cpu") is torch._dynamo.utils.is_compile_supported("cpu")
assert torch._dynamo.config.recompile_limit > 0
assert torch._dynamo.__file__
doubled = torch.compile(lambda values: 2 * values, backend="eager")
assert doubled(torch.ones(2)).tolist() == [2.0, 2.0]

# A function that timm keeps from being compiled is run as it is, also inside of what is compiled.
next_embedding = sys.modules["timm.models.naflexvit"].NaFlexRopeIterator.__next__
assert next_embedding.__name__ == "__next__"
triple = _marked_on_demand(lambda values: 3 * values)
assert triple(torch.ones(1)).tolist() == [3.0]
both = torch.compile(lambda values: triple(values) + 1, backend="eager")
assert both(torch.ones(1)).tolist() == [4.0]
assert load_timm() is sys.modules["timm"]
"""


@pytest.mark.slow
def test_the_compiler_is_loaded_only_by_who_uses_it():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
