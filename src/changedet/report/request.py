"""What a report is asked for."""

from dataclasses import dataclass
from pathlib import Path

from changedet.errors import ConfigError, ResultsError
from changedet.storage.output_folder import Existing, check_result_file


@dataclass(frozen=True, kw_only=True)
class ReportRequest:
    """A page about results.

    Attributes:
        sources: Folders of training runs, evaluations and predictions, in the order of the page.
        out: The HTML file.
        title: Of the page; None: what it is about.
        existing: What happens with a file that is there.
    """

    sources: tuple[Path, ...]
    out: Path
    title: str | None = None
    existing: Existing = "refuse"


def check_request(request: ReportRequest) -> None:
    """Check all that needs no result to be read.

    Raises:
        ConfigError: If there is no source, one is given twice, or the page cannot be where it is
            to be.
        ResultsError: If a folder is not there.
    """
    if not request.sources:
        raise ConfigError("a report is about at least one folder of results")
    known: set[Path] = set()
    for source in request.sources:
        place = source.resolve()
        if place in known:
            raise ConfigError(f"{source} is given twice; name each folder once")
        known.add(place)
    if request.out.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"a report is an HTML file, got {request.out}; let its name end in .html")
    check_result_file(request.out, existing=request.existing)
    for source in request.sources:
        if not source.exists():
            raise ResultsError(f"{source} is not there; check the path")
