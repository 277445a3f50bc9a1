"""``changedet data``: make sample data, prepare labels and lists, check a data set."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from changedet.cli.options import (
    BandsAfterOption,
    BandsOption,
    BenchmarkOption,
    ChangedValuesOption,
    IgnoreValueOption,
    JsonOption,
    OverwriteOption,
    QuietOption,
    band_numbers,
    whole_numbers,
)
from changedet.cli.streams import messages_console, results_console
from changedet.cli.wording import print_help_of_group, say, with_options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from changedet.data.tools.check import CheckReport
    from changedet.data.tools.prepare import Prepared
    from changedet.storage.output_folder import Existing

app = typer.Typer()


@app.callback(invoke_without_command=True)
def _data(ctx: typer.Context) -> None:
    """Check a data set, prepare labels and lists, make sample data."""
    print_help_of_group(ctx)


# A broken data set may have one error for every file.
_MOST_SENTENCES = 50

Folder = Annotated[
    Path,
    typer.Argument(metavar="FOLDER", help="Folder of the data set.", show_default=False),
]


@app.command()
def sample(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Folder to write to.", show_default=False)
    ],
    *,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0, metavar="N", help="The same seed gives the same data.", show_default="0"
        ),
    ] = None,
    train: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Pairs to train on.", show_default="240")
    ] = None,
    val: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Pairs to validate on.", show_default="40"),
    ] = None,
    test: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Pairs to test on.", show_default="60")
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(min=32, metavar="PIXELS", help="Height and width.", show_default="256"),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier sample.")
    ] = False,
    quiet: QuietOption = False,
) -> None:
    """Write generated pairs with exact labels.

    They lie as FOLDER/train/A, B and label, likewise val and test.
    """
    from changedet.synthetic.dataset import write_sample

    given = {"seed": seed, "train": train, "val": val, "test": test, "size_px": size}
    chosen = {name: value for name, value in given.items() if value is not None}
    with _bar("pairs", quiet=quiet) as progress:
        write_sample(
            folder, existing="replace" if overwrite else "refuse", progress=progress, **chosen
        )
    typer.echo(f"sample data is in {folder}; check it with: changedet data check {folder}")


@app.command()
def prepare(
    folder: Folder,
    *,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Folder to write to, outside the source."),
    ] = None,
    in_place: Annotated[
        bool, typer.Option("--in-place", help="Write into the source folder instead.")
    ] = False,
    copy_images: Annotated[
        bool, typer.Option("--copy-images", help="Copy the images, so that --out can be moved.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace prepared files of an earlier run.")
    ] = False,
    benchmark: BenchmarkOption = None,
    ignore_value: IgnoreValueOption = None,
    changed_value: ChangedValuesOption = None,
    quiet: QuietOption = False,
) -> None:
    """Write masks of 0 and 1, and list files.

    The masks are in OUT1, the lists are train1.txt and so on; every command reads them.
    """
    from changedet.data.tools.prepare import prepare as prepare_data
    from changedet.errors import ConfigError

    if (out is None) != in_place:
        wrong = "got both" if in_place else "got neither"
        raise ConfigError(f"{wrong} of --out and --in-place; give exactly one of them")
    if in_place and copy_images:
        raise ConfigError("--copy-images applies with --out only; remove it, or --in-place")
    with _bar("masks", quiet=quiet) as progress:
        done = prepare_data(
            folder,
            out,
            images="copy" if copy_images else "refer",
            existing="replace" if overwrite else "refuse",
            benchmark=benchmark,
            ignore_value=ignore_value,
            changed_values=whole_numbers("--changed-value", changed_value, such_as="1,2"),
            progress=progress,
        )
    _print_prepared(done)


@app.command()
def check(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER",
            help="Data set: a folder, or a manifest of scenes (YAML).",
            show_default=False,
        ),
    ],
    *,
    as_json: JsonOption = False,
    benchmark: BenchmarkOption = None,
    ignore_value: IgnoreValueOption = None,
    changed_value: ChangedValuesOption = None,
    channels: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Bands of the images.", show_default="all of rasters, else 3"
        ),
    ] = None,
    bands: BandsOption = None,
    bands_after: BandsAfterOption = None,
    quiet: QuietOption = False,
) -> None:
    """Read every file of a data set and report problems.

    The exit code is 1 if there are errors.
    """
    import json

    from changedet.data.survey import BandChoice
    from changedet.data.tools.check import check_pairs

    with _bar("pairs", quiet=quiet) as progress:
        report = check_pairs(
            folder,
            benchmark=benchmark,
            ignore_value=ignore_value,
            changed_values=whole_numbers("--changed-value", changed_value, such_as="1,2"),
            channels=channels,
            bands=BandChoice(
                band_numbers("--bands", bands), band_numbers("--bands-after", bands_after)
            ),
            progress=progress,
        )
    if as_json:
        typer.echo(json.dumps(report.to_dict(), indent=2))
    else:
        _print_report(report)
    if not report.passed:
        raise typer.Exit(1)


@app.command()
def review(
    results: Annotated[
        list[Path],
        typer.Argument(
            metavar="RESULT...",
            help="Results that were reviewed with changedet view, or folders of them.",
            show_default=False,
        ),
    ],
    *,
    out: Annotated[
        Path,
        typer.Option(metavar="FOLDER", help="Folder for the data set.", show_default=False),
    ],
    overwrite: OverwriteOption = False,
) -> None:
    """Make training data of verdicts on results.

    Accepted and drawn polygons are change, rejected ones and the rest of what was looked at are
    not; what nobody looked at is ignored.
    """
    from changedet.view.training_data import write_training_data

    existing: Existing = "replace" if overwrite else "refuse"
    done = write_training_data(results, out, existing=existing, say=say)
    typer.echo(f"{done}; use them with --data {done.folder}")


@contextmanager
def _bar(what: str, *, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    from rich.progress import Progress

    console = messages_console()
    with Progress(
        console=console, transient=True, disable=quiet or not console.is_terminal
    ) as progress:
        task = progress.add_task(what)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _print_prepared(done: Prepared) -> None:
    for note in done.notes:
        typer.echo(with_options(f"note: {note}"))
    typer.echo(f"labels: {done.encoding.describe()}")
    for split, path in done.lists.items():
        typer.echo(f"{path}: {done.changed_share[split]:.4%} of the pixels changed")
    typer.echo(f"{done.masks} masks of 0 and 1; use them with --data {done.folder}")


def _print_report(report: CheckReport) -> None:
    from rich.table import Table

    typer.echo(f"{report.name}: {report.layout}, in {report.root}")
    for note in report.notes:
        typer.echo(with_options(f"note: {note}"))
    typer.echo(f"labels: {report.encoding or 'not understood'}")
    sizes = ", ".join(f"{size} ({number})" for size, number in report.sizes.items())
    typer.echo(f"sizes: {sizes or 'none could be read'}")
    console = results_console()
    splits = Table("split", box=None, pad_edge=False)
    for name in ("pairs", "changed", "empty labels", "full labels"):
        splits.add_column(name, justify="right")
    for name, facts in report.splits.items():
        share = "-" if facts.changed_share is None else f"{facts.changed_share:.4%}"
        splits.add_row(name, str(facts.pairs), share, str(facts.empty), str(facts.full))
    console.print(splits)
    dates = Table(f"{report.measured_split or ''} images", box=None, pad_edge=False)
    for name in ("mean (by channel)", "standard deviation"):
        dates.add_column(name, justify="right")
    for date, statistics in report.dates.items():
        both = (statistics.mean, statistics.std)
        dates.add_row(date, *(", ".join(map(_statistic, values)) for values in both))
    if report.dates:
        console.print(dates)
    _print_sentences("warning", report.warnings)
    _print_sentences("error", report.errors)
    typer.echo(
        f"{_counted(len(report.errors), 'error')}, {_counted(len(report.warnings), 'warning')}"
    )


def _statistic(value: float) -> str:
    # Reflectances lie between 0 and 1, where two decimals say little.
    return f"{value:.2f}" if abs(value) >= 10 else f"{value:.4g}"


def _print_sentences(kind: str, sentences: Sequence[str]) -> None:
    for sentence in sentences[:_MOST_SENTENCES]:
        typer.echo(with_options(f"{kind}: {sentence}"))
    more = len(sentences) - _MOST_SENTENCES
    if more > 0:
        typer.echo(f"... and {_counted(more, f'more {kind}')}; --json lists all")


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
