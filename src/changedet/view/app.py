"""The HTTP side: addresses, and what becomes of errors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

from fastapi import APIRouter, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse
from starlette.staticfiles import StaticFiles

from changedet._version import __version__
from changedet.errors import ChangeDetError, ImageError, ResultsError, StorageError
from changedet.raster.shown import load_reader
from changedet.view import answers
from changedet.view.bodies import BodyError
from changedet.view.candidates import Order
from changedet.view.collection import Collection, OpenItem, list_item
from changedet.view.handles import Handles
from changedet.view.layers import Layer
from changedet.view.pictures import Address
from changedet.view.review_routes import review_routes
from changedet.view.security import Access, Gate
from changedet.view.tile_cache import TileCache
from changedet.view.verdicts import ConflictError, ReadOnlyError
from changedet.view.workers import Workers

STATIC: Final = Path(__file__).parent / "static"
_CACHE_BYTES: Final = 64 * 2**20
_SUFFIXES: Final[dict[Layer, str]] = {
    "before": "webp",
    "after": "webp",
    "score": "png",
    "mask": "png",
}
_TYPES: Final = {"webp": "image/webp", "png": "image/png"}

Number = Annotated[float, Query(allow_inf_nan=False)]
MaybeNumber = Annotated[float | None, Query(allow_inf_nan=False)]


def make_app(
    collection: Collection,
    access: Access,
    *,
    who: str | None = None,
    static: Path = STATIC,
    wording: Callable[[str], str] = lambda text: text,
) -> tuple[Gate, Workers]:
    """Make the application.

    Args:
        collection: What is looked at.
        access: Who may ask.
        who: Name of the reviewer, if it was given.
        static: Folder of the pages.
        wording: Turns messages into words for the user; settings stand in them in backticks.

    Returns:
        The application behind its gate, and its threads, to be closed by the caller.
    """
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    workers = Workers(collection)
    app.include_router(_list_routes(workers, access, who=who, wording=wording))
    app.include_router(_item_routes(workers, wording))
    app.include_router(_tile_routes(workers, TileCache(_CACHE_BYTES)))
    app.include_router(review_routes(workers))
    if static.is_dir():
        app.add_api_route("/", lambda: _page(static), response_model=None)
        app.mount("/", StaticFiles(directory=static))
    _explain_errors(app, wording)
    return Gate(app, access=access), workers


def _page(static: Path) -> Response:
    """Give the page, and load what its first tiles need while the browser makes sense of it."""
    return FileResponse(static / "index.html", background=BackgroundTask(load_reader))


def _explain_errors(app: FastAPI, wording: Callable[[str], str]) -> None:
    """Answer every error with its status and one sentence as JSON."""

    def told(status: int, text: str, **more: object) -> Response:
        content = json.dumps({"error": wording(" ".join(text.split())), **more})
        return Response(content, status, media_type="application/json")

    statuses: dict[type[Exception], int] = {
        BodyError: 422,
        answers.TooLargeError: 413,
        ReadOnlyError: 409,
        ImageError: 410,
        ResultsError: 410,
        StorageError: 503,
        ChangeDetError: 410,
    }

    async def known(request: Request, error: Exception) -> Response:
        kind = next(kind for kind in type(error).__mro__ if kind in statuses)
        return told(statuses[kind], str(error))

    async def conflict(request: Request, error: Exception) -> Response:
        current = error.current if isinstance(error, ConflictError) else None
        row = None if current is None else answers.describe_row(current)
        return told(409, str(error), current=row)

    async def http(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        detail = error.detail if isinstance(error, HTTPException) else ""
        return told(status, detail or "there is nothing here")

    async def invalid(request: Request, error: Exception) -> Response:
        fault = error.errors()[0] if isinstance(error, RequestValidationError) else {}
        place = ".".join(map(str, fault.get("loc", ())[1:]))
        return told(400, f"{place}: {fault.get('msg', 'cannot be used')}")

    async def bug(request: Request, error: Exception) -> Response:
        return told(500, "a fault of changedet; what went wrong stands in its terminal")

    for kind in statuses:
        app.add_exception_handler(kind, known)
    app.add_exception_handler(ConflictError, conflict)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(Exception, bug)


def _list_routes(
    workers: Workers, access: Access, *, who: str | None, wording: Callable[[str], str]
) -> APIRouter:
    router = APIRouter()
    collection = workers.collection

    @router.get("/api/items")
    async def items(
        request: Request,
        offset: Annotated[int, Query(ge=0)] = 0,
        limit: Annotated[int, Query(ge=1, le=1000)] = 200,
    ) -> Response:
        def work() -> dict[str, Any]:
            numbers = range(len(collection))[offset : offset + limit]
            entries = [list_item(number, collection.places[number]) for number in numbers]
            for entry in entries:
                entry["problem"] = entry["problem"] and wording(entry["problem"])
            return {
                "items": entries,
                "total": len(collection),
                "base_map": access.base_map,
                "who": who,
                "version": __version__,
            }

        return await workers.json(request, work)

    return router


def _item_routes(workers: Workers, wording: Callable[[str], str]) -> APIRouter:
    router = APIRouter(prefix="/api/items/{number}")
    handles = workers.collection.handles

    @router.get("")
    async def item(request: Request, number: str) -> Response:
        return await workers.answer(
            request,
            number,
            lambda opened: answers.describe_item(number, opened, handles, wording=wording),
        )

    @router.get("/histogram")
    async def histogram(request: Request, number: str) -> Response:
        opened = await workers.open(number)
        counted = await workers.run(opened.histogram)
        status = 200 if counted.is_ready else 202
        return await workers.json(request, counted.describe, status=status)

    @router.get("/values")
    async def values(request: Request, number: str, *, x: Number, y: Number) -> Response:
        return await workers.answer(
            request, number, lambda opened: answers.values_at(opened, x, y, handles=handles)
        )

    @router.get("/candidates")
    async def candidates(
        request: Request,
        number: str,
        *,
        order: Order = "area",
        offset: Annotated[int, Query(ge=0)] = 0,
        limit: Annotated[int, Query(ge=1, le=5000)] = 5000,
        window: str | None = None,
        threshold: Annotated[float | None, Query(ge=0, le=1, allow_inf_nan=False)] = None,
    ) -> Response:
        box = None if window is None else _box(window.split(","))
        return await workers.answer(
            request,
            number,
            lambda opened: answers.list_candidates(
                opened,
                handles,
                order=order,
                offset=offset,
                limit=limit,
                box=box,
                threshold=threshold,
            ),
        )

    return router


def _box(texts: list[str]) -> tuple[float, float, float, float]:
    try:
        left, top, right, bottom = map(float, texts)
    except ValueError:
        raise BodyError("a box has four numbers: left, top, right, bottom") from None
    return left, top, right, bottom


def _tile_routes(workers: Workers, cache: TileCache) -> APIRouter:
    router = APIRouter(prefix="/api/items/{number}")
    handles = workers.collection.handles

    @router.get("/tiles/{layer}/{zoom}/{x}/{y}.{suffix}")
    async def tile(
        request: Request, number: str, *, layer: Layer, zoom: int, x: int, y: int, suffix: str
    ) -> Response:
        # All of it in one thread: each step by itself would wait behind the tiles of others.
        def answer() -> Response:
            opened = workers.find(number)
            if suffix != _SUFFIXES[layer] or not 0 <= zoom <= opened.item.max_zoom:
                raise HTTPException(404, "there is no such tile")
            if not (0 <= x < 2**zoom and 0 <= y < 2**zoom):
                return Response(status_code=204)
            known = request.headers.get("if-none-match")
            address = Address(zoom, x, y)
            return _answer_tile(opened, layer, address, known=known, cache=cache, handles=handles)

        return await workers.run(answer)

    @router.get("/thumbnail/{layer}")
    async def thumbnail(
        number: str,
        layer: Layer,
        *,
        x0: MaybeNumber = None,
        y0: MaybeNumber = None,
        x1: MaybeNumber = None,
        y1: MaybeNumber = None,
        size: Annotated[int, Query(ge=16, le=512)] = 96,
    ) -> Response:
        box = None
        if not (x0 is None or y0 is None or x1 is None or y1 is None):
            box = (x0, y0, x1, y1)

        def work() -> bytes:
            opened = workers.find(number)
            return answers.make_thumbnail(opened, layer, box, size=size, handles=handles)

        headers = {"cache-control": "private, max-age=300"}
        return Response(await workers.run(work), headers=headers, media_type="image/webp")

    return router


def _answer_tile(
    opened: OpenItem,
    layer: Layer,
    address: Address,
    *,
    known: str | None,
    cache: TileCache,
    handles: Handles,
) -> Response:
    """Draw a tile, or take it from the cache; ``known`` is the tag of the browser's own copy."""
    # A file that has vanished is told although its tiles are known.
    state = opened.item.signature(layer)
    key = (str(opened.item.folder), layer, address, state)
    tag = f'"{hashlib.blake2b(repr(key).encode(), digest_size=12).hexdigest()}"'
    headers = {"etag": tag, "cache-control": "private, max-age=300"}
    if known == tag:
        return Response(status_code=304, headers=headers)
    content = cache.get(key)
    if content is None:
        content = answers.make_tile(opened, layer, address, handles=handles) or b""
        cache.put(key, content)
    if not content:
        return Response(status_code=204, headers=headers)
    return Response(content, headers=headers, media_type=_TYPES[_SUFFIXES[layer]])
