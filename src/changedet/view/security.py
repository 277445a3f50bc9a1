"""Who may ask the server: only browsers that were given its address with the token."""

from __future__ import annotations

import hmac
import ipaddress
import json
import secrets
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Bytes of what a browser may send.
MOST_BYTES: Final = 1_000_000
_TOKEN_BYTES: Final = 24
_WRITING: Final = frozenset({"PUT", "DELETE"})
_READING: Final = frozenset({"GET", "HEAD"})
_LOCAL: Final = frozenset({"127.0.0.1", "localhost", "::1"})
# Addresses that stand for all of the machine's.
_ANY: Final = frozenset({"0.0.0.0", "::"})
_STRANGER: Final = (
    "This page belongs to whoever started changedet view: open the address that it has printed, "
    "with its token."
)


Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]


class Refusal(NamedTuple):
    """How a request is answered that does not come to the application."""

    status: int
    text: str
    headers: Headers = ()


@dataclass(frozen=True)
class Access:
    """What a server takes for its own.

    Attributes:
        host: Address that it is bound to.
        port: Its port.
        base_map: Address of a base map that pages may load; None: none.
        token: In the first address.
        session: In the cookie.
    """

    host: str
    port: int
    base_map: str | None = None
    token: str = field(default_factory=lambda: secrets.token_urlsafe(_TOKEN_BYTES))
    session: str = field(default_factory=lambda: secrets.token_urlsafe(_TOKEN_BYTES))

    @property
    def address(self) -> str:
        """The first address, with the token."""
        host = "127.0.0.1" if self.host in _ANY else self.host
        shown = f"[{host}]" if ":" in host else host
        return f"http://{shown}:{self.port}/?token={self.token}"

    @property
    def cookie_name(self) -> str:
        """Name of the cookie: browsers share cookies between the ports of a host."""
        return f"changedet_view_{self.port}"

    @property
    def policy(self) -> str:
        """The Content-Security-Policy of every answer."""
        other = ""
        if self.base_map is not None:
            parts = urlsplit(self.base_map)
            other = f" {parts.scheme}://{parts.netloc}"
        return "; ".join(
            (
                "default-src 'none'",
                "script-src 'self'",
                "style-src 'self'",
                f"img-src 'self' blob: data:{other}",
                f"connect-src 'self'{other}",
                "worker-src 'self'",
                "font-src 'none'",
                "manifest-src 'self'",
                "form-action 'none'",
                "frame-ancestors 'none'",
                "base-uri 'none'",
            )
        )

    def knows_host(self, value: str) -> bool:
        """Tell whether a Host header names this server.

        A page of a stranger whose name leads to this machine (DNS rebinding) has another one.
        """
        try:
            parts = urlsplit(f"//{value}")
            host, port = parts.hostname, parts.port
        except ValueError:
            return False
        if host is None or parts.path or parts.username is not None or (port or 80) != self.port:
            return False
        if host in _LOCAL or host == self.host.lower():
            return True
        if self.host not in _ANY:
            return False
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return False
        return True


class Gate:
    """Lets through what is allowed, and puts the protecting headers on every answer.

    Args:
        app: What answers.
        access: Who may ask.
    """

    def __init__(self, app: ASGIApp, *, access: Access) -> None:
        self._app = app
        self._access = access
        self._headers = [
            (b"content-security-policy", access.policy.encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
            (b"x-frame-options", b"DENY"),
            (b"cross-origin-opener-policy", b"same-origin"),
            (b"cross-origin-resource-policy", b"same-origin"),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, see ASGI."""
        if scope["type"] != "http":
            return

        async def send_protected(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *self._headers]
            await send(message)

        headers: dict[str, str] = {}
        for name, value in scope["headers"]:
            # A header that comes twice is none to be trusted.
            key = name.decode("latin-1")
            headers[key] = "" if key in headers else value.decode("latin-1")
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await _answer(send_protected, refusal.status, refusal.text, headers=refusal.headers)
            return
        if scope["method"] in _WRITING:
            body = await _limited_body(receive, headers)
            if body is None:
                text = f"more than {MOST_BYTES:,} bytes were sent"
                await _answer(send_protected, 413, text)
                return
            receive = _replay(body)
        await self._app(scope, receive, send_protected)

    def _refusal(self, scope: Scope, headers: dict[str, str]) -> Refusal | None:
        """Say how a request is answered that does not come to the application."""
        access, method = self._access, scope["method"]
        if not access.knows_host(headers.get("host", "")):
            return Refusal(403, "this server is known by another name")
        if method not in _WRITING | _READING:
            return Refusal(405, "such requests are not answered")
        if scope["path"] == "/" and method == "GET":
            given = parse_qs(scope["query_string"].decode("latin-1")).get("token")
            if given is not None:
                return self._enter(given[0])
        # Other pages may show links to this one, but must not load its parts.
        if headers.get("sec-fetch-site", "none") in ("cross-site", "same-site") and (
            headers.get("sec-fetch-mode") != "navigate" or method in _WRITING
        ):
            return Refusal(403, "requests of other pages are not answered")
        if not self._has_session(headers.get("cookie", "")):
            return Refusal(403, _STRANGER)
        if method in _WRITING:
            if headers.get("origin", "").lower() != f"http://{headers['host']}".lower():
                return Refusal(403, "requests of other pages are not answered")
            kind = headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind != "application/json":
                return Refusal(415, "what is sent must be JSON (Content-Type: application/json)")
        return None

    def _enter(self, token: str) -> Refusal:
        if not hmac.compare_digest(token.encode(), self._access.token.encode()):
            return Refusal(403, _STRANGER)
        cookie = (
            f"{self._access.cookie_name}={self._access.session}; Path=/; HttpOnly; SameSite=Strict"
        )
        return Refusal(303, "", ((b"location", b"/"), (b"set-cookie", cookie.encode())))

    def _has_session(self, cookies: str) -> bool:
        try:
            morsel = SimpleCookie(cookies).get(self._access.cookie_name)
        except CookieError:
            return False
        given = "" if morsel is None else morsel.value
        return hmac.compare_digest(given.encode(), self._access.session.encode())


async def _limited_body(receive: Receive, headers: dict[str, str]) -> bytes | None:
    """Read what is sent; None if it is too much."""
    length = headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > MOST_BYTES:
        return None
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return body
        part: bytes = message.get("body", b"")
        body += part
        if len(body) > MOST_BYTES:
            return None
        if not message.get("more_body", False):
            return body


def _replay(body: bytes) -> Receive:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


async def _answer(send: Send, status: int, text: str, *, headers: Headers = ()) -> None:
    body = json.dumps({"error": text}).encode() if text else b""
    kind = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    start = {"type": "http.response.start", "status": status, "headers": [*kind, *headers]}
    await send(start)
    await send({"type": "http.response.body", "body": body})
