"""What holds for every maker there is."""

import pytest

from studio.data.makers import makers
from studio.settings import facts

MAKERS = makers()


def test_the_folder_is_the_catalog():
    assert {"code_instructions", "drafts", "normalise", "template"} <= set(MAKERS)
    assert [name for name, maker in MAKERS.items() if maker.needs_model] == ["drafts"]


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_every_setting_has_a_default_and_help(name):
    maker = MAKERS[name]()
    assert maker.title
    assert maker.about.endswith(".")
    assert all(fact.help.endswith(".") for fact in facts(MAKERS[name]))


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_rows_are_left_as_they_are_and_reported(name):
    rows = [{"text": 'def f():\n    """Say it."""\n    return “5mg”'.replace("“5mg”", "'5mg'"), "output": ""}]
    before, done = [dict(row) for row in rows], []
    result = list(MAKERS[name]().make(rows, lambda _: "Another text.", lambda *each: done.append(each)))
    assert result
    assert rows == before
    assert done[-1] == (1, 1)
    assert all(one.origin == 0 for one in result)
