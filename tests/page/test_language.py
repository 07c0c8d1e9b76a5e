"""Every text of the page in every language it offers."""

from __future__ import annotations

import ast
import html
import itertools
import json
import re
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from studio.data.checks import checks
from studio.exports import exports
from studio.methods import methods
from studio.objectives import objectives
from studio.workspace import Workspace
from tabs import _language
from tabs.app import make_app

ROOT = Path(__file__).resolve().parents[2]
# What no language has a word of its own for: names, formulas, values that are typed as they stand.
_WORD = re.compile(r"[^\W\d_]{2,}")
_GAP = re.compile(r"(?<!#)#(?!#)|\{\d*\}")  # what is filled in


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> gr.Blocks:
    app: Any = make_app(Workspace(tmp_path_factory.mktemp("workspace")), keep_warm=False)
    return next(each.app.get_blocks() for each in app.routes if hasattr(getattr(each, "app", None), "get_blocks"))


class Same(dict[str, str]):
    """English."""

    def __missing__(self, key: str) -> str:
        return key


def shown(text: str, table: dict[str, str]) -> str:
    """As Gradio's page shows a text in the language of `table`: a mark ends with its first closing brace."""
    start = text.find("__i18n__")
    if start < 0:
        return text
    end = text.index("}", start) + 1
    return text[:start] + table[json.loads(text[start + len("__i18n__") : end])["key"]] + text[end:]


@pytest.mark.parametrize("language", sorted(_language.tables()))
def test_every_label_help_text_button_and_tab_has_a_translation(page: gr.Blocks, language: str) -> None:
    table = _language.tables()[language]
    drawn = {getattr(block, name) for block in page.blocks.values() for name in _language.texts(block)}
    assert len(drawn) > 500
    unmarked = {text for text in drawn if "__i18n__" not in text and _WORD.search(text)}
    assert unmarked == set(), "add them to assets/languages"
    assert all(shown(text, table) for text in drawn)  # and each mark is read back to a text of this language


@pytest.mark.parametrize("language", sorted(_language.tables()))
@pytest.mark.parametrize("catalog", [methods, objectives, exports, checks], ids=lambda each: each.__name__)
def test_what_can_be_chosen_from_a_catalog_has_a_translation(language: str, catalog: Any) -> None:
    table = _language.tables()[language]
    for cls in catalog().values():
        assert cls.title in table or f"{cls.title}: {cls.about}" in table


@pytest.mark.parametrize("language", sorted(_language.tables()))
def test_a_translation_keeps_numbers_markup_and_names(language: str) -> None:
    for key, said in _language.tables()[language].items():
        assert said.strip() == said != ""
        assert sorted(re.findall(r"</?\w+", said)) == sorted(re.findall(r"</?\w+", key)), key
        assert len(_GAP.findall(said)) == len(_GAP.findall(key)), key
        assert numbers(said) == numbers(key), key


def numbers(text: str) -> list[str]:
    return sorted(re.sub(r"[.,]", "", each) for each in re.findall(r"\d+(?:[.,]\d+)*", _GAP.sub("", text)))


def test_a_help_text_that_ends_with_its_source_or_holds_a_brace_is_marked_whole() -> None:
    with gr.Blocks() as page:
        field = gr.Textbox(label="Case {a} or {b}", info="Says this. [Somebody 2021, arXiv:1]", value="Case {a} or {b}")
        unknown = gr.Button("Not in the table")
    tables = {"xx": {"Case {a} or {b}": "Fall {a} oder {b}", "Says this.": "Sagt das."}}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(_language, "tables", lambda: tables)
        assert _language.spoken(page).translations == tables
    assert shown(str(field.label), tables["xx"]) == "Fall {a} oder {b}"
    assert shown(str(field.info), tables["xx"]) == "Sagt das. [Somebody 2021, arXiv:1]"
    assert field.value == "Case {a} or {b}", "what people type is theirs"
    assert unknown.value == "Not in the table"


