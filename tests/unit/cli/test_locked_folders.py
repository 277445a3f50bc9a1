"""Whatever writes to a folder refuses one that another run is writing to, before anything else."""

from collections.abc import Callable
from pathlib import Path

import pytest

from changedet.ablation.request import AblationRequest
from changedet.ablation.runner import run_ablation
from changedet.demo.request import DemoRequest
from changedet.demo.run import run_demo
from changedet.errors import ConfigError
from changedet.evaluation.benchmark.benchmark import measure_accuracy
from changedet.evaluation.benchmark.request import AccuracyRequest
from changedet.evaluation.evaluate import evaluate_model
from changedet.evaluation.request import EvaluationRequest
from changedet.predict.rasters import predict_scene
from changedet.storage.lock import only_run
from changedet.synthetic.dataset import write_sample
from changedet.training.request import TrainRequest
from changedet.training.run import run_training

DATA = Path("nowhere")
BASELINE = "baseline:difference"
WRITERS: dict[str, Callable[[Path], object]] = {
    "train": lambda out: run_training(TrainRequest(out=out, data=DATA, device="cpu")),
    "resume": lambda out: run_training(TrainRequest(out=out, mode="resume", device="cpu")),
    "ablate": lambda out: run_ablation(AblationRequest(out=out, data=DATA, device="cpu")),
    "demo": lambda out: run_demo(DemoRequest(out=out)),
    "evaluate": lambda out: evaluate_model(EvaluationRequest(BASELINE, DATA, out)),
    "benchmark": lambda out: measure_accuracy(AccuracyRequest((BASELINE,), DATA, out)),
    "predict": lambda out: predict_scene("a.tif", "b.tif", model=BASELINE, out=out),
    "sample": lambda out: write_sample(out, train=1, val=1, test=1, size_px=32),
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_folder_that_is_written_to_is_refused(tmp_path: Path, write: Callable[[Path], object]):
    out = tmp_path / "out"
    with (
        only_run(out),
        pytest.raises(ConfigError, match=r"another run is writing to .*out \(`out`"),
    ):
        write(out)
    assert not out.exists()
