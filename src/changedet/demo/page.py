"""The page that shows what the demo found."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from changedet.demo.request import DemoRequest
from changedet.evaluation.results import EvaluationResults
from changedet.metrics.protocol import FixedThresholdMetrics
from changedet.predict.images import PredictionReport
from changedet.predict.request import SceneReport
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
from changedet.training.config import ExperimentConfig

_SUBTITLE = "What changed between two aerial images: train, evaluate, predict"
_TYPICAL = 3
_EXTREMES = 2
_PANEL = re.compile(r"\d+_(?P<kind>[a-z]+(?:_change)?)(?:_f1-(?P<f1>[\d.]+))?_(?P<name>.+)")


@dataclass(frozen=True)
class Contender:
    """One row of the demo's comparison, every threshold chosen on the validation split."""

    name: str
    result: FixedThresholdMetrics


@dataclass(frozen=True)
class DemoReport:
    """What the demo found and where it is; ``real`` is None outside of a checkout."""

    page: Path
    contenders: Sequence[Contender]
    seconds: dict[str, float]
    real: SceneReport | None = None


def write_page(
    request: DemoRequest,
    demo: DemoReport,
    report: EvaluationResults,
    *,
    prediction: PredictionReport,
    config: ExperimentConfig,
) -> None:
    """Write the page.

    Args:
        request: What was asked for.
        demo: What was found.
        report: The evaluation of the trained model.
        prediction: Of one pair.
        config: What the model was trained with.

    Raises:
        StorageError: If it cannot be written.
    """
    panels = request.out / "evaluation" / "panels"
    typical = typical_panels(panels)
    extremes = [*_panels(panels, "worst")[:_EXTREMES], *_panels(panels, "best")[-_EXTREMES:]]
    sections = [
        Section("", [_headlines(demo.contenders[0].result), Note(_WHAT_THE_PAIRS_ARE)]),
        (
            Section("Typical test pairs", [Note(_HOW_CHOSEN), _strip(typical)])
            if typical
            else Section("Test pairs", [_strip(extremes)])
        ),
        *(
            [_real_section(demo.real, command=request.real_command)]
            if demo.real is not None
            else []
        ),
        Section("Does training help?", [_comparison(demo.contenders)]),
        Section("One pair predicted", [_predicted(prediction)]),
        *([Section("The worst and the best test pairs", [_strip(extremes)])] if typical else []),
        Section("How it was made", _making(request, demo, report, config=config)),
    ]
    write_summary(demo.page, title="changedet demo", subtitle=_SUBTITLE, sections=sections)


_WHAT_THE_PAIRS_ARE = (
    "The pairs are generated (fields, roads, buildings, water, in two seasons and with two "
    "sensors), so the figures show that everything works, not how well a model performs on real "
    "images. The threshold was chosen on the validation split."
)
_HOW_CHOSEN = (
    "Ranked by F1, these pairs lie in the middle of the test split: half of the others are better, "
    "half are worse."
)


def typical_panels(folder: Path) -> list[Path]:
    """Give the panels of the pairs whose F1 is in the middle, in the order of their F1."""
    panels = _panels(folder, "median")
    first = (len(panels) - _TYPICAL + 1) // 2 if len(panels) > _TYPICAL else 0
    return panels[first : first + _TYPICAL]


def pair_of(panel: Path) -> str:
    """Give the name of the pair that a panel shows."""
    found = _PANEL.fullmatch(panel.stem)
    return panel.stem if found is None else found["name"]


def _panels(folder: Path, kind: str) -> list[Path]:
    return sorted(folder.glob(f"*_{kind}_*.png"))


def _strip(panels: Sequence[Path]) -> Pictures:
    return Pictures([Picture(path, _describe(path)) for path in panels])


def _describe(panel: Path) -> str:
    found = _PANEL.fullmatch(panel.stem)
    if found is None or found["f1"] is None:
        return f"Pair {pair_of(panel)}"
    words = {"worst": "one of the worst", "best": "one of the best"}.get(found["kind"], "typical")
    return f"Pair {found['name']}, {words}: F1 {found['f1']}"


def _headlines(best: FixedThresholdMetrics) -> Headlines:
    low, high = best.intervals["f1"]
    return Headlines(
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
    )


def _real_section(real: SceneReport, *, command: str) -> Section:
    """Show the pair of real rasters that lies in the checkout."""
    counts, polygons = real.counts, real.polygons
    share = 100 * counts.changed / (counts.changed + counts.unchanged)
    area = "" if polygons.area_m2 is None else f", {polygons.area_m2 / 1e6:,.0f} km²"
    return Section(
        "On real images: twenty years of a river",
        [
            Note(
                "The Ucayali at Pucallpa, Peru, in 2000 and 2020 (Landsat, USGS, public domain; "
                "short-wave infrared, near infrared and red shown as red, green and blue). Change "
                "vector analysis, a baseline that needs no training, finds where the river left "
                "its bends and made new ones, its sandbanks, and the edge of the growing town in "
                "the west. It also marks what the water level alone has changed."
            ),
            Pictures(
                [
                    Picture(
                        real.out / "preview.png",
                        f"{share:.1f} % of the area changed: {polygons.count} polygons{area}",
                    )
                ],
                layout="sheet",
            ),
            *([Note(command, kind="code")] if command else []),
        ],
    )


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


def _making(
    request: DemoRequest, demo: DemoReport, report: EvaluationResults, *, config: ExperimentConfig
) -> list[Table | Note]:
    options = config.model.options()
    return [
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
    ]
