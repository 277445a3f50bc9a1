"""Evaluate models and baselines on one split by pixels and objects, all in the same way."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from changedet.data.scene_notice import announce_scenes
from changedet.evaluation.benchmark.methods import Method, open_methods
from changedet.evaluation.benchmark.repeats import Repeats, find_repeats
from changedet.evaluation.benchmark.report import write_report
from changedet.evaluation.benchmark.request import VIEWS, AccuracyRequest, View
from changedet.evaluation.benchmark.results import (
    AccuracyResults,
    MethodResult,
    Origin,
    Remainder,
    ViewResult,
)
from changedet.evaluation.benchmark.splits import BenchmarkData
from changedet.evaluation.benchmark.trial import Trial, run_trial
from changedet.evaluation.environment import software_versions
from changedet.evaluation.model_data import at_working_gsd
from changedet.evaluation.object_figures import object_figures
from changedet.inference.counting import OnScore, ScoredPair
from changedet.inference.provenance import kind_note
from changedet.inference.score_source import ScoreSource
from changedet.metrics.objects import object_result
from changedet.metrics.protocol import choose_threshold, fixed_threshold_metrics
from changedet.selection import Selection
from changedet.storage.markers import ACCURACY
from changedet.storage.output_folder import claimed, result_folder
from changedet.types import Progress


def measure_accuracy(
    request: AccuracyRequest,
    *,
    say: Callable[[str], None] = lambda message: None,
    progress: Progress | None = None,
) -> AccuracyResults:
    """Evaluate methods on a split: pixels, objects, sizes, near-duplicates (spec 5).

    Every method sees the images twice: as 256 x 256 tiles side by side, as in most papers, and
    whole. For each the threshold that gives the best F1 on ``request.threshold_split`` is applied
    unchanged to ``request.split``.

    Writes ``accuracy.json``, ``accuracy.md``, ``accuracy.html`` and ``size_recall.png`` to
    ``request.out``, which appears when everything is done.

    Args:
        request: What to evaluate, and how.
        say: Gets sentences for the user.
        progress: Called after each pair with the number of pairs scored and to score.

    Raises:
        ConfigError: If a setting is wrong, a method does not fit the data, or ``out`` is not free.
        DataError: If the data set, a split or a label cannot be used.
        CheckpointError: If a model file cannot be used.
        StorageError: If the results cannot be written.
    """
    request.check()
    with claimed(request.out, marker=ACCURACY, existing=request.existing):
        return _measure(request, say=say, progress=progress)


def _measure(
    request: AccuracyRequest, *, say: Callable[[str], None], progress: Progress | None
) -> AccuracyResults:
    started = time.monotonic()
    left_out: list[str] = []
    methods = open_methods(request, say=left_out.append)
    for sentence in left_out:
        say(sentence)
    announce_scenes(request.data, say)
    data = BenchmarkData(request, methods)
    for sentence in data.notes:
        say(sentence)
    first = methods[0].source
    repeats = find_repeats(
        data,
        data.pairs_of(first, request.split),
        channels=first.detector.in_channels,
        limit=request.duplicate_limit,
        say=say,
    )
    ticker = _Ticker(progress, _total(request, data, methods))
    bench = _Bench(request, data, repeats, ticker.tick)
    results = []
    for method in methods:
        results.append(bench.judge(method, say=say))
        figures = [f"F1 {view.pixels.f1:.4f} ({view.title})" for view in results[-1].views]
        say(f"{results[-1].title}: {', '.join(figures)}")
    report = AccuracyResults(
        data=data.facts(),
        images=repeats.images,
        gsd_m=request.gsd_m,
        methods=tuple(results),
        left_out=tuple(left_out),
        near_duplicates=repeats,
        origin=_origin(request, first),
        seconds=round(time.monotonic() - started, 3),
    )
    with result_folder(request.out, marker=ACCURACY) as folder:
        write_report(folder, report)
        report.write(folder / ACCURACY)
    return report


class _Ticker:
    """Counts scored pairs over all passes."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress = progress
        self._total = total
        self._done = 0

    def tick(self, _: ScoredPair) -> None:
        """Take note of one scored pair."""
        self._done += 1
        if self._progress is not None:
            self._progress(self._done, self._total)


