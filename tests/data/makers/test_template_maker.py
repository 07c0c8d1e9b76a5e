"""A template fills in cells and nothing else."""

from collections import Counter

import pytest

from studio.data.makers.template import Template, fill
from studio.errors import DatasetError

ROWS = [{"text": "A long story", "n": 3}, {"text": "with {n} in it", "n": None}]


def made(maker, rows=ROWS, progress=lambda *_: None):
    return list(maker.make(rows, None, progress))


def test_every_row_gets_the_new_column_and_keeps_its_own():
    done = []
    result = made(Template(), progress=lambda *each: done.append(each))
    assert [one.row for one in result] == [
        {**ROWS[0], "prompt": "Summarise: A long story"},
        {**ROWS[1], "prompt": "Summarise: with {n} in it"},  # braces of a cell are not filled in turn
    ]
    assert [(one.origin, one.kind) for one in result] == [(0, "changed"), (1, "changed")]
    assert done == [(1, 2), (2, 2)]
    assert "prompt" not in ROWS[0]


def test_numbers_and_missing_cells_are_written_as_a_model_reads_them():
    assert fill("{text}/{n}", {"text": "a", "n": 3}) == "a/3"
    assert fill("{text}/{n}", {"text": "a", "n": None}) == "a/"


def test_doubled_braces_stay():
    assert fill('{{"a": 1}} {text}', {"text": "b"}) == '{"a": 1} b'


@pytest.mark.parametrize("template", ["{text.__class__}", "{text[0]}", "{text!r}", "{text:>10}", "{0}", "{nothing}"])
def test_only_names_of_columns_are_filled(template):
    with pytest.raises(DatasetError, match="no column"):
        made(Template(template=template))


def test_a_column_that_is_there_is_not_overwritten():
    with pytest.raises(DatasetError, match="'text' already"):
        made(Template(column="text"))


def test_a_stream_without_a_length_is_read_once():
    result = Template().make((row for row in ROWS), None, lambda *_: None, Counter())
    assert next(result).row["prompt"] == "Summarise: A long story"
    assert len(list(result)) == 1


def test_no_rows_make_no_rows():
    assert made(Template(), rows=[]) == []