@pytest.fixture(scope="module")
def source() -> set[tuple[str, ...]]:
    """Whatever two words stand behind one another in what code, scripts and their data say."""
    code = [path for folder in ("studio", "tabs") for path in (ROOT / folder).rglob("*.py")]
    said = [
        each.value
        for path in code
        for each in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(each, ast.Constant) and isinstance(each.value, str)
    ]
    drawn = [path for path in _language.ASSETS.rglob("*") if path.suffix in (".js", ".html", ".yaml", ".json")]
    said += [path.read_text(encoding="utf-8") for path in drawn if path.parent != _language.LANGUAGES]
    return set(pairs(" ".join(said)))


def pairs(text: str) -> list[tuple[str, ...]]:
    words = re.findall(r"\w+", html.unescape(text))
    return list(itertools.pairwise(words))


@pytest.mark.parametrize("language", sorted(_language.tables()))
def test_a_table_holds_nothing_that_is_said_no_more(page: gr.Blocks, source: set[Any], language: str) -> None:
    """By its words: sentences are put together of pieces, so not all neighbours are neighbours in the code."""
    texts = [getattr(block, name) for block in page.blocks.values() for name in _language.texts(block)]
    choices = [name for block in page.blocks.values() for name, _ in getattr(block, "choices", None) or ()]
    drawn = {_language.key_of(shown(text, Same())) for text in [*texts, *choices] if isinstance(text, str)}
    words = {word for pair in source for word in pair}
    gone = []
    for key in _language.tables()[language]:
        found = [pair for part in _GAP.split(key) for pair in pairs(part)]
        known = sum(pair in source for pair in found) >= len(found) / 3
        if key not in drawn and not (known if len(found) > 3 else all(set(pair) <= words for pair in found)):
            gone.append(key)
    assert gone == []


def test_tables_are_plain_files_in_one_order() -> None:
    for path in Path(_language.LANGUAGES).iterdir():
        assert path.suffix == ".json"
        assert re.fullmatch(r"[a-z]{2,3}", path.stem)
        pairs = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=list)
        assert len({key for key, _ in pairs}) == len(pairs), "a text stands twice"


@pytest.mark.parametrize(
    ("header", "language"),
    [
        *(("", "en"), ("de", "de"), ("de-AT,de;q=0.9,en;q=0.8", "de"), ("en-US,en;q=0.9,de;q=0.8", "en")),
        *(("fr,de;q=0.5", "de"), ("en;q=0.2,de;q=0.9", "de"), ("de;q=0,fr", "en"), ("*", "en"), ("d;;,=,", "en")),
    ],
)
def test_a_page_without_scripts_comes_in_the_language_that_is_wanted_most(header: str, language: str) -> None:
    assert _language.asked(header) == language


def test_of_a_page_without_scripts_every_text_is_translated_and_stays_text() -> None:
    tables = {"xx": {"Say <b> in # letters.": "<b> in # Zeichen.", "Said.": "Gesagt.", "Name": "<i>"}}
    page = (
        '<html lang="en"><p>Say &lt;b&gt; in 1,000 letters.</p> <b>Said.</b><input value="Said."><i>&lt;Said.</i>\n'
        "<u> Name</u>"
    )
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(_language, "tables", lambda: tables)
        assert _language.in_language(page, "xx") == (
            '<html lang="xx"><p>&lt;b&gt; in 1,000 Zeichen.</p> <b>Gesagt.</b><input value="Said."><i>&lt;Said.</i>\n'
            "<u>&lt;i&gt;</u>"
        )
        assert _language.in_language(page, "en") == page


@pytest.mark.parametrize("language", sorted(_language.tables()))
def test_the_door_and_the_presenters_page_are_translated_whole(language: str) -> None:
    for name in ("door", "presenter"):
        page = re.sub(r"(?s)<(style|script)>.*?</\1>|<!--.*?-->", "", (_language.ASSETS / f"{name}.html").read_text())
        texts = {text.strip() for text in re.findall(r">([^<>]+)<", page) if _WORD.search(text)}
        assert len(texts) >= 5
        assert texts - _language.tables()[language].keys() == set()
