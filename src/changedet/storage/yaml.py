"""YAML in which no key stands twice."""

from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    """Refuses what YAML forbids and PyYAML lets through: of two equal keys the last one wins."""

    # Looked at as it was written: constructing puts in what `<<` merges, which may be overridden.
    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:  # noqa: ANN401
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            name = (key.tag, key.value)
            if name in seen:
                raise yaml.composer.ComposerError(
                    problem=f"the key {key.value!r} occurs twice; remove one",
                    problem_mark=key.start_mark,
                )
            seen.add(name)
        return node


def parse_yaml(text: str) -> Any:  # noqa: ANN401
    """Read one YAML document of plain types.

    Raises:
        yaml.YAMLError: If it is none, or a mapping has a key twice.
    """
    return yaml.load(text, Loader=_Loader)
