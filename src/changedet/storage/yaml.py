"""YAML of plain types, from anyone: no key twice, nothing that grows, in bounded time."""

from pathlib import Path
from typing import Any, ClassVar, Final

import yaml

from changedet.errors import ChangeDetError

# Settings nest some five levels deep, and a manifest of 10,000 scenes has 100,000 parts.
_DEEPEST: Final = 64
_MOST_CHARACTERS: Final = 8_000_000
_MOST_PARTS: Final = 300_000
_LONGEST_NUMBER: Final = 64
_PREFIX: Final = "tag:yaml.org,2002:"
_PLAIN: Final = frozenset(
    f"{_PREFIX}{kind}" for kind in ("null", "bool", "float", "str", "seq", "map")
)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc] # by name
    """Makes plain types only: a date stays the text that it was written as."""

    # Nothing that is spoken of here is a date, and YAML's own, such as 2019-02-30, may be none.
    yaml_implicit_resolvers: ClassVar = {
        first: [(tag, pattern) for tag, pattern in rules if tag != f"{_PREFIX}timestamp"]
        for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    yaml_constructors: ClassVar = {
        tag: construct
        for tag, construct in yaml.SafeLoader.yaml_constructors.items()
        if tag is None or tag in _PLAIN
    }

    def construct_integer(self, node: Any) -> int:  # noqa: ANN401
        # Python reads a number of a million digits in minutes.
        if len(node.value) > _LONGEST_NUMBER:
            raise _fault(f"a number of {len(node.value)} characters is too long", node)
        number: int = self.construct_yaml_int(node)
        return number


_Loader.add_constructor(f"{_PREFIX}int", _Loader.construct_integer)


def parse_yaml(text: str) -> Any:  # noqa: ANN401
    """Read one YAML document of plain types: text, numbers, true, false, null, lists, mappings.

    Dates stay text. What aliases stand for counts as if it was written out.

    Raises:
        yaml.YAMLError: If it is none, a mapping has a key twice, or it is nested too deeply or too
            long.
    """
    if len(text) > _MOST_CHARACTERS:
        raise yaml.YAMLError(
            f"it has {len(text):,} characters, at most {_MOST_CHARACTERS:,} are read"
        )
    try:
        _check_nesting(text)
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            _Checker().measure(node)
            return None if node is None else loader.construct_document(node)
        finally:
            loader.dispose()
    # What values that are not of the kind that their tag says make PyYAML raise.
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
        raise yaml.YAMLError(f"a value cannot be read ({error})") from error


def yaml_tree(text: str, *, origin: str | Path, error: type[ChangeDetError]) -> Any:  # noqa: ANN401
    """Read one YAML document, see :func:`parse_yaml`, and say in one line what is wrong with it.

    Args:
        text: The document.
        origin: Where it comes from, for the message.
        error: What to raise.

    Raises:
        ChangeDetError: If it cannot be read, as ``error``.
    """
    try:
        return parse_yaml(text)
    except yaml.YAMLError as fault:
        raise error(f"{origin} is not valid YAML: {' '.join(str(fault).split())}") from fault


def _check_nesting(text: str) -> None:
    """Refuse what is nested deeply, part by part: the parser itself gets slower with depth."""
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=_Loader)):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _DEEPEST:
            raise _fault(f"nested more than {_DEEPEST} levels deep", event)
        if count > _MOST_PARTS:
            raise _fault(f"more than {_MOST_PARTS:,} keys and values", event)


class _Checker:
    """Looks at the document as it was written: constructing puts in what ``<<`` merges."""

    def __init__(self) -> None:
        self._parts: dict[int, int] = {}
        self._depths: dict[int, int] = {}
        self._open: set[int] = set()

    def measure(self, node: yaml.Node | None) -> None:
        """Refuse equal keys, what refers to itself, and what aliases make too long or too deep.

        Of two equal keys, which YAML forbids, PyYAML takes the last one. An alias stands behind
        what it refers to, so that this goes as deep as the text, not as its meaning.
        """
        if node is None or id(node) in self._parts:
            return
        if id(node) in self._open:
            raise _fault("a part that contains itself", node)
        self._open.add(id(node))
        inside: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            _refuse_equal_keys(node)
            inside = [part for entry in node.value for part in entry]
        elif isinstance(node, yaml.SequenceNode):
            inside = node.value
        for part in inside:
            self.measure(part)
        parts = 1 + sum(self._parts[id(part)] for part in inside)
        depth = 1 + max((self._depths[id(part)] for part in inside), default=0)
        if parts > _MOST_PARTS or depth > _DEEPEST:
            raise _fault("aliases that grow beyond all bounds", node)
        self._parts[id(node)], self._depths[id(node)] = parts, depth
        self._open.remove(id(node))


def _refuse_equal_keys(node: yaml.MappingNode) -> None:
    seen = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            continue
        name = (key.tag, key.value)
        if name in seen:
            raise _fault(f"the key {key.value[:80]!r} occurs twice; remove one", key)
        seen.add(name)


def _fault(problem: str, place: Any) -> yaml.YAMLError:  # noqa: ANN401 - of either parser
    return yaml.composer.ComposerError(problem=problem, problem_mark=place.start_mark)
