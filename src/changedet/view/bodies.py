"""What browsers send, checked: verdicts and windows."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal, TypeAlias, TypeVar

import shapely
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from changedet.errors import DataError
from changedet.raster.geo_grid import GeoGrid

Verdict: TypeAlias = Literal["accepted", "rejected", "drawn", "edited"]
#: Verdicts that say that a polygon is change.
CHANGE: Final = frozenset({"accepted", "drawn", "edited"})
#: Points of a polygon.
MOST_POINTS: Final = 10_000
# A drawn outline may end beside the image by so much.
_OUTSIDE_PX: Final = 1.0
_UID: Final = re.compile(
    r"r(?P<number>[1-9][0-9]{0,17})"
    r"|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
)

_Point: TypeAlias = tuple[FiniteFloat, FiniteFloat]
_Box: TypeAlias = tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]
_Score: TypeAlias = Annotated[float, Field(ge=0.0, le=1.0, allow_inf_nan=False)]
_Name: TypeAlias = Annotated[str, Field(max_length=100)]


class BodyError(DataError):
    """What a browser sent cannot be used."""


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


Body = TypeVar("Body", bound=_Body)


class PolygonBody(_Body):
    """A polygon as GeoJSON, in pixels."""

    type: Literal["Polygon"]
    coordinates: Annotated[
        list[Annotated[list[_Point], Field(min_length=4, max_length=MOST_POINTS)]],
        Field(min_length=1, max_length=1000),
    ]


class VerdictBody(_Body):
    """A verdict on a polygon."""

    verdict: Verdict
    geometry: PolygonBody | None = None
    note: Annotated[str, Field(max_length=2000)] = ""
    who: _Name | None = None
    window: _Box | None = None
    mean_score: _Score | None = None
    max_score: _Score | None = None
    threshold: _Score | None = None
    known_revision: Annotated[int, Field(ge=0)] | None = None


class WindowBody(_Body):
    """A window that was looked at."""

    window: _Box
    who: _Name | None = None


class DeleteBody(_Body):
    """Which state of a row is taken back."""

    known_revision: Annotated[int, Field(ge=0)] | None = None


def parse_body(kind: type[Body], content: bytes) -> Body:
    """Check what was sent.

    Raises:
        BodyError: If it is no such body.
    """
    try:
        return kind.model_validate_json(content or b"{}")
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, fault["loc"])) or "body"
        raise BodyError(f"{place}: {fault['msg']}") from error


def result_number(uid: str) -> int | None:
    """Give the number of a polygon of the result that a uid names; None: it names another one.

    Raises:
        BodyError: If it is no uid.
    """
    found = _UID.fullmatch(uid)
    if found is None:
        raise BodyError("a uid is r and a number, or a UUID in lower case")
    return int(found["number"]) if found["number"] else None


def checked_polygon(body: PolygonBody, grid: GeoGrid) -> shapely.Polygon:
    """Turn a polygon that was sent into one that can be stored, in pixels.

    Raises:
        BodyError: If it has too many points, crosses itself, has no area, or leaves the image.
    """
    points = sum(map(len, body.coordinates))
    if points > MOST_POINTS:
        raise BodyError(f"a polygon may have {MOST_POINTS:,} points, this one has {points:,}")
    shell, *holes = body.coordinates
    for ring in body.coordinates:
        if ring[0] != ring[-1]:
            raise BodyError("a ring must end where it began")
    polygon = shapely.Polygon(shell, holes)
    left, top, right, bottom = polygon.bounds
    if min(left, top) < -_OUTSIDE_PX or (
        right > grid.width + _OUTSIDE_PX or bottom > grid.height + _OUTSIDE_PX
    ):
        raise BodyError("the polygon leaves the image")
    if not shapely.is_valid(polygon):
        raise BodyError(f"the polygon is not valid: {shapely.is_valid_reason(polygon)}")
    if not polygon.area > 0:
        raise BodyError("the polygon has no area")
    return polygon


def checked_window(box: _Box, grid: GeoGrid) -> tuple[float, float, float, float]:
    """Cut a window of pixels to the image.

    Raises:
        BodyError: If nothing of the image lies in it.
    """
    left, top = max(0.0, box[0]), max(0.0, box[1])
    right, bottom = min(float(grid.width), box[2]), min(float(grid.height), box[3])
    if left >= right or top >= bottom:
        raise BodyError("the window shows nothing of the image")
    return left, top, right, bottom
