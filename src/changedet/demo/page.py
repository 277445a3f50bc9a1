"""The page that shows what the demo found."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from changedet.demo.request import DemoRequest
from changedet.metrics.protocol import FixedThresholdMetrics
from changedet.predict.request import SceneReport
from changedet.rendering.page import (
    Cell,
    Interval,
    Note,
    Picture,
    Pictures,
    Section,
    Table,
    write_summary,
)
from changedet.report.found import find_sources
from changedet.report.report import source_sections
from changedet.training.config import ExperimentConfig

_SUBTITLE = "What changed between two aerial images: train, evaluate, predict"
# Folders of the steps that a report shows, and its headings for them.
_STEPS = {"evaluation": "Test split", "prediction": "One pair predicted", "run": "Training"}


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
    *,
    config: ExperimentConfig,
    wording: Callable[[str], str] = lambda text: text,
) -> None:
    """Write the page: what ``changedet report`` shows of each step, and what only a demo has.

    Args:
        request: What was asked for; the folders of all steps lie in its ``out``.
        demo: What was found.
        config: What the model was trained with.
        wording: As for :func:`changedet.report.report.write_report`.

    Raises:
        ResultsError: If a step left something damaged behind.
        StorageError: If it cannot be written.
    """
    steps = find_sources([request.out / name for name in _STEPS])
    with tempfile.TemporaryDirectory(prefix="changedet-demo-") as work:
        judged, predicted, trained = (
            source_sections(source, number=number, title=title, work=Path(work), wording=wording)
            for number, (source, title) in enumerate(zip(steps, _STEPS.values(), strict=True))
        )
        figures, *details = judged
        real = [] if demo.real is None else [_real_section(demo.real, command=request.real_command)]
        sections = [
            Section("", [Note(_WHAT_THE_PAIRS_ARE)]),
            figures,
            Section("Does training help?", [_comparison(demo.contenders)]),
            *real,
            *details,
            *predicted,
            *trained,
            Section("How it was made", _making(request, demo, config=config)),
        ]
        write_summary(demo.page, title="changedet demo", subtitle=_SUBTITLE, sections=sections)


_WHAT_THE_PAIRS_ARE = (
    "The pairs are generated (fields, roads, buildings, water, in two seasons and with two "
    "sensors), so the figures show that everything works, not how well a model performs on real "
    "images. The threshold was chosen on the validation split."
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
            Interval(*contender.result.intervals["f1"], contender.result.f1, digits=3),
            contender.result.iou,
            contender.result.precision,
            contender.result.recall,
            contender.result.average_precision,
        ]
        for contender in contenders
    ]
    return Table(
        f"Test split, {contenders[0].result.images} pairs",
        ["score from", "F1", "95 %", "IoU", "precision", "recall", "average precision"],
        rows,
        highlighted=0,
        note="Each threshold was chosen on the validation split and applied unchanged to the test "
        "split. Intervals: bootstrap over images.",
    )


def _making(
    request: DemoRequest, demo: DemoReport, *, config: ExperimentConfig
) -> list[Table | Note]:
    options = config.model.options()
    return [
        Table(
            "Wall-clock time of the steps",
            ["step", "seconds"],
            [[step, f"{seconds:.1f}"] for step, seconds in demo.seconds.items()],
        ),
        Note(
            f"{config.model.name} on {config.model.encoder}, head width "
            f"{options['head_width']}, {options['distance']} distance, "
            f"{config.training.epochs} epochs of {request.counts[0]} pairs in crops of "
            f"{config.data.crop_px} px, seed {config.training.seed}."
        ),
        *([Note(request.commands, kind="code")] if request.commands else []),
    ]
