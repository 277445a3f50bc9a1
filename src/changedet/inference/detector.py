"""A trained model, or another scorer, ready for use: two images in, a change map out."""

from __future__ import annotations

import copy
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from changedet._optional import TORCH, large_imports
from changedet.card import check_threshold
from changedet.data.appearance import DomainDistance, distance_of, features_of_images
from changedet.data.labelled import BothDates
from changedet.errors import ConfigError, DataError
from changedet.inference.inputs import AnyImage, ImagePair, log_remark, open_images
from changedet.inference.prediction import Prediction
from changedet.inference.provenance import model_metadata
from changedet.inference.runtimes import open_graph, settle_runtime
from changedet.inference.scorer import SceneFitted, Zooming
from changedet.inference.tiling import WHOLE_PX, check_batch_size, score_pairs
from changedet.inference.working_gsd import check_gsd, match_gsd, remarks_on_gsd
from changedet.model_search import find_model
from changedet.raster.grid import round_up

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import torch

    from changedet.card import ModelCard
    from changedet.inference.scorer import Image, Scorer
    from changedet.models.base import ChangeModel
    from changedet.raster.tile_plan import Resident
    from changedet.types import Arithmetic, PixelType, Runtime, TestTime

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
    def runtime(self) -> str | None:
        """What computes the network: ``torch``, ``onnx``, ``openvino``; None: there is none."""
        runtime: str | None = getattr(self.scorer, "runtime", None)
        return runtime

    @property
    def test_time(self) -> TestTime:
        """Rotated, mirrored or coarser views of a tile whose scores are averaged."""
        return self.scorer.test_time

    @property
    def threshold(self) -> float | None:
        """The threshold stored with the model, a score in [0, 1]."""
        return self.card.threshold

    @property
    def kind(self) -> str | None:
        """The kind of change that it finds; None: the model names none."""
        kind: str | None = getattr(self.scorer, "kind", None)
        return kind

    @property
    def zoom(self) -> float:
        """Height and width of what the network sees, in those of the images."""
        return self.scorer.zoom if isinstance(self.scorer, Zooming) else 1.0

    @property
    def in_channels(self) -> int:
        """Number of channels of an input image."""
        return self.scorer.in_channels

    @property
    def tile_px(self) -> int:
        """Height and width of the tiles: those of the training, in multiples of the stride.

        Of images that are resampled for the network, as many pixels as show the same ground.
        """
        return round_up(self.card.tile_px, self.scorer.stride)

    @property
    def only_tile_px(self) -> int | None:
        """Height and width of the only tile that an exported model takes; None: it takes others."""
        only_px: int | None = getattr(self.scorer, "only_tile_px", None)
        return only_px

    @cached_property
    def metadata(self) -> dict[str, Any]:
        """Identify the model for a report: file, checksum, architecture, training data."""
        return model_metadata(self.path, self.card)

    def for_kind(self, kind: str | None) -> Detector:
        """Give a detector of another kind of change, with the same network.

        Args:
            kind: One of those in the model's card; None: this detector itself.

        Raises:
            ConfigError: If the model does not know it.
        """
        if kind is None or kind == self.kind:
            return self
        scorer = self.scorer
        if not isinstance(scorer, Zooming):
            raise ConfigError("`kind` applies to models only; remove it")
        return self._with(scorer.for_kind(kind))

    def zoomed(self, zoom: float) -> Detector:
        """Give a detector whose network, the same one, sees the images shrunk or enlarged.

        Args:
            zoom: Height and width of what it sees, in those of the images, as
                :func:`changedet.inference.working_gsd.match_gsd` settles it.

        Raises:
            ConfigError: If the scorer takes images as they are.
        """
        if zoom == self.zoom:
            return self
        scorer = self.scorer
        if not isinstance(scorer, Zooming):
            raise ConfigError("this scorer takes images as they are; it cannot resample them")
        return self._with(scorer.zoomed(zoom))

    def _with(self, scorer: Scorer) -> Detector:
        other = copy.copy(self)
        other.scorer = scorer
        return other

    def predict(
        self,
        before: AnyImage,
        after: AnyImage,
        *,
        threshold: float | None = None,
        gsd_m: float | None = None,
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
            gsd_m: Side of a pixel on the ground in metres, for a model that states at which ones it
                works; None: what the rasters' CRS says.

        Returns:
            Scores, mask and pictures; where a raster has no data, the score is 0.

        Raises:
            ConfigError: If the threshold is out of range, or the ground sample distance is none.
            DataError: If the images cannot be read, or do not fit each other or the model.
        """
        return next(self.predict_batch([(before, after)], threshold=threshold, gsd_m=gsd_m))

    def predict_batch(
        self,
        pairs: Iterable[tuple[AnyImage, AnyImage]],
        *,
        batch_size: int = 8,
        threshold: float | None = None,
        gsd_m: float | None = None,
    ) -> Iterator[Prediction]:
        """Score many pairs, in their order; they are taken one by one, as they are needed.

        Args:
            pairs: As for :meth:`predict`; sizes may differ between pairs.
            batch_size: Tiles that are scored at once; it does not change the result.
            threshold: Score in [0, 1] to use instead of the model's own.
            gsd_m: As for :meth:`predict`, of all pairs.

        Raises:
            ConfigError: If the threshold or the batch size is out of range, or the ground sample
                distance is none.
            DataError: If a pair cannot be read, or does not fit together or the model.
        """
        threshold = self.threshold if threshold is None else check_threshold(threshold)
        is_fitted = isinstance(self.scorer, SceneFitted)

        def opened(pair: tuple[AnyImage, AnyImage]) -> ImagePair:
            images = open_images(
                *pair, card=self.card, channels=self.in_channels, is_fitted=is_fitted
            )
            return ImagePair(*self.checked_pair(images[:2]), images.valid, images.gsd_m)

        check_batch_size(batch_size)
        if gsd_m is not None:
            check_gsd(gsd_m)
        said: set[str] = set()

        def zoom_for(pair: ImagePair) -> float:
            match = match_gsd(self.card, given=gsd_m, measured=pair.gsd_m)
            for remark in remarks_on_gsd(match, measured=pair.gsd_m):
                if remark.text not in said:
                    said.add(remark.text)
                    log_remark(remark)
            return match.factor

        def predictions() -> Iterator[Prediction]:
            # Pairs of one ground sample distance share batches.
            for zoom, group in groupby(map(opened, pairs), zoom_for):
                scored = score_pairs(
                    self.zoomed(zoom).scorer,
                    group,
                    images=lambda pair: pair[:2],
                    # Baselines measure an image as a whole.
                    tile_px=WHOLE_PX if is_fitted else None,
                    batch_size=batch_size,
                )
                for pair, score in scored:
                    yield self._prediction(pair, score, threshold)

        return predictions()

    def domain_distance(
        self, before: AnyImage, after: AnyImage, *, gsd_m: float | None = None
    ) -> DomainDistance | None:
        """Tell how far two images are from what the model was trained on, by their looks.

        Args:
            before: As for :meth:`predict`.
            after: The same at the later date.
            gsd_m: Side of a pixel on the ground in metres, as for :meth:`predict`.

        Returns:
            The training set that they look most like, and whether as much as its own images; None
            if the model file does not say what those looked like, or the images are too small.

        Raises:
            ConfigError: If the ground sample distance is none.
            DataError: If the images cannot be read, or do not fit each other or the model.
        """
        images = open_images(
            before,
            after,
            card=self.card,
            channels=self.in_channels,
            is_fitted=isinstance(self.scorer, SceneFitted),
        )
        both = BothDates(*self.checked_pair(images[:2]), images.valid)
        domain = self.card.domain
        zoom = match_gsd(self.card, given=gsd_m, measured=images.gsd_m).factor
        return distance_of([features_of_images(both, domain, zoom=zoom)], domain)

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


def load(
    path: str | Path,
    *,
    device: str = "auto",
    test_time: TestTime | None = None,
    kind: str | None = None,
    runtime: Runtime = "auto",
    precision: Arithmetic = "float32",
) -> Detector:
    """Open a model file, ready to predict.

    Args:
        path: A model file, the folder of a training run, or a name that ``changedet models`` lists
            (:func:`changedet.model_search.find_model`).
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        test_time: Test-time augmentation, instead of the model's own.
        kind: The kind of change to find, of those that the model tells apart; None: the first one.
        runtime: What computes the network of an exported model (``.onnx``): ``onnx``,
            ``openvino``; ``auto`` is the fastest one that is installed. Other model files are
            computed by ``torch``.
        precision: In what an exported model is computed: ``bf16`` is faster where the CPU has it,
            and less exact (OpenVINO); ``int8`` asks for a file of :func:`changedet.quantise_model`.

    Raises:
        CheckpointError: If the file is no model file of this package, or the runtime does not read
            it.
        ConfigError: If the device is unknown or absent, there is no such test-time augmentation, or
            the model does not know the kind of change.
        MissingExtraError: If a package that the network or its runtime needs is not installed.
    """
    path = find_model(path)
    settled = settle_runtime(path, runtime, device=device, precision=precision)
    if settled != "torch":
        graph = open_graph(
            path, runtime=settled, precision=precision, test_time=test_time, kind=kind
        )
        return Detector(graph, path=path)
    TORCH.check()
    # timm is imported as the network is built.
    with large_imports():
        from changedet.inference.torch_scorer import TorchScorer
        from changedet.models.model_file import load_model

        model, card = load_model(path)
    scorer = TorchScorer(
        model, card, device=device, test_time=test_time, kind=kind, source=str(path)
    )
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
