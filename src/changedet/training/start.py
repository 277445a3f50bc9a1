"""What a training run begins with: the network, its optimiser and where it stands."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch

from changedet.errors import CheckpointError, ConfigError
from changedet.model_search import find_model
from changedet.models.base import ChangeModel, EncoderModel, for_kinds
from changedet.models.model_file import load_model
from changedet.training.averaging import AveragedModel
from changedet.training.build import build_optimizer, build_seeded_model
from changedet.training.checkpoint import TrainingPosition, load_checkpoint
from changedet.training.config import ExperimentConfig
from changedet.training.opening import network_note
from changedet.training.ranks import Ranks
from changedet.training.request import TrainRequest
from changedet.training.run_folder import CHECKPOINTS, LAST
from changedet.training.same_data import check_same_files


class Trained(NamedTuple):
    """The network in training, and all that moves on with it.

    Attributes:
        model: Its weights are optimised.
        optimizer: Optimises them.
        average: Moving average of the weights; None: there is none.
        progress: Where the training starts.
    """

    model: EncoderModel
    optimizer: torch.optim.Optimizer
    average: AveragedModel | None
    progress: TrainingPosition

    @property
    def judged(self) -> ChangeModel:
        """What is validated and exported."""
        return self.model if self.average is None else self.average.module


def begin(
    request: TrainRequest,
    config: ExperimentConfig,
    *,
    device: torch.device,
    ranks: Ranks,
    say: Callable[[str], None],
) -> Trained:
    """Build the network and what moves on with it, and put both where the training starts.

    Args:
        request: Whether the run begins, from which weights, or resumes.
        config: Its settings.
        device: Where it computes.
        ranks: The processes that train together.
        say: Gets a sentence on the network.

    Raises:
        ConfigError: If the network cannot take crops of the size that is set.
        CheckpointError: If weights do not fit it.
        DataError: If not all processes see the checkpoint.
    """
    replaced = request.mode == "resume" or request.init is not None
    # The main process first: it may fetch weights that the others then find.
    model = ranks.after_main(lambda: build_seeded_model(config, pretrained=not replaced))
    _check_crop(model, config)
    if request.init is not None:
        _initialise(model, request.init)
    start = "checkpoint" if request.mode == "resume" else request.init
    say(network_note(config, model, start=start))
    model.to(device).to(memory_format=torch.channels_last)
    optimizer = build_optimizer(config, model)
    decay = config.training.ema_decay
    average = None if decay is None else AveragedModel(model, decay=decay)
    progress = TrainingPosition(epoch=request.start_epoch or 1)
    if request.mode == "resume":
        last = request.out / CHECKPOINTS / LAST
        check_same_files(ranks, last)
        progress = load_checkpoint(last, model=model, optimizer=optimizer, average=average)
    return Trained(model, optimizer, average, progress)


def move_to_epoch(progress: TrainingPosition, epoch: int | None) -> str:
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
