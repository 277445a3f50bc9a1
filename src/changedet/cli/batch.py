"""``changedet batch``: predict on an archive of scenes."""

import time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from changedet._optional import FSSPEC, PARQUET, RAY, check_all, large_imports
from changedet.cli import catalogue_options
from changedet.cli.options import OverwriteOption, ProgressForm, ProgressOption, QuietOption
from changedet.cli.prediction_options import with_prediction_options
from changedet.cli.scene_options import check_scoring, common_request
from changedet.cli.wording import error_line, say
from changedet.errors import ConfigError, ResultsError, StorageError

if TYPE_CHECKING:
    from changedet.batch.item import Catalogue
    from changedet.batch.manifest import Row
    from changedet.batch.request import BatchRequest
    from changedet.batch.tally import Tally

_INTERRUPTED: Final = 130
_FAILED: Final = 1
_WORKERS: Final = "Workers"
_FAULTS: Final = "Faults"
_SHOWN: Final = 20
# A run may merge the manifest while it is read.
_READINGS: Final = 3


@with_prediction_options
def batch(
    catalogue: Annotated[
        str | None,
        typer.Argument(
            metavar="CATALOGUE",
            help="Pairs of scenes: a table with the columns id, before and after, or STAC.",
            show_default=False,
        ),
    ] = None,
    *,
    out: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER|URI",
            help="Where the results go: a folder, or an address such as s3://bucket/folder.  "
            "Required, but for --check.",
        ),
    ] = None,
    check: catalogue_options.CheckOption = False,
    check_every: catalogue_options.CheckAllOption = False,
    after_catalogue: catalogue_options.AfterCatalogueOption = None,
    before_date: catalogue_options.BeforeDateOption = None,
    after_date: catalogue_options.AfterDateOption = None,
    within_days: catalogue_options.WithinDaysOption = None,
    min_gap_days: catalogue_options.MinGapDaysOption = 0.0,
    max_cloud: catalogue_options.MaxCloudOption = None,
    tile_property: catalogue_options.TilePropertyOption = None,
    asset: catalogue_options.AssetOption = None,
    asset_after: catalogue_options.AssetAfterOption = None,
    engine: Annotated[
        Literal["local", "ray"],
        typer.Option(
            help="Where workers run: local: processes of this machine; ray: a Ray cluster.",
            rich_help_panel=_WORKERS,
        ),
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(
            metavar="auto|ADDRESS",
            help="Of the Ray cluster; auto: the one that this machine belongs to.",
            show_default="a new one on this machine",
            rich_help_panel=_WORKERS,
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="How many.",
            show_default="as many as there is room for",
            rich_help_panel=_WORKERS,
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Threads of a worker on this machine.",
            show_default="cores / workers",
            rich_help_panel=_WORKERS,
        ),
    ] = None,
    num_cpus: Annotated[
        float,
        typer.Option(
            metavar="N",
            help="Cores of a Ray worker, which computes with as many threads.",
            rich_help_panel=_WORKERS,
        ),
    ] = 1.0,
    num_gpus: Annotated[
        float,
        typer.Option(
            metavar="N", help="GPUs of a Ray worker; 0.5: two share one.", rich_help_panel=_WORKERS
        ),
    ] = 0.0,
    scratch: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Where a worker keeps results on their way to an address.",
            show_default="the system's temporary folder",
            rich_help_panel=_WORKERS,
        ),
    ] = None,
    split: Annotated[
        float,
        typer.Option(
            min=0.0,
            metavar="MPX",
            help="Larger scenes are cut into blocks of so many megapixels, which several workers "
            "score; 0 keeps them whole. The results are the same.",
            rich_help_panel=_WORKERS,
        ),
    ] = 200.0,
    attempts: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="N",
            help="How often an item is tried, where trying again may help.",
            rich_help_panel=_FAULTS,
        ),
    ] = 3,
    back_off: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            help="Pause before the second attempt; twice as long before each next.",
            rich_help_panel=_FAULTS,
        ),
    ] = 5.0,
    timeout: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            help="An item without a sign of life for so long is given up.",
            rich_help_panel=_FAULTS,
        ),
    ] = 300.0,
    status: Annotated[
        bool, typer.Option("--status", help="Only tell how far the run in --out is.")
    ] = False,
    collect: catalogue_options.CollectOption = True,
    collection_crs: catalogue_options.CollectionCrsOption = None,
    overwrite: OverwriteOption = False,
    progress: ProgressOption = "bar",
    quiet: QuietOption = False,
    **settings: Any,  # noqa: ANN401
) -> None:
    """Map what changed in an archive of scenes, on this machine or on a Ray cluster.

    Each item of the catalogue gets a folder of results, those of changedet predict; it appears
    when it is complete. manifest.parquet holds one row per item, collection.json (STAC) leads to
    all results, and polygons.parquet has the polygons of all. Run again, only what is missing,
    failed or changed is done; one bad scene never stops the rest.
    """
    if status:
        _print_status(_named(out))
        return
    if catalogue is None:
        raise ConfigError(
            "no catalogue is given; name a table with the columns id, before and after, or use "
            "--status to see how far a run is"
        )
    is_check = check or check_every
    place = _named(out, needed=not is_check)
    is_address = "://" in place
    check_all([PARQUET, *([FSSPEC] if is_address else []), *([RAY] if engine == "ray" else [])])
    # Before anything heavy is loaded.
    from changedet.batch.formats import catalogue_format

    catalogue_format(catalogue)
    method = check_scoring(settings)
    opened = catalogue_options.open_pairs(
        catalogue,
        after_catalogue=after_catalogue,
        before_date=before_date,
        after_date=after_date,
        within_days=within_days,
        min_gap_days=min_gap_days,
        max_cloud=max_cloud,
        tile_property=tile_property,
        asset=asset,
        asset_after=asset_after,
    )
    common = common_request(settings, method=method)
    if is_check:
        most = None if check_every else catalogue_options.MOST_OPENED
        report = catalogue_options.check_pairs(
            opened, common, most_opened=most, quiet=quiet, form=progress
        )
        catalogue_options.print_report(report)
        if report.faults:
            raise typer.Exit(_FAILED)
        return
    from changedet.batch.request import BatchRequest

    catalogue_options.check_crs(collection_crs)
    request = BatchRequest(
        common=common,
        out=place,
        engine=engine,
        address=address,
        workers=workers,
        threads=threads,
        num_cpus=num_cpus,
        num_gpus=num_gpus,
        attempts=attempts,
        back_off_s=back_off,
        timeout_s=timeout,
        scratch=scratch,
        split_mpx=split,
        existing="replace" if overwrite else "refuse",
    )
    total = catalogue_options.require_sound_rows(opened, common)
    try:
        tally = _run(request, opened, total=total, form=progress, quiet=quiet)
        if collect:
            catalogue_options.collect_results(
                place,
                crs=collection_crs,
                is_new=tally.done + tally.redated > 0,
                name=opened.name,
            )
    except KeyboardInterrupt:
        typer.echo("stopped; finished items are kept: run the same command again", err=True)
        raise typer.Exit(_INTERRUPTED) from None
    for identifier in tally.repeated[:_SHOWN]:
        say(f"warning: the id {identifier!r} occurs more than once; its first item counts")
    if tally.failed:
        _print_failures(place)
    seconds = max(tally.seconds, 1e-9)
    typer.echo(
        f"{tally.done} done, {tally.unchanged} unchanged, {tally.failed} failed in {seconds:.0f} s "
        f"({tally.mpx / seconds:.2f} Mpx/s)"
    )
    typer.echo(f"results: {place}")
    if tally.failed or tally.repeated:
        raise typer.Exit(_FAILED)


