"""Whatever scores pairs of images: a model file, or an untrained method by name."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from changedet.baselines.mosaic import compute_in_tiles
from changedet.baselines.registry import Baseline, create_baseline
from changedet.card import ModelCard
from changedet.data.labels.scan import LabelEncoding
from changedet.data.reading import PairReader
from changedet.errors import ConfigError
from changedet.inference.counting import (
    LabelledPair,
    OnScore,
    count_scores,
    overlap_of,
)
from changedet.inference.detector import Detector, load, resolve_device
from changedet.inference.memory import keep_freed_memory
from changedet.inference.provenance import model_metadata
from changedet.inference.tiling import score_pairs
from changedet.inference.torch_scorer import Image
from changedet.metrics.histogram import ScoreHistogram
from changedet.raster.grid import round_up
from changedet.types import Mode, Normalisation, PixelType, TestTime

#: What the name of an untrained method begins with where a model file could stand.
BASELINE_PREFIX = "floor:"
#: Who chose a floor's own threshold.
OTSU_OF_EACH_IMAGE = "Otsu of each image"
_OTSU_SCORE = 0.5
_BASELINE_TILE_PX = 256
_CHANNELS = 3


class ScoreSource(Protocol):
    """Scores pairs of images; where the scores come from does not matter to who judges them."""

    @property
    def spec(self) -> str:
        """What it was opened with: the path of a model file, or ``floor:NAME``."""

    @property
    def title(self) -> str:
        """Name for tables."""

    @property
    def kind(self) -> Literal["model", "floor"]:
        """Whether it was trained."""

    @property
    def card(self) -> ModelCard | None:
        """What the model file says of it; None for a floor."""

    @property
    def in_channels(self) -> int:
        """Channels of an image."""

    @property
    def pixel_type(self) -> PixelType | None:
        """Kind of the stored values it takes; None: any."""

    @property
    def fill(self) -> Normalisation | None:
        """Statistics whose means stand where a date holds no image, for ``read_pair``."""

    @property
    def threshold(self) -> float | None:
        """Its own threshold, a score in [0, 1], if it has one."""

    @property
    def threshold_source(self) -> str | None:
        """Who chose that threshold."""

    @property
    def tile_px(self) -> int:
        """Its own height and width of a tile, in pixels."""

    @property
    def test_time(self) -> TestTime:
        """Turned, mirrored or coarser views of a tile whose scores are averaged."""

    @property
    def device(self) -> torch.device:
        """Where the scores lie."""

    def scores(
        self,
        pairs: Iterable[tuple[Image, Image]],
        *,
        mode: Mode,
        tile_px: int | None = None,
        batch_size: int = 8,
    ) -> Iterator[Tensor]:
        """Score many pairs, in their order, reading them one by one.

        Args:
            pairs: Before and after, stored values, (H, W, C); sizes may differ between pairs.
            mode: ``whole``: every image for itself, a model in overlapping tiles that fade into
                each other; ``grid``: tiles side by side, each without its surroundings.
            tile_px: Height and width of a tile instead of its own.
            batch_size: Tiles that go through a model at once; it does not change the scores.

        Returns:
            Scores, (H, W), float32 in [0, 1], on ``device``, one map a pair.

        Raises:
            ConfigError: If the tile or batch size makes no sense.
        """

    def facts(self) -> dict[str, Any]:
        """Identify it for a report, as plain JSON types."""


def is_baseline(spec: str | Path) -> bool:
    """Tell whether this names an untrained method rather than a model file."""
    return isinstance(spec, str) and spec.startswith(BASELINE_PREFIX)


def open_source(
    spec: str | Path,
    *,
    device: str = "auto",
    test_time: TestTime | None = None,
    channels: int | None = None,
    encoder: str | None = None,
    encoder_weights: str | None = None,
) -> ScoreSource:
    """Open a model file, or an untrained method by its name.

    Args:
        spec: Path of a model file, or ``floor:NAME`` with a name of
            :func:`changedet.baselines.registry.list_baselines`.
        device: As for :func:`changedet.inference.detector.resolve_device`.
        test_time: Views of a tile that a model averages, instead of its own choice.
        channels: Channels of the images that a floor shall take; None: 3.
        encoder: As for :func:`changedet.baselines.registry.create_baseline`.
        encoder_weights: As for :func:`changedet.baselines.registry.create_baseline`.

    Raises:
        ConfigError: If there is no such floor or device, or an option does not fit the source.
        CheckpointError: If the model file or the encoder's weights cannot be used.
        MissingExtraError: If the encoder's weights are a package that is not installed.
    """
    if not is_baseline(spec):
        _refuse(
            {"channels": channels, "encoder": encoder, "encoder-weights": encoder_weights},
            f"is for floors, {spec} says by itself what it takes",
        )
        detector = load(spec, device=device, test_time=test_time)
        keep_freed_memory(detector.device)
        return ModelSource(Path(spec), detector)
    _refuse({"test-time": test_time}, f"is for models, {spec} is none")
    channels = _CHANNELS if channels is None else channels
    place = resolve_device(device)
    keep_freed_memory(place)
    floor = create_baseline(
        str(spec).removeprefix(BASELINE_PREFIX),
        channels=channels,
        encoder=encoder,
        encoder_weights=encoder_weights,
        device=place,
    )
    return BaselineSource(str(spec), floor, channels, place)


def _refuse(options: Mapping[str, object], reason: str) -> None:
    given = [f"--{name}" for name, value in options.items() if value is not None]
    if given:
        raise ConfigError(f"{given[0]} {reason}; leave it out")


def reader_for(source: ScoreSource, encoding: LabelEncoding) -> PairReader:
    """Read labelled pairs as prediction would show them to a source."""
    return PairReader(encoding, source.in_channels, source.fill)


def count_source(
    source: ScoreSource,
    samples: Iterable[LabelledPair],
    *,
    mode: Mode = "whole",
    tile_px: int | None = None,
    batch_size: int = 8,
    extra_thresholds: Sequence[float] = (),
    on_score: OnScore | None = None,
) -> ScoreHistogram:
    """Count labelled pairs by their scores, in memory that does not grow with their number.

    Args:
        source: Where the scores come from.
        samples: Labelled pairs, read one by one, as :func:`reader_for` reads them.
        mode: As for :meth:`ScoreSource.scores`.
        tile_px: As for :meth:`ScoreSource.scores`.
        batch_size: As for :meth:`ScoreSource.scores`.
        extra_thresholds: Scores at which the counts must be exact, besides the usual ones; the
            source's own threshold always is.
        on_score: Called with each pair's number and scores, in order.

    Raises:
        DataError: If there is no pair, or a label's size is not that of its images.
        ConfigError: If a threshold, tile or batch size makes no sense.
    """
    own = () if source.threshold is None else (source.threshold,)
    return count_scores(
        lambda images: source.scores(images, mode=mode, tile_px=tile_px, batch_size=batch_size),
        samples,
        device=source.device,
        at_once=batch_size,
        extra_thresholds=(*extra_thresholds, *own),
        on_score=on_score,
    )


@dataclass(frozen=True, eq=False)
class ModelSource:
    """A trained model."""

    path: Path
    detector: Detector
    kind: Literal["model", "floor"] = "model"

    @property
    def spec(self) -> str:
        """Path of the model file."""
        return str(self.path)

    @property
    def title(self) -> str:
        """Name of the model file."""
        return self.path.name

    @property
    def card(self) -> ModelCard:
        """What the model file says of it."""
        return self.detector.card

    @property
    def in_channels(self) -> int:
        """Channels of an image."""
        return self.detector.in_channels

    @property
    def pixel_type(self) -> PixelType:
        """Kind of the values that it was trained on."""
        return self.card.pixel_type

    @property
    def fill(self) -> Normalisation:
        """Statistics of its training images."""
        return self.card.normalisation

    @property
    def threshold(self) -> float | None:
        """The threshold stored with it."""
        return self.detector.threshold

    @property
    def threshold_source(self) -> str | None:
        """Who chose the stored threshold."""
        return self.card.threshold_source

    @property
    def tile_px(self) -> int:
        """Tile size of its training, in multiples of its stride."""
        return self.detector.tile_px

    @property
    def test_time(self) -> TestTime:
        """Views of a tile whose scores are averaged: its own choice, or what was asked for."""
        return self.detector.test_time

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.detector.device

    def scores(
        self,
        pairs: Iterable[tuple[Image, Image]],
        *,
        mode: Mode,
        tile_px: int | None = None,
        batch_size: int = 8,
    ) -> Iterator[Tensor]:
        """Score many pairs, see :meth:`ScoreSource.scores`."""
        model = self.detector.model
        tile_px = round_up(self.tile_px if tile_px is None else tile_px, model.stride)
        return score_pairs(
            model,
            pairs,
            normalisation=self.card.normalisation,
            tile_px=tile_px,
            overlap_px=overlap_of(mode, tile_px),
            batch_size=batch_size,
            device=self.device,
            test_time=self.test_time,
        )

    def facts(self) -> dict[str, Any]:
        """Name, checksum, architecture and training data."""
        return model_metadata(self.path, self.card)


@dataclass(frozen=True, eq=False)
class BaselineSource:
    """An untrained method, whose own threshold is Otsu's of each image."""

    spec: str
    floor: Baseline
    channels: int
    device: torch.device
    kind: Literal["model", "floor"] = "floor"
    card: None = None
    pixel_type: None = None
    fill: None = None
    threshold: float = _OTSU_SCORE
    threshold_source: str = OTSU_OF_EACH_IMAGE
    tile_px: int = _BASELINE_TILE_PX
    test_time: TestTime = "none"

    @property
    def title(self) -> str:
        """What the method is called."""
        return self.floor.title

    @property
    def in_channels(self) -> int:
        """Channels of an image."""
        return self.floor.in_channels or self.channels

    def scores(
        self,
        pairs: Iterable[tuple[Image, Image]],
        *,
        mode: Mode,
        tile_px: int | None = None,
        batch_size: int = 8,
    ) -> Iterator[Tensor]:
        """Score many pairs, see :meth:`ScoreSource.scores`."""
        side = self.tile_px if tile_px is None else tile_px
        for name, value in (("tile size", side), ("batch size", batch_size)):
            if value < 1:
                raise ConfigError(f"the {name} must be at least 1, got {value}")
        return self._score_each(pairs, None if mode == "whole" else side)

    def _score_each(
        self, pairs: Iterable[tuple[Image, Image]], tile_px: int | None
    ) -> Iterator[Tensor]:
        for before, after in pairs:
            if tile_px is None:
                score = self.floor.score(before, after)
            else:
                score = compute_in_tiles(
                    self.floor.score, before, after, tile_px=tile_px, overlap_px=0
                )
            yield torch.from_numpy(score).to(self.device)

    def facts(self) -> dict[str, Any]:
        """Name and title of the method."""
        return {"floor": self.floor.name, "title": self.title, **self.floor.options}
