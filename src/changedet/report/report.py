"""Write one page that explains results, and can be sent around."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from changedet.evaluation.mixture_results import MixtureEvaluationResults
from changedet.evaluation.results import EvaluationResults
from changedet.predict.summary import ImagePairSummary, ImagesSummary
from changedet.rendering.page import Section, write_summary
from changedet.report.comparison import comparison_sections
from changedet.report.evaluation import evaluation_sections, mixture_sections
from changedet.report.found import Found, find_sources
from changedet.report.prediction import images_sections, pair_sections, scene_sections
from changedet.report.request import ReportRequest as ReportRequest
from changedet.report.request import check_request
from changedet.report.training import training_sections
from changedet.training.dataset_statistics import TrainingRecord


def write_report(
    request: ReportRequest, *, wording: Callable[[str], str] = lambda text: text
) -> Path:
    """Write one self-contained page about training runs, evaluations and predictions.

    Curves, a threshold to move, examples from worst to best whose later image is drawn over the
    earlier one, and, of several, figures side by side. It needs no other file and no network.

    Args:
        request: What it is about, and where it goes.
        wording: Turns what the user of a prediction was told into words for readers of the page;
            settings stand in it in backticks.

    Returns:
        The page.

    Raises:
        ConfigError: If a setting is wrong.
        ResultsError: If a folder holds no results that a report shows, or damaged ones.
        StorageError: If the page cannot be written.
    """
    check_request(request)
    sources = find_sources(request.sources)
    is_one = len(sources) == 1
    with tempfile.TemporaryDirectory(prefix="changedet-report-") as work:
        sections = [] if is_one else comparison_sections(sources)
        for number, source in enumerate(sources):
            folder = Path(work) / str(number)
            folder.mkdir()
            title = "" if is_one else source.name
            sections += source_sections(
                source, number=number, title=title, work=folder, wording=wording
            )
        write_summary(
            request.out,
            title=request.title or (_title(sources[0]) if is_one else "Results side by side"),
            sections=sections,
            subtitle=", ".join(str(source.folder) for source in sources),
        )
    return request.out


def source_sections(
    source: Found, *, number: int, title: str, work: Path, wording: Callable[[str], str]
) -> list[Section]:
    """Describe one folder of results.

    Args:
        source: The folder.
        number: Its number among those of the page.
        title: Heading of its first section; empty: a general one.
        work: Folder for pictures that are made for the page; it may be removed afterwards.
        wording: As for :func:`write_report`.

    Raises:
        ResultsError: If a file of it is missing or damaged.
    """
    folder, results, name = source.folder, source.results, f"r{number}"
    if isinstance(results, TrainingRecord):
        return training_sections(folder, results, title=title)
    if isinstance(results, EvaluationResults):
        return evaluation_sections(folder, results, name=name, title=title)
    if isinstance(results, MixtureEvaluationResults):
        return mixture_sections(folder, results, name=name, title=title)
    if isinstance(results, ImagePairSummary):
        return pair_sections(folder, results, title=title, work=work, wording=wording)
    if isinstance(results, ImagesSummary):
        return images_sections(folder, results, title=title, wording=wording)
    return scene_sections(folder, results, title=title, wording=wording)


def _title(source: Found) -> str:
    results = source.results
    if isinstance(results, TrainingRecord):
        return f"Training on {results.data_name}"
    if isinstance(results, EvaluationResults | MixtureEvaluationResults):
        return f"Evaluation on {results.data.name}, split {results.split}"
    return f"Changes: {source.name}"
