"""The page in the language of whoever reads it: English, and each language that has a table in assets/languages.

A text is written once, in English, where it is used; that text is its key. What Gradio draws, `gr.I18n` translates in
browser; what the studio's own HTML and scripts show, assets/language.js does, from the same table.
"""

from __future__ import annotations

import functools
import html
import json
import re
from collections.abc import Iterable
from typing import Any

import gradio as gr
from gradio.blocks import Block
from gradio.i18n import I18nData

from tabs._live import ASSETS

LANGUAGES = ASSETS / "languages"
_TEXT = re.compile(r">([^<>]+)<")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_SOURCE = re.compile(r"(.*\S) (\[[^\[\]]+\])", re.DOTALL)  # a help text and the paper behind it, which has one name


def _keys() -> frozenset[str]:
    return frozenset(key for table in tables().values() for key in table)


_known = functools.cache(_keys)


def named(names: Iterable[str]) -> list[tuple[str, str]]:
    """Choices that are called what somebody called them.

    Gradio's page looks up every choice, so a column called 'Answer' would be shown in another language; with a sign at
    its end that nobody sees it is no text of ours.
    """
    return [(f"{name}\N{WORD JOINER}" if name in _known() else name, name) for name in names]


@functools.cache  # whoever stands at a door asks for a page in one of them
def tables() -> dict[str, dict[str, str]]:
    """Language, as BCP 47 names it → English text → its translation."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(LANGUAGES.glob("*.json"))}


def asked(accept_language: str) -> str:
    """The language that a browser wants most (RFC 9110, 12.5.4) of English and those with a table."""
    wanted: list[tuple[float, str]] = []
    for each in accept_language.split(","):
        tag, _, weight = each.partition(";")
        weight = weight.strip().removeprefix("q=")
        wanted.append(
            (float(weight) if re.fullmatch(r"[01](\.\d{0,3})?", weight) else 1.0, tag.strip()[:3].split("-")[0])
        )
    known = {"en", *tables()}
    return next((tag for weight, tag in sorted(wanted, key=lambda each: -each[0]) if tag in known and weight), "en")


def in_language(page: str, language: str) -> str:
    """A page without scripts, each text between two tags in that language where its table has it."""
    table = tables().get(language)
    if table is None:
        return page

    def one(found: re.Match[str]) -> str:
        text = html.unescape(found[1].strip())
        numbers = iter(_NUMBER.findall(text))
        said = table.get(text) or re.sub("#", lambda _: next(numbers), table.get(_NUMBER.sub("#", text), "")) or text
        return f">{html.escape(said)}<" if said != text else found[0]

    return _TEXT.sub(one, page).replace('<html lang="en">', f'<html lang="{language}">')


def spoken(page: gr.Blocks) -> gr.I18n:
    """What translates the page; each of its texts that a table knows is marked as such from now on."""
    keys = _keys()
    for block in page.blocks.values():
        for name in texts(block):
            setattr(block, name, _marked(getattr(block, name), keys))
        if isinstance(block, (gr.Dropdown, gr.Radio, gr.CheckboxGroup)):
            block.choices = [(_marked(shown, keys), value) for shown, value in block.choices]
    return gr.I18n(**tables())


def texts(block: Block) -> list[str]:
    """The properties of a component that hold a text which Gradio shows, beside its choices."""
    names = ["label", "info", "placeholder"]
    if isinstance(block, (gr.Button, gr.Markdown)):
        names.append("value")
    return [name for name in names if isinstance(getattr(block, name, None), str) and getattr(block, name)]


def key_of(text: str) -> str:
    """What a table calls a text: a help text goes by what it says before its source."""
    found = _SOURCE.fullmatch(text)
    return found[1] if found else text


def _marked(text: Any, keys: frozenset[str]) -> Any:
    if not isinstance(text, str):
        return text
    for key in (text, key_of(text)):
        if key in keys:
            return _mark(key) + text[len(key) :]
    return text


def _mark(key: str) -> str:
    """As Gradio's page reads it; to that, a brace within the key would be the mark's end."""
    mark = str(I18nData(key))
    start, end = len("__i18n__{"), -1
    return mark[:start] + mark[start:end].replace("}", "\\u007d") + mark[end:]
