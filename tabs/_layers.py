"""The model's layers as a tree with their sizes, from which adapted layers are picked."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

from studio.errors import ConfigError
from studio.methods import Method
from studio.methods._layers import ALL_LINEAR, names_for
from studio.models.structure import Structure

Trie = dict[str, Any]  # part of a name → what is in it, or a weight's shape as a tuple

NOT_HERE = "The layers of this model are shown once it is on this machine: its first run fetches it."
NO_PICKING = "This method does not work layer by layer, so there is nothing to pick."


@dataclass
class Node:
    """A part of the model. Repeated blocks that are alike are one node."""

    path: str  # from the root, blocks as '0-29'; unlike for each node
    name: str
    times: int = 1  # blocks it stands for
    size: int = 0  # weights in all of them
    shape: tuple[int, ...] = ()  # of a layer's main weight
    layers: dict[str, list[str]] = field(default_factory=dict)  # block ('' outside of blocks) → layers one may pick
    kids: list[Node] = field(default_factory=list)
    in_blocks: bool = False  # a part of each of several blocks, or they themselves

    def all(self) -> Iterator[Node]:
        """Itself and whatever is under it."""
        yield self
        for kid in self.kids:
            yield from kid.all()

    def names(self, block: str | None = None) -> list[str]:
        """The layers under it that one may pick; of one block or of all."""
        return [name for each, names in self.layers.items() if block in (None, each) for name in names]


def tree(structure: Structure, pickable: Collection[str]) -> Node:
    """The whole model. `pickable` are the full names of the layers that may be picked."""
    trie: Trie = {}
    for name, shape in structure.weights.items():
        *parents, last = name.split(".")
        here: Any = trie
        for part in parents:
            here = here.setdefault(part, {})
            if not isinstance(here, dict):
                break  # the scales of a quantised weight, whose names begin with the weight's
        else:
            here[last] = shape
    return _grow("", "", [("", "", trie)], frozenset(pickable))


def _grow(path: str, name: str, members: list[tuple[str, str, Trie]], pickable: Collection[str]) -> Node:
    """A node of parts that are alike, each as (outermost block, full name, what is in it)."""
    first = members[0][2]
    own = {key: shape for key, shape in first.items() if isinstance(shape, tuple)}
    node = Node(path, name, size=len(members) * sum(map(prod, own.values())), in_blocks=len(members) > 1)
    if own:
        node.shape = own.get("weight") or next(iter(own.values()))
    for block, full, _ in members:
        if full in pickable:
            node.layers.setdefault(block, []).append(full)
    for keys in _groups(first):
        label = keys[0] if len(keys) == 1 else f"{keys[0]}-{keys[-1]}"
        inner = [
            (block or (key if key.isdigit() else ""), f"{full}.{key}".lstrip("."), part[key])
            for block, full, part in members
            for key in keys
        ]
        kid = _grow(f"{path}.{label}".lstrip("."), label, inner, pickable)  # pyright: ignore[reportArgumentType]
        kid.times = len(keys)
        node.kids.append(kid)
        node.size += kid.size
        for block, names in kid.layers.items():
            node.layers.setdefault(block, []).extend(names)
    return node


def _groups(part: Trie) -> list[list[str]]:
    """The parts' names in their order; neighbouring numbers whose parts have the same shapes together."""
    groups: list[list[str]] = []
    last: Any = None
    inner = [key for key, value in part.items() if isinstance(value, dict)]
    for key in sorted(inner, key=lambda key: (key.isdigit(), int(key) if key.isdigit() else 0)):
        alike = _shapes(part[key]) if key.isdigit() else None
        if groups and alike is not None and alike == last:
            groups[-1].append(key)
        else:
            groups.append([key])
        last = alike
    return groups


def _shapes(part: Trie | tuple[int, ...]) -> Any:
    return part if isinstance(part, tuple) else frozenset((key, _shapes(value)) for key, value in part.items())


