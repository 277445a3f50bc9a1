"""``changedet ablate``: train and evaluate every row of a table, and test its claims."""

import shlex
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from changedet.cli.completion import complete_table
from changedet.cli.options import (
    LABELS,
    OUTPUT,
    BandsAfterOption,
    BandsOption,
    BaselinesOption,
    DeviceOption,
    FloorsOption,
    OverridesOption,
    OverwriteOption,
    QuietOption,
    band_numbers,
    whole_numbers,
)
from changedet.cli.preflight import check_data, check_device
from changedet.cli.streams import results_console
from changedet.cli.train_arguments import with_short_forms
from changedet.cli.wording import say, speaker
from changedet.errors import ConfigError
from changedet.storage.secrets import hidden

if TYPE_CHECKING:
    from rich.table import Table

    from changedet.ablation.request import AblationRequest
    from changedet.ablation.results import AblationResults
    from changedet.ablation.runner import AblationOutcome
    from changedet.rendering.page import Tone

#: How a terminal shows what a verdict is to a reader.
_STYLES: "dict[Tone, str]" = {
    "good": "bold green",
    "bad": "bold red",
    "open": "yellow",
    "faint": "dim",
}


def ablate(
    table: Annotated[
        str,
        typer.Argument(
            metavar="TABLE",
            help="A table of the package (dasnet_v2, pyramid, networks, across_sensors) or a YAML "
            "file.",
            autocompletion=complete_table,
        ),
    ] = "dasnet_v2",
    *,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder of the ablation.")],
    data: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Data set: a folder, or a manifest of scenes (YAML)."),
    ] = None,
    seeds: Annotated[
        str, typer.Option(metavar="N,N,...", help="Seeds of each row, such as 0,1,2.")
    ] = "0",
    epochs: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Epochs of every run.", show_default="the recipe's"),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(metavar="MINUTES", help="Time for each run; its best validation counts."),
    ] = None,
    overrides: OverridesOption = None,
    rows: Annotated[
        str | None,
        typer.Option(metavar="NAME,NAME,...", help="Rows to run.", show_default="all"),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep finished runs and resume unfinished ones.")
    ] = False,
    device: DeviceOption = "auto",
    test_split: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Split that is evaluated at a threshold chosen on the validation split.",
            show_default="test, if there is one",
            rich_help_panel=LABELS,
        ),
    ] = None,
    bands: BandsOption = None,
    bands_after: BandsAfterOption = None,
    baselines: BaselinesOption = True,
    floors: FloorsOption = True,
    shown: Annotated[
        int,
        typer.Option(
            min=0, metavar="N", help="Pairs whose heat maps are shown.", rich_help_panel=OUTPUT
        ),
    ] = 4,
    report_only: Annotated[
        bool,
        typer.Option(
            "--report-only", help="Write the report again and run nothing.", rich_help_panel=OUTPUT
        ),
    ] = False,
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
) -> None:
    """Run a table of experiments, and report which claims hold.

    Every row is trained with every seed and evaluated, as are the untrained methods. Runs can be
    stopped and resumed.
    """
    if report_only:
        from changedet.ablation.runner import report_ablation

        outcome = report_ablation(out)
        _print(outcome, out)
        raise typer.Exit(1 if outcome.problems else 0)
    if data is None:
        raise ConfigError("no data set is given; add --data DIR")
    if resume and overwrite:
        raise ConfigError("--resume and --overwrite exclude each other; remove one of them")
    from changedet.ablation.request import (
        AblationRequest,
        check_folder,
        check_request,
        check_rows,
    )

    request = AblationRequest(
        out=out,
        data=data,
        table=table,
        seeds=whole_numbers("--seeds", [seeds], such_as="0,1,2") or (),
        epochs=epochs,
        minutes=minutes,
        overrides=with_short_forms(
            overrides or (),
            {
                "--bands": band_numbers("--bands", bands),
                "--bands-after": band_numbers("--bands-after", bands_after),
            },
        ),
        rows=None if rows is None else tuple(name.strip() for name in rows.split(",")),
        device=device,
        test_split=test_split,
        shown=shown,
        baselines="all" if baselines and floors else "none",
        mode="resume" if resume else "overwrite" if overwrite else "new",
    )
    check_request(request)
    check_rows(request)
    check_folder(out, mode=request.mode)
    check_device(device)
    check_data(data)
    from changedet.ablation.runner import run_ablation

    outcome = run_ablation(with_commands(request), say=speaker(quiet=quiet))
    _print(outcome, out)
    if outcome.stopped_by is not None:
        typer.echo("changedet: stopped; resume with the same command and --resume", err=True)
        raise typer.Exit(128 + outcome.stopped_by)
    if outcome.problems:
        raise typer.Exit(1)


