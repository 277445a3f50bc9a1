"""The runtimes that compute a network: which one reads a file, and how each is opened.

Nothing here needs PyTorch, and no runtime is imported before it is used.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args

from changedet._optional import ONNX_RUNTIME, OPENVINO, Requirement
from changedet.card import is_exported, read_card
from changedet.choices import check_choice
from changedet.errors import CheckpointError, ConfigError
from changedet.inference.devices import check_device_name
from changedet.inference.graph_scorer import GraphScorer
from changedet.storage.onnx_file import INPUT, OUTPUT, read_facts, stated_facts
from changedet.storage.text import is_file
from changedet.threads import stated_threads
from changedet.types import Arithmetic, Runtime

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from changedet.storage.onnx_file import GraphFacts
    from changedet.types import TestTime

#: Runtimes that read exported graphs.
GraphRuntime: TypeAlias = Literal["onnx", "openvino"]
#: Fastest first, on a CPU in float32 (benchmarks/runtimes.py).
_GRAPH_RUNTIMES: Final[dict[GraphRuntime, Requirement]] = {
    "openvino": OPENVINO,
    "onnx": ONNX_RUNTIME,
}
# As ONNX Runtime counts them: only errors are printed.
_ERRORS_ONLY: Final = 3
#: The variable by which ONNX Runtime is told to send nothing (its Privacy.md).
_NO_TELEMETRY: Final = "ORT_DISABLE_TELEMETRY"


def settle_runtime(
    path: str | Path,
    runtime: Runtime = "auto",
    *,
    device: str = "auto",
    precision: Arithmetic = "float32",
) -> Literal["torch"] | GraphRuntime:
    """Choose what computes the network of a model file; nothing is loaded.

    Args:
        path: The model file.
        runtime: As asked; ``auto`` is the fastest one that is installed and reads the file.
        device: As asked; the runtimes of exported graphs compute on a CPU.
        precision: As asked; only OpenVINO computes in bf16 on a CPU, and only files of
            :func:`changedet.quantise_model` in int8.

    Raises:
        ConfigError: If the runtime, device or precision does not exist, or does not go with the
            others.
        CheckpointError: If the runtime does not read such files.
        MissingExtraError: If the runtime is not installed.
    """
    check_choice("runtime", runtime, get_args(Runtime))
    check_choice("precision", precision, get_args(Arithmetic))
    check_device_name(device)
    path = Path(path)
    if not is_exported(path):
        if runtime not in ("auto", "torch"):
            raise CheckpointError(
                f"{path} is not an exported model, which `runtime={runtime}` reads; export it "
                "first (`changedet export`), or remove `runtime`"
            )
        if precision == "int8":
            raise ConfigError(
                f"{path} is not computed in 8 bits: export it (`changedet export`), write that in "
                "8 bits (`changedet quantise`), and predict with the new file"
            )
        _refuse_bf16(precision, "PyTorch computes in float32 on a CPU and in bf16 on a GPU")
        return "torch"
    if runtime == "torch":
        raise CheckpointError(
            f"{path} is an exported model, which PyTorch does not read; give the model file that "
            "it was exported from (.safetensors), or remove `runtime`"
        )
    if device.partition(":")[0] not in ("auto", "cpu"):
        raise ConfigError(
            f"exported models are computed on the CPU, not on {device!r}; remove `device`, or give "
            "the model file that it was exported from (.safetensors)"
        )
    if precision == "int8":
        _check_in_8_bits(path)
    right = _right_in(path)
    chosen = _installed(precision, right) if runtime == "auto" else runtime
    _GRAPH_RUNTIMES[chosen].check()
    if chosen not in right:
        raise CheckpointError(
            f"{path} computes in 8 bits, and its scores were not found to be right in {chosen}; "
            "remove `runtime` and `precision`, or use the model that it was made from"
        )
    if chosen != "openvino":
        _refuse_bf16(precision, "only OpenVINO computes in bf16 on a CPU")
    return chosen


def _right_in(path: Path) -> tuple[GraphRuntime, ...]:
    """Name the runtimes that give a file's scores, fastest first."""
    names = tuple(_GRAPH_RUNTIMES)
    facts = stated_facts(path) if is_file(path) else None
    if facts is None or not facts.is_int8:
        return names
    # In 8 bits, ONNX Runtime's scores are the ones that decide whether a file is written.
    compared = facts.int8_runtimes or names
    return tuple(name for name in names[::-1] if name in compared)


def _check_in_8_bits(path: Path) -> None:
    """Refuse a file whose graph is of float32; int8 takes steps that have to be measured first."""
    facts = stated_facts(path) if is_file(path) else None
    if facts is None or facts.is_int8:
        return
    beside = path.with_name(f"{path.stem}-int8{path.suffix}")
    way = f"use {beside}" if is_file(beside) else "write it in 8 bits first (`changedet quantise`)"
    raise ConfigError(f"{path} computes in float32; {way}, or remove `precision`")


def _installed(precision: Arithmetic, right: tuple[GraphRuntime, ...]) -> GraphRuntime:
    """Choose the fastest runtime that is installed; the message names one where none is."""
    able = [name for name in right if precision != "bf16" or name == "openvino"] or [*right]
    there = [name for name in able if _GRAPH_RUNTIMES[name].is_installed]
    return (there or [name for name in _GRAPH_RUNTIMES if name in able][::-1])[0]