def _named(out: str | None, *, needed: bool = True) -> str:
    """Give the place of the results, "" where none is named or needed."""
    if not out and needed:
        raise ConfigError(
            "no place for the results is named; add --out with a folder, or an address such as "
            "s3://bucket/folder"
        )
    return out or ""


def _run(
    request: "BatchRequest",
    catalogue: "Catalogue",
    *,
    total: int,
    form: ProgressForm,
    quiet: bool,
) -> "Tally":
    from changedet.cli.batch_progress import batch_progress

    with large_imports():
        from changedet.batch.run import run_batch
    with batch_progress(quiet=quiet, form=form) as display:
        return run_batch(request, catalogue, total=total, watch=display.update)


def _print_failures(out: str) -> None:
    """List what failed and why, on the error stream."""
    rows = _failed_rows(out)
    width = max(len(row["id"]) for row in rows[:_SHOWN])
    typer.echo(f"{'item':{width}}  attempts  error", err=True)
    for row in rows[:_SHOWN]:
        reason = error_line(StorageError(row["error"] or row["error_type"]))
        typer.echo(f"{row['id']:{width}}  {row['attempts']:8}  {reason}", err=True)
    if len(rows) > _SHOWN:
        typer.echo("... and more: the rows of manifest.parquet whose state is failed", err=True)


def _failed_rows(out: str) -> list["Row"]:
    """Read the failures that are shown, and one more if there are more."""
    from changedet.batch.manifest import Manifest
    from changedet.batch.place import open_place

    with Manifest(open_place(out), mode="read") as manifest:
        return list(islice(manifest.rows("failed"), _SHOWN + 1))


def _print_status(out: str) -> None:
    from changedet.batch.manifest import Manifest
    from changedet.batch.place import open_place
    from changedet.batch.run import read_settings, read_status
    from changedet.cli.batch_progress import duration, status_lines

    check_all([PARQUET, *([FSSPEC] if "://" in out else [])])
    place = open_place(out)
    settings, status = read_settings(place), read_status(place)
    if settings is None:
        raise ConfigError(f"{out} holds no results of changedet batch; check the address")
    for reading in range(_READINGS):
        try:
            with Manifest(place, mode="read") as manifest:
                counts = manifest.counts()
            break
        except (StorageError, ResultsError):
            if reading == _READINGS - 1:
                raise
    typer.echo(f"model: {settings.model_name}, catalogue: {settings.catalogue}")
    if status is not None:
        age = time.time() - status.updated
        for line in status_lines(status):
            typer.echo(line)
        typer.echo(f"the run is {status.state}, as of {duration(age)} ago")
    listed = ", ".join(f"{counts.get(state, 0):,} {state}" for state in ("done", "failed"))
    waiting = counts.get("retrying", 0)
    typer.echo(f"manifest: {listed}" + (f", {waiting:,} to be tried again" if waiting else ""))
    if counts.get("failed"):
        _print_failures(out)
