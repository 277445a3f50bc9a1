"""YAML in which no key stands twice."""

from collections.abc import Hashable
from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    """Refuses what YAML forbids and PyYAML lets through: of two equal keys the last one wins."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002
        seen = set()
        for key, _ in node.value:
            name = (key.tag, key.value) if isinstance(key, yaml.ScalarNode) else None
            if name is not None and name in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"the key {key.value!r} is there twice; remove one",
                    problem_mark=key.start_mark,
                )
            seen.add(name)
        return super().construct_mapping(node, deep=deep)


def parse_yaml(text: str) -> Any:  # noqa: ANN401
    """Read one YAML document of plain types.

    Raises:
        yaml.YAMLError: If it is none, or a mapping has a key twice.
    """
    return yaml.load(text, Loader=_Loader)