@dataclass(frozen=True, eq=False)
class _Bench:
    """Evaluates one method after the other on the same pairs."""

    request: AccuracyRequest
    data: BenchmarkData
    repeats: Repeats
    on_score: OnScore

    def judge(self, method: Method, *, say: Callable[[str], None]) -> MethodResult:
        note = self.data.note_for(method.source)
        detector = method.source.detector
        kind = kind_note(detector.card, detector.kind, given=self.request.kind)
        if kind is not None:
            say(f"{method.title}: {kind}")
        source, gsd = at_working_gsd(
            method.source,
            self.data.pairs_of(method.source, self.request.split),
            # For models that state no range it is for the sizes of objects alone.
            given=None if detector.card.working_gsd_m is None else self.request.gsd_m,
            say=lambda text: say(f"{method.title}: {text}"),
        )
        views = tuple(self._judge_view(source, view, note) for view in VIEWS)
        return MethodResult(
            title=method.title,
            spec=source.spec,
            kind=source.kind,
            test_time=source.detector.test_time,
            facts=source.metadata,
            cost=method.cost,
            file_mb=method.file_mb,
            note=note,
            views=views,
            change_kind=source.detector.kind,
            gsd=gsd,
        )

    def _judge_view(self, source: ScoreSource, view: View, note: str | None) -> ViewResult:
        request = self.request
        threshold, chosen_by = self._threshold(source, view)
        trial = run_trial(
            source,
            self.data.read(source, request.split),
            view=view,
            threshold=threshold,
            batch_size=request.batch_size,
            on_score=self.on_score,
        )
        draws, seed = request.resamples, request.seed
        objects = object_result(trial.objects, resamples=draws, seed=seed)
        return ViewResult(
            view=view.name,
            title=view.title,
            mode=view.mode,
            tile_px=source.detector.tile_px if view.tile_px is None else view.tile_px,
            threshold=threshold,
            threshold_source=chosen_by,
            note=note,
            pixels=fixed_threshold_metrics(
                trial.pixels, threshold, note=note, resamples=draws, seed=seed
            ),
            objects=object_figures(objects, gsd_m=request.gsd_m),
            without_near_duplicates=self._remainder(trial),
        )

    def _threshold(self, source: ScoreSource, view: View) -> tuple[float, str]:
        request = self.request
        detector = source.detector
        if request.threshold == "stored" and detector.threshold is not None:
            return detector.threshold, detector.card.threshold_source or "stored with the model"
        split = request.threshold_split
        counts = source.count(
            self.data.read(source, split),
            mode=view.mode,
            tile_px=view.tile_px,
            batch_size=request.batch_size,
            on_score=self.on_score,
        )
        chosen = Selection(
            "split",
            data=self.data.index.name,
            split=split,
            images=counts.images,
            mode=view.mode,
            tile_px=view.tile_px,
        )
        return choose_threshold(counts), chosen.describe()

    def _remainder(self, trial: Trial) -> Remainder | None:
        rows = self.repeats.others
        if not rows:
            return None
        draws, seed = self.request.resamples, self.request.seed
        pixels = fixed_threshold_metrics(
            trial.pixels.subset(rows), trial.threshold, resamples=draws, seed=seed
        )
        objects = object_result(trial.objects.subset(rows), resamples=draws, seed=seed)
        return Remainder(
            images=len(rows),
            f1=pixels.f1,
            interval=pixels.intervals["f1"],
            object_f1=objects.f1,
            object_interval=objects.intervals["f1"],
        )


def _total(request: AccuracyRequest, data: BenchmarkData, methods: Sequence[Method]) -> int:
    """Count the pairs that will be scored."""
    splits = [request.split]
    if request.threshold == "split":
        splits.append(request.threshold_split)
    once = sum(len(data.index.split(name)) for name in splits)
    return once * len(VIEWS) * len(methods)


def _origin(request: AccuracyRequest, source: ScoreSource) -> Origin:
    return Origin(
        command=request.command,
        device=source.detector.device_name,
        seed=request.seed,
        resamples=request.resamples,
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        software=software_versions(),
    )
