"""How far a graph in 8 bits is from the one in float32, and whether that is little enough."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from changedet.errors import ExportError
from changedet.inference.graph_scorer import GraphScorer
from changedet.inference.tiling import score_pairs
from changedet.inference.working_gsd import match_gsd
from changedet.metrics.confusion import Confusion
from changedet.types import IGNORED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from changedet.card import ModelCard
    from changedet.export.calibration import Middle
    from changedet.inference.graph_scorer import Graph
    from changedet.storage.onnx_file import GraphFacts

#: F1 of the mask with the one in float32 as the truth, at least, where labels do not say more. Both
#: maps together cover what they share and what differs, so this holds for rare changes as well.
SMALLEST_AGREEMENT: Final = 0.97


class Difference(NamedTuple):
    """How far scores in 8 bits are from those in float32.

    Attributes:
        largest_difference: Of two scores of the graph.
        mean_difference: Of its scores.
        flipped_share: Share of the pixels that are changed by one and unchanged by the other.
        agreement: F1 of the mask, the one in float32 taken as the truth; of several kinds of change
            the lowest; None: none has a changed pixel.
        f1: Of the mask in 8 bits by the labels; None: there are none, or none with a change.
        f1_float32: The same in float32.
    """

    largest_difference: float
    mean_difference: float
    flipped_share: float
    agreement: float | None
    f1: float | None = None
    f1_float32: float | None = None


class Limits(NamedTuple):
    """How much may differ.

    Attributes:
        largest_loss: Of F1 by the labels, 0 to 1.
        largest_flipped: Share of the pixels that may change sides, 0 to 1; None: what the labels
            say decides, or without labels the agreement of the masks.
    """

    largest_loss: float
    largest_flipped: float | None


class _Watched:
    """A graph whose scores are noted, and refused where they are no numbers."""

    def __init__(self, graph: Graph) -> None:
        self.facts: GraphFacts = graph.facts
        self.runtime = graph.runtime
        self.given: list[NDArray[np.float32]] = []
        self._graph = graph

    def run(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """Score a batch, see :meth:`.graph_scorer.Graph.run`."""
        scores = self._graph.run(image)
        self.given.append(scores)
        if not np.isfinite(scores).all():
            size = f"tile {len(self.given)} ({image.shape[-2]} x {image.shape[-1]} px)"
            raise _failed(
                f"{size} gets scores that are no finite numbers",
                "pairs like those of the training",
            )
        return scores


def compare(
    exact: Graph,
    small: Graph,
    *,
    pairs: Sequence[Middle],
    card: ModelCard,
    gsd_m: float | None,
    limits: Limits,
) -> Difference:
    """Measure how scores and masks change, and refuse a graph that changes too much of them.

    Masks are those of a prediction: of the mean of all test-time views, at the card's threshold.
    Labels count where all pairs have one and the model knows a single kind of change.

    Args:
        exact: The graph in float32.
        small: The same in 8 bits.
        pairs: None of those that it was calibrated on.
        card: Of the model.
        gsd_m: Ground sample distance of the images in metres; None: they are not resampled.
        limits: How much may differ.

    Raises:
        ExportError: If more does, or scores are no finite numbers.
    """
    watched = (_Watched(exact), _Watched(small))
    kinds: list[str | None] = [kind.name for kind in card.kinds] or [None]
    masks = [
        [_masks(graph, pairs, card, kind=kind, gsd_m=gsd_m) for graph in watched] for kind in kinds
    ]
    largest, mean, place = _differences(*(graph.given for graph in watched))
    flips = [_confusion(given, wanted) for wanted, given in masks]
    agreements = [one.f1 for one in flips if not math.isnan(one.f1)]
    labels = [pair.label for pair in pairs if pair.label is not None]
    f1 = f1_float32 = None
    if len(labels) == len(pairs) and len(kinds) == 1 and any((one == 1).any() for one in labels):
        f1_float32, f1 = (_confusion(one, labels).f1 for one in masks[0])
    difference = Difference(
        largest_difference=largest,
        mean_difference=mean,
        flipped_share=sum(one.fp + one.fn for one in flips) / sum(sum(one) for one in flips),
        agreement=min(agreements, default=None),
        f1=f1,
        f1_float32=f1_float32,
    )
    _check(difference, limits, place)
    return difference


def _masks(
    graph: Graph,
    pairs: Sequence[Middle],
    card: ModelCard,
    *,
    kind: str | None,
    gsd_m: float | None,
) -> list[NDArray[np.bool_]]:
    """Predict the pairs, (h, w) each."""
    scorer = GraphScorer(graph, card, kind=kind)
    zoom = match_gsd(card, given=gsd_m, measured=None).factor
    if zoom != 1.0:
        scorer = scorer.zoomed(zoom)
    threshold = 0.5 if scorer.card.threshold is None else scorer.card.threshold
    scored = score_pairs(scorer, pairs, images=lambda one: one[:2], batch_size=1)
    return [scores >= threshold for _, scores in scored]


def _confusion(
    given: Sequence[NDArray[np.bool_]], wanted: Sequence[NDArray[np.bool_] | NDArray[np.uint8]]
) -> Confusion:
    """Count the pixels of masks by what they should be; ignored ones do not count."""
    counts = np.zeros((2, 2), np.int64)
    for mask, truth in zip(given, wanted, strict=True):
        counted = truth != IGNORED
        places = 2 * (truth[counted] == 1) + mask[counted]
        counts += np.bincount(places, minlength=4).reshape(2, 2)
    (tn, fp), (fn, tp) = counts.tolist()
    return Confusion(tp=tp, fp=fp, fn=fn, tn=tn)


def _differences(
    wanted: Sequence[NDArray[np.float32]], given: Sequence[NDArray[np.float32]]
) -> tuple[float, float, str]:
    """Give the largest and the mean difference of a graph's scores, and where the largest is."""
    largest, place, means = -1.0, "", []
    for number, (one, other) in enumerate(zip(wanted, given, strict=True), 1):
        difference = np.abs(other - one)
        means.append(float(difference.mean()))
        if float(difference.max()) > largest:
            largest = float(difference.max())
            _, kind, row, column = np.unravel_index(int(difference.argmax()), difference.shape)
            place = (
                f"scores of kind {kind} differ by up to {largest:.2g}, at row {row}, column "
                f"{column} of tile {number} ({one.shape[-2]} x {one.shape[-1]} px)"
            )
    return largest, float(np.mean(means)), place


