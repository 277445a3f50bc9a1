"""The methods of a benchmark, opened and weighed."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from changedet.baselines.names import BASELINE_PREFIX, full_name, is_baseline, list_baselines
from changedet.errors import ChangeDetError, ConfigError
from changedet.evaluation.benchmark.request import AccuracyRequest
from changedet.evaluation.cost import Cost, measure_cost
from changedet.inference.opening import open_detector
from changedet.inference.score_source import ScoreSource, source_of

#: Height and width of the pair whose operations are counted.
COST_SIDE_PX = 256
_MEGABYTE = 1e6
#: The one untrained method that has an encoder.
_DEEP = f"{BASELINE_PREFIX}deep_difference"


@dataclass(frozen=True, eq=False)
class Method:
    """One row of the benchmark.

    Attributes:
        source: Gives the scores.
        title: Name for tables, different for every row.
        cost: Parameters and operations of a network; None for an untrained baseline.
        file_mb: Size of the model file in 10^6 bytes; None for an untrained baseline.
    """

    source: ScoreSource
    title: str
    cost: Cost | None
    file_mb: float | None


def open_methods(request: AccuracyRequest, *, say: Callable[[str], None]) -> list[Method]:
    """Open everything to be evaluated: models in the given order, then baselines.

    A baseline that was not named and cannot be opened is left out, with a message.

    Raises:
        ConfigError: If a method does not exist, has no threshold of its own where it needs one, or
            an option fits none of them.
        CheckpointError: If a model file, or the encoder's weights that were named, cannot be used.
    """
    asked = [full_name(spec) for spec in request.methods]
    _check_options(request, asked)
    channels = None if request.bands is None else len(request.bands)
    opened = [
        _open(request, spec, channels=channels if is_baseline(spec) else None) for spec in asked
    ]
    if request.kind is not None and not any(source.detector.kind for source in opened):
        raise ConfigError(
            "`kind` is for models that tell kinds of change apart, and none is given; remove it"
        )
    _check_thresholds(request, opened)
    channels = opened[0].detector.in_channels if opened else channels
    named = set(asked)
    for name in list_baselines() if request.baselines == "all" else ():
        spec = f"{BASELINE_PREFIX}{name}"
        if spec in named:
            continue
        try:
            opened.append(_open(request, spec, channels=channels))
        except ChangeDetError as error:
            if spec == _DEEP and request.encoder_weights is not None:
                raise
            say(f"{spec} is skipped: {error}")
    if not opened:
        raise ConfigError("none of the untrained methods can be used here; pass a model file")
    times = Counter(source.title for source in opened)
    return [
        _weighed(source, source.title if times[source.title] == 1 else source.spec)
        for source in opened
    ]


def _open(request: AccuracyRequest, spec: str, *, channels: int | None) -> ScoreSource:
    """Open a method with those of the options that are for its kind."""
    detector = open_detector(
        spec,
        device=request.device,
        test_time=None if is_baseline(spec) else request.test_time,
        channels=channels,
        encoder_weights=request.encoder_weights if spec == _DEEP else None,
    )
    # A model that finds one kind of change is compared with others by that.
    return source_of(detector.for_kind(request.kind) if detector.card.kinds else detector)


def _check_options(request: AccuracyRequest, asked: Sequence[str]) -> None:
    if request.test_time is not None and all(map(is_baseline, asked)):
        raise ConfigError("`test_time` applies to models only, and none is given; remove it")
    is_deep = request.baselines == "all" or _DEEP in asked
    if request.encoder_weights is not None and not is_deep:
        raise ConfigError(
            f"`encoder_weights` applies to {_DEEP} only, which is not evaluated here; remove it"
        )


def _check_thresholds(request: AccuracyRequest, sources: list[ScoreSource]) -> None:
    if request.threshold != "stored":
        return
    lacking = next((source for source in sources if source.detector.threshold is None), None)
    if lacking is not None:
        raise ConfigError(
            f"{lacking.spec} has no threshold; have one chosen on another split "
            '(`threshold="split"` and `threshold_split="val"`)'
        )


def _weighed(source: ScoreSource, title: str) -> Method:
    if source.kind == "baseline":
        return Method(source, title, None, None)
    file_mb = Path(source.spec).stat().st_size / _MEGABYTE
    if source.detector.runtime != "torch":
        # Operations are counted in a network of PyTorch; an exported graph is none.
        return Method(source, title, None, file_mb)
    cost = measure_cost(
        source.detector.model,
        side_px=COST_SIDE_PX,
        channels=source.detector.in_channels,
        test_time=source.detector.test_time,
    )
    return Method(source, title, cost, file_mb)
