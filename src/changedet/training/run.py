"""A training run from a request to a folder of results; resuming it, interrupting it."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from changedet._version import __version__
from changedet.data.index import PairIndex
from changedet.data.scene_notice import announce_scenes
from changedet.errors import ConfigError, ResultsError, StorageError
from changedet.inference.devices import resolve_device
from changedet.inference.memory import keep_freed_memory
from changedet.storage.atomic import remove_parts, write_text
from changedet.storage.lock import only_run
from changedet.training.augmentation import build_augmentation
from changedet.training.build import (
    build_loader,
    build_loss,
    build_settings,
    choose_precision,
    end_workers,
    index_data,
)
from changedet.training.callbacks import TrainingCallback
from changedet.training.checkpoint import TrainingPosition
from changedet.training.config import (
    ExperimentConfig,
    dump_config,
    parse_config,
    trains_on_validation,
)
from changedet.training.dataset_statistics import (
    DatasetStatistics,
    TrainingRecord,
    check_scenes_unchanged,
    measure_dataset,
)
from changedet.training.launch import ALONE, Launch, check_batch
from changedet.training.logs import RunRecords
from changedet.training.opening import data_note, device_note, opening_notes
from changedet.training.ranks import OneProcess, Ranks
from changedet.training.request import TrainRequest as TrainRequest
from changedet.training.request import check_request
from changedet.training.restart import settle_restart
from changedet.training.run_folder import (
    FILLED,
    RECORD,
    SETTINGS,
    find_data,
    remove_run,
)
from changedet.training.same_data import check_same_data
from changedet.training.schedule import build_schedule
from changedet.training.signals import signals_to
from changedet.training.start import Trained, begin, move_to_epoch
from changedet.training.teacher import Teacher, load_teacher
from changedet.training.teacher_files import (
    check_teachers,
    check_unchanged,
    record_teachers,
    teacher_notes,
)
from changedet.training.trainer import Interrupted, Trainer, TrainingParts
from changedet.training.validation import RunValidator, make_exporter

# How long a run that was started again waits for the one before to let go of its folder.
_LINGER_S = 60.0


class TrainOutcome(NamedTuple):
    """How a run ended: its last position, and the signal that stopped it early, if one did."""

    progress: TrainingPosition
    signal: int | None


def run_training(
    request: TrainRequest,
    *,
    callbacks: Sequence[TrainingCallback] = (),
    say: Callable[[str], None] = lambda message: None,
    launch: Launch = ALONE,
) -> TrainOutcome:
    """Train as asked and leave everything in ``request.out`` (spec 4).

    Args:
        request: What to train, on what, where to. Of several processes, that of the first one
            counts.
        callbacks: Called during training, in addition to the records that are always written.
        say: Gets sentences for the user.
        launch: The place of this process among those that train the model together, see
            :func:`.launch.read_launch`; only the first one writes, and calls ``callbacks`` and
            ``say``.

    Raises:
        ConfigError: For a faulty setting, or a folder that holds another run or that one is
            writing to now.
        DataError: For data that cannot be trained on, or that is not the same for all processes.
        TrainingError: If the loss is not finite, or another process has ended.
        StorageError: If results cannot be written.
    """
    if not launch.is_main:
        callbacks, say = (), lambda message: None
    with contextlib.ExitStack() as stack:
        if launch.world == 1:
            ranks: Ranks = OneProcess()
            device = resolve_device(request.device)
        else:
            # Brings much of torch.distributed along.
            from changedet.training.processes import joined

            ranks, device = stack.enter_context(joined(launch, device_name=request.device))
        request = ranks.from_main(lambda: settle_restart(request, launch))
        if ranks.is_main:
            # Processes of before a restart may take a moment to end.
            patience_s = _LINGER_S if launch.restarts else 0.0
            stack.enter_context(only_run(request.out, patience_s=patience_s))
            for name in FILLED:
                remove_parts(request.out / name)
        return _run(request, callbacks, say, device=device, ranks=ranks, launch=launch)


def _run(
    request: TrainRequest,
    callbacks: Sequence[TrainingCallback],
    say: Callable[[str], None],
    *,
    device: torch.device,
    ranks: Ranks,
    launch: Launch,
) -> TrainOutcome:
    say(device_note(device, processes=ranks.world))
    keep_freed_memory(str(device))
    config, facts, index = _prepare(request, ranks, say=say)
    precision = choose_precision(config.training.precision, device)
    trained = begin(request, config, device=device, ranks=ranks, say=say)
    teacher = load_teacher(config, device=device, autocast=precision.autocast)
    notes = opening_notes(
        config,
        trained.model,
        precision=precision.text,
        out=request.out,
        validation_images=len(index.split(config.data.val_split)),
    )
    for note in (*teacher_notes(config, data_name=index.name), *notes):
        say(note)
    if request.mode == "resume":
        say(move_to_epoch(trained.progress, request.start_epoch))
    launchers = ranks.gather(launch.launcher)
    if ranks.is_main:
        # Only now, when all that the user can have wrong is read, is an earlier run replaced.
        if request.mode != "resume":
            remove_run(request.out, data=request.data)
        _write_run(
            request, config, facts, precision=precision.text, launch=launch, launchers=launchers
        )
    if config.training.compile:
        trained.model.compile()
    with _stop_on_signals(say, is_alone=ranks.world == 1) as caught:
        try:
            with contextlib.ExitStack() as stack:
                trainer = _make_trainer(
                    request.out,
                    config,
                    trained,
                    facts=facts,
                    index=index,
                    teacher=teacher,
                    device=device,
                    ranks=ranks,
                    callbacks=callbacks,
                    should_stop=lambda: bool(caught),
                    stack=stack,
                )
                return TrainOutcome(trainer.fit(trained.progress), None)
        except Interrupted as stop:
            # The others wait here until the main process has saved.
            return TrainOutcome(stop.progress, ranks.highest(caught[0] if caught else 0))
        except BrokenPipeError:
            raise
        except OSError as error:
            raise StorageError(
                f"cannot write to {request.out}: {error.strerror or error}; make room, then resume "
                'with `mode="resume"`'
            ) from error


def _make_trainer(
    out: Path,
    config: ExperimentConfig,
    trained: Trained,
    *,
    facts: DatasetStatistics,
    index: PairIndex,
    teacher: Teacher | None,
    device: torch.device,
    ranks: Ranks,
    callbacks: Sequence[TrainingCallback],
    should_stop: Callable[[], bool],
    stack: contextlib.ExitStack,
) -> Trainer:
    """Put the training together; ``stack`` ends its workers and closes its records."""
    pairs = index.split(config.data.train_split)
    loader, sampler = build_loader(
        pairs,
        config,
        encoding=facts.label,
        device=device,
        pixel_type=facts.pixel_type,
        fill=facts.normalisation,
        gsd_m=facts.gsd_m,
        rank=ranks.rank,
        world=ranks.world,
    )
    stack.callback(end_workers, loader)
    records = RunRecords(
        out,
        is_taught=teacher is not None,
        is_selection=not trains_on_validation(config.data),
    )
    watchers = [records, *callbacks]
    for watcher in watchers:
        stack.callback(watcher.close)
    parts = TrainingParts(
        model=trained.model,
        loss=build_loss(
            config.loss,
            config.model,
            changed_share=facts.changed_share,
            teacher=config.teacher,
        ),
        teacher=teacher,
        optimizer=trained.optimizer,
        schedule=build_schedule(config),
        loader=loader,
        sampler=sampler,
        names=[pair.source for pair in pairs],
        normalisation=facts.normalisation,
        validate=RunValidator(
            trained.judged,
            index.split(config.data.val_split),
            config,
            facts=facts,
            device=device,
            folder=out / "validation",
            should_stop=should_stop,
            ranks=ranks,
        ),
        export=make_exporter(trained.judged, config, facts),
        average=trained.average,
    )
    return Trainer(
        parts,
        build_settings(config, device),
        folder=out,
        device=device,
        callbacks=watchers,
        should_stop=should_stop,
        ranks=ranks,
    )


def _settle(request: TrainRequest, ranks: Ranks) -> ExperimentConfig:
    """Settle the settings in the main process, for all of them."""
    if ranks.world == 1:
        return check_request(request)
    # As they would stand in a file: sections of networks cannot be sent as they are.
    tree = ranks.from_main(
        lambda: check_request(request).model_dump(mode="json", exclude_unset=True)
    )
    return parse_config(tree, origin=f"process 0 ({request.out})")


def _prepare(
    request: TrainRequest, ranks: Ranks, *, say: Callable[[str], None]
) -> tuple[ExperimentConfig, DatasetStatistics, PairIndex]:
    """Settle settings, data and statistics; nothing is written."""
    config = _settle(request, ranks)
    check_batch(config.training.batch_size, world=ranks.world)
    if request.mode == "resume":
        record = ranks.from_main(lambda: _record(request))
        facts = _stored_facts(record, request)
        index, config = _index(facts.data, config, say=say)
        check_same_data(index, config, ranks)
        say(data_note(index, config))
        check_scenes_unchanged(facts, index, config)
        check_unchanged(record.teachers, config)
    else:
        data = Path(str(request.data))
        index, config = _index(data, config, say=say)
        check_same_data(index, config, ranks)
        build_augmentation(config, pixel_type=index.pixel_type)
        check_teachers(config, channels=index.channels, pixel_type=index.pixel_type)
        for note in (data_note(index, config), *index.notes):
            say(note)
        facts = ranks.from_main(lambda: measure_dataset(data, index, config, say=say))
    return config, facts, index


def _index(
    root: Path, config: ExperimentConfig, *, say: Callable[[str], None]
) -> tuple[PairIndex, ExperimentConfig]:
    announce_scenes(root, say)
    index, config = index_data(root, config)
    index.split(config.data.train_split, setting="data.train_split")
    index.split(config.data.val_split, setting="data.val_split")
    return index, config


def _write_run(
    request: TrainRequest,
    config: ExperimentConfig,
    facts: DatasetStatistics,
    *,
    precision: str,
    launch: Launch,
    launchers: Iterable[str | None],
) -> None:
    TrainingRecord(
        **dict(facts),
        package_version=__version__,
        torch_version=str(torch.__version__),
        threads=torch.get_num_threads(),
        precision=precision,
        teachers=record_teachers(config),
        processes=launch.world,
        job=launch.job,
        launchers=tuple(sorted({name for name in launchers if name is not None})),
    ).write(request.out / RECORD)
    # Behind the file that tells a run: what a kill leaves is known for what it is.
    write_text(request.out / SETTINGS, dump_config(config))


def _record(request: TrainRequest) -> TrainingRecord:
    try:
        return TrainingRecord.read(request.out / RECORD)
    except ResultsError as error:
        raise ConfigError(
            f'{request.out} contains no run to resume ({error}); start it without `mode="resume"`'
        ) from error


def _stored_facts(record: TrainingRecord, request: TrainRequest) -> DatasetStatistics:
    facts = DatasetStatistics(
        **{name: getattr(record, name) for name in DatasetStatistics.model_fields}
    )
    data = request.data or find_data(request.out, facts.data)
    return facts.model_copy(update={"data": data.resolve()})


@contextlib.contextmanager
def _stop_on_signals(say: Callable[[str], None], *, is_alone: bool) -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM instead of dying; a second one is taken as it comes."""
    caught: list[int] = []

    def note(number: int) -> None:
        caught.append(number)
        # torchrun also ends processes in this way when another one has failed.
        if is_alone:
            say("stopping after this batch; press Ctrl-C again to stop at once")

    with signals_to(note, once=True):
        yield caught
