"""YAML by others: what it may come to is bounded before anything is made of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

_MOST_CHARACTERS, _MOST_NODES = 1 << 20, 100_000  # of a text; aliases may make much of little


def nodes_of(text: str, loader: Any = yaml.SafeLoader) -> list[yaml.Node]:
    """All nodes of a text, its root first, as often as aliases name them; none where it is blank.

    Raises ValueError where it is too large or has no end, RecursionError where it is nested too deeply, and YAMLError.
    """
    if len(text) > _MOST_CHARACTERS:
        raise ValueError("it is too large")
    return list(_nodes(yaml.compose(text, Loader=loader)))


def _nodes(root: yaml.Node | None) -> Iterator[yaml.Node]:
    left, count = [root] if root else [], 0
    while left:
        node = left.pop()
        yield node
        if (count := count + 1) > _MOST_NODES:
            raise ValueError("it holds too much")
        if isinstance(node, yaml.MappingNode):
            left += [each for pair in node.value for each in pair]
        elif isinstance(node, yaml.SequenceNode):
            left += node.value
