"""The demo: generated pairs, training, evaluation, one prediction, one report page."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from changedet.card import read_card
from changedet.data.index import PairIndex, files_of, index_pairs
from changedet.data.labels.scan import scan_labels
from changedet.data.reading import PairReader
from changedet.demo.baseline import DifferenceScorer
from changedet.demo.request import ENTRIES, RECIPE, check_request
from changedet.demo.request import DemoRequest as DemoRequest
from changedet.errors import TrainingError
from changedet.evaluation.evaluate import EvaluationRequest, evaluate_model
from changedet.evaluation.results import EvaluationResults
from changedet.inference.counting import count_scores
from changedet.inference.scorer import Scorer
from changedet.inference.torch_scorer import TorchScorer
from changedet.metrics.histogram import ScoreHistogram
from changedet.metrics.protocol import (
    FixedThresholdMetrics,
    choose_threshold,
    fixed_threshold_metrics,
)
from changedet.predict.images import PredictionReport, predict_files
from changedet.rendering.page import (
    Cell,
    Headline,
    Headlines,
    Note,
    Picture,
    Pictures,
    Section,
    Table,
    write_summary,
)
from changedet.storage.lock import only_run
from changedet.storage.output_folder import half_made, remove_entries
from changedet.synthetic.dataset import write_sample
from changedet.training.build import build_seeded_model
from changedet.training.callbacks import TrainingCallback
from changedet.training.config import ExperimentConfig
from changedet.training.run import TrainRequest, run_training

_SHOWN_PANELS = 6


@dataclass(frozen=True)
class Contender:
    """One row of the demo's comparison, every threshold chosen on the validation split."""

    name: str
    result: FixedThresholdMetrics


@dataclass(frozen=True)
class DemoReport:
    """What the demo found and where it is."""

    page: Path
    contenders: Sequence[Contender]
    seconds: dict[str, float]


def run_demo(
    request: DemoRequest,
    *,
    callbacks: Sequence[TrainingCallback] = (),
    say: Callable[[str], None] = lambda message: None,
) -> DemoReport:
    """Run the main job once on generated pairs, from data to a page that shows the result.

    Args:
        request: Where to, and with what.
        callbacks: Told of the training's progress.
        say: Gets sentences for the user.

    Raises:
        ConfigError: If ``out`` holds something else.
        TrainingError: If the training was stopped.
    """
    with only_run(request.out):
        config = check_request(request)
        remove_entries(request.out, ENTRIES)
        with half_made(request.out):
            return _run(request, config, callbacks=callbacks, say=say)


def _run(
    request: DemoRequest,
    config: ExperimentConfig,
    *,
    callbacks: Sequence[TrainingCallback],
    say: Callable[[str], None],
) -> DemoReport:
    out, clock = request.out, _Clock()
    train, val, test = request.counts
    say(f"generating {train + val + test} pairs in {out / 'data'}")
    with clock.measure("generate the pairs"):
        write_sample(out / "data", seed=request.seed, train=train, val=val, test=test)
    with clock.measure("train"):
        outcome = run_training(
            TrainRequest(
                out=out / "run",
                data=out / "data",
                recipe=RECIPE,
                overrides=request.overrides,
                device=request.device,
            ),
            callbacks=callbacks,
            say=say,
        )
    if outcome.signal is not None:
        raise TrainingError('the demo was stopped; run it again with `existing="replace"`')
    model, index = out / "run" / "best.safetensors", index_pairs(out / "data")
    say("evaluating on the test split")
    with clock.measure("evaluate"):
        report = evaluate_model(
            EvaluationRequest(
                model=model, data=out / "data", out=out / "evaluation", device=request.device
            )
        )
    if report.fixed_threshold is None:
        raise TrainingError(f"the trained model cannot be evaluated: {report.reason}")
    with clock.measure("compare with an untrained model and a plain difference"):
        contenders = [
            Contender("DASNet-V2, trained", report.fixed_threshold),
            *_baselines(config, index, model=model, device=request.device),
        ]
    with clock.measure("predict one pair"):
        images = files_of(index)["test"][0]
        prediction = predict_files(
            images.before, images.after, model=model, out=out / "prediction", device=request.device
        )
    page = out / "summary.html"
    demo = DemoReport(page, contenders, clock.seconds)
    _write_page(request, demo, report, prediction=prediction, config=config)
    return demo


