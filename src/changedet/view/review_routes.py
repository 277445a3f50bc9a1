"""The HTTP side of a review: verdicts, windows, exports, statistics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import numpy as np
from fastapi import APIRouter, Query, Request, Response

from changedet.view import answers
from changedet.view.bodies import (
    BodyError,
    DeleteBody,
    VerdictBody,
    WindowBody,
    checked_polygon,
    checked_window,
    parse_body,
    result_number,
)
from changedet.view.review_export import MEDIA_TYPES, export_review
from changedet.view.statistics import ReviewCounts
from changedet.view.store import ReviewStore
from changedet.view.verdicts import NewVerdict, ReadOnlyError

if TYPE_CHECKING:
    from changedet.view.collection import OpenItem
    from changedet.view.handles import Handles
    from changedet.view.workers import Workers

Format = Literal["geojson", "gpkg", "csv"]
_NAMES: Final = {"geojson": "changes.geojson", "gpkg": "changes.gpkg", "csv": "verdicts.csv"}


def review_routes(workers: Workers) -> APIRouter:
    """Make the addresses of reviews."""
    router = APIRouter()
    router.include_router(_writing_routes(workers))
    handles = workers.collection.handles

    @router.get("/api/items/{number}/review")
    async def review(
        request: Request, number: str, since: Annotated[int, Query(ge=0)] = 0
    ) -> Response:
        def work(opened: OpenItem) -> dict[str, Any]:
            changes = _store(opened, to_write=False).changes(since)
            return answers.describe_review(opened, changes, handles=handles)

        return await workers.answer(request, number, work)

    @router.get("/api/items/{number}/export.{format}")
    async def export(number: str, format: Format) -> Response:
        opened = await workers.open(number)

        def work() -> bytes:
            rows = _store(opened, to_write=False).changes().rows
            return export_review(format, rows, opened.item.grid)

        headers = {
            "content-disposition": f'attachment; filename="{_NAMES[format]}"',
            "cache-control": "no-store",
        }
        return Response(await workers.run(work), headers=headers, media_type=MEDIA_TYPES[format])

    @router.get("/api/review/statistics")
    async def statistics(request: Request) -> Response:
        def work() -> dict[str, Any]:
            counts = workers.collection.each_reviewed()
            total = sum((one for _, one in counts), ReviewCounts())
            return {
                "statistics": total.describe(),
                "items": [
                    {"id": number, "reviewed": one.reviewed, "polygons": one.polygons}
                    for number, one in counts
                ],
            }

        return await workers.json(request, work)

    return router


def _writing_routes(workers: Workers) -> APIRouter:
    router = APIRouter(prefix="/api/items/{number}/review")
    handles = workers.collection.handles

    @router.put("/verdicts/{uid}")
    async def put_verdict(request: Request, number: str, uid: str) -> Response:
        content = await request.body()

        def work(opened: OpenItem) -> dict[str, Any]:
            body = parse_body(VerdictBody, content)
            new = _new_verdict(uid, body, opened, handles=handles)
            store = _store(opened, to_write=True)
            row, revision = store.put(uid, new, known_revision=body.known_revision)
            return {
                "row": answers.describe_row(row),
                "revision": revision,
                "statistics": opened.counts(handles).describe(),
            }

        return await workers.answer(request, number, work)

    @router.delete("/verdicts/{uid}")
    async def delete_verdict(request: Request, number: str, uid: str) -> Response:
        content = await request.body()

        def work(opened: OpenItem) -> dict[str, Any]:
            result_number(uid)
            body = parse_body(DeleteBody, content)
            store = _store(opened, to_write=True)
            revision = store.delete(uid, known_revision=body.known_revision)
            return {"revision": revision, "statistics": opened.counts(handles).describe()}

        return await workers.answer(request, number, work)

    @router.put("/windows/{uid}")
    async def put_window(request: Request, number: str, uid: str) -> Response:
        content = await request.body()

        def work(opened: OpenItem) -> dict[str, Any]:
            _require_uuid(uid)
            body = parse_body(WindowBody, content)
            window = checked_window(body.window, opened.item.grid)
            store = _store(opened, to_write=True)
            row = store.put_window(uid, window, who=body.who)
            return {"row": answers.describe_window(row), "revision": row.revision}

        return await workers.answer(request, number, work)

    @router.delete("/windows/{uid}")
    async def delete_window(request: Request, number: str, uid: str) -> Response:
        def work(opened: OpenItem) -> dict[str, Any]:
            _require_uuid(uid)
            return {"revision": _store(opened, to_write=True).delete_window(uid)}

        return await workers.answer(request, number, work)

    return router


def _require_uuid(uid: str) -> None:
    if result_number(uid) is not None:
        raise BodyError("the uid of a window is a UUID in lower case")


def _store(opened: OpenItem, *, to_write: bool) -> ReviewStore:
    """Give the review of a result.

    Raises:
        ReadOnlyError: If it is not its own, or is to be written to and cannot be.
    """
    if opened.store is None or (to_write and opened.store_problem is not None):
        raise ReadOnlyError(opened.store_problem or "the review cannot be opened")
    return opened.store


def _new_verdict(uid: str, body: VerdictBody, opened: OpenItem, *, handles: Handles) -> NewVerdict:
    """Check a verdict that was sent against the result.

    Raises:
        BodyError: If its parts do not go together.
    """
    number, grid = result_number(uid), opened.item.grid
    if body.verdict == ("edited" if number is None else "drawn"):
        raise BodyError("polygons of the result are edited, others are drawn")
    needs_outline = number is None or body.verdict == "edited"
    if needs_outline != (body.geometry is not None):
        raise BodyError(
            "a polygon that is not the result's needs a geometry, and one of the result has its own"
        )
    window = None if body.window is None else checked_window(body.window, grid)
    polygon = None if body.geometry is None else checked_polygon(body.geometry, grid)
    new = NewVerdict(
        verdict=body.verdict,
        polygon=polygon,
        result_id=number,
        note=body.note,
        who=body.who or None,
        window=window,
        mean_score=body.mean_score,
        max_score=body.max_score,
        threshold=body.threshold,
    )
    if number is None:
        return new
    found = opened.candidates(handles)
    places = np.flatnonzero(found.ids == number)
    if len(places) == 0:
        raise BodyError(f"the result has no polygon {number}")
    place = int(places[0])
    return new._replace(
        polygon=polygon or found.geometry[place],
        mean_score=float(found.mean_score[place]),
        max_score=float(found.max_score[place]),
        threshold=opened.item.threshold,
    )
