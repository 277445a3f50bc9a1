"""Training samples: pairs of files decoded, cropped and varied, as tensors that collate."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from changedet.data.images import read_image
from changedet.data.index import PairPaths
from changedet.data.labels import LabelEncoding, read_label
from changedet.data.sampling import SampleKey
from changedet.data.transforms import Augmentation, apply_transform, draw_transform
from changedet.errors import ConfigError, DataError

Cache = Literal["none", "memory"]


class PairSample(NamedTuple):
    """One training sample; torch's default collate stacks many of them.

    ``before`` and ``after`` are uint8 (C, h, w) as stored, ``label`` is uint8 (h, w) in
    {0, 1, IGNORED}, ``index`` is the pair's place in the list of pairs, int64 ().
    """

    before: torch.Tensor
    after: torch.Tensor
    label: torch.Tensor
    index: torch.Tensor  # type: ignore[assignment]  # hides tuple.index, which no one calls


class DecodedPair(NamedTuple):
    """A pair as it is stored: (H, W, C), (H, W, C) and the decoded label (H, W)."""

    before: npt.NDArray[np.uint8]
    after: npt.NDArray[np.uint8]
    label: npt.NDArray[np.uint8]


def read_pair(pair: PairPaths, *, encoding: LabelEncoding, channels: int = 3) -> DecodedPair:
    """Read a labelled pair and see that its three files cover the same pixels.

    Raises:
        DataError: If the pair has no label, or a size differs; the files and sizes are named.
        ImageError: If a file cannot be read as asked.
    """
    if pair.label is None:
        raise DataError(f"pair {pair.name!r} has no label; training and evaluation need one")
    before = read_image(pair.before, channels=channels)
    after = read_image(pair.after, channels=channels)
    label = read_label(pair.label, encoding)
    for path, image in ((pair.after, after), (pair.label, label)):
        if image.shape[:2] != before.shape[:2]:
            raise DataError(
                f"{path} is {image.shape[1]}x{image.shape[0]} pixels, but {pair.before} is "
                f"{before.shape[1]}x{before.shape[0]} (width x height); "
                "before, after and label must be of one size"
            )
    return DecodedPair(before, after, label)


class PairDataset(Dataset[PairSample]):
    """Cut one square sample out of a labelled pair of images, varied as asked.

    Everything random about a sample is a function of the seed, the epoch and the sample's index
    alone: neither the number of workers nor resuming changes it. Images larger than the crop are
    cropped at a random place; smaller ones are reflected, and their label is IGNORED there.

    Args:
        pairs: Labelled pairs.
        encoding: What the label files' values mean.
        crop_px: Side of the square samples.
        seed: Seed of the run, at least 0.
        augmentation: How samples are varied. None: by the place of the crop only.
        channels: Channels that the images must have.
        cache: "memory" keeps every decoded pair after its first use, which costs
            (2 * channels + 1) * H * W bytes a pair (a 256 x 256 RGB pair: 0.46 MB) in every
            process that reads: each worker fills a cache of its own and loses it when it ends.

    Raises:
        DataError: If there are no pairs, or one has no label.
        ConfigError: If a setting is out of range.
    """

    def __init__(
        self,
        pairs: Sequence[PairPaths],
        *,
        encoding: LabelEncoding,
        crop_px: int,
        seed: int,
        augmentation: Augmentation | None = None,
        channels: int = 3,
        cache: Cache = "none",
    ) -> None:
        if not pairs:
            raise DataError("there are no pairs to train on; see which splits the data has")
        if crop_px < 1:
            raise ConfigError(f"crop_px must be at least 1, got {crop_px}")
        if seed < 0:
            raise ConfigError(f"seed must be 0 or more, got {seed}")
        if cache not in ("none", "memory"):
            raise ConfigError(f"cache must be 'none' or 'memory', got {cache!r}")
        for pair in pairs:
            if pair.label is None:
                raise DataError(f"pair {pair.name!r} has no label; training needs one for each")
        self._pairs = tuple(pairs)
        self._encoding = encoding
        self._crop_px = crop_px
        self._seed = seed
        self._augmentation = augmentation or Augmentation()
        self._augmentation.check_channels(channels)
        self._channels = channels
        self._cache: dict[int, DecodedPair] | None = {} if cache == "memory" else None

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, key: SampleKey) -> PairSample:
        epoch, index = key
        decoded = self._decoded(index)
        generator = np.random.default_rng(np.random.SeedSequence([self._seed, epoch, index]))
        height, width = decoded.label.shape
        draw = draw_transform(
            self._augmentation, generator, height=height, width=width, crop_px=self._crop_px
        )
        sample = apply_transform(
            draw, decoded.before, decoded.after, label=decoded.label, crop_px=self._crop_px
        )
        return PairSample(*sample, index=torch.tensor(index))

    def _decoded(self, index: int) -> DecodedPair:
        if self._cache is not None and index in self._cache:
            return self._cache[index]
        pair = self._pairs[index]
        decoded = read_pair(pair, encoding=self._encoding, channels=self._channels)
        if self._cache is not None:
            self._cache[index] = decoded
        return decoded
