"""The terms that would become tokens, as the Train tab shows them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from studio.config import VocabularySettings
from studio.errors import DatasetError, ModelError
from studio.inspector import Inspector
from studio.workspace import Workspace
from tabs._terms import found_terms


@pytest.fixture
def page(workspace: Workspace) -> Iterator[Any]:
    inspector = Inspector(workspace)
    yield SimpleNamespace(workspace=workspace, inspector=inspector)
    inspector.close()


def test_the_table_and_what_it_would_save(page: Any, rows_file: Path) -> None:
    *_, html = found_terms(page, "tiny", str(rows_file), VocabularySettings(new_tokens=1, min_count=5))
    assert "1 term would save 240 of" in html  # ' number' is 7 tokens in each of 40 rows
    assert "<td>number</td><td>40</td><td>7</td><td>240</td>" in html


def test_no_term_is_an_answer_too(page: Any, rows_file: Path) -> None:
    *_, html = found_terms(page, "tiny", str(rows_file), VocabularySettings(min_count=1000))
    assert "occurs 1,000 times" in html


def test_what_is_not_there_is_said_in_a_sentence(page: Any, rows_file: Path) -> None:
    with pytest.raises(DatasetError, match="No data set is chosen"):
        list(found_terms(page, "tiny", "", VocabularySettings()))
    with pytest.raises(ModelError, match="not on this machine"):
        list(found_terms(page, "someone/else", str(rows_file), VocabularySettings()))
