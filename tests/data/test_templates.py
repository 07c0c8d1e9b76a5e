import json
from pathlib import Path

import pytest

from studio.data.dataset import Dataset
from studio.data.files import read
from studio.data.templates import FORMATS, Mapping, as_text, check, detect, to_messages, to_pair, to_text
from studio.errors import DatasetError

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the real data files stand beside the checkout")
TURNS = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"}]
SHAREGPT = [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "yo"}]


def dataset(*rows):
    return Dataset("a.json", tuple(dict.fromkeys(key for row in rows for key in row)), list(rows), [])


@pytest.mark.parametrize(
    ("row", "wanted"),
    [
        (
            {"instruction": "a", "input": "b", "output": "c", "text": "d"},
            Mapping("instruction", {"instruction": "instruction", "input": "input", "output": "output"}),
        ),
        ({"Question": "a", "Answer": "b"}, Mapping("instruction", {"instruction": "Question", "output": "Answer"})),
        (
            {"id": 1, "query": "a", "response": "b", "System Prompt": "c"},
            Mapping("instruction", {"instruction": "query", "output": "response", "system": "System Prompt"}),
        ),
        ({"Prompt": "a", "reply": "b"}, Mapping("prompt_completion", {"prompt": "Prompt", "completion": "reply"})),
        ({"input": "a", "target": "b"}, Mapping("prompt_completion", {"prompt": "input", "completion": "target"})),
        ({"text": "a", "label": 1}, Mapping("labelled", {"text": "text", "label": "label"})),
        ({"text": "a"}, Mapping("text", {"text": "text"})),
        ({"messages": TURNS}, Mapping("messages", {"messages": "messages"})),
        ({"conversations": TURNS}, Mapping("messages", {"messages": "conversations"})),
        ({"conversations": SHAREGPT}, Mapping("conversations", {"conversations": "conversations"})),
        ({"messages": json.dumps(TURNS)}, Mapping("messages", {"messages": "messages"})),
    ],
)  # fmt: skip
def test_columns_are_recognised(row, wanted):
    assert detect(dataset(row)) == wanted
    check(wanted, dataset(row))


def test_unknown_columns_are_listed():
    with pytest.raises(DatasetError) as caught:
        detect(dataset({"foo": "a", "bar": "b"}))
    assert "'foo', 'bar'" in caught.value.problem
    assert "'Columns' in the Dataset tab" in caught.value.remedy


@needs_shared
def test_real_files():
    alpaca = read(SHARED / "alpaca_en_demo.json")
    mapping = detect(alpaca)
    assert mapping.format == "instruction"
    assert len(alpaca.rows) == 999
    assert sum(to_messages(row, mapping) is not None for row in alpaca.rows) > 990


@needs_shared
def test_real_preference_pairs():
    pairs = read(SHARED / "dpo_en_demo.json")
    mapping = detect(pairs)
    assert mapping == Mapping("preference", {"prompt": "conversations", "chosen": "chosen", "rejected": "rejected"})
    assert sum(to_pair(row, mapping) is not None for row in pairs.rows) > 290


@pytest.mark.parametrize(
    ("mapping", "says"),
    [
        (Mapping("dance", {}), "'dance' is not a format"),
        (Mapping("instruction", {"instruction": "q"}), "No column of a.json is chosen as 'Answer'"),
        (Mapping("instruction", {"instruction": "q", "output": "b"}), "no column 'b'; it has 'q', 'a'"),
        (Mapping("instruction", {"instruction": "q", "output": "q"}), "chosen for two parts"),
        (Mapping("text", {"text": "q", "answer": "a"}), "no part called 'answer'"),
        (Mapping("messages", {"messages": "q"}), "holds no lists"),
    ],
)
def test_mappings_that_cannot_be_used(mapping, says):
    with pytest.raises(DatasetError) as caught:
        check(mapping, dataset({"q": "why", "a": "so"}))
    assert says in caught.value.problem


def test_an_instruction_row():
    mapping = Mapping("instruction", {"instruction": "i", "input": "x", "output": "o", "system": "s"})
    assert to_messages({"i": "Do", "x": "this", "o": "done", "s": "Be brief"}, mapping) == [
        {"role": "system", "content": "Be brief"},
        {"role": "user", "content": "Do\n\nthis"},
        {"role": "assistant", "content": "done"},
    ]
    assert to_messages({"i": "Do", "x": None, "o": 3, "s": " "}, mapping) == [
        {"role": "user", "content": "Do"},
        {"role": "assistant", "content": "3"},
    ]


@pytest.mark.parametrize("row", [{"p": "a", "c": " \n"}, {"p": "a", "c": None}, {"p": "a"}, {"p": "", "c": "b"}, {}])
def test_rows_with_nothing_to_learn(row):
    assert to_messages(row, Mapping("prompt_completion", {"prompt": "p", "completion": "c"})) is None


def test_a_conversation_is_kept_whole_up_to_its_last_answer():
    cell = [
        {"from": "system", "value": "s"},
        *SHAREGPT,
        {"from": "Human", "value": "2"},
        {"from": "chatgpt", "value": "3"},
    ]
    mapping = Mapping("conversations", {"conversations": "c"})
    messages = to_messages({"c": [*cell, {"from": "human", "value": "bye"}]}, mapping)
    assert messages is not None
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "user", "assistant"]
    assert messages[-1]["content"] == "3"


@pytest.mark.parametrize(
    "cell",
    [
        None, "hello", "[broken", [], [TURNS[0]], [TURNS[1]], ["hi"], [*TURNS, {"role": "tool", "content": "x"}],
        [TURNS[0], {"role": "assistant", "content": ""}], [TURNS[0], {"role": "assistant"}], 7,
    ],
)  # fmt: skip
def test_conversations_with_nothing_to_learn(cell):
    assert to_messages({"m": cell}, Mapping("messages", {"messages": "m"})) is None


def test_content_in_parts_and_conversations_as_json_text():
    parts = [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, TURNS[1]]
    mapping = Mapping("messages", {"messages": "m"})
    wanted = [{"role": "user", "content": "ab"}, TURNS[1]]
    assert to_messages({"m": parts}, mapping) == wanted
    assert to_messages({"m": json.dumps(parts)}, mapping) == wanted


def test_plain_text_rows():
    mapping = Mapping("text", {"text": "t"})
    assert to_messages({"t": "hello"}, mapping) == []
    assert to_text({"t": "hello"}, mapping) == "hello"
    assert to_text({"t": None}, mapping) == ""


def test_cells_become_text():
    cells = ["é", None, 3, 2.5, float("nan"), True, {"a": "ü"}, [1, None], b"x"]
    assert [as_text(cell) for cell in cells] == ["é", "", "3", "2.5", "", "true", '{"a": "ü"}', "[1, null]", "x"]


def test_a_mapping_survives_json_and_drops_empty_choices():
    mapping = Mapping("instruction", {"instruction": "q", "output": "a"})
    assert Mapping.parse(json.loads(json.dumps(mapping.plain()))) == mapping
    assert Mapping.parse({"format": "text", "columns": {"text": "t", "x": None, "y": ""}}).columns == {"text": "t"}
    for wrong in (None, [], {"format": 1, "columns": {}}, {"format": "text"}):
        with pytest.raises(DatasetError):
            Mapping.parse(wrong)


def test_every_format_says_what_it_needs():
    for spec in FORMATS.values():
        assert spec.label
        assert spec.help.endswith(".")
        assert any(role.required for role in spec.roles)
