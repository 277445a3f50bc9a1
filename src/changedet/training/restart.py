"""What a training does that torchrun has started again after one of its processes ended."""

from dataclasses import replace

from changedet.errors import ResultsError
from changedet.training.dataset_statistics import TrainingRecord
from changedet.training.launch import Launch
from changedet.training.request import TrainRequest
from changedet.training.run_folder import CHECKPOINTS, LAST, RECORD


def settle_restart(request: TrainRequest, launch: Launch) -> TrainRequest:
    """Turn the request of a run that was cut off into one to go on with it.

    torchrun repeats the command as it was given, where a process has failed and where machines
    have joined. The run that it has begun in the folder resumes from its last checkpoint, or begins
    again where it had none; what becomes of a run of somebody else is as the command says.

    Args:
        request: What the command asks for.
        launch: Tells who has started this process.
    """
    if launch.launcher is None:
        return request
    record, last = request.out / RECORD, request.out / CHECKPOINTS / LAST
    try:
        begun = TrainingRecord.read(record)
    except ResultsError:
        return request
    # The first process may have moved to a machine that has joined later.
    is_same_job = launch.restarts > 0 and launch.job is not None and begun.job == launch.job
    if launch.launcher not in begun.launchers and not is_same_job:
        return request
    has_gone_on = last.is_file() and last.stat().st_mtime_ns >= record.stat().st_mtime_ns
    if has_gone_on:
        # The folder holds every setting, changes of the command included.
        return replace(
            request, mode="resume", recipe=None, overrides=(), init=None, start_epoch=None
        )
    return request if request.mode == "resume" else replace(request, mode="overwrite")