def shown(structure: Structure | None, method: Method, answers: int = 0) -> dict[str, Any]:
    """What assets/layers.js draws: the tree, and which layers the method's settings mean now.

    `answers` is the number of the click this is the answer to; 0: of none.
    """
    if method.picks not in type(method).model_fields:
        return {"nothing": NO_PICKING}
    if structure is None:
        return {"nothing": NOT_HERE}
    matched, fixed = _matched(structure, method)
    root = tree(structure, method.pickable(structure))
    layers = root.names()
    return {
        "about": f"{len(matched & set(layers)):,} of {len(layers):,} layers are chosen.",
        "answers": answers,
        "root": _plain(root, root.size, matched, fixed),
    }


def _plain(node: Node, total: int, matched: set[str], fixed: set[str]) -> dict[str, Any]:
    name = node.name
    while len(node.kids) == 1 and not node.shape:  # 'layers' and in it '0-29': one line says both
        node = node.kids[0]
        name = f"{name} {node.name}" if name else ""
    return {
        "part": node.path,
        "name": name or "The whole model",
        "times": node.times,
        "shape": " × ".join(f"{side:,}" for side in node.shape),
        "size": short(node.size),
        "share": f"{node.size / total:.1%}",
        "state": _state(node.names(), matched),
        "fixed": fixed.issuperset(node.names()),
        "blocks": [
            [block, _state(names, matched), fixed.issuperset(names)]
            for block, names in node.layers.items()
            if node.in_blocks
        ],
        "kids": [_plain(kid, total, matched, fixed) for kid in node.kids],
    }


def _state(names: list[str], matched: Collection[str]) -> str:
    """'' where nothing can be picked, else 'all', 'some' or 'none'."""
    on = sum(name in matched for name in names)
    return "" if not names else "none" if not on else "all" if on == len(names) else "some"


def picked(structure: Structure | None, method: Method, told: Mapping[str, Any]) -> tuple[str | None, dict[str, Any]]:
    """(text for the setting that names layers, the tree as it then is) after what assets/layers.js told."""
    answers = int(told.get("answers", 0))
    if structure is None or method.picks not in type(method).model_fields:  # changed meanwhile
        return None, {**shown(structure, method), "answers": answers}
    if isinstance(before := told.get("text"), str):  # newer than what the form holds
        method = method.model_copy(update={method.picks: before})
    text = toggled(structure, method, told.get("clicks", ()))
    drawn = shown(structure, method.model_copy(update={method.picks: text}), answers)
    return text, {**drawn, "text": text}


def toggled(structure: Structure, method: Method, clicks: Iterable[Mapping[str, Any]]) -> str:
    """The text of the setting that names layers after clicks such as {part, block, on}; block None: all."""
    pickable = method.pickable(structure)
    nodes = {node.path: node for node in tree(structure, pickable).all()}
    matched, fixed = _matched(structure, method)
    wanted = matched - fixed
    for click in clicks:
        if node := nodes.get(str(click.get("part"))):
            names = set(node.names(click.get("block")))
            wanted = wanted | names if click.get("on") else wanted - names
    everything = type(method).model_fields[method.picks].default == ALL_LINEAR and wanted == set(pickable)
    return ALL_LINEAR if everything else names_for(wanted, pickable)


def _matched(structure: Structure, method: Method) -> tuple[set[str], set[str]]:
    """(layers the settings mean, those of them that its other settings mean already)."""

    def layers(settings: Method) -> set[str]:
        try:
            found = settings.matched(structure)
        except ConfigError:  # said in the verdict; here nothing is ticked
            return set()
        return {name if name not in structure.weights else name.rpartition(".")[0] for name in found}

    return layers(method), layers(method.model_copy(update={method.picks: ""}))


def short(count: int) -> str:
    """134,515,008 → '134.5 M', on one line."""
    for unit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= unit:
            return f"{count / unit:.1f}\N{NO-BREAK SPACE}{letter}"
    return str(count)
