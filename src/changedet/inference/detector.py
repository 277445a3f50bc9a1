"""A trained model, or another scorer, ready for use: two images in, a change map out."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from changedet.card import check_threshold
from changedet.errors import DataError
from changedet.inference.inputs import AnyImage, ImagePair, open_images
from changedet.inference.prediction import Prediction
from changedet.inference.provenance import model_metadata
from changedet.inference.scorer import SceneFitted
from changedet.inference.tiling import WHOLE_PX, score_pairs
from changedet.model_search import find_model
from changedet.raster.grid import round_up

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import torch

    from changedet.card import ModelCard
    from changedet.inference.scorer import Image, Scorer
    from changedet.models.base import ChangeModel
    from changedet.raster.tile_plan import Resident
    from changedet.types import PixelType, TestTime

__all__ = ("Detector", "Prediction", "load")


class Detector:
    """Finds what changed between image pairs of any size, with any scorer of tiles.

    It holds the model in memory and knows its checksum: made once, it serves any number of image
    pairs and scenes.

    Attributes:
        scorer: What scores the tiles.
        path: The model file it came from; None: it came from none.
    """

    def __init__(self, scorer: Scorer, *, path: Path | None = None) -> None:
        self.scorer = scorer
        self.path = path

    @property
    def card(self) -> ModelCard:
        """What is known of the model."""
        return self.scorer.card

    @property
    def model(self) -> ChangeModel:
        """The network of PyTorch.

        Raises:
            AttributeError: If the scorer holds none.
        """
        model: ChangeModel = self.scorer.model  # type: ignore[attr-defined]  # see Raises
        return model

    @property
    def device_name(self) -> str:
        """Where it computes, such as ``cpu`` or ``cuda:0``."""
        return self.scorer.device_name

    @property
    def device(self) -> torch.device:
        """Where it computes, as PyTorch names it; ``device_name`` does without PyTorch."""
        import torch

        return torch.device(self.device_name)

    @property
    def test_time(self) -> TestTime:
        """Rotated, mirrored or coarser views of a tile whose scores are averaged."""
        return self.scorer.test_time

    @property
    def threshold(self) -> float | None:
        """The threshold stored with the model, a score in [0, 1]."""
        return self.card.threshold

    @property
    def in_channels(self) -> int:
        """Number of channels of an input image."""
        return self.scorer.in_channels

    @property
    def tile_px(self) -> int:
        """Height and width of the tiles: those of the training, in multiples of the stride."""
        return round_up(self.card.tile_px, self.scorer.stride)

    @cached_property
    def metadata(self) -> dict[str, Any]:
        """Identify the model for a report: file, checksum, architecture, training data."""
        return model_metadata(self.path, self.card)

    def predict(
        self, before: AnyImage, after: AnyImage, *, threshold: float | None = None
    ) -> Prediction:
        """Score the change between two images of one size.

        Args:
            before: A path, a Pillow image, an array (H, W, C), or a tensor (C, H, W) or
                (1, C, H, W): uint8 RGB for most models, else the values that the card's
                ``pixel_type`` names; (H, W) too for a model of one channel. Two paths of rasters,
                such as GeoTIFFs, are aligned by their georeference and cut to what they have in
                common; for files as results, and for large ones, see
                :func:`changedet.predict.rasters.predict_scene`.
            after: The same at the later date.
            threshold: Score in [0, 1] to use instead of the model's own.

        Returns:
            Scores, mask and pictures; where a raster has no data, the score is 0.

        Raises:
            ConfigError: If the threshold is out of range.
            DataError: If the images cannot be read, or do not fit each other or the model.
        """
        return next(self.predict_batch([(before, after)], threshold=threshold))

    def predict_batch(
        self,
        pairs: Iterable[tuple[AnyImage, AnyImage]],
        *,
        batch_size: int = 8,
        threshold: float | None = None,
    ) -> Iterator[Prediction]:
        """Score many pairs, in their order; they are taken one by one, as they are needed.

        Args:
            pairs: As for :meth:`predict`; sizes may differ between pairs.
            batch_size: Tiles that are scored at once; it does not change the result.
            threshold: Score in [0, 1] to use instead of the model's own.

        Raises:
            ConfigError: If the threshold or the batch size is out of range.
            DataError: If a pair cannot be read, or does not fit together or the model.
        """
        threshold = self.threshold if threshold is None else check_threshold(threshold)
        is_fitted = isinstance(self.scorer, SceneFitted)

        def opened(pair: tuple[AnyImage, AnyImage]) -> ImagePair:
            images = open_images(
                *pair, card=self.card, channels=self.in_channels, is_fitted=is_fitted
            )
            return ImagePair(*self.checked_pair(images[:2]), images.valid)

        scored = score_pairs(
            self.scorer,
            map(opened, pairs),
            images=lambda pair: pair[:2],
            # Baselines measure an image as a whole.
            tile_px=WHOLE_PX if is_fitted else None,
            batch_size=batch_size,
        )
        return (self._prediction(pair, score, threshold) for pair, score in scored)

    def _prediction(self, pair: ImagePair, score: Resident, threshold: float | None) -> Prediction:
        scores = self.scorer.to_host(score)
        if pair.valid is not None:
            scores = np.where(pair.valid, scores, np.float32(0))
        return Prediction(scores, threshold, before=pair.before, after=pair.after)

    def checked_pair(self, pair: tuple[Image, Image]) -> tuple[Image, Image]:
        """Bring both images to (H, W, C) and check that they fit each other and the model.

        Raises:
            DataError: If they do not.
        """
        is_fitted = isinstance(self.scorer, SceneFitted)
        before, after = (
            _checked_image(
                image if is_fitted else _checked_type(image, date, self.card.pixel_type),
                date,
                self.in_channels,
            )
            for image, date in zip(pair, ("before", "after"), strict=True)
        )
        if before.shape != after.shape:
            raise DataError(
                f"the two images must have the same size, got {before.shape[1]}x{before.shape[0]} "
                f"before and {after.shape[1]}x{after.shape[0]} after (width x height); crop or "
                "resample one of them"
            )
        return before, after


def load(path: str | Path, *, device: str = "auto", test_time: TestTime | None = None) -> Detector:
    """Open a model file, ready to predict.

    Args:
        path: A model file, the folder of a training run, or a name that ``changedet models`` lists
            (:func:`changedet.model_search.find_model`).
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        test_time: Test-time augmentation, instead of the model's own.

    Raises:
        CheckpointError: If the file is no model file of this package.
        ConfigError: If the device is unknown or absent, or there is no such test-time augmentation.
    """
    from changedet.inference.torch_scorer import TorchScorer
    from changedet.models.model_file import load_model

    path = find_model(path)
    model, card = load_model(path)
    scorer = TorchScorer(model, card, device=device, test_time=test_time, source=str(path))
    return Detector(scorer, path=path)


def _checked_type(image: Image, date: str, pixel_type: PixelType) -> Image:
    """Let values through that are like those of the training; wider ones become float32."""
    if pixel_type == "uint8":
        if image.dtype != np.uint8:
            raise DataError(
                f"the {date} image must have 8-bit values (uint8, 0..255), got {image.dtype}; "
                "scale it to 0..255 and convert it"
            )
        return image
    is_float = image.dtype.kind == "f"
    if not (is_float or (pixel_type == "uint16" and image.dtype == np.uint16)):
        raise DataError(
            f"the {date} image must have values like those the model was trained on ({pixel_type}, "
            f"or the same numbers as float32), got {image.dtype}; give the image unscaled"
        )
    return image.astype(np.float32)


def _checked_image(image: Image, date: str, channels: int) -> Image:
    if image.ndim == 2 and channels == 1:
        image = image[:, :, None]
    if image.ndim != 3 or image.shape[2] != channels or image.size == 0:
        is_first = image.ndim == 3 and image.shape[0] == channels
        hint = "; channels come last: array.transpose(1, 2, 0)" if is_first else ""
        raise DataError(
            f"the {date} image must have the shape (height, width, {channels}), "
            f"got {tuple(image.shape)}; the model was made for {channels} channel(s){hint}"
        )
    return image
