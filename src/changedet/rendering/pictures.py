"""Score maps, masks and pairs as pictures: arrays in, arrays or PNG files out."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from changedet.data.images import encode_image
from changedet.errors import DataError
from changedet.palette import (
    FALSE_ALARM_COLOUR,
    HIT_COLOUR,
    IGNORED_COLOUR,
    LABEL_CHANGED_COLOUR,
    LABEL_UNCHANGED_COLOUR,
    MISS_COLOUR,
    OVERLAY_COLOUR,
    Colour,
)
from changedet.rendering.heatmap import checked_score, heatmap
from changedet.rendering.tiles import Legend, Pixels, Tile, draw_tiles, strip_frame
from changedet.storage.atomic import write_bytes
from changedet.types import IGNORED

#: What the colours of :func:`outcome` mean, in the order of a legend.
OUTCOME_LEGEND: Legend = (
    ("hit", HIT_COLOUR),
    ("miss", MISS_COLOUR),
    ("false alarm", FALSE_ALARM_COLOUR),
    ("correctly unchanged", LABEL_UNCHANGED_COLOUR),
    ("ignored", IGNORED_COLOUR),
)
#: What the colours of :func:`label_picture` mean.
LABEL_LEGEND: Legend = (
    ("changed", LABEL_CHANGED_COLOUR),
    ("unchanged", LABEL_UNCHANGED_COLOUR),
    ("ignored", IGNORED_COLOUR),
)

# Contrast and brightness of an image, and opacity of the colours on it, so that they stand out.
_GROUND, _GROUND_FROM = 0.65, 30.0
_TINT = 0.5


def overlay(
    after: Pixels, mask: NDArray[np.bool_], *, colour: Colour = OVERLAY_COLOUR, opacity: float = 0.4
) -> Pixels:
    """Tint the changed pixels of an image and draw the outline of each changed area.

    Args:
        after: The later image, (H, W, 3).
        mask: Changed pixels, (H, W).
        colour: Colour of the tint and, opaque, of the outline.
        opacity: Opacity of the tint inside the outline, in [0, 1].

    Returns:
        The tinted copy, (H, W, 3).

    Raises:
        DataError: If the image is not (H, W, 3) or the mask has another size.
    """
    if after.ndim != 3 or after.shape[2] != 3 or after.dtype != np.uint8:
        raise DataError(f"the after image must be uint8 (H, W, 3), got {after.dtype} {after.shape}")
    is_changed = _checked_mask(mask, after.shape[:2])
    inside = is_changed & ~_outline(is_changed)
    tint = np.array(colour, dtype=np.float64)
    blended = np.where(inside[..., None], after + (tint - after) * opacity, after)
    blended[is_changed & ~inside] = tint
    return np.rint(blended).astype(np.uint8)


def outcome(mask: NDArray[np.bool_], label: Pixels) -> Pixels:
    """Colour hits, misses and false alarms, see :data:`OUTCOME_LEGEND`.

    Args:
        mask: Detected change, (H, W).
        label: Decoded label, (H, W), 0 unchanged, 1 changed, 255 ignored.

    Returns:
        Colours, (H, W, 3); dark where nothing has changed and nothing was detected.

    Raises:
        DataError: If the sizes differ.
    """
    detected = _checked_mask(mask, label.shape)
    has_changed = label == 1
    colours = np.empty((*label.shape, 3), dtype=np.uint8)
    colours[:] = LABEL_UNCHANGED_COLOUR
    colours[has_changed & detected] = HIT_COLOUR
    colours[has_changed & ~detected] = MISS_COLOUR
    colours[~has_changed & detected] = FALSE_ALARM_COLOUR
    colours[label == IGNORED] = IGNORED_COLOUR
    return colours


def outcome_on(after: Pixels, mask: NDArray[np.bool_], label: Pixels) -> Pixels:
    """Outline hits, misses and false alarms on the later image, in grey and darker.

    Args:
        after: The later image, (H, W, 3).
        mask: Detected change, (H, W).
        label: Decoded label, (H, W), 0 unchanged, 1 changed, 255 ignored.

    Returns:
        Colours, (H, W, 3), see :data:`OUTCOME_LEGEND`; what is correctly unchanged is the image.

    Raises:
        DataError: If the sizes differ.
    """
    colours = outcome(mask, label)
    is_shown = _checked_mask(mask, label.shape) | (label != 0)
    ground = after.astype(np.float64).mean(axis=2, keepdims=True) * _GROUND + _GROUND_FROM
    picture = np.where(is_shown[..., None], ground + (colours - ground) * _TINT, ground)
    # Each kind has its own outline, also where it meets another.
    kind = np.where(label == IGNORED, 5, is_shown * (1 + 2 * (label == 1) + (mask != 0)))
    edge = np.zeros(label.shape, np.bool_)
    for value in (2, 3, 4):
        edge |= _outline(kind == value)
    picture[edge] = colours[edge]
    drawn: Pixels = np.rint(picture).astype(np.uint8)
    return drawn


def label_picture(label: Pixels) -> Pixels:
    """Colour a decoded label (H, W), see :data:`LABEL_LEGEND`."""
    colours = np.empty((*label.shape, 3), dtype=np.uint8)
    colours[:] = LABEL_UNCHANGED_COLOUR
    colours[label == 1] = LABEL_CHANGED_COLOUR
    colours[label == IGNORED] = IGNORED_COLOUR
    return colours


def panel(
    before: Pixels,
    after: Pixels,
    *,
    score: NDArray[np.floating],
    mask: NDArray[np.bool_],
    label: Pixels | None = None,
    threshold: float | None = None,
    title: str | None = None,
    tile_px: int = 288,
) -> Pixels:
    """Draw a strip that explains itself: captions above, colour bar and legend below the tiles.

    With a label the tiles are before, after, label, score and outcome; without one before, after,
    score and the detected change drawn on the later image.

    Args:
        before: The earlier image, (H, W, 3).
        after: The later image, (H, W, 3).
        score: Change scores, (H, W), in [0, 1].
        mask: Detected change, (H, W).
        label: Decoded label, (H, W), 0 unchanged, 1 changed, 255 ignored.
        threshold: The score from which on a pixel counts as changed: the middle of the colours, see
            :func:`changedet.rendering.heatmap.heatmap`, marked on the colour bar.
        title: A line above the tiles, such as the name of the pair.
        tile_px: Length of a tile's longer side; larger images are shrunk, smaller ones enlarged.

    Returns:
        The strip, (h, w, 3).

    Raises:
        DataError: If the arrays differ in size or a score is NaN or outside [0, 1].
    """
    shape = after.shape[:2]
    for name, array in (("before", before), ("score", score), ("mask", mask), ("label", label)):
        if array is not None and array.shape[:2] != shape:
            raise DataError(
                f"{name} {array.shape} and after {after.shape} must have the same height and width"
            )
    tiles = [Tile("Before", before, "photo"), Tile("After", after, "photo")]
    # All colours, whatever scores they stand for: the bar says which.
    ramp = heatmap(np.linspace(0.0, 1.0, 256)[None])
    heat = Tile("Change score", heatmap(score, threshold=threshold), "photo", ramp=ramp)
    if label is None:
        drawn = overlay(after, mask)
        note = f"{mask.mean():.3f} of the area detected as changed"
        tiles += [heat, Tile("Detected change", drawn, "photo", note=note)]
    else:
        truth = Tile("Label", label_picture(label), "classes", legend=_used(LABEL_LEGEND, label))
        result = Tile("Detection against label", outcome_on(after, mask, label), "classes")
        result = result._replace(legend=_used(OUTCOME_LEGEND[:3] + OUTCOME_LEGEND[4:], label))
        tiles += [truth._replace(note=_changed_share(label)), heat, result]
    frame = strip_frame(shape, count=len(tiles), tile_px=tile_px)
    return draw_tiles(tiles, frame, threshold=threshold, title=title)


def encode_png(image: Pixels | NDArray[np.bool_] | NDArray[np.uint16]) -> bytes:
    """Encode colours (H, W, 3), grey values (H, W) of 8 or 16 bit, or a mask (H, W) as a PNG file.

    A mask becomes 0 and 255.

    Raises:
        DataError: If the array is none of these.
    """
    is_grey, is_colour = image.ndim == 2, image.ndim == 3 and image.shape[2] == 3
    if image.dtype == np.bool_ and is_grey:
        image = image.astype(np.uint8) * np.uint8(255)
    is_byte = image.dtype == np.uint8 and (is_grey or is_colour)
    if not is_byte and not (image.dtype == np.uint16 and is_grey):
        raise DataError(
            "a PNG must be uint8 (H, W, 3), uint8 or uint16 (H, W) or bool (H, W), got "
            f"{image.dtype} {image.shape}"
        )
    return encode_image(image)


def write_png(path: Path, image: Pixels | NDArray[np.bool_]) -> None:
    """Write colours (H, W, 3), grey values (H, W) or a mask (H, W; 0 and 255) as a PNG file.

    Raises:
        DataError: If the array is none of these.
        StorageError: If the file cannot be written.
    """
    write_bytes(path, encode_png(image))


def write_score_png(path: Path, score: NDArray[np.floating]) -> None:
    """Write a score map (H, W) as a 16-bit grey PNG file: score = value / 65535.

    Raises:
        DataError: If the map is not (H, W), or a score is NaN or outside [0, 1].
        StorageError: If the file cannot be written.
    """
    values = np.rint(checked_score(score).astype(np.float64) * 65535.0)
    write_bytes(path, encode_png(values.astype(np.uint16)))


def write_jpeg(path: Path, image: Pixels, *, quality: int = 85) -> None:
    """Write colours (H, W, 3) as a JPEG file, small enough to be sent around.

    Raises:
        StorageError: If the file cannot be written.
    """
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="JPEG", quality=quality)
    write_bytes(path, buffer.getvalue())


def shrunk(image: Pixels, longest_px: int, *, classes: bool = False) -> Pixels:
    """Shrink colours (H, W, 3) or grey values (H, W), uint8, so that no side is longer.

    Args:
        image: Stays as it is if it is small enough.
        longest_px: Longest side of the copy.
        classes: The values are classes, which are not mixed.
    """
    height, width = image.shape[:2]
    scale = longest_px / max(height, width)
    if scale >= 1:
        return image
    size = max(1, round(width * scale)), max(1, round(height * scale))
    resampling = Image.Resampling.NEAREST if classes else Image.Resampling.BOX
    return np.asarray(Image.fromarray(image).resize(size, resampling))


def _used(legend: Legend, label: Pixels) -> Legend:
    has_ignored = bool((label == IGNORED).any())
    return tuple(entry for entry in legend if has_ignored or entry[0] != "ignored")


def _changed_share(label: Pixels) -> str:
    counted = int((label != IGNORED).sum())
    share = f"{(label == 1).sum() / counted:.3f}" if counted else "nothing"
    return f"{share} of the area labelled as changed"


def _outline(is_changed: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Find the changed pixels with an unchanged neighbour on one of their four sides."""
    padded = np.pad(is_changed, 1, mode="edge")
    enclosed = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return is_changed & ~enclosed


def _checked_mask(mask: NDArray[np.bool_], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    if mask.shape != shape:
        raise DataError(f"mask {mask.shape} and image {shape} must have the same height and width")
    return mask.astype(np.bool_)