def _check(difference: Difference, limits: Limits, place: str) -> None:
    """Refuse what differs too much."""
    pairs = "more pairs (`pairs`)"
    share, allowed = difference.flipped_share, limits.largest_flipped
    if allowed is not None and share > allowed:
        raise _failed(
            f"{100 * share:.2g} % of the pixels change sides, and {100 * allowed:.2g} % may; "
            f"{place}",
            f"{pairs} or a larger share (`largest_flipped`)",
        )
    if difference.f1 is not None and difference.f1_float32 is not None:
        loss = difference.f1_float32 - difference.f1
        # F1 without a detected pixel is 0, and undefined only without a changed one.
        if loss > limits.largest_loss:
            raise _failed(
                f"F1 by the labels falls from {difference.f1_float32:.4f} to {difference.f1:.4f}, "
                f"and {limits.largest_loss:g} may be lost; {place}",
                f"{pairs} or a larger loss (`largest_loss`)",
            )
        return
    if allowed is not None:
        return
    if difference.agreement is None:
        raise _failed(
            "no pixel of the pairs that it was compared on is changed, so its masks say nothing",
            f"{pairs}, or such with changes",
        )
    if difference.agreement < SMALLEST_AGREEMENT:
        raise _failed(
            f"F1 of its masks is {difference.agreement:.3f} with those in float32 as the truth, "
            f"and {SMALLEST_AGREEMENT} is needed; {place}",
            f"{pairs}, pairs with labels, or allow a share of the pixels (`largest_flipped`)",
        )


def _failed(reason: str, remedy: str) -> ExportError:
    return ExportError(
        f"in 8 bits the model does not give its scores: {reason}; nothing was written: try "
        f"{remedy}, or predict with the model as it is"
    )
