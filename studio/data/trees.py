"""OpenAssistant's message trees → conversations: one question, several answers each, ranked by people."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import chain
from math import inf
from typing import Any, TypeGuard

from studio.data.turns import SPEAKERS, as_text

Node = dict[str, Any]  # a message: its text, role, rank ...
Replies = Callable[[Node], list[Node]]
Tree = tuple[dict[str, Any], Node, Replies]  # what is known of it, its first message, the replies to each

_FLAT = {"message_id", "parent_id", "role", "text"}  # a message a row
_NESTED = {"message_tree_id", "prompt"}  # a tree a row: the prompt holds its replies, those theirs


def is_tree(columns: Collection[str]) -> bool:
    """Whether these are the columns of message trees, in either of their two shapes."""
    return set(columns) >= _FLAT or set(columns) >= _NESTED


def conversations(
    rows: Iterable[dict[str, Any]], *, every_path: bool = False, dropped: Counter[str] | None = None
) -> Iterator[dict[str, Any]]:
    """Rows with `messages`, `lang` and `message_tree_id`: each tree's best-ranked path, or with `every_path` all.

    A path ends with an answer. Rank 0 is the best; a message without a rank comes behind those with one.
    `dropped` counts the messages left out: "deleted", "empty" (or by nobody we know), "twice", and
    "no parent" where what they reply to is not there or was left out.
    Nested trees are read one by one; messages in rows of their own must all be held in memory.
    """
    dropped = Counter() if dropped is None else dropped
    remaining = iter(rows)
    first = next(remaining, {})
    read = _nested if isinstance(first.get("prompt"), dict) else _flat
    for about, root, replies in read(chain([first] if first else [], remaining), dropped):
        for path in _paths(root, replies, every_path):
            yield {"messages": [{"role": _role(node), "content": as_text(node["text"])} for node in path], **about}


def _nested(rows: Iterable[dict[str, Any]], dropped: Counter[str]) -> Iterator[Tree]:
    for row in rows:
        root = row.get("prompt")
        if _usable(root, dropped):
            yield _about({**root, **row}), root, _nested_replies(root, dropped)


def _nested_replies(root: Node, dropped: Counter[str]) -> Replies:
    """Looked through once, so that each message left out is counted once."""
    kept: dict[int, list[Node]] = {}
    stack = [root]
    while stack:
        node = stack.pop()
        found = node.get("replies")
        kept[id(node)] = [reply for reply in found if _usable(reply, dropped)] if isinstance(found, list) else []
        stack += kept[id(node)]
    return lambda node: kept[id(node)]


def _flat(rows: Iterable[dict[str, Any]], dropped: Counter[str]) -> Iterator[Tree]:
    nodes: dict[str, Node] = {}
    for row in rows:
        name = as_text(row.get("message_id"))
        if name in nodes:
            dropped["twice"] += 1
        elif _usable(row, dropped):
            nodes[name] = row
    by_parent: dict[str, list[Node]] = defaultdict(list)
    for node in nodes.values():
        by_parent[as_text(node.get("parent_id"))].append(node)
    roots = by_parent.pop("", [])  # the first message of a tree has no parent

    def replies(node: Node) -> list[Node]:
        return by_parent.get(as_text(node.get("message_id")), [])

    dropped["no parent"] += len(nodes) - sum(1 for root in roots for _ in _all(root, replies))
    return ((_about(root), root, replies) for root in roots)


def _about(values: dict[str, Any]) -> dict[str, Any]:
    return {"lang": values.get("lang"), "message_tree_id": values.get("message_tree_id")}


def _paths(root: Node, replies: Replies, every_path: bool) -> Iterator[list[Node]]:
    """Paths from the root to an answer behind which no other answer comes; the best-ranked alone unless all."""

    def onward(node: Node) -> list[Node]:
        """Replies in turn, best first; a question nobody answered leads nowhere."""
        turn = [reply for reply in sorted(replies(node), key=_rank) if _role(reply) != _role(node)]
        return [reply for reply in turn if _role(reply) == "assistant" or any(map(_is_answer, replies(reply)))]

    stack: list[list[Node]] = [[root]]
    while stack:
        path = stack.pop()
        further = onward(path[-1])
        if not further and _is_answer(path[-1]):
            yield path
        stack += [[*path, reply] for reply in reversed(further if every_path else further[:1])]


def _all(root: Node, replies: Replies) -> Iterator[Node]:
    stack = [root]
    while stack:
        node = stack.pop()
        yield node
        stack += replies(node)


def _usable(node: Any, dropped: Counter[str]) -> TypeGuard[Node]:
    if not isinstance(node, dict) or _role(node) not in ("user", "assistant") or not as_text(node.get("text")).strip():
        dropped["empty"] += 1
        return False
    if node.get("deleted") in (True, 1, "true", "True", "1"):
        dropped["deleted"] += 1
        return False
    return True


def _is_answer(node: Node) -> bool:
    return _role(node) == "assistant"


def _role(node: Node) -> str:
    return SPEAKERS.get(as_text(node.get("role")).lower(), "")


def _rank(node: Node) -> float:
    """0 is the best; tables hold ranks as numbers, text or not at all."""
    try:
        rank = float(node["rank"])
    except (KeyError, TypeError, ValueError):
        return inf
    return rank if rank == rank else inf
