"""What lies in the folders that a report is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from changedet.errors import ResultsError
from changedet.evaluation.mixture_results import MixtureEvaluationResults
from changedet.evaluation.results import EvaluationResults
from changedet.predict.summary import ImagePairSummary, ImagesSummary, SceneSummary
from changedet.results import read_results
from changedet.storage.markers import ABLATION, ACCURACY, GSD_CURVE, METRICS, SUMMARY
from changedet.training.dataset_statistics import TrainingRecord

#: Of a training run.
RUN: Final = "run.json"
#: What a report shows.
Shown = (
    TrainingRecord
    | EvaluationResults
    | MixtureEvaluationResults
    | ImagePairSummary
    | ImagesSummary
    | SceneSummary
)
_MARKERS = (RUN, METRICS, SUMMARY)
# Results with a page of their own, and where it lies.
_OWN_PAGE = {ABLATION: "report.html", ACCURACY: "accuracy.html", GSD_CURVE: "gsd.png"}


@dataclass(frozen=True)
class Found:
    """One folder of results.

    Attributes:
        folder: Where it is.
        name: Short name, different for each folder of a report.
        results: What it says.
    """

    folder: Path
    name: str
    results: Shown


def find_sources(folders: Sequence[Path]) -> list[Found]:
    """Read what each folder holds.

    Args:
        folders: Of training runs, evaluations and predictions; the result files in them do as well.

    Raises:
        ResultsError: If a folder holds nothing that a report shows, or its file is damaged.
    """
    places = [folder.parent if folder.name in _MARKERS else folder for folder in folders]
    names = short_names(places)
    return [Found(place, name, _read(place)) for place, name in zip(places, names, strict=True)]


def short_names(places: Sequence[Path]) -> list[str]:
    """Give each folder the shortest end of its path that no other one has."""
    parts = [place.resolve().parts for place in places]
    names = []
    for own in parts:
        others = [other for other in parts if other != own]
        length = 1
        while length < len(own) and any(other[-length:] == own[-length:] for other in others):
            length += 1
        names.append(str(Path(*own[-length:])))
    return names


def _read(folder: Path) -> Shown:
    for marker in _MARKERS:
        if (folder / marker).is_file():
            results = read_results(folder / marker)
            if isinstance(results, Shown):
                return results
            raise ResultsError(
                f"{folder / marker} holds results of the kind {results.kind!r}, of which a report "
                "shows nothing; give the folder of a training run, an evaluation or a prediction"
            )
    for marker, page in _OWN_PAGE.items():
        if (folder / marker).is_file():
            raise ResultsError(f"{folder} has a page of its own: look at {folder / page}")
    raise ResultsError(
        f"{folder} holds no results ({', '.join(_MARKERS)}); give the folder that "
        "'changedet train', 'changedet evaluate' or 'changedet predict' wrote"
    )
