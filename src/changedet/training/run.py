"""A training run from a request to a folder of results; resuming it, interrupting it."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch

from changedet._version import __version__
from changedet.card import read_card
from changedet.data.index import PairIndex, index_pairs
from changedet.data.rasters.manifest import READING_SCENES, find_manifest
from changedet.errors import CheckpointError, ConfigError, ResultsError, StorageError
from changedet.inference.devices import resolve_device
from changedet.inference.memory import keep_freed_memory
from changedet.models.base import ChangeModel, EncoderModel
from changedet.models.ensemble import Ensemble
from changedet.models.model_file import load_model
from changedet.storage.atomic import remove_parts, write_text
from changedet.storage.lock import only_run
from changedet.storage.output_folder import remove_entries
from changedet.training.averaging import AveragedModel
from changedet.training.build import (
    build_augmentation,
    build_loader,
    build_loss,
    build_optimizer,
    build_schedule,
    build_seeded_model,
    build_settings,
    choose_precision,
)
from changedet.training.callbacks import TrainingCallback
from changedet.training.checkpoint import TrainingPosition, load_checkpoint
from changedet.training.config import (
    ExperimentConfig,
    check_overrides,
    dump_config,
    load_config,
    tile_px,
)
from changedet.training.dataset_statistics import (
    DatasetStatistics,
    TrainingRecord,
    check_scenes_unchanged,
    measure_dataset,
)
from changedet.training.logs import RunRecords
from changedet.training.opening import opening_notes
from changedet.training.run_folder import (
    CHECKPOINTS,
    FILLED,
    LAST,
    RECORD,
    RUN_ENTRIES,
    SETTINGS,
    check_free,
)
from changedet.training.signals import signals_to
from changedet.training.trainer import Interrupted, Trainer, TrainingParts
from changedet.training.validation import RunValidator, make_exporter

#: Settings that a resumed run may change without becoming another experiment.
_FREE_ON_RESUME = (
    "training.epochs",
    "training.keep_best",
    "training.heatmap_every",
    "training.max_heatmaps",
    "data.workers",
    "data.cache",
)
DEFAULT_RECIPE = "default"


@dataclass(frozen=True)
class TrainRequest:
    """What the user asked for.

    Attributes:
        out: Folder of the run.
        data: Folder of the data set, or manifest of scenes; a resumed run knows it.
        recipe: Recipe name or YAML file; None: the default recipe, or the run's own on resume.
        overrides: ``section.key=value`` changes to it.
        init: Model file whose weights training starts from.
        start_epoch: Epoch, from 1, at which the schedule starts; a resumed run keeps its weights,
            optimiser and best score and goes on with the beginning of that epoch. None: epoch 1,
            or where the resumed run stopped.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        mode: What to do about a run that is already in ``out``.
    """

    out: Path
    data: Path | None = None
    recipe: str | None = None
    overrides: tuple[str, ...] = ()
    init: Path | None = None
    start_epoch: int | None = None
    device: str = "auto"
    mode: Literal["new", "resume", "overwrite"] = "new"


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
    keep_freed_memory(str(device))
    config, facts, index = _prepare(request, say=say)
    pairs = index.split(config.data.train_split)
    replaced = request.mode == "resume" or request.init is not None
    model = build_seeded_model(config, pretrained=not replaced)
    _check_crop(model, config)
    if request.init is not None:
        _initialise(model, request.init)
    precision = choose_precision(config.training.precision, device).text
    for note in opening_notes(
        config,
        model,
        precision=precision,
        out=request.out,
        validation_images=len(index.split(config.data.val_split)),
    ):
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
        remove_entries(request.out, RUN_ENTRIES)
    _write_run(request, config, facts, precision=precision)
    if config.training.compile:
        model.compile()
    loader, sampler = build_loader(
        pairs,
        config,
        encoding=facts.label,
        device=device,
        pixel_type=facts.pixel_type,
        fill=facts.normalisation,
    )
    with _stop_on_signals(say) as caught, contextlib.ExitStack() as stack:
        records = RunRecords(request.out)
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
            loss=build_loss(config.loss, config.model, changed_share=facts.changed_share),
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
        except OSError as error:
            raise StorageError(
                f"cannot write to {request.out}: {error.strerror or error}; make room, then resume "
                'with `mode="resume"`'
            ) from error


def _prepare(
    request: TrainRequest, *, say: Callable[[str], None]
) -> tuple[ExperimentConfig, DatasetStatistics, PairIndex]:
    """Settle settings, data and statistics; nothing is written."""
    if request.mode == "resume":
        if request.init is not None:
            raise ConfigError(
                '`mode="resume"` continues from the run\'s own weights; remove `init`'
            )
        config, facts = _stored_run(request)
        _check_start_epoch(request, config)
        index = _index(facts.data, config, say=say)
        check_scenes_unchanged(facts, index, config)
    else:
        if request.data is None:
            raise ConfigError(
                'no data set is given; set `data=DIR`, or resume a run with `mode="resume"`'
            )
        config = load_config(request.recipe or DEFAULT_RECIPE, overrides=request.overrides)
        _check_start(request, config)
        check_free(request.out, mode=request.mode)
        build_schedule(config)
        tile_px(config)
        build_augmentation(config, pixel_type="uint8")
        index = _index(request.data, config, say=say)
        build_augmentation(config, pixel_type=index.pixel_type)
        for note in index.notes:
            say(note)
        facts = measure_dataset(request.data, index, config, say=say)
    return config, facts, index


def _check_start_epoch(request: TrainRequest, config: ExperimentConfig) -> None:
    if request.start_epoch is not None and not 1 <= request.start_epoch <= config.training.epochs:
        raise ConfigError(
            f"`start_epoch` must be in [1, {config.training.epochs}] (training.epochs), got "
            f"{request.start_epoch}"
        )


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


def _check_start(request: TrainRequest, config: ExperimentConfig) -> None:
    _check_start_epoch(request, config)
    check_overrides(config, request.overrides)
    # Read before the data: a wrong file must not be found out after minutes of measuring.
    if request.init is not None and read_card(request.init).architecture == Ensemble.architecture:
        raise ConfigError(
            f"{request.init} is an ensemble, which cannot be trained further; give one of its "
            "members"
        )


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


def _index(root: Path, config: ExperimentConfig, *, say: Callable[[str], None]) -> PairIndex:
    if find_manifest(root) is not None:
        say(READING_SCENES)
    index = index_pairs(root, benchmark=config.data.benchmark, channels=config.model.in_channels)
    index.split(config.data.train_split, setting="data.train_split")
    index.split(config.data.val_split, setting="data.val_split")
    return index


def _initialise(model: ChangeModel, path: Path) -> None:
    source, card = load_model(path)
    try:
        model.load_state_dict(source.state_dict())
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
    ).write(request.out / RECORD)
    # Behind the file that tells a run: what a kill leaves is known for what it is.
    write_text(request.out / SETTINGS, dump_config(config))


def _stored_run(request: TrainRequest) -> tuple[ExperimentConfig, DatasetStatistics]:
    try:
        record = TrainingRecord.read(request.out / RECORD)
        stored = load_config(request.out / SETTINGS)
    except (ResultsError, ConfigError) as error:
        raise ConfigError(
            f'{request.out} contains no run to resume ({error}); start it without `mode="resume"`'
        ) from error
    facts = DatasetStatistics(
        **{name: getattr(record, name) for name in DatasetStatistics.model_fields}
    )
    if request.data is not None:
        facts = facts.model_copy(update={"data": request.data.resolve()})
    return _resumed_config(request, stored), facts


def _resumed_config(request: TrainRequest, stored: ExperimentConfig) -> ExperimentConfig:
    """Let only those settings differ from the stored run's that leave the experiment the same."""
    if request.recipe is not None:
        asked = load_config(request.recipe, overrides=request.overrides)
    else:
        asked = load_config(request.out / SETTINGS, overrides=request.overrides)
    old, new = _flat(stored.model_dump(mode="json")), _flat(asked.model_dump(mode="json"))
    changed = [key for key in new if new[key] != old.get(key) and key not in _FREE_ON_RESUME]
    if changed:
        differences = "; ".join(f"{key} was {old.get(key)!r}, now {new[key]!r}" for key in changed)
        remedy = "remove these changes" if request.recipe is None else "leave out the recipe"
        raise ConfigError(
            f"a resumed run keeps its settings: {differences}; {remedy}, or start a new run with "
            "`init`"
        )
    return asked


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


@contextlib.contextmanager
def _stop_on_signals(say: Callable[[str], None]) -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM instead of dying; a second one is taken as it comes."""
    caught: list[int] = []

    def note(number: int) -> None:
        caught.append(number)
        say("stopping after this batch; press Ctrl-C again to stop at once")

    with signals_to(note, once=True):
        yield caught
