"""``changedet ablate``: train and judge every row of a table, and test its claims."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from changedet.cli.options import BaselinesOption, DeviceOption, FloorsOption

if TYPE_CHECKING:
    from changedet.ablation.runner import AblationOutcome


def ablate(
    table: Annotated[
        str, typer.Argument(help="A table of the package (dasnet_v2, pyramid) or a YAML file.")
    ] = "dasnet_v2",
    *,
    out: Annotated[Path, typer.Option(help="Folder of the ablation.")],
    data: Annotated[
        Path | None, typer.Option(help="Folder of the data set, or manifest of scenes (YAML).")
    ] = None,
    seeds: Annotated[str, typer.Option(help="Seeds of each row: 0,1,2.")] = "0",
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Epochs of every run; default: the recipe's.")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Budget of each run; its best validation counts.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a setting of every row: data.workers=0 (repeatable)."),
    ] = None,
    rows: Annotated[str | None, typer.Option(help="Run these rows only: a,b.")] = None,
    device: DeviceOption = "auto",
    test_split: Annotated[
        str | None,
        typer.Option(
            help="Split to judge at a fixed threshold; default: test, where there is one."
        ),
    ] = None,
    shown: Annotated[int, typer.Option(min=0, help="Pairs whose heat maps are shown.")] = 4,
    baselines: BaselinesOption = True,
    floors: FloorsOption = True,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep finished runs, go on with begun ones.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier ablation in the folder.")
    ] = False,
    report_only: Annotated[
        bool, typer.Option("--report-only", help="Write the report anew and run nothing.")
    ] = False,
) -> None:
    """Train and judge every row of a table, and say which of its claims hold."""
    from changedet.ablation.plan import AblationRequest
    from changedet.ablation.runner import report_ablation, run_ablation
    from changedet.errors import ConfigError

    if report_only:
        outcome = report_ablation(out)
        _print(outcome, out)
        raise typer.Exit(1 if outcome.problems else 0)
    if data is None:
        raise ConfigError("say where the pairs are: --data DIR")
    if resume and overwrite:
        raise ConfigError("--resume keeps what --overwrite replaces; leave out one of them")
    request = AblationRequest(
        out=out,
        data=data,
        table=table,
        seeds=_numbers(seeds),
        epochs=epochs,
        minutes=minutes,
        overrides=tuple(overrides or ()),
        rows=None if rows is None else tuple(name.strip() for name in rows.split(",")),
        device=device,
        test_split=test_split,
        shown=shown,
        baselines="all" if baselines and floors else "none",
        mode="resume" if resume else "overwrite" if overwrite else "new",
    )
    outcome = run_ablation(request, say=lambda message: typer.echo(message, err=True))
    _print(outcome, out)
    if outcome.stopped_by is not None:
        typer.echo("changedet: stopped; go on with the same command and --resume", err=True)
        raise typer.Exit(128 + outcome.stopped_by)
    if outcome.problems:
        raise typer.Exit(1)


def _numbers(text: str) -> tuple[int, ...]:
    from changedet.errors import ConfigError

    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(f"--seeds takes whole numbers such as 0,1,2, got {text!r}") from error


def _print(outcome: "AblationOutcome", out: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    results = outcome.results
    table = Table("row", "seeds", f"max-F1 {results.val_split} (optimistic)", box=None)
    if results.test_split is not None:
        table.add_column(f"F1 {results.test_split}")
    for row in results.rows:
        figures = [row.estimate(protocol) for protocol in results.protocols]
        shown = ["-" if f1 is None else _figure(f1.mean, f1.std) for f1 in figures]
        table.add_row(row.row.title, str(len(row.runs)), *shown)
    Console().print(table)
    for problem in outcome.problems:
        typer.echo(f"changedet: {problem}", err=True)
    typer.echo(f"report: {out / 'report.html'}")


def _figure(mean: float, std: float | None) -> str:
    return f"{mean:.4f}" if std is None else f"{mean:.4f} +- {std:.4f}"
