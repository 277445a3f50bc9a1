"""The demo: generated pairs, training, evaluation, one prediction, one report page."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from changedet.card import read_card
from changedet.data.index import PairIndex, PairPaths, files_of, index_pairs
from changedet.data.labels.scan import scan_labels
from changedet.data.reading import PairReader
from changedet.demo.baseline import DifferenceScorer
from changedet.demo.page import Contender as Contender
from changedet.demo.page import DemoReport as DemoReport
from changedet.demo.page import write_page
from changedet.demo.real_pair import map_real_pair
from changedet.demo.request import ENTRIES, RECIPE, check_request
from changedet.demo.request import DemoRequest as DemoRequest
from changedet.demo.typical import pair_of, typical_panels
from changedet.errors import TrainingError
from changedet.evaluation.evaluate import EvaluationRequest, evaluate_model
from changedet.inference.counting import count_scores
from changedet.inference.scorer import Scorer
from changedet.inference.torch_scorer import TorchScorer
from changedet.metrics.histogram import ScoreHistogram
from changedet.metrics.protocol import (
    choose_threshold,
    fixed_threshold_metrics,
)
from changedet.predict.images import predict_files
from changedet.storage.lock import only_run
from changedet.storage.output_folder import half_made, remove_entries
from changedet.synthetic.dataset import write_sample
from changedet.training.build import build_seeded_model
from changedet.training.callbacks import TrainingCallback
from changedet.training.config import ExperimentConfig
from changedet.training.run import TrainRequest, run_training


def run_demo(
    request: DemoRequest,
    *,
    callbacks: Sequence[TrainingCallback] = (),
    say: Callable[[str], None] = lambda message: None,
    wording: Callable[[str], str] = lambda text: text,
) -> DemoReport:
    """Run the main job once on generated pairs, from data to a page that shows the result.

    Args:
        request: Where to, and with what.
        callbacks: Told of the training's progress.
        say: Gets sentences for the user.
        wording: Turns what the user of a prediction is told into words for readers of the page;
            settings stand in it in backticks.

    Raises:
        ConfigError: If ``out`` holds something else.
        TrainingError: If the training was stopped.
    """
    with only_run(request.out):
        config = check_request(request)
        remove_entries(request.out, ENTRIES)
        with half_made(request.out):
            return _run(request, config, callbacks=callbacks, say=say, wording=wording)


def _run(
    request: DemoRequest,
    config: ExperimentConfig,
    *,
    callbacks: Sequence[TrainingCallback],
    say: Callable[[str], None],
    wording: Callable[[str], str],
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
        images = _typical_pair(index, out / "evaluation" / "panels")
        predict_files(
            images.before, images.after, model=model, out=out / "prediction", device=request.device
        )
    with clock.measure("map a pair of real rasters"):
        real = map_real_pair(out / "real", say=say)
    demo = DemoReport(out / "summary.html", contenders, clock.seconds, real)
    write_page(request, demo, config=config, wording=wording)
    return demo


def _typical_pair(index: PairIndex, panels: Path) -> PairPaths:
    """Choose the pair in the middle of the test split, by its F1, where there is one."""
    pairs = files_of(index)["test"]
    typical = [pair_of(panel) for panel in typical_panels(panels)]
    return next((pair for pair in pairs if pair.after.stem in typical), pairs[0])


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
