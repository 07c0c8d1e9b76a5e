import json

import pytest

from studio.data.json_values import TooLong, Values, said


def test_values_may_be_cut_anywhere():
    text = '{"a": "x\\ud83d\\ude00y", "b": [true, null, -1.5e-3]}\n 123456 \n"end"'
    wanted = [{"a": "x😀y", "b": [True, None, -1.5e-3]}, 123456, "end"]
    for size in range(1, len(text) + 1):
        values = Values(text[start : start + size] for start in range(0, len(text), size))
        found = []
        while values.peek():
            found.append(values.take()[0])
        assert found == wanted, size


def test_the_line_is_known_whatever_was_let_go():
    values = Values(iter(['{"a":\n1}\n', "\n7\n", '{"a" 1}\n']))
    assert values.peek() == "{"
    assert values.take() == ({"a": 1}, '{"a":\n1}')
    assert values.peek() == "7"
    assert values.line_here() == 4
    values.take()
    assert values.peek() == "{"
    with pytest.raises(json.JSONDecodeError) as caught:
        values.take()
    assert said(caught.value, values.line) == "expecting ':' delimiter at line 5, column 6"


def test_looking_ahead_moves_nothing():
    values = Values(iter([' {"a": ', "1}", " \n", " 2"]))
    values.peek()
    assert values.look(100) == ({"a": 1}, '{"a": 1}', " \n 2")
    assert "".join(values.rest()) == '{"a": 1} \n 2'


def test_a_value_without_an_end_is_not_read_to_the_end():
    chunks = iter(['{"a": "' + "x" * 50] + ["x" * 50] * 100)
    values = Values(chunks)
    values.peek()
    with pytest.raises(TooLong):
        values.take(200)
    assert len(list(chunks)) > 80
