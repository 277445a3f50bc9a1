"""One random draw for before, after and label: crop, zoom, flips, rotation, colour, shift."""

import math
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torchvision.transforms.v2 import (  # type: ignore[import-untyped]
    InterpolationMode,
)
from torchvision.transforms.v2 import functional as image_ops

from changedet.data.labelled import DecodedPair
from changedet.data.pixel_sums import Pixels
from changedet.data.training.augmentation import COLOURS, RGB
from changedet.data.training.augmentation import Augmentation as Augmentation
from changedet.data.training.histogram_matching import match_histogram
from changedet.data.training.sample import PairSample as PairSample
from changedet.data.training.sensor import vary_sensor
from changedet.data.training.stored_values import stored_as
from changedet.raster.geo_grid import Window
from changedet.types import IGNORED

_HALF = 0.5


class ColourDraw(NamedTuple):
    """Factors of one date (1: no change) and the shift of its hue (0: no change)."""

    brightness: float
    contrast: float
    saturation: float
    hue: float


class Paste(NamedTuple):
    """A rectangle of another sample, as shares in [0, 1) of the list of pairs and of the crop."""

    donor: float
    top: float
    left: float
    height: float
    width: float


class SensorDraw(NamedTuple):
    """How much the sensor is varied, in [0, 1], and the seeds of what is drawn for each date."""

    strength: float
    before: int
    after: int


class Draw(NamedTuple):
    """Everything random about one sample.

    ``top``, ``left`` and ``window_px`` are the square of the stored image that is seen, in
    pixels; ``turns`` counts quarter turns; ``shift_px`` is the (down, right) shift of after;
    ``matched`` names the date that is given the other's histogram; ``wants_change`` asks for
    another draw where too little has changed.
    """

    top: int
    left: int
    window_px: int
    is_mirrored: bool
    is_upside_down: bool
    turns: int
    is_swapped: bool
    shift_px: tuple[float, float]
    before: ColourDraw
    after: ColourDraw
    matched: Literal["none", "before", "after"] = "none"
    wants_change: bool = False
    pasted: Paste | None = None
    sensor: SensorDraw | None = None

    def window(self, height: int, width: int) -> Window:
        """Give the part of the stored pixels, HEIGHT x WIDTH, that is seen."""
        return Window(
            self.top,
            self.left,
            min(self.window_px, height - self.top),
            min(self.window_px, width - self.left),
        )

    def on_window(self) -> "Draw":
        """Give the same draw for arrays that hold :meth:`window` alone."""
        return self._replace(top=0, left=0)


def draw_transform(
    augmentation: Augmentation,
    generator: np.random.Generator,
    *,
    height: int,
    width: int,
    crop_px: int,
) -> Draw:
    """Draw one variation of a pair of HEIGHT x WIDTH stored pixels.

    The same numbers are taken from the generator whatever is switched on, so switching one
    variation on leaves the others as they were.
    """
    zoom, place_y, place_x = generator.random(3)
    mirror, upside_down, turn, swap = generator.random(4)
    turns = int(generator.integers(1, 4))
    shift_y, shift_x = generator.uniform(-1.0, 1.0, 2)
    colours = generator.uniform(-1.0, 1.0, (2, len(COLOURS)))
    match, match_before, change, paste = generator.random(4)
    rectangle = Paste(*(float(share) for share in generator.random(5)))
    # What is drawn later than in earlier releases comes last: the rest stays as it was. Six numbers
    # belong to variations that are gone.
    generator.random(6)
    seeds = [int(seed) for seed in generator.integers(0, 2**32, 2)]

    matched: Literal["before", "after"] = "before" if match_before < _HALF else "after"
    window_px = _window(augmentation.scale, zoom, side_px=min(height, width), crop_px=crop_px)
    return Draw(
        top=int(place_y * (max(height - window_px, 0) + 1)),
        left=int(place_x * (max(width - window_px, 0) + 1)),
        window_px=window_px,
        is_mirrored=bool(mirror < augmentation.horizontal_flip),
        is_upside_down=bool(upside_down < augmentation.vertical_flip),
        turns=turns if turn < augmentation.quarter_turns else 0,
        is_swapped=bool(swap < augmentation.swap_dates),
        shift_px=(float(shift_y) * augmentation.shift_px, float(shift_x) * augmentation.shift_px),
        before=_colour(augmentation, colours[0]),
        after=_colour(augmentation, colours[1]),
        matched=matched if match < augmentation.match_histograms else "none",
        wants_change=bool(change < augmentation.changed_crops),
        pasted=rectangle if paste < augmentation.paste else None,
        sensor=SensorDraw(augmentation.sensor, *seeds) if augmentation.sensor else None,
    )


