"""Message trees with OpenAssistant's columns: which path is taken, and what is left out."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from studio.data.templates import Mapping, to_messages
from studio.data.trees import conversations, is_tree


def message(name: str, parent: str | None, role: str, rank: Any = None, **more: Any) -> dict[str, Any]:
    return {
        "message_id": name, "parent_id": parent, "message_tree_id": "q", "role": role, "text": name, "lang": "en",
        "rank": rank, "deleted": False, **more,
    }  # fmt: skip


# q ─ worse ─ thanks            (unanswered)
#   ├ best  ─ more ─ last
#   │       └ other ─ end
#   └ unranked
ROWS = [
    message("q", None, "prompter"),
    message("worse", "q", "assistant", 1.0),
    message("best", "q", "assistant", 0.0),
    message("unranked", "q", "assistant", float("nan")),
    message("thanks", "worse", "prompter"),
    message("more", "best", "prompter"),
    message("other", "best", "prompter"),
    message("last", "more", "assistant"),
    message("end", "other", "assistant"),
]


def nested(rows: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """The same tree with its replies inside."""
    node = next(row for row in rows if row["message_id"] == name)
    return {**node, "replies": [nested(rows, row["message_id"]) for row in rows if row["parent_id"] == name]}


def paths(rows: list[dict[str, Any]], **options: Any) -> list[list[str]]:
    return [[turn["content"] for turn in row["messages"]] for row in conversations(rows, **options)]


@pytest.fixture(params=["flat", "flat, replies first", "nested"])
def rows(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    shapes = {
        "flat": ROWS,
        "flat, replies first": ROWS[::-1],
        "nested": [{"message_tree_id": "q", "tree_state": "ready_for_export", "prompt": nested(ROWS, "q")}],
    }
    return shapes[request.param]


def test_the_best_ranked_path_is_a_conversation(rows: list[dict[str, Any]]) -> None:
    [row] = conversations(rows)
    assert row["lang"] == "en"
    assert row["message_tree_id"] == "q"
    assert [turn["role"] for turn in row["messages"]] == ["user", "assistant", "user", "assistant"]
    assert [turn["content"] for turn in row["messages"]][:2] == ["q", "best"]
    assert to_messages(row, Mapping("messages", {"messages": "messages"})) == row["messages"]


def test_every_path_ends_with_an_answer(rows: list[dict[str, Any]]) -> None:
    found = sorted(paths(rows, every_path=True))
    assert found == [["q", "best", "more", "last"], ["q", "best", "other", "end"], ["q", "unranked"], ["q", "worse"]]


def test_replies_of_one_rank_keep_their_order() -> None:
    assert paths(ROWS) == [["q", "best", "more", "last"]]


def test_trees_may_stand_in_one_file_mixed_up() -> None:
    second = [message("r", None, "prompter", lang="de"), message("s", "r", "assistant", 0)]
    mixed = [row for both in zip(ROWS, [*second, *[None] * len(ROWS)], strict=False) for row in both if row]
    found = list(conversations(mixed))
    assert [row["lang"] for row in found] == ["en", "de"]
    assert [turn["content"] for turn in found[1]["messages"]] == ["r", "s"]


def test_what_cannot_be_used_is_dropped_and_counted() -> None:
    dropped: Counter[str] = Counter()
    rows = [
        message("q", None, "prompter"),
        message("gone", "q", "assistant", 0, deleted=True),
        message("of gone", "gone", "prompter"),
        message("blank", "q", "assistant", 1, text=" "),
        message("who", "q", "narrator", 1),
        message("kept", "q", "assistant", 2),
        message("kept", "kept", "prompter"),
        message("lost", "nowhere", "assistant", 0),
        message("self", "self", "assistant", 0),
    ]
    assert paths(rows, dropped=dropped) == [["q", "kept"]]
    assert dropped == {"deleted": 1, "empty": 2, "twice": 1, "no parent": 3}


def test_deleted_replies_of_nested_trees_are_counted_once() -> None:
    dropped: Counter[str] = Counter()
    rows = [{**row, "deleted": row["message_id"] == "best"} for row in ROWS]
    trees = [{"message_tree_id": "q", "prompt": nested(rows, "q")}, {"message_tree_id": "r", "prompt": {}}]
    assert paths(trees, every_path=True, dropped=dropped) == [["q", "worse"], ["q", "unranked"]]
    assert dropped == {"deleted": 1, "empty": 1}


def test_nested_trees_are_read_one_by_one() -> None:
    def endless():
        while True:
            yield {"message_tree_id": "q", "prompt": nested(ROWS, "q")}

    found = conversations(endless())
    assert next(found) == next(found)


def test_questions_without_answers_and_files_without_rows_give_nothing() -> None:
    assert paths([]) == []
    assert paths([message("q", None, "prompter"), message("again", "q", "prompter")]) == []


def test_very_deep_trees() -> None:
    deep = [message("0", None, "prompter")]
    deep += [message(str(n), str(n - 1), "assistant" if n % 2 else "prompter") for n in range(1, 3000)]
    assert len(paths(deep)[0]) == 3000


def test_trees_are_told_by_their_columns() -> None:
    assert is_tree(tuple(ROWS[0]))
    assert is_tree(["message_tree_id", "tree_state", "prompt"])
    assert not is_tree(["message_id", "text"])
    assert not is_tree(["prompt", "chosen", "rejected"])
