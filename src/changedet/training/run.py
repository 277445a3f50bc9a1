"""A training run from a request to a folder of results; resuming it, interrupting it."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from changedet._version import __version__
from changedet.data.index import PairIndex
from changedet.data.scene_notice import announce_scenes
from changedet.errors import CheckpointError, ConfigError, ResultsError, StorageError
from changedet.inference.devices import resolve_device
from changedet.inference.memory import keep_freed_memory
from changedet.model_search import find_model
from changedet.models.base import ChangeModel, EncoderModel, for_kinds
from changedet.models.model_file import load_model
from changedet.storage.atomic import remove_parts, write_text
from changedet.storage.lock import only_run
from changedet.training.augmentation import build_augmentation
from changedet.training.averaging import AveragedModel
from changedet.training.build import (
    build_loader,
    build_loss,
    build_optimizer,
    build_seeded_model,
    build_settings,
    choose_precision,
    end_workers,
    index_data,
)
from changedet.training.callbacks import TrainingCallback
from changedet.training.checkpoint import TrainingPosition, load_checkpoint
from changedet.training.config import ExperimentConfig, dump_config, trains_on_validation
from changedet.training.dataset_statistics import (
    DatasetStatistics,
    TrainingRecord,
    check_scenes_unchanged,
    measure_dataset,
)
from changedet.training.logs import RunRecords
from changedet.training.opening import data_note, device_note, network_note, opening_notes
from changedet.training.request import TrainRequest as TrainRequest
from changedet.training.request import check_request
from changedet.training.run_folder import (
    CHECKPOINTS,
    FILLED,
    LAST,
    RECORD,
    SETTINGS,
    find_data,
    remove_run,
)
from changedet.training.schedule import build_schedule
from changedet.training.signals import signals_to
from changedet.training.teacher import load_teacher
from changedet.training.teacher_files import (
    check_teachers,
    check_unchanged,
    record_teachers,
    teacher_notes,
)
from changedet.training.trainer import Interrupted, Trainer, TrainingParts
from changedet.training.validation import RunValidator, make_exporter


class TrainOutcome(NamedTuple):
    """How a run ended: its last position, and the signal that stopped it early, if one did."""

    progress: TrainingPosition
    signal: int | None


def run_training(
    request: TrainRequest,
    *,
    callbacks: Sequence[TrainingCallback] = (),
    say: Callable[[str], None] = lambda message: None,
) -> TrainOutcome:
    """Train as asked and leave everything in ``request.out`` (spec 4).

    Args:
        request: What to train, on what, where to.
        callbacks: Called during training, in addition to the records that are always written.
        say: Gets sentences for the user.

    Raises:
        ConfigError: For a faulty setting, or a folder that holds another run or that one is
            writing to now.
        DataError: For data that cannot be trained on.
        TrainingError: If the loss is not finite.
        StorageError: If results cannot be written.
    """
    with only_run(request.out):
        for name in FILLED:
            remove_parts(request.out / name)
        return _run(request, callbacks, say)


def _run(
    request: TrainRequest, callbacks: Sequence[TrainingCallback], say: Callable[[str], None]
) -> TrainOutcome:
    device = resolve_device(request.device)
    say(device_note(device))
    keep_freed_memory(str(device))
    config, facts, index = _prepare(request, say=say)
    pairs = index.split(config.data.train_split)
    replaced = request.mode == "resume" or request.init is not None
    model = build_seeded_model(config, pretrained=not replaced)
    _check_crop(model, config)
    if request.init is not None:
        _initialise(model, request.init)
    start = "checkpoint" if request.mode == "resume" else request.init
    say(network_note(config, model, start=start))
    precision = choose_precision(config.training.precision, device)
    teacher = load_teacher(config, device=device, autocast=precision.autocast)
    notes = opening_notes(
        config,
        model,
        precision=precision.text,
        out=request.out,
        validation_images=len(index.split(config.data.val_split)),
    )
    for note in (*teacher_notes(config, data_name=index.name), *notes):
        say(note)
    model.to(device).to(memory_format=torch.channels_last)
    optimizer = build_optimizer(config, model)
    decay = config.training.ema_decay
    average = None if decay is None else AveragedModel(model, decay=decay)
    judged = model if average is None else average.module
    progress = TrainingPosition(epoch=request.start_epoch or 1)
    if request.mode == "resume":
        last = request.out / CHECKPOINTS / LAST
        progress = load_checkpoint(last, model=model, optimizer=optimizer, average=average)
        say(_move_to_epoch(progress, request.start_epoch))
    # Only now, when all that the user can have wrong is read, is an earlier run replaced.
    if request.mode != "resume":
        remove_run(request.out, data=request.data)
    _write_run(request, config, facts, precision=precision.text)
    if config.training.compile:
        model.compile()
    loader, sampler = build_loader(
        pairs,
        config,
        encoding=facts.label,
        device=device,
        pixel_type=facts.pixel_type,
        fill=facts.normalisation,
        gsd_m=facts.gsd_m,
    )
    with _stop_on_signals(say) as caught, contextlib.ExitStack() as stack:
        stack.callback(end_workers, loader)
        records = RunRecords(
            request.out,
            is_taught=teacher is not None,
            is_selection=not trains_on_validation(config.data),
        )
        watchers = [records, *callbacks]
        for watcher in watchers:
            stack.callback(watcher.close)
        validator = RunValidator(
            judged,
            index.split(config.data.val_split),
            config,
            facts=facts,
            device=device,
            folder=request.out / "validation",
            should_stop=lambda: bool(caught),
        )
        parts = TrainingParts(
            model=model,
            loss=build_loss(
                config.loss,
                config.model,
                changed_share=facts.changed_share,
                teacher=config.teacher,
            ),
            teacher=teacher,
            optimizer=optimizer,
            schedule=build_schedule(config),
            loader=loader,
            sampler=sampler,
            names=[pair.source for pair in pairs],
            normalisation=facts.normalisation,
            validate=validator,
            export=make_exporter(judged, config, facts),
            average=average,
        )
        trainer = Trainer(
            parts,
            build_settings(config, device),
            folder=request.out,
            device=device,
            callbacks=watchers,
            should_stop=lambda: bool(caught),
        )
        try:
            return TrainOutcome(trainer.fit(progress), None)
        except Interrupted as stop:
            return TrainOutcome(stop.progress, caught[0])
        except BrokenPipeError:
            raise
        except OSError as error:
            raise StorageError(
                f"cannot write to {request.out}: {error.strerror or error}; make room, then resume "
                'with `mode="resume"`'
            ) from error


def _prepare(
    request: TrainRequest, *, say: Callable[[str], None]
) -> tuple[ExperimentConfig, DatasetStatistics, PairIndex]:
    """Settle settings, data and statistics; nothing is written."""
    config = check_request(request)
    if request.mode == "resume":
        facts = _stored_facts(request)
        index, config = _index(facts.data, config, say=say)
        say(data_note(index, config))
        check_scenes_unchanged(facts, index, config)
        check_unchanged(_record(request).teachers, config)
    else:
        data = Path(str(request.data))
        index, config = _index(data, config, say=say)
        build_augmentation(config, pixel_type=index.pixel_type)
        check_teachers(config, channels=index.channels, pixel_type=index.pixel_type)
        for note in (data_note(index, config), *index.notes):
            say(note)
        facts = measure_dataset(data, index, config, say=say)
    return config, facts, index


def _move_to_epoch(progress: TrainingPosition, epoch: int | None) -> str:
    """Move a resumed position to the beginning of an epoch, if one is asked for; say where it is.

    Steps and log rows count on, and the best score and models stay, so that nothing that was found
    is lost when epochs are trained again.
    """
    where = f"epoch {progress.epoch}, batch {progress.batch}"
    if epoch is None:
        return f"resuming at {where}"
    progress.epoch, progress.batch, progress.validated_batch = epoch, 0, 0
    return f"resuming with the weights of {where}, at the beginning of epoch {epoch}"


def _check_crop(model: EncoderModel, config: ExperimentConfig) -> None:
    """Refuse crops that the network cannot take."""
    least, stride, crop_px = model.least_crop_px, model.stride, config.data.crop_px
    if crop_px < least:
        raise ConfigError(
            f"data.crop_px must be at least {least} for encoder {config.model.encoder} (stride "
            f"{stride}), got {crop_px}"
        )
    if crop_px % stride:
        below = max(least, crop_px - crop_px % stride)
        raise ConfigError(
            f"data.crop_px must be a multiple of {stride}, the stride of encoder "
            f"{config.model.encoder}, got {crop_px}; set it to {below} or "
            f"{crop_px - crop_px % stride + stride}, for example `data.crop_px={below}`"
        )


def _index(
    root: Path, config: ExperimentConfig, *, say: Callable[[str], None]
) -> tuple[PairIndex, ExperimentConfig]:
    announce_scenes(root, say)
    index, config = index_data(root, config)
    index.split(config.data.train_split, setting="data.train_split")
    index.split(config.data.val_split, setting="data.val_split")
    return index, config


def _initialise(model: ChangeModel, path: Path) -> None:
    """Take over the weights of a model file; kinds of change that it does not know start anew."""
    source, card = load_model(find_model(path))
    weights = source.state_dict()
    if source.kinds != model.kinds:
        weights = for_kinds(weights, had=source.kinds, model=model)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(
            f"{path} is a {card.architecture} with {card.options}, which does not fit the "
            f"settings' {model.architecture} with {model.options}; use settings of the same model"
        ) from error


def _write_run(
    request: TrainRequest, config: ExperimentConfig, facts: DatasetStatistics, *, precision: str
) -> None:
    TrainingRecord(
        **dict(facts),
        package_version=__version__,
        torch_version=str(torch.__version__),
        threads=torch.get_num_threads(),
        precision=precision,
        teachers=record_teachers(config),
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


def _stored_facts(request: TrainRequest) -> DatasetStatistics:
    record = _record(request)
    facts = DatasetStatistics(
        **{name: getattr(record, name) for name in DatasetStatistics.model_fields}
    )
    data = request.data or find_data(request.out, facts.data)
    return facts.model_copy(update={"data": data.resolve()})


@contextlib.contextmanager
def _stop_on_signals(say: Callable[[str], None]) -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM instead of dying; a second one is taken as it comes."""
    caught: list[int] = []

    def note(number: int) -> None:
        caught.append(number)
        say("stopping after this batch; press Ctrl-C again to stop at once")

    with signals_to(note, once=True):
        yield caught