def _baselines(
    config: ExperimentConfig, index: PairIndex, *, model: Path, device: str
) -> list[Contender]:
    """Evaluate an untrained model and a plain image difference just as the trained one."""
    encoding = scan_labels(index.pairs).encoding
    network = build_seeded_model(config, pretrained=True)
    untrained = TorchScorer(
        network, replace(read_card(model), threshold=None), device=device, test_time="none"
    )

    def count(scorer: Scorer, split: str) -> ScoreHistogram:
        return count_scores(scorer, PairReader(encoding).read_ahead(index.split(split)))

    return [
        Contender(
            name,
            fixed_threshold_metrics(count(scorer, "test"), choose_threshold(count(scorer, "val"))),
        )
        for name, scorer in (
            ("the same network, head and decoder untrained", untrained),
            ("plain image difference", DifferenceScorer()),
        )
    ]


class _Clock:
    """Wall-clock seconds of each step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def measure(self, step: str) -> Iterator[None]:
        start = time.monotonic()
        yield
        self.seconds[step] = time.monotonic() - start


def _write_page(
    request: DemoRequest,
    demo: DemoReport,
    report: EvaluationResults,
    *,
    prediction: PredictionReport,
    config: ExperimentConfig,
) -> None:
    best = demo.contenders[0].result
    low, high = best.intervals["f1"]
    options = config.model.options()
    sections = [
        Section(
            "",
            [
                Headlines(
                    [
                        Headline(
                            best.f1,
                            "F1 on the test split",
                            f"95 % interval over images {low:.3f} to {high:.3f}",
                            emphasis="main",
                        ),
                        Headline(best.iou, "IoU"),
                        Headline(best.precision, "precision"),
                        Headline(best.recall, "recall"),
                    ]
                ),
                Note(
                    "The pairs are generated (fields, roads, buildings, water, in two seasons and "
                    "with two sensors), so the figures show that everything works, not how well a "
                    "model performs on real images. The threshold was chosen on the validation "
                    "split."
                ),
            ],
        ),
        Section("Does training help?", [_comparison(demo.contenders)]),
        Section("Test pairs, from worst to best", [_panels(request.out / "evaluation")]),
        Section("One pair predicted", [_predicted(prediction)]),
        Section(
            "How it was made",
            [
                Table(
                    "Wall-clock time of the steps",
                    ["step", "seconds"],
                    [[step, round(seconds, 1)] for step, seconds in demo.seconds.items()],
                ),
                Note(
                    f"{config.model.name} on {config.model.encoder}, head width "
                    f"{options['head_width']}, {options['distance']} distance, "
                    f"{config.training.epochs} epochs of {request.counts[0]} pairs in crops of "
                    f"{config.data.crop_px} px, seed {config.training.seed}, device "
                    f"{report.device}, changedet {report.version}."
                ),
                *([Note(request.commands, kind="code")] if request.commands else []),
            ],
        ),
    ]
    write_summary(demo.page, title="changedet demo", subtitle=_SUBTITLE, sections=sections)


_SUBTITLE = "What changed between two aerial images: train, evaluate, predict"


def _comparison(contenders: Sequence[Contender]) -> Table:
    rows: list[list[Cell]] = [
        [
            contender.name,
            contender.result.f1,
            contender.result.iou,
            contender.result.precision,
            contender.result.recall,
            contender.result.average_precision,
        ]
        for contender in contenders
    ]
    return Table(
        f"Test split, {contenders[0].result.images} pairs",
        ["score from", "F1", "IoU", "precision", "recall", "average precision"],
        rows,
        highlighted=0,
        note="Each threshold was chosen on the validation split and applied unchanged to the test "
        "split.",
    )


def _panels(evaluation: Path) -> Pictures:
    files = sorted((evaluation / "panels").glob("*.png"))
    step = max(1, len(files) // _SHOWN_PANELS)
    return Pictures(
        [Picture(path, path.stem.replace("_", " ")) for path in files[::step][:_SHOWN_PANELS]]
    )


def _predicted(prediction: PredictionReport) -> Pictures:
    pair = prediction.pairs[0]
    items = [
        Picture(pair.before, "before"),
        Picture(pair.after, "after"),
        Picture(prediction.out / "heatmap.png", "heatmap.png: blue same, red changed"),
        Picture(prediction.out / "mask.png", "mask.png: changed pixels"),
        Picture(prediction.out / "overlay.png", "overlay.png: changed pixels on the after image"),
    ]
    share = f"{100 * pair.changed_share:.1f} % of the pixels changed"
    return Pictures(items, caption=f"{pair.name}: {share}", layout="grid")
