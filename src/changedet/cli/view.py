"""``changedet view``: look at results in the browser, and review them."""

from pathlib import Path
from typing import Annotated

import typer

from changedet.cli.wording import say, with_options


def view(
    result: Annotated[
        Path,
        typer.Argument(
            metavar="RESULT",
            help="Folder that changedet predict wrote, or a folder of such folders.",
            show_default=False,
        ),
    ],
    *,
    before: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Where the earlier image lies now, if it was moved.",
            show_default=False,
        ),
    ] = None,
    after: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Where the later image lies now, if it was moved.",
            show_default=False,
        ),
    ] = None,
    who: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Your name, stored with verdicts.", show_default=False),
    ] = None,
    base_map: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Map tiles to show below, such as https://host/{z}/{x}/{y}.png; without it, "
            "nothing is loaded from elsewhere.",
            show_default=False,
        ),
    ] = None,
    host: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="Address of this machine to answer at; 0.0.0.0 lets other machines in.",
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(min=0, max=65535, metavar="N", help="Port; 0 takes a free one."),
    ] = 0,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")
    ] = True,
) -> None:
    """Look at results in the browser, and review them.

    Shows both dates, scores and polygons; moves the threshold; keeps verdicts on polygons in
    review.gpkg beside the result. Ctrl-C ends it.
    """
    from changedet._optional import FASTAPI, RIO_TILER, UVICORN, check_all

    check_all([FASTAPI, UVICORN, RIO_TILER])
    # A wrong folder is told before the server's packages are loaded, which takes a second.
    from changedet.view.results_at import find_results

    places = find_results(result)
    from changedet.view.server import ViewRequest, run_viewer

    request = ViewRequest(
        result=result,
        places=places,
        before=before,
        after=after,
        host=host,
        port=port,
        base_map=base_map,
        who=who,
        browser=browser,
    )

    def announce(address: str) -> None:
        # Not by say(), which hides secrets.
        typer.echo(f"open {address}\nCtrl-C ends it")

    run_viewer(request, say=say, announce=announce, wording=with_options)
