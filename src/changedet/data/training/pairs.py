"""Training samples: labelled pairs read, cropped and varied, as tensors that collate."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from torch.utils.data import Dataset

from changedet.data.labelled import DecodedPair, LabelledPair, PairView, read_pair
from changedet.data.labels.scan import LabelEncoding
from changedet.data.mixture import MixtureSet, by_set, member_of
from changedet.data.training.sampling import SampleKey, SampleTable, sample_generator
from changedet.data.training.transforms import (
    Augmentation,
    Draw,
    PairSample,
    apply_transform,
    draw_transform,
    paste,
)
from changedet.domain import zoom_to
from changedet.errors import ConfigError, DataError
from changedet.kinds import ANY
from changedet.types import IGNORED, Normalisation, PixelType

__all__ = ["Cache", "DecodedPair", "PairDataset", "PairSample", "read_pair"]

Cache = Literal["none", "memory"]

# Enough to find one labelled pixel where a tenth of the windows hold some, two times out of three.
_MOST_DRAWS = 10
# Share of changed pixels from which on a crop shows some change.
_LEAST_CHANGE = 0.01


class PairDataset(Dataset[PairSample]):
    """Cut one square sample out of a labelled pair of images, varied as asked.

    Everything random about a sample is a function of the seed, the epoch and the sample's index
    alone: neither the number of workers nor resuming changes it. Images larger than the crop are
    cropped at a random place; smaller ones are reflected, and their label is IGNORED there. A pair
    of files gives one sample per epoch, a block of a labelled raster as many as crops fit into its
    labelled area; there, a crop without any labelled pixel is drawn again, a few times at most.

    Args:
        pairs: Labelled pairs.
        encoding: What the labels' values mean.
        crop_px: Side of the square samples.
        seed: Seed of the run, at least 0.
        augmentation: How samples are varied. None: by the place of the crop only.
        channels: Channels that the images must have.
        pixel_type: Kind of the stored values.
        fill: Statistics of the model, whose means replace pixels without data. None: zeros.
        cache: "memory" keeps every open pair after its first use, which costs for a pair of files
            (2 * channels + 1) * H * W bytes (a 256 x 256 RGB pair: 0.46 MB) in every process that
            reads: each worker fills its own cache and loses it when it ends. Blocks of labelled
            rasters are read window by window in any case.
        crops_per_pair: Samples per pair and epoch, each cropped independently, so that an epoch
            of few large images is worth the validation and the checkpoint at its end.
        kinds: Kinds of change that are learnt. Of a mixture of data sets each sample says of each
            kind what its set labels, and IGNORED where it labels nothing.
        gsd_m: Ground sample distance of the images in metres; each set of a mixture has its own.
            None: it is not known.
        working_gsd_m: Range of ground sample distances that images are brought to before they are
            varied, in metres; those whose own is not known are taken as they are.

    Raises:
        DataError: If there are no pairs, or one has no label.
        ConfigError: If a setting is out of range.
    """

    def __init__(
        self,
        pairs: Sequence[LabelledPair],
        *,
        encoding: LabelEncoding,
        crop_px: int,
        seed: int,
        augmentation: Augmentation | None = None,
        channels: int = 3,
        pixel_type: PixelType = "uint8",
        fill: Normalisation | None = None,
        cache: Cache = "none",
        crops_per_pair: int = 1,
        kinds: Sequence[str] = (ANY,),
        gsd_m: float | None = None,
        working_gsd_m: tuple[float, float] | None = None,
    ) -> None:
        if not pairs:
            raise DataError("there are no pairs to train on; check which splits the data set has")
        if crop_px < 1:
            raise ConfigError(f"crop_px must be at least 1, got {crop_px}")
        if seed < 0:
            raise ConfigError(f"seed must be 0 or more, got {seed}")
        if crops_per_pair < 1:
            raise ConfigError(f"crops_per_pair must be at least 1, got {crops_per_pair}")
        if cache not in ("none", "memory"):
            raise ConfigError(f"cache must be 'none' or 'memory', got {cache!r}")
        for pair in pairs:
            if not pair.is_labelled:
                raise DataError(
                    f"pair {pair.name!r} has no label; training needs a label for every pair"
                )
        self._pairs = tuple(pairs)
        self._encoding = encoding
        self._crop_px = crop_px
        self._seed = seed
        augmentation = augmentation or Augmentation()
        augmentation.check_channels(channels, pixel_type=pixel_type)
        self._kinds = tuple(kinds)
        self._variations = _Variations(augmentation, gsd_m=gsd_m, working_gsd_m=working_gsd_m)
        self._channels = channels
        self._fill = fill
        self._cache: dict[int, PairView] | None = {} if cache == "memory" else None
        counts = [pair.samples(crop_px, encoding=encoding) * crops_per_pair for pair in pairs]
        places = by_set(pairs) or {"": list(range(len(pairs)))}
        groups = []
        for members in places.values():
            member = member_of(pairs[members[0]])
            samples = np.repeat(members, [counts[place] for place in members])
            groups.append((samples, 1.0 if member is None else member.weight))
        self._table = SampleTable(groups, seed=seed)

    def __len__(self) -> int:
        return len(self._table)

    def __getitem__(self, key: SampleKey) -> PairSample:
        draw, sample = self._sample(key)
        if draw.pasted is not None:
            # A stream of its own: the donor must not be cut as its own sample of this epoch is.
            _, other = self._sample(self._donor(key, draw.pasted.donor), receiver=key.index)
            sample = paste(sample, other, draw.pasted)
        return sample

    def _donor(self, key: SampleKey, share: float) -> SampleKey:
        return SampleKey(key.epoch, int(share * len(self)))

    def _sample(self, key: SampleKey, *, receiver: int | None = None) -> tuple[Draw, PairSample]:
        number = self._table.pair_of(key)
        member = member_of(self._pairs[number])
        variation = self._variations.of(member)
        draw, seen = self._draw(self._view(number), key, variation, receiver=receiver)
        sample = apply_transform(draw.on_window(), seen, crop_px=self._crop_px, index=number)
        if member is not None and len(self._kinds) > 1:
            sample = sample._replace(label=label_by_kind(sample.label, member, self._kinds))
        return draw, sample

    def _draw(
        self,
        view: PairView,
        key: SampleKey,
        augmentation: Augmentation,
        *,
        receiver: int | None,
    ) -> tuple[Draw, DecodedPair]:
        """Draw a sample; where there is nothing to learn it is drawn again, a few times."""
        height, width = view.shape
        wants_change = False
        for attempt in range(_MOST_DRAWS):
            draw = draw_transform(
                augmentation,
                sample_generator(self._seed, key, attempt=attempt, receiver=receiver),
                height=height,
                width=width,
                crop_px=self._crop_px,
            )
            # The first draw decides, or else asking again would make asking likelier.
            wants_change = draw.wants_change if attempt == 0 else wants_change
            seen = view.read_labelled(draw.window(height, width))
            if seen is not None and (
                not wants_change or float(np.mean(seen.label == 1)) >= _LEAST_CHANGE
            ):
                return draw, seen
        return draw, view.read(draw.window(height, width))

    def _view(self, number: int) -> PairView:
        if self._cache is not None and number in self._cache:
            return self._cache[number]
        view = self._pairs[number].open(
            encoding=self._encoding, channels=self._channels, fill=self._fill
        )
        if self._cache is not None:
            self._cache[number] = view
        return view


class _Variations:
    """How samples are varied, and those of each set of a mixture."""

    def __init__(
        self,
        augmentation: Augmentation,
        *,
        gsd_m: float | None,
        working_gsd_m: tuple[float, float] | None,
    ) -> None:
        self._augmentation = augmentation
        self._working_gsd_m = working_gsd_m
        self._common = self._resampled(augmentation, gsd_m)
        self._by_set: dict[str, Augmentation] = {}

    def of(self, member: MixtureSet | None) -> Augmentation:
        if member is None:
            return self._common
        if member.name not in self._by_set:
            self._by_set[member.name] = self._make(member)
        return self._by_set[member.name]

    def _make(self, member: MixtureSet) -> Augmentation:
        own = self._augmentation
        own = replace(own, swap_dates=0.0) if member.directed else own
        return self._resampled(own, member.gsd_m)

    def _resampled(self, augmentation: Augmentation, gsd_m: float | None) -> Augmentation:
        factor = zoom_to(self._working_gsd_m, gsd_m)
        if factor == 1.0:
            return augmentation
        low, high = augmentation.scale or (1.0, 1.0)
        return replace(augmentation, scale=(factor * low, factor * high))


def label_by_kind(label: torch.Tensor, member: MixtureSet, kinds: Sequence[str]) -> torch.Tensor:
    """Say of each kind of change what the label of a set shows.

    Args:
        label: (H, W), uint8, 0, 1 or ``IGNORED``.
        member: The set.
        kinds: The kinds.

    Returns:
        (K, H, W), uint8: the label itself where the set labels the kind; its changed pixels alone
        where they are of that kind, too; ``IGNORED`` elsewhere.
    """
    unknown = torch.full_like(label, IGNORED)
    maps = {
        "all": label,
        "changed": torch.where(label == 1, label, unknown),
        "nothing": unknown,
    }
    return torch.stack([maps[member.teaches(kind)] for kind in kinds])