def with_commands(request: "AblationRequest") -> "AblationRequest":
    """Tell a request how its report shall write the ablation and each row: as commands."""
    options: list[tuple[str, object]] = [
        ("--data", request.data),
        ("--out", request.out),
        ("--seeds", ",".join(map(str, request.seeds))),
        ("--epochs", request.epochs),
        ("--minutes", request.minutes),
        *(("--set", override) for override in request.overrides),
        ("--rows", None if request.rows is None else ",".join(request.rows)),
        ("--test-split", request.test_split),
        ("--shown", request.shown),
        ("--device", request.device),
    ]
    words = ["changedet", "ablate", request.table]
    for option, value in options:
        words += [] if value is None else [option, str(value)]
    words += ["--no-baselines"] if request.baselines == "none" else []
    return replace(
        request,
        command=hidden(shlex.join(words)),
        describe_training=partial(_train_command, request.data),
    )


def _train_command(data: Path, recipe: str, changes: tuple[str, ...]) -> str:
    settings = [word for change in changes for word in ("--set", change)]
    return shlex.join(
        ["changedet", "train", recipe, "--data", str(data), *settings, "--out", "RUN"]
    )


def _print(outcome: "AblationOutcome", out: Path) -> None:
    console = results_console()
    console.print(_row_table(outcome.results))
    claims = _claim_table(outcome)
    if claims.row_count:
        console.print(claims)
    for problem in outcome.problems:
        say(f"changedet: {problem}")
    typer.echo(f"report: {out / 'report.html'}")


def _row_table(results: "AblationResults") -> "Table":
    from rich.table import Table

    table = Table("row", "seeds", f"max-F1 {results.val_split} (optimistic)", box=None)
    if results.test_split is not None:
        table.add_column(f"F1 {results.test_split}")
    for name in results.held_out:
        table.add_column(f"max-F1 {name} (held out)")
        table.add_column(f"F1 {name} (held out)")
    for row in results.asked_rows:
        figures = [row.estimate(one.protocol, held_out=one.held_out) for one in results.evaluations]
        shown = ["-" if f1 is None else _figure(f1.mean, f1.std) for f1 in figures]
        table.add_row(row.row.title, str(len(row.runs)), *shown)
    for baseline in results.baselines:
        if baseline.judgement is not None:
            scores = [baseline.judgement.score(one) for one in results.evaluations]
            figures = [None if score is None else score.estimate() for score in scores]
            shown = ["-" if f1 is None else _figure(f1.mean, f1.std) for f1 in figures]
            table.add_row(f"untrained: {baseline.judgement.title}", "-", *shown)
    return table


def _claim_table(outcome: "AblationOutcome") -> "Table":
    """List the claims with their verdicts: a word, and on a terminal its colour."""
    from rich.table import Table
    from rich.text import Text

    from changedet.ablation.report_sections import TONES, asked_claims

    table = Table("verdict", "claim", "protocol", box=None, title="claims", title_justify="left")
    for result in asked_claims(outcome.results, outcome.claims):
        verdict = result.finding.verdict
        word = Text(verdict, style=_STYLES[TONES[verdict]], no_wrap=True)
        table.add_row(word, result.claim.text, result.where)
    return table


def _figure(mean: float, std: float | None) -> str:
    return f"{mean:.4f}" if std is None else f"{mean:.4f} +- {std:.4f}"
