"""STAC items of a file, a collection or a server, one after the other, in constant memory."""

from __future__ import annotations

import io
import json
import urllib.parse
import urllib.request
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple

from changedet.batch.sources import is_address, opened, resolve
from changedet.errors import DataError
from changedet.storage.secrets import without_secrets
from changedet.storage.text import first_few

if TYPE_CHECKING:
    from collections.abc import Iterator

_LINES: Final = (".ndjson", ".jsonl", ".geojsonl", ".geojsons")
_CHUNK: Final = 1 << 18
# Characters of one item or link; collections of millions are read piece by piece.
_LONGEST: Final = 32_000_000
_COLLECTIONS: Final = ("items", "child")
_STREAMED: Final = ("features", "links")


class StacItem(NamedTuple):
    """One STAC item.

    Attributes:
        place: Where it stands, such as ``item 3 of scenes.json``.
        content: The item as JSON has it.
        base: Path or address that its relative addresses are relative to.
    """

    place: str
    content: dict[str, Any]
    base: str

    @property
    def properties(self) -> dict[str, Any]:
        """Its properties."""
        found = self.content.get("properties")
        return found if isinstance(found, dict) else {}

    @property
    def identifier(self) -> str:
        """Its id, "" if it has none."""
        return str(self.content.get("id") or "")

    def asset(self, name: str | None) -> str:
        """Give where an asset lies.

        Args:
            name: Its key; None: ``visual``, or the only one that holds data.

        Raises:
            DataError: If there is no such asset, or several may be meant.
        """
        found = self.content.get("assets")
        assets = {
            key: asset
            for key, asset in (found.items() if isinstance(found, dict) else ())
            if isinstance(asset, dict) and asset.get("href")
        }
        key = name if name is not None else _only_data(assets)
        if key is None or key not in assets:
            there = first_few(list(assets), most=12) or "none"
            asked = "several assets" if name is None and len(assets) > 1 else f"no asset {name!r}"
            raise DataError(f"has {asked}; name one of {there} in `asset`")
        href = str(assets[key]["href"])
        if href.lower().startswith("file://"):
            return urllib.request.url2pathname(urllib.parse.urlparse(href).path)
        return resolve(href, base=self.base)


def read_items(location: str) -> Iterator[StacItem]:
    """Give the items of an item collection, of a collection or catalogue, or one item.

    Links of collections and catalogues to items and to further ones are followed, and those of a
    server's answer to its next page. A file of lines (``.ndjson``) has an item on each.

    Args:
        location: Path or address.

    Raises:
        DataError: If something cannot be read, or is no STAC.
    """
    for number, (content, base) in enumerate(_Walk().pages(location), start=1):
        yield StacItem(f"item {number} ({content.get('id')})", content, base)


class _Walk:
    """Follows links, each to a collection or page but once."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def pages(self, location: str) -> Iterator[tuple[dict[str, Any], str]]:
        """Give the items of a file and of the pages after it, and their bases."""
        page: str | None = location
        while page is not None and page not in self._seen:
            self._seen.add(page)
            following: list[str] = []
            yield from self._page(page, following)
            page = following[0] if following else None

    def _page(self, location: str, following: list[str]) -> Iterator[tuple[dict[str, Any], str]]:
        """Give the items of one file; the address of the next page goes to ``following``."""
        name = without_secrets(location)
        with opened(location) as file:
            stream = _JsonStream(file, name=name)
            if location.lower().endswith(_LINES):
                for value in stream.values():
                    yield _item(value, name), _base(value, location)
                return
            rest: dict[str, Any] = {}
            for key, value in stream.members(_STREAMED):
                if key == "features":
                    yield _item(value, name), _base(value, location)
                elif key == "links":
                    yield from self._link(value, location, following)
                else:
                    rest[key] = value
        if rest.get("type") == "Feature":
            yield rest, location
        elif rest.get("type") not in ("FeatureCollection", "Collection", "Catalog"):
            raise DataError(
                f"{name}: is no STAC item collection, collection, catalogue or item; give one of "
                "these"
            )

    def _link(
        self, link: object, location: str, following: list[str]
    ) -> Iterator[tuple[dict[str, Any], str]]:
        if not isinstance(link, dict) or not link.get("href"):
            return
        relation = link.get("rel")
        target = resolve(str(link["href"]), base=location)
        if relation == "next" and link.get("method", "GET") == "GET":
            following.append(target)
        elif relation == "item":
            # Not remembered: there may be millions, and items lead nowhere.
            yield from self._page(target, [])
        elif relation in _COLLECTIONS:
            yield from self.pages(target)


def _item(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, dict) or value.get("type") != "Feature":
        raise DataError(f"{name}: holds something that is no STAC item: {str(value)[:60]!r}")
    return value


def _base(item: dict[str, Any], location: str) -> str:
    """Give what the addresses of an item inside of a collection are relative to."""
    links = item.get("links")
    for link in links if isinstance(links, list) else ():
        if isinstance(link, dict) and link.get("rel") == "self":
            href = str(link.get("href"))
            if is_address(href):
                return href
    return location


def _only_data(assets: dict[str, Any]) -> str | None:
    if "visual" in assets:
        return "visual"
    data = [key for key, asset in assets.items() if "data" in (asset.get("roles") or ())]
    if len(data) == 1:
        return data[0]
    return next(iter(assets)) if len(assets) == 1 else None


class _JsonStream:
    """JSON that is decoded piece by piece, for files that do not fit into memory."""

    def __init__(self, file: IO[bytes], *, name: str) -> None:
        self._file = io.TextIOWrapper(file, encoding="utf-8-sig")
        self._name = name
        self._text = ""
        self._at = 0
        self._decoder = json.JSONDecoder()

    def values(self) -> Iterator[Any]:
        """Give the values of a file that has one after the other."""
        while self._next() != "":
            yield self._value()

    def members(self, streamed: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
        """Give the members of the object that the file holds.

        Args:
            streamed: Members that are arrays, of which every element is given by itself.
        """
        self._expect("{")
        if self._next() == "}":
            return
        while True:
            key = self._value()
            self._expect(":")
            if key in streamed and self._next() == "[":
                for value in self._elements():
                    yield key, value
            else:
                yield key, self._value()
            if self._expect(",}") == "}":
                return

    def _elements(self) -> Iterator[Any]:
        self._expect("[")
        if self._next() == "]":
            self._expect("]")
            return
        while True:
            yield self._value()
            if self._expect(",]") == "]":
                return

    def _value(self) -> Any:  # noqa: ANN401
        self._next()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if len(self._text) - self._at > _LONGEST or not self._read():
                    raise self._damaged(str(error)) from error
                continue
            except RecursionError as error:
                raise self._damaged("it is nested too deeply") from error
            # A number goes on in what was not read yet.
            if end == len(self._text) and self._read():
                continue
            self._at = end
            return value

    def _expect(self, marks: str) -> str:
        found = self._next()
        if found == "" or found not in marks:
            raise self._damaged(f"expected {' or '.join(marks)}, got {found or 'its end'}")
        self._at += 1
        return found

    def _next(self) -> str:
        """Skip blanks and give the next character without taking it, "" at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in " \t\r\n":
                self._at += 1
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._read():
                return ""

    def _read(self) -> bool:
        try:
            more = self._file.read(_CHUNK)
        except UnicodeDecodeError as error:
            raise self._damaged("it is no UTF-8 text") from error
        self._text = self._text[self._at :] + more
        self._at = 0
        return more != ""

    def _damaged(self, reason: str) -> DataError:
        return DataError(f"{self._name}: cannot be read as JSON ({reason}); write it again")
