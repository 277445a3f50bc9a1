"""Train and evaluate in one call, with the settings by name."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from changedet.choices import nearest
from changedet.data.file_names import find_mixture
from changedet.errors import ConfigError
from changedet.evaluation.request import EvaluationRequest
from changedet.training.launch import read_launch
from changedet.training.request import TrainRequest, check_request
from changedet.training.restart import settle_restart
from changedet.view.review_of_run import data_of_run

if TYPE_CHECKING:
    from changedet.evaluation.mixture_results import MixtureEvaluationResults
    from changedet.evaluation.results import EvaluationResults
    from changedet.training.callbacks import TrainingCallback
    from changedet.training.checkpoint import TrainingPosition
    from changedet.types import Progress


class TrainedModel(NamedTuple):
    """A training run that has ended.

    Attributes:
        path: The best model so far, which :func:`changedet.load` opens; None: there is none yet.
        progress: The last position.
        signal: Number of the signal that stopped it early, if one did.
    """

    path: Path | None
    progress: TrainingPosition
    signal: int | None


def train(
    data: str | Path | None,
    out: str | Path,
    *,
    recipe: str | Path | None = None,
    settings: Mapping[str, object] | Iterable[str] = (),
    init: str | Path | None = None,
    start_epoch: int | None = None,
    device: str = "auto",
    mode: Literal["new", "resume", "overwrite"] = "new",
    callbacks: Sequence[TrainingCallback] = (),
    say: Callable[[str], None] = lambda message: None,
) -> TrainedModel:
    """Train a model, as ``changedet train`` does.

    A script that torchrun starts several times trains one model in all its processes together.

    Example:
        >>> trained = changedet.train("pairs", "run", settings={"training.epochs": 2})
        >>> detector = changedet.load(trained.path)

    Args:
        data: Folder of the data set, manifest of scenes, or ``review.gpkg`` with verdicts on a
            result; None: that of the run to resume.
        out: Folder of the run.
        recipe: Recipe name or YAML file; None: the default recipe, or the run's own on resume.
        settings: Changes to it: ``{"training.epochs": 2}`` or ``["training.epochs=2"]``.
        init: Model file whose weights training starts from.
        start_epoch: Epoch, from 1, at which the schedule starts.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        mode: What to do about a run that is already in ``out``.
        callbacks: Called during training, in addition to the records that are always written.
        say: Gets sentences for the user.

    Raises:
        ConfigError: For a faulty setting, or a folder that holds another run.
        DataError: For data that cannot be trained on.
        TrainingError: If the loss is not finite.
        StorageError: If results cannot be written.
        MissingExtraError: If a package that training needs is not installed.
    """
    launch = read_launch()
    request = TrainRequest(
        out=Path(out),
        data=None if data is None else Path(data),
        recipe=None if recipe is None else str(recipe),
        overrides=_as_overrides(settings),
        init=None if init is None else Path(init),
        start_epoch=start_epoch,
        device=device,
        mode=mode,
    )
    with contextlib.ExitStack() as stack:
        # Of several processes the first one settles what is asked for, and where the data is.
        if launch.is_main:
            request = settle_restart(request, launch)
            labelled = data_of_run(request.data, request.out, mode=request.mode, say=say)
            request = replace(request, data=stack.enter_context(labelled))
            check_request(request)
        from changedet.training.run import run_training

        outcome = run_training(request, callbacks=callbacks, say=say, launch=launch)
    best = request.out / "best.safetensors"
    return TrainedModel(best if best.is_file() else None, outcome.progress, outcome.signal)


def evaluate(
    model: str | Path,
    data: str | Path,
    *,
    out: str | Path,
    split: str = "test",
    threshold: float | None = None,
    device: str = "auto",
    say: Callable[[str], None] = lambda message: None,
    progress: Progress | None = None,
    **options: Any,  # noqa: ANN401
) -> EvaluationResults | MixtureEvaluationResults:
    """Evaluate a model or an untrained baseline, as ``changedet evaluate`` does.

    Example:
        >>> results = changedet.evaluate("run/best.safetensors", "pairs", out="judged")
        >>> results.fixed_threshold.f1

    Args:
        model: Model file, or ``baseline:NAME``.
        data: Folder of the data set, manifest of scenes, or mixture of data sets, each of which is
            then evaluated by itself.
        out: Folder for the results.
        split: Name of the split to report.
        threshold: Score in [0, 1] to use instead of the model's own.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        say: Gets sentences for the user.
        progress: Called after each pair.
        options: Other fields of :class:`changedet.evaluation.request.EvaluationRequest`.

    Returns:
        All that was found, as it stands in ``metrics.json``; of a mixture the figures of each set.

    Raises:
        ConfigError: If a setting is wrong or ``out`` is not free.
        DataError: If the data set, a pair or a label cannot be used.
        CheckpointError: If the model file cannot be used.
        StorageError: If the results cannot be written.
        MissingExtraError: If a package that the model needs is not installed.
    """
    names = [field.name for field in fields(EvaluationRequest)]
    unknown = sorted(options.keys() - set(names))
    if unknown:
        raise ConfigError(f"unknown setting {unknown[0]!r}; {nearest(unknown[0], names)}")
    request = EvaluationRequest(
        model=str(model),
        data=Path(data),
        out=Path(out),
        split=split,
        threshold=threshold,
        device=device,
        **options,
    )
    from changedet.evaluation.evaluate import evaluate_model
    from changedet.evaluation.evaluate_mixture import evaluate_mixture

    judge = evaluate_model if find_mixture(request.data) is None else evaluate_mixture
    return judge(request, say=say, progress=progress)


def _as_overrides(settings: Mapping[str, object] | Iterable[str]) -> tuple[str, ...]:
    """Write settings as on the command line; lists and nothing as JSON, which YAML reads."""
    if not isinstance(settings, Mapping):
        return tuple(settings)
    return tuple(
        f"{name}={value if isinstance(value, str) else json.dumps(value)}"
        for name, value in settings.items()
    )
