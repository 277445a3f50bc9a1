"""Threads that do the work of a server, and its answers as JSON."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from starlette.exceptions import HTTPException
from starlette.responses import Response

if TYPE_CHECKING:
    from starlette.requests import Request

    from changedet.view.collection import Collection, OpenItem

# Answers below this are not worth to be compressed.
_GZIP_FROM: Final = 2048
Result = TypeVar("Result")


class Workers:
    """Threads that read files, so that the server goes on answering.

    Args:
        collection: What is looked at.

    Attributes:
        collection: The same.
    """

    def __init__(self, collection: Collection) -> None:
        self.collection = collection
        # Each thread has its own handles; more of them would not be faster.
        self._pool = ThreadPoolExecutor((os.cpu_count() or 1) + 2, thread_name_prefix="view")

    async def run(self, work: Callable[[], Result]) -> Result:
        """Have something done in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def find(self, number: str) -> OpenItem:
        """Open a result; in a thread, as files are read.

        Raises:
            HTTPException: If there is no such id.
        """
        try:
            return self.collection.get(number)
        except KeyError:
            raise HTTPException(404, "there is no such result") from None

    async def open(self, number: str) -> OpenItem:
        """Have a result opened, see :meth:`find`."""
        return await self.run(partial(self.find, number))

    async def answer(
        self, request: Request, number: str, work: Callable[[OpenItem], Result]
    ) -> Response:
        """Answer with what some work on a result gives, as JSON."""
        return await self.json(request, lambda: work(self.find(number)))

    async def json(
        self, request: Request, work: Callable[[], object], *, status: int = 200
    ) -> Response:
        """Answer with what some work gives: JSON as text, or what JSON is made of."""
        accepts = "gzip" in request.headers.get("accept-encoding", "")

        def encoded() -> tuple[bytes, bool]:
            content = work()
            text = content if isinstance(content, str) else json.dumps(content, allow_nan=False)
            body = text.encode()
            if accepts and len(body) >= _GZIP_FROM:
                return gzip.compress(body, compresslevel=1), True
            return body, False

        body, is_packed = await self.run(encoded)
        headers = {"cache-control": "no-store", "vary": "accept-encoding"}
        if is_packed:
            headers["content-encoding"] = "gzip"
        return Response(body, status, headers, media_type="application/json")

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(wait=True, cancel_futures=True)
