"""``changedet report``: one page that explains results."""

from pathlib import Path
from typing import Annotated

import typer

from changedet.cli.options import OverwriteOption
from changedet.cli.wording import with_options


def report(
    results: Annotated[
        list[Path],
        typer.Argument(
            metavar="RESULTS",
            help="Folders of training runs, evaluations and predictions; of several, figures are "
            "put side by side.",
            show_default=False,
        ),
    ],
    *,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The page, an .html file.")],
    title: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Title of the page.", show_default="what it is about"),
    ] = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Write one page that explains results, and can be mailed.

    Curves, a threshold to move, examples from worst to best, calibration and sizes; of a training
    run its curves, data and settings; of a prediction what was found. The page needs no other file
    and no network.
    """
    from changedet.report.request import ReportRequest, check_request

    request = ReportRequest(
        sources=tuple(results),
        out=out,
        title=title,
        existing="replace" if overwrite else "refuse",
    )
    check_request(request)
    from changedet.report.report import write_report

    page = write_report(request, wording=with_options)
    typer.echo(f"report: {page} ({page.stat().st_size / 1e6:.1f} MB)")
