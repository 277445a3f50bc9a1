"""Options of ``changedet batch`` about its catalogue and the collection of all results."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import typer

from changedet.cli.wording import error_line, say, with_options
from changedet.errors import ConfigError, DataError

if TYPE_CHECKING:
    from datetime import datetime

    from changedet.batch.check import CatalogueReport
    from changedet.batch.rows import RowCatalogue
    from changedet.cli.options import ProgressForm
    from changedet.predict.request import SceneRequest

_pairing: Final = partial(typer.Option, rich_help_panel="Pairing STAC scenes")
_COLLECTION: Final = "All results as one"
_SHOWN: Final = 50
#: Pairs whose rasters ``--check`` opens.
MOST_OPENED: Final = 1_000

CheckOption: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--check",
        help="Only check the catalogue, and list what is wrong with it: rows, ids, settings, and "
        "the rasters of up to 1,000 pairs.",
    ),
]
CheckAllOption: TypeAlias = Annotated[
    bool, typer.Option("--check-all", help="The same with the rasters of all pairs.")
]
CollectOption: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--collect/--no-collect",
        help="Write collection.json and polygons.parquet over all results at the end.",
        rich_help_panel=_COLLECTION,
    ),
]
CollectionCrsOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="CRS",
        help="CRS of the polygons in polygons.parquet.",
        show_default="EPSG:4326",
        rich_help_panel=_COLLECTION,
    ),
]
AfterCatalogueOption: TypeAlias = Annotated[
    str | None,
    _pairing(
        metavar="FILE|URL",
        help="STAC collection of the later scenes.",
        show_default="CATALOGUE has those of both dates",
    ),
]
BeforeDateOption: TypeAlias = Annotated[
    str | None,
    _pairing(metavar="DATE", help="Take the earlier scene that is nearest to this date."),
]
AfterDateOption: TypeAlias = Annotated[
    str | None,
    _pairing(metavar="DATE", help="Take the later scene that is nearest to this date."),
]
WithinDaysOption: TypeAlias = Annotated[
    float | None, _pairing(min=0.0, metavar="DAYS", help="So far from these dates at most.")
]
MinGapDaysOption: TypeAlias = Annotated[
    float, _pairing(min=0.0, metavar="DAYS", help="Between the two scenes, at least.")
]
MaxCloudOption: TypeAlias = Annotated[
    float | None,
    _pairing(
        min=0.0,
        max=100.0,
        metavar="PERCENT",
        help="Cloud cover of a scene at most, eo:cloud_cover.",
    ),
]
TilePropertyOption: TypeAlias = Annotated[
    str | None,
    _pairing(
        metavar="NAME",
        help="Property that names the tile of a scene.",
        show_default="that of grids, MGRS or WRS",
    ),
]
AssetOption: TypeAlias = Annotated[
    str | None,
    _pairing(
        metavar="NAME",
        help="Asset that holds the image.",
        show_default="visual, or the only one with data",
    ),
]
AssetAfterOption: TypeAlias = Annotated[
    str | None,
    _pairing(metavar="NAME", help="The same of the later scenes.", show_default="as --asset"),
]


def open_pairs(
    catalogue: str,
    *,
    after_catalogue: str | None,
    before_date: str | None,
    after_date: str | None,
    within_days: float | None,
    min_gap_days: float,
    max_cloud: float | None,
    tile_property: str | None,
    asset: str | None,
    asset_after: str | None,
) -> RowCatalogue:
    """Open a catalogue as the options say; what is left out of it is found out by reading it.

    Raises:
        ConfigError: If options make no sense, or do not apply.
        DataError: If it cannot be read.
    """
    from changedet.batch.catalogue import PairingRule, open_catalogue

    dates = [
        _date(option, text)
        for option, text in (("--before-date", before_date), ("--after-date", after_date))
    ]
    given = (after_catalogue, *dates, within_days, max_cloud, tile_property, min_gap_days or None)
    rule = PairingRule(
        after_catalogue=after_catalogue,
        before_date=dates[0],
        after_date=dates[1],
        within_days=within_days,
        min_gap_days=min_gap_days,
        max_cloud=max_cloud,
        tile_property=tile_property,
    )
    return open_catalogue(
        catalogue,
        pairing=None if all(value is None for value in given) else rule,
        asset=asset,
        asset_after=asset_after,
    )


def check_pairs(
    catalogue: RowCatalogue,
    common: SceneRequest,
    *,
    most_opened: int | None,
    quiet: bool,
    form: ProgressForm,
) -> CatalogueReport:
    """Check a catalogue, and show how far that is.

    Args:
        catalogue: Opened.
        common: Model and settings of all items.
        most_opened: Pairs whose rasters are opened; None: all.
        quiet: Show nothing.
        form: How it is shown.
    """
    from changedet.batch.check import check_catalogue
    from changedet.cli.pair_progress import pair_progress

    with pair_progress("check", quiet=quiet, form=form) as progress:
        return check_catalogue(catalogue, common, most_opened=most_opened, progress=progress)


def require_sound_rows(catalogue: RowCatalogue, common: SceneRequest) -> int:
    """Refuse a catalogue with faulty rows, before any work; its rasters are not opened.

    Returns:
        The number of its pairs.

    Raises:
        DataError: Naming the first fault.
    """
    from changedet.batch.check import check_catalogue, require_sound

    report = check_catalogue(catalogue, common, most_opened=0)
    require_sound(report)
    for remark in report.remarks:
        say(remark)
    return report.rows


def check_crs(crs: str | None) -> None:
    """Refuse a CRS of the collected polygons that is none."""
    if crs is not None:
        from changedet.vector.merge import check_common_crs

        check_common_crs(crs)


def collect_results(out: str, *, crs: str | None, is_new: bool, name: str) -> None:
    """Write the collection over all results, and say what is in it.

    Args:
        out: Where the results are.
        crs: Of the polygons; None: the usual one.
        is_new: Whether there are new results; if not, files that are there stay.
        name: Of the catalogue.
    """
    from pathlib import PurePath

    from changedet.batch.collect import COLLECTION, COMMON_CRS, POLYGONS, collect
    from changedet.batch.manifest import Manifest
    from changedet.batch.place import open_place

    place = open_place(out)
    if not is_new and crs is None and {COLLECTION, POLYGONS} <= set(place.content()):
        return
    with Manifest(place, mode="read") as manifest:
        found = collect(
            place, manifest.rows("done"), name=PurePath(name).stem, crs=crs or COMMON_CRS
        )
    for identifier, reason in found.left_out.items():
        say(f"warning: {identifier} is not in the collection: {reason}")
    more = found.left_out_count - len(found.left_out)
    if more > 0:
        say(f"warning: and {more:,} more are not in the collection")
    if found.unplaced:
        say(
            f"warning: {found.unplaced:,} results have no CRS, so that their polygons are not in "
            f"{POLYGONS}"
        )
    results, polygons = (
        f"{count:,} {word}{'' if count == 1 else 's'}"
        for count, word in ((found.items, "result"), (found.polygons, "polygon"))
    )
    typer.echo(f"{COLLECTION}: {results}; {POLYGONS}: {polygons}")


def print_report(report: CatalogueReport) -> None:
    """Print what was found in a catalogue: a line for each fault, and the counts."""
    faults = report.faults[:_SHOWN]
    if faults:
        lines = [("where", "id", "what is wrong")]
        lines += [(one.place, one.id, error_line(DataError(one.text))) for one in faults]
        places, ids = (max(len(line[column]) for line in lines) for column in range(2))
        for place, identifier, text in lines:
            typer.echo(f"{place:{places}}  {identifier:{ids}}  {text}")
    if report.fault_count > len(faults):
        typer.echo(f"... and {report.fault_count - len(faults):,} more")
    for remark in report.remarks:
        say(remark)
    good = report.rows - report.fault_count
    typer.echo(
        f"{report.name}: {report.rows:,} pair{'s' * (report.rows != 1)}, {good:,} without a fault; "
        f"opened {report.opened:,}"
    )


def _date(option: str, text: str | None) -> datetime | None:
    from changedet.batch.rows import read_date

    try:
        return read_date(text)
    except DataError as error:
        raise ConfigError(f"{option} {with_options(str(error))}") from error
