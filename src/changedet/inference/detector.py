"""A trained model ready for use: two images in, a change map out."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from numpy.typing import NDArray

from changedet.card import ModelCard
from changedet.choices import check_choice
from changedet.errors import ConfigError, DataError
from changedet.inference.tiling import score_pairs
from changedet.inference.torch_scorer import Image
from changedet.models.base import ChangeModel
from changedet.models.model_file import load_model
from changedet.raster.grid import default_overlap, round_up
from changedet.types import PixelType, TestTime


@dataclass(frozen=True, eq=False)
class Prediction:
    """What changed between two images.

    Attributes:
        score: Change score of each pixel, (H, W), float32 in [0, 1] (half the distance, spec 5).
        threshold: Score from which on a pixel counts as changed, if one is known.
    """

    score: NDArray[np.float32]
    threshold: float | None = None

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Where the score reaches the threshold, (H, W).

        Raises:
            ConfigError: If neither the model nor the caller gave a threshold.
        """
        if self.threshold is None:
            raise ConfigError(
                "the model has no threshold of its own and none was given, so there is no mask; "
                "give one (threshold=... in Python, --threshold on the command line); "
                "`changedet calibrate` chooses one on a validation split"
            )
        return self.score >= np.float32(self.threshold)


class Detector:
    """Finds what changed between image pairs of any size.

    Attributes:
        model: The network, on ``device``.
        card: What the model file says of it.
        device: Where it computes.
        test_time: Turned, mirrored or coarser views of a tile whose scores are averaged.
    """

    def __init__(
        self,
        model: ChangeModel,
        card: ModelCard,
        *,
        device: str = "auto",
        test_time: TestTime | None = None,
    ) -> None:
        """Move a model to a device and make it ready.

        Args:
            model: The network; it is moved, not copied.
            card: Its normalisation, tile size and threshold.
            device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
            test_time: Views of a tile to average, instead of the card's own choice.

        Raises:
            ConfigError: If the device is unknown or absent, or there is no such test-time
                augmentation.
        """
        self.test_time = card.test_time if test_time is None else test_time
        check_choice("test_time", self.test_time, get_args(TestTime))
        self.device = resolve_device(device)
        self.model = model.to(self.device).to(memory_format=torch.channels_last)
        self.card = card

    @property
    def threshold(self) -> float | None:
        """The threshold stored with the model, a score in [0, 1]."""
        return self.card.threshold

    @property
    def in_channels(self) -> int:
        """Number of channels of an input image."""
        return self.model.in_channels

    @property
    def tile_px(self) -> int:
        """Height and width of the tiles: those of the training, in multiples of the stride."""
        return round_up(self.card.tile_px, self.model.stride)

    def predict(self, before: Image, after: Image, *, threshold: float | None = None) -> Prediction:
        """Score the change between two images of one size.

        Args:
            before: (H, W, C), uint8 RGB for most models, else the values that the card's
                ``pixel_type`` names; (H, W) too for a model of one channel.
            after: The same shape as ``before``.
            threshold: Score in [0, 1] to use instead of the model's own.

        Raises:
            ConfigError: If the threshold is out of range.
            DataError: If the images do not fit each other or the model.
        """
        return next(self.predict_batch([(before, after)], threshold=threshold))

    def predict_batch(
        self,
        pairs: Iterable[tuple[Image, Image]],
        *,
        batch_size: int = 8,
        threshold: float | None = None,
    ) -> Iterator[Prediction]:
        """Score many pairs, in their order; they are taken one by one, as they are needed.

        Args:
            pairs: As for :meth:`predict`; sizes may differ between pairs.
            batch_size: Tiles that go through the model at once; it does not change the result.
            threshold: Score in [0, 1] to use instead of the model's own.

        Raises:
            ConfigError: If the threshold or the batch size is out of range.
            DataError: If a pair does not fit together or the model.
        """
        threshold = self.threshold if threshold is None else checked_threshold(threshold)
        scores = score_pairs(
            self.model,
            (
                _checked_pair(pair, self.in_channels, pixel_type=self.card.pixel_type)
                for pair in pairs
            ),
            normalisation=self.card.normalisation,
            tile_px=self.tile_px,
            overlap_px=default_overlap(self.tile_px),
            batch_size=batch_size,
            device=self.device,
            test_time=self.test_time,
        )
        return (Prediction(score.cpu().numpy(), threshold) for score in scores)


