"""One step of an ablation as a program: ``python -m changedet.ablation.worker NAME JOB``.

In a separate process, since then a crash, a lack of memory or a kill costs one run, and memory is
measured run by run. The job is JSON; its keys are the arguments of the step.
"""

import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from changedet.ablation.process import PARENT
from changedet.ablation.resources import ResourceMeter
from changedet.ablation.run_state import (
    PICTURES,
    RESOURCES,
    TRAINING,
    Judgement,
    write_judgement,
)
from changedet.ablation.scoring import JudgedSplits, judge_source
from changedet.data.labels.scan import LabelEncoding
from changedet.errors import ChangeDetError
from changedet.evaluation.cost import measure_cost
from changedet.inference.devices import resolve_device
from changedet.inference.opening import open_detector
from changedet.inference.score_source import source_of
from changedet.storage.lock import only_run
from changedet.training.callbacks import LogRow, TrainingCallback, ValidationEvent
from changedet.training.run import TrainRequest, run_training

_INTERRUPTED = 130
_PATIENCE_S = 60.0
_LOOK_EVERY_S = 0.5
_logger = logging.getLogger(__name__)


def train(
    *,
    folder: str,
    settings: str,
    data: str,
    device: str,
    minutes: float | None,
    mode: Literal["new", "resume"],
) -> int:
    """Train into ``folder/training`` and measure it; a spent budget is a good end.

    Args:
        folder: Folder of the run.
        settings: YAML file of its settings; a resumed run has its own.
        data: Folder of the data set.
        device: As for training.
        minutes: Budget from the first batch on; None: no limit.
        mode: ``new`` or ``resume``.

    Returns:
        Exit status: 0, or 128 and the number of the signal that stopped it.
    """
    place = Path(folder)
    meter = ResourceMeter(
        place / RESOURCES,
        budget_s=None if minutes is None else 60.0 * minutes,
        on_gpu=resolve_device(device).type == "cuda",
    )
    request = TrainRequest(
        out=place / TRAINING, data=Path(data), recipe=settings, device=device, mode=mode
    )
    # Only a step that has lost its ablation can be at work there: it ends within a batch.
    with only_run(request.out, patience_s=_PATIENCE_S):
        pass
    outcome = run_training(request, callbacks=[_LogLines(), meter], say=_logger.info)
    if outcome.signal is None:
        meter.finish()
        return 0
    return 0 if meter.resources.state == "budget spent" else 128 + outcome.signal


def judge(
    *,
    folder: str,
    source: str,
    device: str,
    label: dict[str, Any],
    splits: dict[str, Any],
    channels: int | None = None,
) -> int:
    """Evaluate a model file or an untrained baseline, and draw its heat maps.

    Args:
        folder: Gets the figures and heat maps.
        source: Path of a model file, or ``baseline:NAME``.
        device: As for training.
        label: What the labels' values mean.
        splits: Fields of :class:`JudgedSplits`.
        channels: Channels of the images, for an untrained baseline.

    Returns:
        Exit status 0.
    """
    opened = source_of(open_detector(source, device=device, channels=channels))
    judged = JudgedSplits(
        **{
            **splits,
            "data": Path(splits["data"]),
            "shown": tuple(splits["shown"]),
            "held_out": tuple(splits["held_out"]),
        }
    )
    found = judge_source(
        opened, judged, encoding=LabelEncoding.from_dict(label), folder=Path(folder) / PICTURES
    )
    cost = None
    if opened.kind == "model":
        cost = measure_cost(opened.detector.model, test_time=opened.detector.test_time)
    write_judgement(
        Path(folder),
        Judgement(
            title=opened.title,
            scores=found.scores,
            held_out=found.held_out,
            parameters=None if cost is None else cost.parameters,
            gflop=None if cost is None else cost.gflop,
            heat_map_middle=opened.detector.threshold,
        ),
    )
    return 0


class _LogLines(TrainingCallback):
    """Lines for whoever follows the log of a run."""

    def on_log(self, row: LogRow) -> None:
        _logger.info("epoch %d batch %d loss %.4f", row.epoch, row.batch, row.losses["loss"])

    def on_validation(self, event: ValidationEvent) -> None:
        at = event.progress
        _logger.info("epoch %d batch %d max-F1 %.4f", at.epoch, at.batch, at.f_score)


_STEPS: dict[str, Callable[..., int]] = {"train": train, "judge": judge}


def stop_without(parent: int) -> None:
    """Stop this process as Ctrl-C does once the process that started it is no more."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK_EVERY_S)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=watch, daemon=True).start()


def main(arguments: list[str]) -> int:
    """Do a step; a mistake of the user becomes one line on the error stream.

    Args:
        arguments: Name of the step and its job.

    Returns:
        Exit status.
    """
    name, job = arguments
    if PARENT in os.environ:
        stop_without(int(os.environ[PARENT]))
    try:
        return _STEPS[name](**json.loads(job))
    except ChangeDetError as error:
        _logger.error("%s", " ".join(str(error).split()))
        return error.exit_code
    except KeyboardInterrupt:
        return _INTERRUPTED


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    sys.exit(main(sys.argv[1:]))
