"""What is printed of a scene when it is done."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from changedet.cli.wording import say

if TYPE_CHECKING:
    from changedet.predict.request import SceneReport, SceneRequest
    from changedet.vector.files import AreaLimit


def repeat_warnings(texts: Sequence[str]) -> None:
    """List once more, where it is seen, what may make the results wrong."""
    if texts:
        count = "1 warning" if len(texts) == 1 else f"{len(texts)} warnings"
        typer.echo(f"{count}:", err=True)
    for text in texts:
        say(f"  {text}")


def findings(report: "SceneReport", request: "SceneRequest") -> list[str]:
    """Say in a few lines what was found on a scene."""
    counts, polygons = report.counts, report.polygons
    known = counts.changed + counts.unchanged
    area = "" if polygons.area_m2 is None else f", {polygons.area_m2:,.0f} m2"
    by_request = polygons.dropped if request.polygons.min_area is not None else 0
    dropped = f" ({by_request} smaller ones removed)" if by_request else ""
    lines = [
        f"{100 * counts.changed / known:.2f} % changed{_without_data(report, request)}; "
        f"{polygons.count} {'polygon' if polygons.count == 1 else 'polygons'}{area}{dropped}"
    ]
    if clean_up := _clean_up(report, request):
        lines.append(clean_up)
    if polygons.unsimplified:
        lines.append(
            f"{polygons.unsimplified} polygons keep their outlines along the pixels: they are too "
            "entangled for --simplify; a larger --min-area or a smaller --aoi may help"
        )
    memory = report.peak_memory_mb
    lines.append(
        f"{report.mpx_per_s:.2f} Mpx/s over {report.seconds:.0f} s"
        + ("" if memory is None else f", peak memory {memory:,.0f} MB")
    )
    return lines


def _clean_up(report: "SceneReport", request: "SceneRequest") -> str:
    """Say what is not in the polygon file though nobody asked for that; empty: nothing."""
    smallest, holes = report.polygons.min_area, report.polygons.fill_holes
    parts, options = [], []
    if request.polygons.min_area is None and smallest is not None:
        parts.append(f"patches below {_size(smallest)} left out ({report.polygons.dropped})")
        options.append("--min-area 0")
    if request.polygons.fill_holes is None and holes is not None:
        parts.append(f"holes up to {_size(holes)} filled")
        options.append("--fill-holes 0")
    if not parts:
        return ""
    keeps = "keeps" if len(options) == 1 else "keep"
    return f"in the polygons, {', '.join(parts)}; {' '.join(options)} {keeps} all"


def _size(limit: "AreaLimit") -> str:
    if limit.unit == "m2" or limit.area_m2 is None:
        return f"{limit.value:g} {limit.unit}"
    area = f"{limit.area_m2:,.0f}" if limit.area_m2 >= 100 else f"{limit.area_m2:.3g}"
    return f"{limit.value:g} px ({area} m2)"


def _without_data(report: "SceneReport", request: "SceneRequest") -> str:
    counts = report.counts
    if not counts.nodata:
        return ""
    percent = 100 * counts.nodata / (counts.changed + counts.unchanged + counts.nodata)
    share = "less than 0.1" if percent < 0.1 else f"{percent:.1f}"
    # An area of interest may be of any shape, and the results are a rectangle.
    outside = "" if request.region is None else " or outside the area of interest"
    return f", {share} % without data{outside}"
