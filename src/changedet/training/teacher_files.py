"""The model files that teach a run: found, checked and remembered without PyTorch."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from changedet.card import ModelCard, read_card
from changedet.data.file_names import split_parts
from changedet.data.seen import splits_trained_on
from changedet.errors import ConfigError
from changedet.model_search import find_model
from changedet.storage.checksum import file_sha256
from changedet.storage.results import Record
from changedet.training.config import ExperimentConfig
from changedet.types import PixelType


class TeacherFile(Record):
    """A model file that teaches a run.

    Attributes:
        model: As the settings name it.
        sha256: Of its content when the run began.
    """

    model: str
    sha256: str


def read_teachers(config: ExperimentConfig) -> list[tuple[Path, ModelCard]]:
    """Find the teachers of a run and read what their files say.

    Raises:
        CheckpointError: If there is no such model, or it cannot be read.
    """
    paths = [find_model(model) for model in config.teacher.models]
    return [(path, read_card(path)) for path in paths]


def check_teachers(
    config: ExperimentConfig, *, channels: int | None = None, pixel_type: PixelType | None = None
) -> None:
    """Refuse teachers that cannot look at the samples of a run.

    Args:
        config: Settings of the run.
        channels: Channels of its images; None: not known yet.
        pixel_type: Kind of their values; None: not known yet.

    Raises:
        CheckpointError: If there is no such model, or it cannot be read.
        ConfigError: If it takes other images.
    """
    for path, card in read_teachers(config):
        takes = len(card.normalisation.mean_before)
        if channels is not None and takes != channels:
            raise ConfigError(
                f"the teacher {path} takes images of {takes} channels, but this run trains on "
                f"{channels}; choose a teacher trained on the same bands (`teacher.models=FILE`)"
            )
        if pixel_type is not None and card.pixel_type != pixel_type:
            raise ConfigError(
                f"the teacher {path} was trained on {card.pixel_type} values, but this run trains "
                f"on {pixel_type}; choose a teacher trained on the same values "
                "(`teacher.models=FILE`)"
            )


def record_teachers(config: ExperimentConfig) -> tuple[TeacherFile, ...]:
    """Take down what tells the teachers of a run from other files."""
    return tuple(
        TeacherFile(model=model, sha256=file_sha256(find_model(model)))
        for model in config.teacher.models
    )


def check_unchanged(stored: Sequence[TeacherFile], config: ExperimentConfig) -> None:
    """Refuse to resume a run with other teachers than it began with.

    Raises:
        CheckpointError: If one is not there any more.
        ConfigError: If its content differs.
    """
    for then, now in zip(stored, record_teachers(config), strict=True):
        if then.sha256 != now.sha256:
            raise ConfigError(
                f"the teacher {now.model} is another file than when this run started (SHA-256 "
                f"{then.sha256[:12]}… then, {now.sha256[:12]}… now); restore it, or start a new "
                "run with `init`"
            )


def teacher_notes(config: ExperimentConfig, *, data_name: str) -> Iterator[str]:
    """Say who teaches, and warn of a teacher that knows the images that choose the model.

    Args:
        config: Settings of the run.
        data_name: Name of its data set.
    """
    teacher = config.teacher
    if not teacher.models:
        return
    at = "" if teacher.temperature == 1.0 else f" at temperature {teacher.temperature:g}"
    yield (f"teacher: {', '.join(teacher.models)}; {100 * teacher.weight:g} % of the loss{at}")
    chosen_on = set(split_parts(config.data.val_split))
    for path, card in read_teachers(config):
        known = sorted(chosen_on & set(splits_trained_on(card, data_name)))
        if known:
            yield (
                f"WARNING: the teacher {path} was trained on split {', '.join(known)} of "
                f"{data_name}, which validates this run: its figures there will be too good"
            )
