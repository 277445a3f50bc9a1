"""``changedet benchmark speed``: how fast a model is on this machine, from file to file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from changedet.cli.options import (
    SCORING,
    DeviceOption,
    JsonOption,
    ModelArgument,
    OutOption,
    OverwriteOption,
    PrecisionOption,
    QuietOption,
    RuntimeOption,
    TestTimeOption,
    whole_numbers,
)
from changedet.cli.preflight import check_device, check_method, check_results
from changedet.cli.scene_options import OverlapOption, TileOption
from changedet.cli.streams import results_console
from changedet.cli.wording import say, with_options
from changedet.storage.markers import SPEED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.table import Table

    from changedet.speed.results import Rate, SpeedResults

_UNKNOWN: Final = "-"


def speed(
    model: ModelArgument,
    *,
    out: OutOption,
    sizes: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PX",
            help="Heights and widths of the scenes, such as 1024,4096,16384.",
            show_default="1024,2048",
            rich_help_panel=SCORING,
        ),
    ] = None,
    repeats: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="N",
            help="How often all is measured, in turns.",
            rich_help_panel=SCORING,
        ),
    ] = 3,
    tile: TileOption = None,
    overlap: OverlapOption = None,
    test_time: TestTimeOption = None,
    device: DeviceOption = "auto",
    runtime: RuntimeOption = "auto",
    precision: PrecisionOption = "float32",
    as_json: JsonOption = False,
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
) -> None:
    """Measure how fast a model is on this machine, from file to file.

    Generated scenes are predicted as changedet predict does it; CPU seconds are counted by stage.
    Beside them: start-up, the network alone, a training step of it, and the rate of a large product
    of matrices, which is the most that this machine could do.
    """
    from changedet.speed.request import DEFAULT_SIZES, SpeedRequest

    existing = check_results(out, marker=SPEED, overwrite=overwrite)
    check_device(device)
    found = check_method(
        model, test_time=test_time, runtime=runtime, precision=precision, device=device
    )
    request = SpeedRequest(
        model=Path(found),
        out=out,
        sizes=whole_numbers("--sizes", sizes, such_as="1024,2048") or DEFAULT_SIZES,
        repeats=repeats,
        tile_px=tile,
        overlap_px=overlap,
        test_time=test_time,
        device=device,
        runtime=runtime,
        precision=precision,
        existing=existing,
    )
    request.check()
    from changedet.cli.pair_progress import pair_progress
    from changedet.speed.run import measure_speed

    with pair_progress("benchmark", quiet=quiet) as progress:
        report = measure_speed(request, say=say, progress=progress)
    if as_json:
        typer.echo(report.to_json(), nl=False)
        return
    results_console().print(_table(report))
    for line in _lines(report):
        typer.echo(with_options(line))
    typer.echo(f"results: {out}")


def _table(report: SpeedResults) -> Table:
    from rich.table import Table

    title = f"CPU seconds from file to file, {report.runtime}, {report.threads} threads"
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0))
    table.add_column("")
    for scene in report.scenes:
        table.add_column(f"{scene.side_px} px", justify="right", no_wrap=True)
    for number, stage in enumerate(report.scenes[0].stages):
        cells = (f"{scene.stages[number].cpu_s:.2f}" for scene in report.scenes)
        table.add_row(stage.name, *cells)
    table.add_row("all", *(f"{scene.cpu_s:.2f}" for scene in report.scenes), end_section=True)
    table.add_row("seconds passed", *(f"{scene.seconds:.2f}" for scene in report.scenes))
    table.add_row("Mpx/s", *(f"{scene.mpx_per_s:.3g}" for scene in report.scenes))
    table.add_row("peak MB", *(_figure(scene.peak_memory_mb, "{:.0f}") for scene in report.scenes))
    return table


def _lines(report: SpeedResults) -> Iterator[str]:
    start = report.start_up
    used = "" if start.cpu_s is None else f", {start.cpu_s:.2f} CPU s"
    yield f"start-up until the model is open: {start.seconds:.2f} s{used}"
    if report.warp_mpx_per_cpu_s is not None:
        yield f"resampling one date: {report.warp_mpx_per_cpu_s:.3g} Mpx per CPU s more to read"
    yield _rate("network", report.inference)
    if report.training is not None:
        yield _rate("training step", report.training)
    ceiling = _figure(report.ceiling_gflop_per_s, "{:.0f} GFLOP/s")
    yield f"product of large matrices: {ceiling} ({report.ceiling_of})"
    yield from report.notes


def _rate(what: str, rate: Rate) -> str:
    line = f"{what}: {rate.pairs_per_s:.3g} pairs/s of {rate.side_px} px"
    if rate.gflop_per_s is None or rate.share_of_ceiling is None:
        return line
    return (
        f"{line}, {rate.gflop_per_s:.0f} GFLOP/s, {100 * rate.share_of_ceiling:.0f} % of a product"
    )


def _figure(value: float | None, form: str) -> str:
    return _UNKNOWN if value is None else form.format(value)
