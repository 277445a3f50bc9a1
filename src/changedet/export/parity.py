"""Whether an exported graph gives the scores of its network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import torch

from changedet.errors import CheckpointError, ExportError
from changedet.export.metadata import stored_thresholds
from changedet.raster.grid import round_up

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from changedet.card import ModelCard
    from changedet.export.graph import StoredToScores
    from changedet.inference.graph_scorer import Graph

#: Scores may differ by this at most, and this share of the pixels may change sides.
LARGEST_DIFFERENCE: Final = 1e-3
LARGEST_FLIPPED: Final = 1e-4
_OCTAVES: Final = 5


class Parity(NamedTuple):
    """What was compared, and how much the scores differ.

    Attributes:
        shapes: Batch, height and width of what was scored.
        largest_difference: Of two scores of a pixel.
        flipped_share: Share of the pixels that are changed by one and unchanged by the other.
    """

    shapes: tuple[tuple[int, int, int], ...]
    largest_difference: float
    flipped_share: float


class _Worst(NamedTuple):
    """Where scores differ most."""

    difference: float
    words: str


def check_parity(network: StoredToScores, graph: Graph, card: ModelCard, *, name: str) -> Parity:
    """Score generated tiles of three sizes with both, and refuse a graph that differs.

    Args:
        network: In evaluation mode, on the CPU.
        graph: In a runtime.
        card: What is known of the network.
        name: Of the model, for messages.

    Raises:
        ExportError: If a score differs by more than 0.001, or more than 0.01 % of the mask; it says
            where.
    """
    shapes = _shapes(card, graph)
    thresholds = np.array(stored_thresholds(card, graph.facts.kinds), np.float32)[:, None, None]
    worst = _Worst(-1.0, "")
    flipped = total = 0
    for seed, shape in enumerate(shapes):
        image = generated_pair(card, shape, seed=seed)
        with torch.inference_mode():
            wanted = network(torch.from_numpy(image)).numpy()
        try:
            given = graph.run(image)
        except CheckpointError as error:
            raise _failed(name, f"it cannot score tiles of {_words(shape)} ({error})") from error
        if given.shape != wanted.shape:
            raise _failed(name, f"tiles of {_words(shape)} give {given.shape}, not {wanted.shape}")
        worst = max(worst, _compare(given, wanted, shape), key=lambda one: one.difference)
        flipped += int(np.count_nonzero((given >= thresholds) != (wanted >= thresholds)))
        total += wanted.size
    if worst.difference > LARGEST_DIFFERENCE:
        raise _failed(name, worst.words)
    if flipped > LARGEST_FLIPPED * total:
        raise _failed(name, f"{flipped} of {total} pixels change sides; {worst.words}")
    return Parity(shapes, worst.difference, flipped / total)


def generated_pair(
    card: ModelCard, shape: tuple[int, int, int], *, seed: int
) -> NDArray[np.float32]:
    """Draw pairs of images with values like those of a model's training.

    Clouds of all sizes, the same in both dates but for noise and some rectangles.

    Args:
        card: Of the model.
        shape: Batch, height and width.
        seed: Of the random numbers.

    Returns:
        Stored values, (B, 2 C, H, W), the earlier date first.
    """
    random = np.random.default_rng(seed)
    stats = card.normalisation
    batch, height, width = shape
    channels = len(stats.mean_before)
    ground = np.zeros((batch, channels, height, width), np.float32)
    for octave in range(_OCTAVES):
        cell = 2**octave
        coarse = random.standard_normal((batch, channels, -(-height // cell), -(-width // cell)))
        ground += np.kron(coarse, np.ones((cell, cell)))[..., :height, :width] / _OCTAVES**0.5
    later = ground + 0.2 * random.standard_normal(ground.shape)
    for pair in later:
        for _ in range(4):
            top, left = random.integers(0, (height, width))
            pair[:, top : top + height // 4, left : left + width // 4] += random.normal(0, 2)
    images = []
    for date, mean, std in (
        (ground, stats.mean_before, stats.std_before),
        (later, stats.mean_after, stats.std_after),
    ):
        shift, scale = (np.array(one)[:, None, None] for one in (mean, std))
        values = date * scale + shift
        if card.pixel_type != "float32":
            values = np.rint(np.clip(values, 0, np.iinfo(card.pixel_type).max))
        # Statistics are listed in the order that the network wants, images stored as RGB.
        images.append(values[:, ::-1] if stats.bands == "bgr" else values)
    return np.concatenate(images, axis=1).astype(np.float32)


def _shapes(card: ModelCard, graph: Graph) -> tuple[tuple[int, int, int], ...]:
    """Give three sizes; where the tile is fixed, three batches."""
    facts = graph.facts
    tile_px = round_up(card.tile_px, facts.stride)
    if facts.fixed_tile:
        return tuple((batch, tile_px, tile_px) for batch in (1, 2, 3))
    half_px = round_up(tile_px // 2, facts.stride)
    return ((1, tile_px, tile_px), (2, half_px, tile_px), (1, tile_px + facts.stride, half_px))


def _compare(
    given: NDArray[np.float32], wanted: NDArray[np.float32], shape: tuple[int, int, int]
) -> _Worst:
    if not np.isfinite(given).all():
        return _Worst(np.inf, f"tiles of {_words(shape)} give scores that are no finite numbers")
    differences = np.abs(given - wanted)
    place = np.unravel_index(int(differences.argmax()), differences.shape)
    difference = float(differences[place])
    _, kind, row, column = (int(number) for number in place)
    return _Worst(
        difference,
        f"scores of kind {kind} differ by up to {difference:.2g}: at row {row}, column {column} of "
        f"tiles of {_words(shape)} it gives {given[place]:.4f}, the network {wanted[place]:.4f}",
    )


def _words(shape: tuple[int, int, int]) -> str:
    return f"{shape[1]} x {shape[2]} px"


def _failed(name: str, reason: str) -> ExportError:
    return ExportError(
        f"the graph of {name} does not give the scores of its network: {reason}; nothing was "
        "written: predict with the model file, which PyTorch computes"
    )