def _window(
    scale: tuple[float, float] | None, position: float, *, side_px: int, crop_px: int
) -> int:
    if scale is None:
        return crop_px
    low, high = math.log(scale[0]), math.log(scale[1])
    window_px = round(crop_px / math.exp(low + (high - low) * position))
    return max(1, min(window_px, max(side_px, crop_px)))


def _colour(augmentation: Augmentation, position: npt.NDArray[np.float64]) -> ColourDraw:
    brightness, contrast, saturation, hue = (float(value) for value in position)
    return ColourDraw(
        brightness=1.0 + brightness * augmentation.brightness,
        contrast=1.0 + contrast * augmentation.contrast,
        saturation=1.0 + saturation * augmentation.saturation,
        hue=hue * augmentation.hue,
    )


def apply_transform(
    draw: Draw,
    pair: DecodedPair,
    *,
    crop_px: int,
    index: int = 0,
) -> PairSample:
    """Apply one draw to a pair and its label.

    Args:
        draw: The draw, made for this pair's size.
        pair: Images, uint8 or float32, and the decoded label.
        crop_px: Side of the sample.
        index: The pair's place in the list of pairs.

    Returns:
        Copies, (C, crop_px, crop_px) and (crop_px, crop_px). Where the window reaches over the
        image, the image is reflected and the label is IGNORED.
    """
    before, after = (pair.after, pair.before) if draw.is_swapped else (pair.before, pair.after)
    first = _frame(draw, _cut(draw, before, fill="reflect"), crop_px=crop_px)
    second = _frame(draw, _cut(draw, after, fill="reflect"), crop_px=crop_px)
    third = _frame(
        draw,
        _cut(draw, pair.label[:, :, np.newaxis], fill="ignored"),
        crop_px=crop_px,
        interpolation=InterpolationMode.NEAREST_EXACT,
    )
    if draw.matched == "before":
        first = match_histogram(first, second)
    elif draw.matched == "after":
        second = match_histogram(second, first)
    first = _recolour(first, draw.before)
    second = _recolour(_shift(second, *draw.shift_px), draw.after)
    if draw.sensor is not None:
        first, second = (
            vary_sensor(image, np.random.default_rng(seed), strength=draw.sensor.strength)
            for image, seed in ((first, draw.sensor.before), (second, draw.sensor.after))
        )
    return PairSample(first, second, label=third[0], index=torch.tensor(index))


