"""Whatever scores pairs of images under judgement: a model file, or a baseline by name."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from changedet.baselines.registry import create_baseline
from changedet.card import ModelCard
from changedet.data.reading import PairReader
from changedet.errors import ConfigError
from changedet.inference.counting import count_scores
from changedet.inference.detector import Detector, load
from changedet.inference.devices import resolve_device
from changedet.inference.memory import keep_freed_memory
from changedet.inference.scorer import HostScorer
from changedet.inference.tiling import overlap_of, score_pairs
from changedet.selection import Selection
from changedet.types import Normalisation

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from changedet.baselines.registry import Baseline
    from changedet.data.labelled import DecodedPair
    from changedet.data.labels.encoding import LabelEncoding
    from changedet.inference.counting import OnScore
    from changedet.inference.scorer import Image
    from changedet.metrics.histogram import ScoreHistogram
    from changedet.types import Mode, PixelType, TestTime

#: What the name of a baseline begins with where a model file could stand, and its older form.
BASELINE_PREFIX = "baseline:"
OLDER_PREFIX = "floor:"
_OTSU_SCORE = 0.5
#: Tile of a baseline where images are cut into tiles; whole images are one tile each.
_BASELINE_TILE_PX = 256
_WHOLE_PX = 2**31
_CHANNELS = 3


@dataclass(frozen=True, eq=False)
class ScoreSource:
    """A detector with the name under which it is judged.

    Attributes:
        spec: What it was opened with: the path of a model file, or ``baseline:NAME``.
        title: Name for tables.
        kind: Whether it was trained.
        detector: Scores pairs.
        metadata: Identifies it for a report, as plain JSON types.
    """

    spec: str
    title: str
    kind: Literal["model", "baseline"]
    detector: Detector
    metadata: dict[str, Any] = field(repr=False)

    @property
    def card(self) -> ModelCard | None:
        """What the model file says; None for a baseline, which has seen no image."""
        return self.detector.card if self.kind == "model" else None

    @property
    def pixel_type(self) -> PixelType | None:
        """Kind of the stored values it takes; None: any."""
        return None if self.card is None else self.card.pixel_type

    @property
    def fill(self) -> Normalisation | None:
        """Statistics whose means stand where a date holds no image; None: zeros."""
        return None if self.card is None else self.card.normalisation

    def reader(self, encoding: LabelEncoding) -> PairReader:
        """Read labelled pairs as prediction would show them."""
        return PairReader(encoding, self.detector.in_channels, self.fill)

    def score(self, pair: DecodedPair, *, mode: Mode = "whole") -> NDArray[np.float32]:
        """Score one pair, (H, W), float32 in [0, 1]."""
        scorer = self.detector.scorer
        tile_px = self._tile_px(mode, None)
        scored = score_pairs(
            scorer,
            [pair],
            images=lambda pair: (pair.before, pair.after),
            tile_px=tile_px,
            overlap_px=overlap_of(mode, tile_px),
            batch_size=1,
        )
        return scorer.to_host(next(scored)[1])

    def count(
        self,
        pairs: Iterable[DecodedPair],
        *,
        mode: Mode = "whole",
        tile_px: int | None = None,
        batch_size: int = 8,
        extra_thresholds: Sequence[float] = (),
        on_score: OnScore | None = None,
    ) -> ScoreHistogram:
        """Count labelled pairs by their scores, see :func:`.counting.count_scores`."""
        return count_scores(
            self.detector.scorer,
            pairs,
            mode=mode,
            tile_px=self._tile_px(mode, tile_px),
            batch_size=batch_size,
            extra_thresholds=extra_thresholds,
            on_score=on_score,
        )

    def _tile_px(self, mode: Mode, tile_px: int | None) -> int:
        """Baselines look at a whole image at once, since they measure each image by itself."""
        if self.kind == "baseline" and mode == "whole":
            return _WHOLE_PX
        return self.detector.tile_px if tile_px is None else tile_px


class ImageBaseline(HostScorer):
    """A baseline that measures each image, or tile, by itself; Otsu's threshold lies at 0.5.

    Args:
        baseline: Scores an image.
        channels: Channels of the images, where the baseline takes any number.
    """

    stride = 1
    fixed_tile = False
    test_time: TestTime = "none"

    def __init__(self, baseline: Baseline, *, channels: int) -> None:
        self.in_channels = baseline.in_channels or channels
        self._baseline = baseline
        nothing, one = (0.0,) * self.in_channels, (1.0,) * self.in_channels
        self.card = ModelCard(
            architecture=f"{BASELINE_PREFIX}{baseline.name}",
            options=dict(baseline.options),
            normalisation=Normalisation(nothing, nothing, one, one),
            tile_px=_BASELINE_TILE_PX,
            threshold=_OTSU_SCORE,
            threshold_selection=Selection("otsu"),
        )

    def score(self, before: Sequence[Image], after: Sequence[Image]) -> NDArray[np.float32]:
        """Score images, or tiles, each by itself, (B, h, w), float32 in [0, 1]."""
        return np.stack([self._baseline.score(*pair) for pair in zip(before, after, strict=True)])


def is_baseline(spec: str | Path) -> bool:
    """Tell whether this names a baseline rather than a model file."""
    return isinstance(spec, str) and spec.startswith((BASELINE_PREFIX, OLDER_PREFIX))


def full_name(spec: str) -> str:
    """Give the present name of a baseline that is named in the older form; a path as it is."""
    return (
        f"{BASELINE_PREFIX}{spec.removeprefix(OLDER_PREFIX)}"
        if spec.startswith(OLDER_PREFIX)
        else spec
    )


def open_source(
    spec: str | Path,
    *,
    device: str = "auto",
    test_time: TestTime | None = None,
    channels: int | None = None,
    encoder: str | None = None,
    encoder_weights: str | None = None,
) -> ScoreSource:
    """Open a model file, or a baseline by its name.

    Args:
        spec: Path of a model file, or ``baseline:NAME`` with a name of
            :func:`changedet.baselines.registry.list_baselines` (``floor:NAME`` means the same).
        device: As for :func:`changedet.inference.devices.resolve_device`.
        test_time: Views of a tile that a model averages, instead of its own choice.
        channels: Channels of the images that a baseline shall take; None: 3.
        encoder: As for :func:`changedet.baselines.registry.create_baseline`.
        encoder_weights: As for :func:`changedet.baselines.registry.create_baseline`.

    Raises:
        ConfigError: If there is no such baseline or device, or an option does not fit the source.
        CheckpointError: If the model file or the encoder's weights cannot be used.
        MissingExtraError: If the encoder's weights are a package that is not installed.
    """
    if not is_baseline(spec):
        _refuse(
            {"channels": channels, "encoder": encoder, "encoder-weights": encoder_weights},
            f"applies to baselines only; {spec} defines its own",
        )
        return model_source(load(spec, device=device, test_time=test_time))
    _refuse({"test-time": test_time}, f"applies to models only; {spec} is a baseline")
    place = resolve_device(device)
    keep_freed_memory(str(place))
    spec = full_name(str(spec))
    name = spec.removeprefix(BASELINE_PREFIX)
    baseline = create_baseline(
        name,
        channels=channels or _CHANNELS,
        encoder=encoder,
        encoder_weights=encoder_weights,
        device=place,
    )
    return ScoreSource(
        spec=spec,
        title=baseline.title,
        kind="baseline",
        detector=Detector(ImageBaseline(baseline, channels=channels or _CHANNELS)),
        metadata={"baseline": name, "title": baseline.title, **baseline.options},
    )


def model_source(detector: Detector) -> ScoreSource:
    """Judge a model under the name of its file."""
    keep_freed_memory(detector.device_name)
    path = detector.path or Path(detector.card.architecture)
    return ScoreSource(str(path), path.name, "model", detector, detector.metadata)


def _refuse(options: Mapping[str, object], reason: str) -> None:
    given = [f"--{name}" for name, value in options.items() if value is not None]
    if given:
        raise ConfigError(f"{given[0]} {reason}. Remove it.")