def load(path: str | Path, *, device: str = "auto", test_time: TestTime | None = None) -> Detector:
    """Open a model file, ready to predict.

    Args:
        path: Of the model file.
        device: As for :class:`Detector`.
        test_time: As for :class:`Detector`.

    Raises:
        CheckpointError: If the file is no model file of this package.
        ConfigError: If the device is unknown or absent, or there is no such test-time augmentation.
    """
    model, card = load_model(path)
    return Detector(model, card, device=device, test_time=test_time)


def resolve_device(name: str) -> torch.device:
    """Turn a device's name into a device that is there.

    Args:
        name: ``auto`` (the first there is of CUDA, MPS, CPU) or a name as torch writes it.

    Raises:
        ConfigError: If the name is unknown or the machine has no such device.
    """
    if name == "auto":
        return next(device for device in map(torch.device, _PREFERRED) if _is_there(device))
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(
            f"unknown device {name!r}; use auto, {', '.join(_PREFERRED)} or, for one of several "
            "GPUs, for example cuda:1"
        ) from error
    if not _is_there(device):
        raise ConfigError(f"this machine has no device {name!r}; use auto or cpu")
    return device


def checked_threshold(threshold: float) -> float:
    """Let a threshold through that is a score.

    Raises:
        ConfigError: If it is not in [0, 1].
    """
    if not 0.0 <= threshold <= 1.0:
        raise ConfigError(
            f"a threshold is a score in [0, 1], got {threshold:g}; "
            "a score is half the distance, so halve a distance to get it"
        )
    return threshold


_PREFERRED = ("cuda", "mps", "cpu")


def _is_there(device: torch.device) -> bool:
    if device.type == "cuda":
        return (device.index or 0) < torch.cuda.device_count()
    if device.type == "mps":
        return torch.backends.mps.is_available()
    return device.type == "cpu"


def _checked_pair(
    pair: tuple[Image, Image], channels: int, *, pixel_type: PixelType
) -> tuple[Image, Image]:
    """Bring both images to (H, W, C) and check that they fit each other and the model."""
    before, after = (
        _checked_image(_checked_type(image, date, pixel_type), date, channels)
        for image, date in zip(pair, ("before", "after"), strict=True)
    )
    if before.shape != after.shape:
        raise DataError(
            "the two images must be of one size, got "
            f"{before.shape[1]}x{before.shape[0]} before and {after.shape[1]}x{after.shape[0]} "
            "after (width x height); cut or resample one of them"
        )
    return before, after


def _checked_type(image: Image, date: str, pixel_type: PixelType) -> Image:
    """Let values through that are like those of the training; wider ones become float32."""
    if pixel_type == "uint8":
        if image.dtype != np.uint8:
            raise DataError(
                f"the {date} image must hold 8-bit values (uint8, 0..255), got {image.dtype}; "
                "scale it to 0..255 and convert it"
            )
        return image
    is_float = image.dtype.kind == "f"
    if not (is_float or (pixel_type == "uint16" and image.dtype == np.uint16)):
        raise DataError(
            f"the {date} image must hold values as the model was trained on ({pixel_type}, or the "
            f"same numbers as float32), got {image.dtype}; give the image unscaled"
        )
    return image.astype(np.float32)


def _checked_image(image: Image, date: str, channels: int) -> Image:
    if image.ndim == 2 and channels == 1:
        image = image[:, :, None]
    if image.ndim != 3 or image.shape[2] != channels or image.size == 0:
        raise DataError(
            f"the {date} image must have the shape (height, width, {channels}), "
            f"got {tuple(image.shape)}; the model was made for {channels} channel(s)"
        )
    return image
