"""Run the viewer: a port of this machine, the server on it, and the browser."""

from __future__ import annotations

import errno
import ipaddress
import socket
import threading
import webbrowser
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import uvicorn

from changedet.errors import ChangeDetError, ConfigError
from changedet.raster.environment import gdal_environment
from changedet.view.app import make_app
from changedet.view.collection import Collection
from changedet.view.layers import Layer
from changedet.view.results_at import Place
from changedet.view.security import Access

# What requests that go on when the server is stopped may still take.
_GRACE_S = 2


@dataclass(frozen=True)
class ViewRequest:
    """What is looked at, and where.

    Attributes:
        result: A result of a prediction, or a folder of results.
        places: The results in it, if they were looked for already.
        before: Where the earlier input lies now, if it was moved.
        after: The same of the later one.
        host: Address of this machine to answer at.
        port: Port; 0: a free one.
        base_map: Address of the tiles of a base map, with {z}, {x} and {y}.
        who: Name of the reviewer.
        browser: Whether a browser is opened.
    """

    result: Path
    places: Sequence[Place] = ()
    before: str | None = None
    after: str | None = None
    host: str = "127.0.0.1"
    port: int = 0
    base_map: str | None = None
    who: str | None = None
    browser: bool = True


def run_viewer(
    request: ViewRequest,
    *,
    say: Callable[[str], None],
    announce: Callable[[str], None],
    wording: Callable[[str], str] = lambda text: text,
) -> None:
    """Answer browsers until the process is interrupted.

    Args:
        request: What is looked at.
        say: Gets sentences for the user.
        announce: Gets the first address, which holds a secret.
        wording: Turns messages into words for the user, see :func:`changedet.view.app.make_app`.

    Raises:
        ConfigError: If the port is in use, or an option is wrong.
        DataError: If there is no result, or its review belongs to another one.
        ResultsError: If a summary is damaged.
    """
    check_base_map(request.base_map)
    moved: dict[Layer, str] = {}
    if request.before is not None:
        moved["before"] = request.before
    if request.after is not None:
        moved["after"] = request.after
    collection = Collection(request.result, places=request.places, moved=moved)
    with bind(request.host, request.port) as listening, gdal_environment():
        access = Access(
            host=request.host, port=listening.getsockname()[1], base_map=request.base_map
        )
        _tell(collection, request, say=say)
        announce(access.address)
        app, workers = make_app(collection, access, who=request.who, wording=wording)
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            lifespan="off",
            ws="none",
            http="h11",
            loop="asyncio",
            server_header=False,
            timeout_graceful_shutdown=_GRACE_S,
        )
        if request.browser:
            # Its first request waits in the socket until the server is there.
            opener = threading.Thread(target=webbrowser.open, args=(access.address,), daemon=True)
            opener.start()
        try:
            uvicorn.Server(config).run(sockets=[listening])
        except KeyboardInterrupt:
            say("stopped")
        finally:
            workers.close()
            collection.close()


def _tell(
    collection: Collection,
    request: ViewRequest,
    *,
    say: Callable[[str], None],
) -> None:
    if len(collection) == 1:
        only = collection.get("0")
        for layer, problem in only.problems(collection.handles).items():
            say(f"warning: {layer} is not shown: {problem}")
        try:
            only.candidates(collection.handles)
        except ChangeDetError as error:
            say(f"warning: the polygons are not shown: {error}")
        if only.store_problem is not None:
            say(f"warning: {only.store_problem}")
    else:
        say(f"{len(collection)} results")
    if not is_loopback(request.host):
        say(
            "warning: other machines can reach this server, and whoever knows the address with its "
            "token can read the results and write verdicts; traffic is not encrypted"
        )


def bind(host: str, port: int) -> socket.socket:
    """Take a port.

    Raises:
        ConfigError: If it is in use, or there is no such address on this machine.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise ConfigError(
            f"{host} is no address of this machine ({error.strerror}); choose another `host`"
        ) from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen()
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRNOTAVAIL:
            raise ConfigError(
                f"{host} is no address of this machine; choose another `host`"
            ) from error
        raise ConfigError(
            f"port {port} of {host} cannot be used ({error.strerror}); choose another one "
            "(`port`), or leave it out to get a free one"
        ) from error
    return listening


def is_loopback(host: str) -> bool:
    """Tell whether an address is reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_base_map(address: str | None) -> None:
    """Refuse an address that is none of map tiles.

    Raises:
        ConfigError: If it lacks {z}, {x} or {y}, or is not http or https.
    """
    if address is None:
        return
    parts = urlsplit(address)
    holes = all(hole in address for hole in ("{z}", "{x}", "{y}"))
    plain = not set(parts.netloc) & set(" ;,'\"{}\\")
    if parts.scheme not in ("http", "https") or not parts.netloc or not holes or not plain:
        raise ConfigError(
            f"`base_map` takes the address of map tiles, such as "
            f"https://host/{{z}}/{{x}}/{{y}}.png, got {address!r}"
        )
