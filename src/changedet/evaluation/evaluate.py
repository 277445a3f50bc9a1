"""Evaluate a model or a baseline on a data set.

Figures at the best and at a fixed threshold, figures of each pair, a curve and panels.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from changedet._version import __version__
from changedet.baselines.names import is_baseline
from changedet.data.file_names import find_mixture
from changedet.data.index import PairIndex, index_pairs
from changedet.data.labelled import DecodedPair, LabelledPair
from changedet.data.labels.scan import LabelEncoding, LabelScan
from changedet.data.rasters.manifest import find_manifest, read_manifest
from changedet.data.scene_notice import announce_scenes
from changedet.errors import ConfigError, DataError
from changedet.evaluation.earlier import earlier_results
from changedet.evaluation.examples import choose_pairs, write_panels
from changedet.evaluation.leakage import find_seen, other_bands_note
from changedet.evaluation.model_data import (
    at_working_gsd,
    bands_for,
    check_pixel_type,
    scan_labels_as_trained,
)
from changedet.evaluation.per_image_table import write_per_image
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
from changedet.metrics.confusion import per_image
from changedet.metrics.histogram import ScoreHistogram
from changedet.metrics.protocol import (
    best_threshold_metrics,
    fixed_threshold_metrics,
)
from changedet.models.options import gives_probabilities
from changedet.rendering.plots import (
    charts_note,
    write_precision_recall_curve,
    write_reliability_diagram,
)
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

    Writes ``metrics.json``, ``per_image.csv``, ``precision_recall.png`` and ``panels/`` to
    ``request.out``, which appears when everything is done; for a model whose scores estimate
    probabilities also ``reliability.png``. Where matplotlib is not installed, the two charts are
    left out, and it is said.

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
    judged = Judged(request, source, index, gsd=gsd, scan=scan)
    for sentence in (*index.notes, *judged.notes(), charts_note()):
        if sentence is not None:
            say(sentence)
    evaluated = judge_split(judged, progress=progress)
    retired = earlier_results(request.out)
    with result_folder(request.out, marker=METRICS, retire=retired) as folder:
        evaluated.write(folder)
    return evaluated.results


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


@dataclass(frozen=True, eq=False)
class Evaluated:
    """What was found on a split, ready to be written.

    Attributes:
        judged: What was evaluated.
        results: What was found.
        histogram: The counts.
    """

    judged: Judged
    results: EvaluationResults
    histogram: ScoreHistogram

    def write(self, folder: Path) -> None:
        """Write all files of an evaluation into a folder that is there."""
        _write_results(folder, self.judged, self.results, histogram=self.histogram)


def judge_split(judged: Judged, *, progress: Progress | None) -> Evaluated:
    """Score a split and compute all figures, by both protocols."""
    started = time.monotonic()
    encoding = judged.scan.encoding
    choice, histogram = _count(judged, encoding=encoding, progress=progress)
    seconds = time.monotonic() - started
    results = _judge(judged, choice, histogram, encoding=encoding, seconds=seconds)
    return Evaluated(judged, results, histogram)


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


def _count(
    judged: Judged, *, encoding: LabelEncoding, progress: Progress | None
) -> tuple[ThresholdChoice, ScoreHistogram]:
    """Settle the threshold, on another split first if it is to be chosen there, and count."""
    request, index = judged.request, judged.index
    choosing = judged.choosing or ()
    reader = judged.source.reader(encoding)
    total = len(choosing) + len(judged.pairs)

    def count(
        pairs: Sequence[LabelledPair], done: int, extra_thresholds: Sequence[float] = ()
    ) -> ScoreHistogram:
        def count_up(scored: ScoredPair) -> None:
            if progress is not None:
                progress(done + scored.number + 1, total)

        return judged.source.count(
            reader.read_ahead(pairs),
            mode=request.mode,
            batch_size=request.batch_size,
            extra_thresholds=extra_thresholds,
            on_score=count_up,
        )

    if request.threshold is not None:
        choice = given_by_hand(request.threshold)
        return choice, count(judged.pairs, 0, [request.threshold])
    if request.threshold_split is None:
        return own_threshold(judged.source), count(judged.pairs, 0)
    if choosing:
        choice = chosen_on_split(count(choosing, 0), index, request.threshold_split)
        return choice, count(judged.pairs, len(choosing))
    histogram = count(judged.pairs, 0)
    return chosen_on_split(histogram, index, request.threshold_split), histogram


def _judge(
    judged: Judged,
    choice: ThresholdChoice,
    histogram: ScoreHistogram,
    *,
    encoding: LabelEncoding,
    seconds: float,
) -> EvaluationResults:
    request, source, index = judged.request, judged.source, judged.index
    best = best_threshold_metrics(histogram)
    seen = None if source.card is None else find_seen(source.card, index, split=request.split)
    fixed: FixedThresholdResult | None = None
    if choice.value is not None:
        notes = [
            threshold_note(choice, source, one, split=request.split, seen=seen)
            for one in judged.known_as
        ]
        note = "; ".join(dict.fromkeys(one for one in notes if one)) or None
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
            label=encoding,
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
    )


def _first_number(*candidates: float | None) -> float:
    """Pick the threshold for panels and per-image figures: the fixed one, or else the best one."""
    numbers = [value for value in candidates if value is not None and not math.isnan(value)]
    # Without any changed pixel no threshold is better than another; take the middle of the scale.
    return numbers[0] if numbers else 0.5


def _write_results(
    folder: Path,
    judged: Judged,
    results: EvaluationResults,
    *,
    histogram: ScoreHistogram,
) -> None:
    fixed = results.fixed_threshold
    title = f"{judged.index.name}, split {judged.request.split}"
    counts = per_image(histogram, results.pictures_threshold)
    write_per_image(folder / "per_image.csv", judged.pairs, counts)
    if charts_note() is None:
        write_precision_recall_curve(
            folder / "precision_recall.png",
            histogram,
            title=title,
            threshold=None if fixed is None else fixed.threshold,
        )
        if results.calibration is not None:
            write_reliability_diagram(folder / "reliability.png", results.calibration, title=title)
    write_panels(
        folder / "panels",
        choose_pairs(counts, judged.request.panels),
        pairs=judged.pairs,
        read=judged.source.reader(results.data.label).read,
        score=judged.score,
        threshold=results.pictures_threshold,
    )
    results.write(folder / METRICS)
