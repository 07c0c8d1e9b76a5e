"""What every check keeps, whoever wrote it: a new file in studio/data/checks is tested by being there."""

import copy
import json

import pytest

from studio.data.checks import Check, checks, examine
from studio.data.formats import FORMATS
from studio.data.templates import Mapping

# One fault of each kind and some rows without any; row ids that are no positions.
PAIRS = [
    {"prompt": "What is the capital of France?", "completion": "The capital of France is Paris.", "label": "a"},
    {"prompt": "  ", "completion": None, "label": float("nan")},
    {"prompt": "", "completion": "An answer to nothing at all.", "label": "a"},
    {"prompt": "What is missing here?", "completion": "", "label": ""},
    {"prompt": "Which class?", "completion": "A text nobody has classified.", "label": float("nan")},
    {"prompt": "Short?", "completion": "a", "label": "a"},
    {"prompt": "Long?", "completion": "word " * 2000, "label": "a"},
    {"prompt": "Torn?", "completion": "one\n\n\n\n\n\ntwo", "label": "a"},
    {"prompt": "Say the same.", "completion": " say the SAME.\n", "label": "a"},
    {"prompt": "Wie geht es?", "completion": "Es geht mir heute ganz ausgezeichnet, vielen Dank auch.", "label": "b"},
    {"prompt": "Who?", "completion": "Write to bob@example.org or +49 30 1234567, she knows.", "label": "a"},
    {"prompt": "What?", "completion": "A cafÃ© and a\u200b zero width space.", "label": "a"},
    {"prompt": "What is the capital of France?", "completion": "The capital of France is Paris.", "label": "a"},
    {"prompt": "what is the capital  of france?", "completion": "The capital of France is Paris.", "label": "a"},
    *(
        {"prompt": f"Question {n}?", "completion": f"This is the answer to number {n}.", "label": "a"}
        for n in range(30)
    ),
]


def turns(row, who, says, names):
    spoken = [(names[0], row["prompt"] or ""), (names[1], row["completion"] or "")]
    return [{who: name, says: text} for name, text in spoken]


def data(key):
    """The same rows in each format."""
    if key == "messages":
        rows = [{"messages": turns(row, "role", "content", ("user", "assistant"))} for row in PAIRS]
        return [*rows, {"messages": json.dumps(rows[10]["messages"])}], Mapping(key, {"messages": "messages"})
    if key == "conversations":
        rows = [{"conversations": turns(row, "from", "value", ("human", "gpt"))} for row in PAIRS]
        return rows, Mapping(key, {"conversations": "conversations"})
    texts = {"instruction": "prompt", "prompt": "prompt", "text": "completion", "label": "label"}
    wanted = {role.name: texts.get(role.name, "completion") for role in FORMATS[key].roles if role.required}
    rows = [{f"its {role}": row[column] for role, column in wanted.items()} | {"id": 7} for row in PAIRS]
    return rows, Mapping(key, {role: f"its {role}" for role in wanted})


CASES = [(name, key) for name in checks() for key in FORMATS]


def found(check, rows, mapping):
    findings = examine([(10 * place, row) for place, row in enumerate(rows)], mapping, [check])
    return findings[0].hits if findings else []


@pytest.mark.parametrize("name", checks())
def test_it_says_what_it_is(name):
    check = checks()[name]()
    assert check.title
    assert check.about.endswith(".")
    assert check.severity in ("error", "warning", "hint")
    assert isinstance(check.remedy, str)


@pytest.mark.parametrize("name", checks())
def test_it_finds_something(name):
    assert any(found(checks()[name](), *data(key)) for key in FORMATS if checks()[name]().applies(data(key)[1]))


@pytest.mark.parametrize(("name", "key"), CASES)
def test_hits_are_rows_in_order_and_say_why(name, key):
    rows, mapping = data(key)
    before = copy.deepcopy(rows)
    hits = found(checks()[name](), rows, mapping)
    ids = [hit.row_id for hit in hits]
    assert ids == sorted(ids)
    assert set(ids) <= set(range(0, 10 * len(rows), 10))
    assert all(hit.why for hit in hits)
    assert repr(rows) == repr(before)


@pytest.mark.parametrize(("name", "key"), CASES)
def test_what_is_mended_is_found_no_more(name, key):
    check = checks()[name]()
    rows, mapping = data(key)
    before = copy.deepcopy(rows)
    hits = found(check, rows, mapping)
    for hit in reversed(hits):
        place = hit.row_id // 10
        mended = check.fix(rows[place], mapping, hit.row_id)
        assert repr(rows[place]) == repr(before[place])
        rows[place : place + 1] = [] if mended is None else [mended]
    if check.remedy:
        assert found(check, rows, mapping) == []
    else:
        assert repr(rows) == repr(before)


@pytest.mark.parametrize(("name", "key"), CASES)
def test_no_rows_have_no_faults(name, key):
    assert found(checks()[name](), [], data(key)[1]) == []


@pytest.mark.parametrize(("name", "key"), CASES)
def test_rows_without_their_columns_and_with_strange_cells_are_survived(name, key):
    _, mapping = data(key)
    strange = [None, 3, 2.5, float("nan"), True, b"\xff", [], {}, [1, None], {"a": [{}]}, "[", "[{}]", "\ud800"]
    rows = [{column: cell for column in mapping.columns.values()} for cell in strange]
    check: Check = checks()[name]()
    hits = found(check, [{}, *rows], mapping)
    for hit in hits:
        check.fix([{}, *rows][hit.row_id // 10], mapping, hit.row_id)


def test_errors_stand_first():
    rows, mapping = data("prompt_completion")
    severities = [finding.severity for finding in examine(list(enumerate(rows)), mapping)]
    assert set(severities) == {"error", "warning", "hint"}
    assert severities == sorted(severities, key=["error", "warning", "hint"].index)


def test_one_pass_and_a_word_now_and_then():
    told = []
    rows = ((place, {"text": f"This is row {place}."}) for place in range(2500))  # can be read once only
    mapping = Mapping("text", {"text": "text"})
    assert {finding.check for finding in examine(rows, mapping, progress=told.append)} <= {"near_duplicate"}
    assert told == [1000, 2000]
    with pytest.raises(KeyboardInterrupt):
        examine(((place, {"text": "a"}) for place in range(1000)), mapping, progress=_cancel)


def _cancel(seen):
    raise KeyboardInterrupt