def _refuse_bf16(precision: Arithmetic, reason: str) -> None:
    if precision == "bf16":
        raise ConfigError(
            f"{reason}; remove `precision`, or use an exported model with `runtime=openvino`"
        )


def open_graph(
    path: Path,
    *,
    runtime: GraphRuntime,
    precision: Arithmetic = "float32",
    test_time: TestTime | None = None,
    kind: str | None = None,
) -> GraphScorer:
    """Open an exported model, ready to score tiles.

    Args:
        path: The file.
        runtime: What computes it.
        precision: In what.
        test_time: Test-time augmentation, instead of the model's own.
        kind: The kind of change to score; None: the first one.

    Raises:
        CheckpointError: If the file cannot be used.
        ConfigError: If there is no such test-time augmentation or kind of change.
        MissingExtraError: If the runtime is not installed.
    """
    card, facts = read_card(path), read_facts(path)
    graph = OnnxGraph(path, facts) if runtime == "onnx" else OpenVinoGraph(path, facts, precision)
    return GraphScorer(graph, card, test_time=test_time, kind=kind, source=str(path))


class OnnxGraph:
    """A graph in ONNX Runtime, on the CPU.

    Args:
        source: The file, or its content.
        facts: What it takes and gives.

    Raises:
        CheckpointError: If the runtime refuses it.
        MissingExtraError: If the runtime is not installed.
    """

    def __init__(self, source: Path | bytes, facts: GraphFacts) -> None:
        self.facts = facts
        self.runtime = "onnx (int8)" if facts.is_int8 else "onnx"
        self._source = source
        # Newer versions report their use over the network unless this is set before they start.
        os.environ.setdefault(_NO_TELEMETRY, "1")
        library = ONNX_RUNTIME.load()
        state = ONNX_RUNTIME.load(".capi.onnxruntime_pybind11_state")
        options = library.SessionOptions()
        options.log_severity_level = _ERRORS_ONLY
        options.intra_op_num_threads = stated_threads() or 0
        if not facts.is_int8:
            # Weights that are stored as whole numbers become float32 once, not for every batch.
            options.add_session_config_entry("session.disable_quant_qdq", "1")
        self._refusals = (
            *(state.Fail, state.InvalidArgument, state.InvalidGraph, state.InvalidProtobuf),
            *(state.NotImplemented, state.RuntimeException),
        )
        try:
            self._session = library.InferenceSession(
                source if isinstance(source, bytes) else str(source),
                options,
                providers=["CPUExecutionProvider"],
            )
        except self._refusals as error:
            raise _refused(source, "ONNX Runtime", error) from error

    def run(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Score a batch, see :meth:`.graph_scorer.Graph.run`."""
        try:
            (scores,) = self._session.run([OUTPUT], {INPUT: image})
        except self._refusals as error:
            raise _refused(self._source, "ONNX Runtime", error) from error
        found: NDArray[np.float32] = scores
        return found


class OpenVinoGraph:
    """A graph in OpenVINO, on the CPU.

    Args:
        source: The file.
        facts: What it takes and gives.
        precision: In what is computed; OpenVINO itself would take bf16 wherever the CPU has it.

    Raises:
        CheckpointError: If the runtime refuses it.
        MissingExtraError: If the runtime is not installed.
    """

    def __init__(self, source: Path, facts: GraphFacts, precision: Arithmetic = "float32") -> None:
        self.facts = facts
        self._source = source
        lower = ["int8"] * facts.is_int8 + [precision] * (precision != "float32")
        self.runtime = f"openvino ({', '.join(lower)})" if lower else "openvino"
        settings = {
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": stated_threads() or 0,
        }
        try:
            core = _openvino_core()
            self._compiled = core.compile_model(core.read_model(str(source)), "CPU", settings)
        except RuntimeError as error:
            raise _refused(source, "OpenVINO", error) from error

    def run(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Score a batch, see :meth:`.graph_scorer.Graph.run`."""
        try:
            scores: NDArray[np.float32] = self._compiled({INPUT: image})[OUTPUT]
        except RuntimeError as error:
            raise _refused(self._source, "OpenVINO", error) from error
        return scores


@functools.cache
def _openvino_core() -> Any:  # noqa: ANN401 - OpenVINO has no types here
    """Give the only core of OpenVINO in this process, which lasts as long as the process.

    A core gives the thread another stack for its signals (AMX needs a larger one) and takes it
    back at its end. Of two, the first one to end frees the stack that the last one puts back, and
    the next signal, such as Ctrl-C, ends the process with a segmentation fault.
    """
    library: Any = OPENVINO.load()
    return library.Core()


def _refused(source: Path | bytes, runtime: str, error: Exception) -> CheckpointError:
    reason = " ".join(str(error).split())
    name = "the graph" if isinstance(source, bytes) else str(source)
    return CheckpointError(
        f"{name} is refused by {runtime} ({reason[:300]}); update it, or export the model file "
        "again (`changedet export`)"
    )
