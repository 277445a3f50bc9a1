"""Evaluate a model on the images of a data set, brought to other ground sample distances."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from changedet._version import __version__
from changedet.data.domain import measure_shared_gsd
from changedet.data.labelled import DecodedPair, LabelledPair
from changedet.data.scene_notice import announce_scenes
from changedet.errors import ConfigError
from changedet.evaluation.gsd_curve.request import GsdCurveRequest, lengths_of
from changedet.evaluation.gsd_curve.results import (
    GsdCurveResults,
    GsdFigures,
    GsdPoint,
    write_table,
)
from changedet.evaluation.leakage import find_seen
from changedet.evaluation.model_data import LabelledSplit, bands_for, open_split
from changedet.evaluation.threshold import given_by_hand, own_threshold, threshold_note
from changedet.inference.counting import ScoredPair
from changedet.inference.opening import open_detector
from changedet.inference.provenance import kind_note, settle_threshold
from changedet.inference.score_source import ScoreSource, source_of
from changedet.inference.working_gsd import match_gsd
from changedet.inference.zoom import zoom_images
from changedet.metrics.protocol import best_threshold_metrics, fixed_threshold_metrics
from changedet.rendering.plots import GsdLine, write_gsd_chart
from changedet.storage.markers import GSD_CURVE
from changedet.storage.output_folder import claimed, result_folder
from changedet.types import Progress

TABLE = "gsd.csv"
CHART = "gsd.png"


def measure_gsd_curve(
    request: GsdCurveRequest,
    *,
    say: Callable[[str], None] = lambda message: None,
    progress: Progress | None = None,
) -> GsdCurveResults:
    """Evaluate a model on images of several ground sample distances, with and without resampling.

    The images and labels of a split are brought to each length: shrunk images are smoothed first,
    as a coarser sensor would do it; enlarged ones are larger, but show no more. The model sees
    them as they are, and where it states at which lengths it works, also resampled for that. The
    threshold is the stored one throughout.

    Writes ``gsd.json``, ``gsd.csv`` and ``gsd.png`` to ``request.out``.

    Args:
        request: What to evaluate, and how.
        say: Gets sentences for the user.
        progress: Called after each pair with the number of pairs scored and to score.

    Raises:
        ConfigError: If a setting is wrong, no threshold or ground sample distance is known, or
            ``out`` is not free.
        DataError: If the data set, a pair or a label cannot be used.
        CheckpointError: If the model file cannot be used.
        StorageError: If the results cannot be written.
    """
    request.check()
    with claimed(request.out, marker=GSD_CURVE, existing=request.existing):
        results = _measure(request, say=say, progress=progress)
        with result_folder(request.out, marker=GSD_CURVE) as folder:
            write_table(folder / TABLE, results)
            write_gsd_chart(
                folder / CHART,
                _lines(results),
                title=f"{request.model.stem} on {results.data}, split {results.split}",
                working_m=results.working_gsd_m,
            )
            results.write(folder / GSD_CURVE)
    return results


def _measure(
    request: GsdCurveRequest, *, say: Callable[[str], None], progress: Progress | None
) -> GsdCurveResults:
    started = time.monotonic()
    detector = open_detector(
        request.model, device=request.device, test_time=request.test_time, kind=request.kind
    )
    source, card = source_of(detector), detector.card
    threshold, chosen_by = settle_threshold(card, request.threshold, model=str(request.model))
    announce_scenes(request.data, say)
    split = open_split(
        request.model,
        card,
        data=request.data,
        split=request.split,
        benchmark=request.benchmark,
        bands=bands_for(card, request.bands, request.bands_after),
        declared={"ignore_value": request.ignore_value, "changed_values": request.changed_values},
    )
    on_kind = kind_note(card, detector.kind, given=request.kind)
    for sentence in (*split.notes, *([on_kind] if on_kind else [])):
        say(sentence)
    split = replace(split, pairs=_spread(split, request.pairs))
    own_gsd_m = request.gsd_m or _own_length(split, request)
    trial = _Trial(source, split, request, threshold=threshold, own_gsd_m=own_gsd_m)
    points = tuple(trial.measure(lengths_of(request, own_gsd_m), say=say, progress=progress))
    choice = own_threshold(source) if request.threshold is None else given_by_hand(threshold)
    seen = find_seen(card, split.index, split=request.split)
    return GsdCurveResults(
        version=__version__,
        model=source.metadata,
        data=split.index.name,
        root=str(request.data),
        label=split.encoding,
        split=request.split,
        images=len(split.pairs),
        own_gsd_m=own_gsd_m,
        working_gsd_m=card.working_gsd_m,
        change_kind=detector.kind,
        threshold=threshold,
        threshold_source=chosen_by,
        note=threshold_note(choice, source, split.index, split=request.split, seen=seen),
        test_time=detector.test_time,
        points=points,
        device=detector.device_name,
        seconds=round(time.monotonic() - started, 3),
    )


def _spread(split: LabelledSplit, most: int | None) -> tuple[LabelledPair, ...]:
    pairs = split.pairs
    count = len(pairs) if most is None else min(most, len(pairs))
    return tuple(pairs[index * len(pairs) // count] for index in range(count))


def _own_length(split: LabelledSplit, request: GsdCurveRequest) -> float:
    found = measure_shared_gsd(split.pairs)
    if found is None:
        raise ConfigError(
            f"the images of {request.data} do not say how long their pixels are on the ground; "
            "set `gsd_m`, in metres"
        )
    return found


@dataclass(frozen=True, eq=False)
class _Trial:
    """A model on labelled pairs, which are brought to one length after the other."""

    source: ScoreSource
    split: LabelledSplit
    request: GsdCurveRequest
    threshold: float
    own_gsd_m: float

    def measure(
        self,
        lengths: tuple[float, ...],
        *,
        say: Callable[[str], None],
        progress: Progress | None,
    ) -> Iterator[GsdPoint]:
        card = self.source.detector.card
        factors = {
            length: match_gsd(card, given=length, measured=None).factor for length in lengths
        }
        passes = sum(1 if factor == 1.0 else 2 for factor in factors.values())
        done = 0

        def count_up(_: ScoredPair) -> None:
            nonlocal done
            done += 1
            if progress is not None:
                progress(done, passes * len(self.split.pairs))

        for length, factor in factors.items():
            plain = self._figures(length, 1.0, on_score=count_up)
            resampled = None
            if card.working_gsd_m is not None:
                resampled = plain
                if factor != 1.0:
                    resampled = self._figures(length, factor, on_score=count_up)
            shown = "" if resampled is None else f", resampled for the model {resampled.f1:.4f}"
            say(f"{length:.3g} m: F1 {plain.f1:.4f}{shown}")
            yield GsdPoint(gsd_m=length, as_they_are=plain, resampled=resampled)

    def _figures(
        self, length: float, factor: float, *, on_score: Callable[[ScoredPair], None]
    ) -> GsdFigures:
        source = replace(self.source, detector=self.source.detector.zoomed(factor))
        read = source.reader(self.split.encoding).read_ahead(self.split.pairs)
        counts = source.count(
            resampled_pairs(read, self.own_gsd_m / length),
            batch_size=self.request.batch_size,
            extra_thresholds=(self.threshold,),
            on_score=on_score,
        )
        fixed = fixed_threshold_metrics(counts, self.threshold)
        return GsdFigures(
            factor=factor,
            f1=fixed.f1,
            interval=fixed.intervals["f1"],
            precision=fixed.precision,
            recall=fixed.recall,
            max_f1=best_threshold_metrics(counts).max_f1,
        )


def resampled_pairs(pairs: Iterable[DecodedPair], factor: float) -> Iterator[DecodedPair]:
    """Bring labelled pairs to another number of pixels.

    Images are smoothed where they are shrunk; of the labels each pixel takes the value that lies
    in its middle.

    Args:
        pairs: Images of any type, (H, W, C), with labels, (H, W).
        factor: Height and width of the result in those of the pairs; 1: they stay as they are.
    """
    for pair in pairs:
        if factor == 1.0:
            yield pair
            continue
        before, after = (_resampled(image, factor) for image in (pair.before, pair.after))
        rows, columns = (
            (np.arange(new) + 0.5) * (old / new)
            for new, old in zip(before.shape[:2], pair.shape, strict=True)
        )
        yield DecodedPair(
            before, after, pair.label[np.ix_(rows.astype(np.intp), columns.astype(np.intp))]
        )


def _resampled(image: NDArray[np.generic], factor: float) -> NDArray[np.generic]:
    values = torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)[None]
    shown = zoom_images(values, factor, multiple=1)[0].permute(1, 2, 0).numpy()
    is_whole = image.dtype.kind in "iu"
    return (shown.round() if is_whole else shown).astype(image.dtype)


def _lines(results: GsdCurveResults) -> list[GsdLine]:
    lengths = [point.gsd_m for point in results.points]
    plain = [point.as_they_are for point in results.points]
    resampled = [point.resampled for point in results.points if point.resampled is not None]
    lines = []
    if resampled:
        lines.append(_line("resampled for the model", lengths, resampled))
    return [*lines, _line("images as they are", lengths, plain)]


def _line(title: str, lengths: list[float], figures: list[GsdFigures]) -> GsdLine:
    return GsdLine(title, lengths, [one.f1 for one in figures], [one.interval for one in figures])
