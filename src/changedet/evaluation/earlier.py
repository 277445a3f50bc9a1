"""Which files an earlier evaluation left in its folder."""

from pathlib import Path

from changedet.errors import ResultsError
from changedet.storage.markers import METRICS
from changedet.storage.results import read_content

_OWN = (
    "per_image.csv",
    "score_histogram.csv",
    "precision_recall.png",
    "reliability.png",
    "panels",
    "panel_parts",
)


def earlier_results(out: Path) -> list[str]:
    """Name the files and folders of an earlier evaluation, which go when another takes its place.

    Args:
        out: Folder for the results; it need not exist.
    """
    if not (out / METRICS).is_file():
        return []
    try:
        content = read_content(out / METRICS)
    except ResultsError:
        return list(_OWN)
    sets = content.get("sets") if content.get("kind") == "mixture_evaluation" else None
    names = [name for name in sets or () if isinstance(name, str) and name == Path(name).name]
    return [*_OWN, *(name for name in names if (out / name / METRICS).is_file())]