def paste(sample: PairSample, donor: PairSample, place: Paste) -> PairSample:
    """Copy a rectangle of another sample to the same place of this one.

    Args:
        sample: The sample.
        donor: Another sample of the same size.
        place: Where; each side of the rectangle is a quarter to three quarters of the sample's.

    Returns:
        Copies; the arguments are left as they are.
    """
    height, width = sample.label.shape[-2:]
    rows, columns = (
        _stretch_of(length, share, start=start)
        for length, share, start in (
            (height, place.height, place.top),
            (width, place.width, place.left),
        )
    )

    def merge(here: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
        merged = here.clone()
        merged[..., rows, columns] = there[..., rows, columns]
        return merged

    return sample._replace(
        before=merge(sample.before, donor.before),
        after=merge(sample.after, donor.after),
        label=merge(sample.label, donor.label),
    )


def _stretch_of(length: int, share: float, *, start: float) -> slice:
    size = max(1, round(length * (0.25 + 0.5 * share)))
    first = int(start * (length - size + 1))
    return slice(first, first + size)


def _cut(draw: Draw, image: Pixels, *, fill: str) -> torch.Tensor:
    window = image[
        draw.top : draw.top + draw.window_px,
        draw.left : draw.left + draw.window_px,
    ]
    # The copy is asked for: a view would let a caller write into the cache.
    cut = np.array(window.transpose(2, 0, 1), order="C", copy=True)
    missing = (draw.window_px - cut.shape[1], draw.window_px - cut.shape[2])
    if missing != (0, 0):
        margins = ((0, 0), (0, missing[0]), (0, missing[1]))
        if fill == "reflect":
            cut = np.pad(cut, margins, mode="reflect")
        else:
            cut = np.pad(cut, margins, mode="constant", constant_values=IGNORED)
    return torch.from_numpy(cut)


def _frame(
    draw: Draw,
    image: torch.Tensor,
    *,
    crop_px: int,
    interpolation: InterpolationMode = InterpolationMode.BILINEAR,
) -> torch.Tensor:
    if draw.window_px != crop_px:
        image = image_ops.resize(
            image, [crop_px, crop_px], interpolation=interpolation, antialias=True
        )
    if draw.is_mirrored:
        image = image_ops.horizontal_flip(image)
    if draw.is_upside_down:
        image = image_ops.vertical_flip(image)
    return torch.rot90(image, draw.turns, dims=(-2, -1)).contiguous()


def _shift(image: torch.Tensor, down_px: float, right_px: float) -> torch.Tensor:
    if down_px == 0.0 and right_px == 0.0:
        return image
    height, width = image.shape[-2:]
    shifted = _slide(image.float(), down_px, dim=-2, length=height)
    shifted = _slide(shifted, right_px, dim=-1, length=width)
    return stored_as(image, shifted)


def _slide(image: torch.Tensor, shift_px: float, *, dim: int, length: int) -> torch.Tensor:
    """Move along one axis: pixel i shows what lay at i - shift_px."""
    whole = math.floor(-shift_px)
    part = -shift_px - whole
    position = torch.arange(length) + whole
    near = image.index_select(dim, position.clamp(0, length - 1))
    far = image.index_select(dim, (position + 1).clamp(0, length - 1))
    return torch.lerp(near, far, part)


def _recolour(image: torch.Tensor, colour: ColourDraw) -> torch.Tensor:
    if colour.brightness != 1.0:
        image = _brighten(image, colour.brightness)
    if colour.contrast != 1.0:
        image = _stretch(image, colour.contrast)
    if colour.saturation != 1.0:
        image = image_ops.adjust_saturation(image, colour.saturation)
    if colour.hue != 0.0:
        image = image_ops.adjust_hue(image, colour.hue)
    return image


def _brighten(image: torch.Tensor, factor: float) -> torch.Tensor:
    """Make an image brighter, as more light would: proportionally, band by band.

    Where values are negative, as decibels or indices, zero is not dark. There, brightness is a
    shift, by that share of the standard deviation of each band.
    """
    if image.dtype == torch.uint8 and image.shape[0] in (1, RGB):
        return image_ops.adjust_brightness(image, factor)  # type: ignore[no-any-return]
    if image.dtype != torch.uint8 and bool((image < 0).any()):
        spread = torch.from_numpy(image.numpy().std(axis=(1, 2), dtype=np.float64))
        return image + ((factor - 1.0) * spread).to(image.dtype)[:, None, None]
    return stored_as(image, image.float() * factor)


def _stretch(image: torch.Tensor, factor: float) -> torch.Tensor:
    """Change the contrast about the mean: of the brightness of a picture, of each band of a raster.

    torchvision's adjust_contrast sums floats, whose last digit depends on the number of threads
    and hence on whether a worker does it; this sum is of integers, or numpy's in one thread.
    """
    if image.dtype == torch.uint8 and image.shape[0] in (1, RGB):
        grey = image_ops.rgb_to_grayscale(image) if image.shape[0] == RGB else image
        mean: float | torch.Tensor = grey.sum(dtype=torch.int64).item() / grey.numel()
    else:
        # The bands of a raster may be of different units.
        means = image.numpy().mean(axis=(1, 2), dtype=np.float64, keepdims=True)
        mean = torch.from_numpy(means.astype(np.float32))
    return stored_as(image, image.float().mul(factor).add_((1.0 - factor) * mean))
