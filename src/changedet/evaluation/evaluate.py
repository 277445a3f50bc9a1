"""Evaluate a model or a baseline on a data set.

Figures at the best and at a fixed threshold, figures of each pair, a curve and panels.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from changedet._version import __version__
from changedet.baselines.names import is_baseline
from changedet.card import ModelCard
from changedet.data.file_names import find_mixture
from changedet.data.index import PairIndex, index_pairs
from changedet.data.labelled import DecodedPair, LabelledPair
from changedet.data.labels.scan import LabelScan
from changedet.data.rasters.manifest import find_manifest, read_manifest
from changedet.data.scene_notice import announce_scenes
from changedet.errors import ConfigError, DataError
from changedet.evaluation.earlier import earlier_results
from changedet.evaluation.files import Evaluated
from changedet.evaluation.leakage import find_seen, other_bands_note
from changedet.evaluation.model_data import (
    at_working_gsd,
    bands_for,
    check_pixel_type,
    scan_labels_as_trained,
)
from changedet.evaluation.object_figures import object_figures
from changedet.evaluation.request import EvaluationRequest as EvaluationRequest
from changedet.evaluation.request import check_request
from changedet.evaluation.results import (
    BestThresholdResult,
    EvaluatedData,
    EvaluationResults,
    FixedThresholdResult,
)
from changedet.evaluation.threshold import (
    ThresholdChoice,
    chosen_on_split,
    given_by_hand,
    own_threshold,
    threshold_note,
)
from changedet.inference.counting import ScoredPair
from changedet.inference.opening import open_detector
from changedet.inference.provenance import kind_note
from changedet.inference.score_source import ScoreSource, source_of
from changedet.inference.working_gsd import GsdMatch
from changedet.metrics.calibration import measure_calibration
from changedet.metrics.histogram import ScoreHistogram
from changedet.metrics.objects import ObjectCounter, ObjectCounts, object_result
from changedet.metrics.protocol import (
    best_threshold_metrics,
    fixed_threshold_metrics,
)
from changedet.models.options import gives_probabilities
from changedet.rendering.plots import charts_note
from changedet.storage.markers import METRICS
from changedet.storage.output_folder import claimed, result_folder
from changedet.types import Progress

#: The note that goes with figures at the best threshold.
BEST_THRESHOLD_NOTE = "optimistic: its threshold is chosen on this same set"
_NO_THRESHOLD = 'the model file has no threshold; set `threshold` or `threshold_split="val"`'


def evaluate_model(
    request: EvaluationRequest,
    *,
    say: Callable[[str], None] = lambda message: None,
    progress: Progress | None = None,
) -> EvaluationResults:
    """Evaluate a model or an untrained baseline on a split of any labelled data set (spec 5).

    Writes ``metrics.json``, ``per_image.csv``, ``score_histogram.csv``, ``precision_recall.png``,
    ``panels/`` and ``panel_parts/`` to ``request.out``, which appears when everything is done; for
    a model whose scores estimate probabilities also ``reliability.png``. Where matplotlib is not
    installed, the two charts are left out, and it is said.

    Args:
        request: What to evaluate, and how.
        say: Gets sentences for the user.
        progress: Called after each pair.

    Returns:
        All that was found, as it stands in ``metrics.json``.

    Raises:
        ConfigError: If a setting is wrong or ``out`` is not free.
        DataError: If the data set, a pair or a label cannot be used.
        CheckpointError: If the model file cannot be used.
        StorageError: If the results cannot be written.
    """
    check_request(request)
    if find_mixture(request.data) is not None:
        raise ConfigError(
            f"{request.data} is a mixture of data sets; use evaluate_mixture() for it"
        )
    with claimed(request.out, marker=METRICS, existing=request.existing):
        return _evaluate(request, say=say, progress=progress)


def _evaluate(
    request: EvaluationRequest, *, say: Callable[[str], None], progress: Progress | None
) -> EvaluationResults:
    source = open_source(request)
    announce_scenes(request.data, say)
    index = index_for(request, source)
    check_pixel_type(request.model, source.pixel_type, index, data=request.data)
    kind = kind_note(source.detector.card, source.detector.kind, given=request.kind)
    if kind is not None:
        say(kind)
    pairs = _labelled(request, source, index, split=request.split)
    source, gsd = at_working_gsd(source, pairs, given=request.gsd_m, say=say)
    scan = scan_labels_as_trained(
        index,
        [] if source.card is None else [source.card],
        ignore_value=request.ignore_value,
        changed_values=request.changed_values,
    )
    names = _mixtures_with(index, source.card)
    judged = Judged(request, source, index, gsd=gsd, scan=scan, names=names)
    for sentence in (*index.notes, *judged.notes(), charts_note()):
        if sentence is not None:
            say(sentence)
    evaluated = judge_split(judged, progress=progress)
    retired = earlier_results(request.out)
    with result_folder(request.out, marker=METRICS, retire=retired) as folder:
        evaluated.write(folder)
    return evaluated.results


def _mixtures_with(index: PairIndex, card: ModelCard | None) -> tuple[str, ...]:
    """Name the mixtures that a model was trained on, if a set of this name is part of them."""
    if card is None or card.domain is None or card.data_name is None:
        return ()
    sets = {one.name for one in card.domain.sets}
    # An ensemble names the data of all of its networks.
    mixtures = [name for name in card.data_name.split("; ") if name not in sets]
    return tuple(mixtures) if index.name in sets else ()


def open_source(request: EvaluationRequest) -> ScoreSource:
    """Open the model or the baseline that is to be evaluated."""
    return source_of(
        open_detector(
            request.model,
            device=request.device,
            test_time=request.test_time,
            kind=request.kind,
            channels=_channels_for(request),
            encoder=request.encoder,
            encoder_weights=request.encoder_weights,
            runtime=request.runtime,
            precision=request.precision,
        )
    )


class Judged:
    """What is evaluated on what: the scores' source, the data, the pairs of the splits in use.

    Attributes:
        known_as: The data set, and once more under each other name by which a model may know it.
    """

    def __init__(
        self,
        request: EvaluationRequest,
        source: ScoreSource,
        index: PairIndex,
        *,
        gsd: GsdMatch,
        scan: LabelScan,
        names: Sequence[str] = (),
    ) -> None:
        self.request = request
        self.source = source
        self.index = index
        self.gsd = gsd
        self.scan = scan
        self.known_as = (index, *(replace(index, name=name) for name in names))
        self.pairs = _labelled(request, source, index, split=request.split)
        self.choosing = (
            None
            if request.threshold_split in (None, request.split)
            else _labelled(request, source, index, split=request.threshold_split)
        )

    @property
    def to_score(self) -> int:
        """How many pairs are scored."""
        return len(self.pairs) + len(self.choosing or ())

    def score(self, pair: DecodedPair) -> NDArray[np.float32]:
        """Score one pair, (H, W)."""
        return self.source.score(pair, mode=self.request.mode)

    def notes(self) -> list[str]:
        """Say what the user should know of the data."""
        card = self.source.card
        return [
            *(other_bands_note(card, self.index) if card else ()),
            f"labels: {self.scan.encoding.describe()}",
            *self.scan.notes,
            *_no_change(self, self.scan),
        ]


def judge_split(judged: Judged, *, progress: Progress | None) -> Evaluated:
    """Score a split and compute all figures, by both protocols."""
    started = time.monotonic()
    counted = _count(judged, progress=progress)
    results = _judge(judged, counted, seconds=time.monotonic() - started)
    return Evaluated(
        pairs=judged.pairs,
        read=judged.source.reader(judged.scan.encoding).read,
        score=judged.score,
        panels=judged.request.panels,
        results=results,
        histogram=counted.pixels,
    )


class _Counted(NamedTuple):
    """What was counted on a split: pixels by score, and objects where the threshold was known."""

    choice: ThresholdChoice
    pixels: ScoreHistogram
    objects: ObjectCounts | None


def _channels_for(request: EvaluationRequest) -> int | None:
    """Tell how many bands a baseline has to take; a model knows that itself."""
    if request.channels is not None or not is_baseline(request.model):
        return request.channels
    if request.bands is not None:
        return len(request.bands)
    # Scenes are read whole when they are indexed; they have three bands or say so themselves.
    manifest = find_manifest(request.data)
    if manifest is not None:
        return len(read_manifest(manifest).bands or ()) or None
    return index_pairs(request.data, benchmark=request.benchmark, channels=None).channels


def index_for(
    request: EvaluationRequest, source: ScoreSource, *, labelled: bool = True
) -> PairIndex:
    """Find the pairs as the model wants them: its bands."""
    return index_pairs(
        request.data,
        benchmark=request.benchmark,
        labelled=labelled,
        channels=source.detector.in_channels,
        bands=bands_for(source.card, request.bands, request.bands_after),
    )


def _labelled(
    request: EvaluationRequest, source: ScoreSource, index: PairIndex, *, split: str
) -> tuple[LabelledPair, ...]:
    if split not in index.splits:
        everything = index_for(request, source, labelled=False)
        if split in everything.splits:
            raise DataError(
                f"split {split!r} of {request.data} has no labels to compare with; add them, or "
                "use `changedet predict`, which needs none"
            )
    return index.split(split)


def _no_change(judged: Judged, scan: LabelScan) -> list[str]:
    """Warn of figures that would be 0 or undefined however good the scores are."""
    if scan.share_of(judged.pairs) != 0.0:
        return []
    return [
        f"WARNING: the labels of the split {judged.request.split!r} have no changed pixel, so F1, "
        "precision and recall are meaningless here and only the false alarm rate is meaningful; "
        "check the labels ('changedet data check')"
    ]


def _count(judged: Judged, *, progress: Progress | None) -> _Counted:
    """Settle the threshold, on another split first if it is to be chosen there, and count."""
    request, index = judged.request, judged.index
    choosing = judged.choosing or ()
    reader = judged.source.reader(judged.scan.encoding)
    total = len(choosing) + len(judged.pairs)

    def count(
        pairs: Sequence[LabelledPair], done: int, *, threshold: float | None = None
    ) -> tuple[ScoreHistogram, ObjectCounts | None]:
        objects = ObjectCounter()

        def count_up(scored: ScoredPair) -> None:
            if threshold is not None:
                objects.add(scored.score >= np.float32(threshold), scored.pair.label)
            if progress is not None:
                progress(done + scored.number + 1, total)

        pixels = judged.source.count(
            reader.read_ahead(pairs),
            mode=request.mode,
            batch_size=request.batch_size,
            extra_thresholds=() if request.threshold is None else (request.threshold,),
            on_score=count_up,
        )
        return pixels, None if threshold is None else objects.compute()

    if request.threshold is not None:
        choice = given_by_hand(request.threshold)
    elif request.threshold_split is None:
        choice = own_threshold(judged.source)
    elif choosing:
        choice = chosen_on_split(count(choosing, 0)[0], index, request.threshold_split)
    else:
        pixels, _ = count(judged.pairs, 0)
        return _Counted(chosen_on_split(pixels, index, request.threshold_split), pixels, None)
    return _Counted(choice, *count(judged.pairs, len(choosing), threshold=choice.value))


def _judge(judged: Judged, counted: _Counted, *, seconds: float) -> EvaluationResults:
    request, source, index = judged.request, judged.source, judged.index
    choice, histogram, objects = counted
    best = best_threshold_metrics(histogram)
    seen = None if source.card is None else find_seen(source.card, index, split=request.split)
    fixed: FixedThresholdResult | None = None
    if choice.value is not None:
        notes = [
            threshold_note(choice, source, one, split=request.split, seen=seen)
            for one in judged.known_as
        ]
        # Under each name the same may be said.
        said = dict.fromkeys(part for one in notes if one for part in one.split("; "))
        note = "; ".join(said) or None
        figures = fixed_threshold_metrics(histogram, choice.value, note=note)
        fixed = FixedThresholdResult(**vars(figures), threshold_source=choice.source)
    card = source.card
    is_probability = card is not None and gives_probabilities(card.architecture, card.options)
    is_tiled = source.kind == "model" or request.mode == "grid"
    return EvaluationResults(
        version=__version__,
        model=source.metadata,
        data=EvaluatedData(
            name=index.name,
            root=str(request.data),
            layout=index.layout,
            benchmark=request.benchmark,
            label=judged.scan.encoding,
        ),
        split=request.split,
        threshold_split=choice.split,
        images=histogram.images,
        mode=request.mode,
        tile_px=source.detector.tile_px if is_tiled else None,
        test_time=source.detector.test_time,
        best_threshold=BestThresholdResult(
            **vars(best),
            note="; ".join([BEST_THRESHOLD_NOTE, *(seen.in_training if seen else ())]),
        ),
        seen_blocks=seen,
        fixed_threshold=fixed,
        reason=_NO_THRESHOLD if fixed is None else None,
        average_precision=best.average_precision,
        roc_auc=best.roc_auc,
        calibration=measure_calibration(histogram) if is_probability else None,
        pictures_threshold=_first_number(choice.value, best.threshold),
        device=source.detector.device_name,
        seconds=round(seconds, 3),
        change_kind=source.detector.kind,
        runtime=source.detector.runtime,
        gsd=judged.gsd,
        objects=None
        if objects is None
        else object_figures(object_result(objects), gsd_m=judged.gsd.gsd_m),
    )


def _first_number(*candidates: float | None) -> float:
    """Pick the threshold for panels and per-image figures: the fixed one, or else the best one."""
    numbers = [value for value in candidates if value is not None and not math.isnan(value)]
    # Without any changed pixel no threshold is better than another; take the middle of the scale.
    return numbers[0] if numbers else 0.5
