"""The glossary: terms with a source each, and every setting that there is, from what its class says of it."""

from __future__ import annotations

import re

from studio.glossary import settings, terms
from studio.methods import ARXIV
from studio.reference import sections
from studio.settings import facts


def test_there_are_many_terms_and_no_two_of_a_name() -> None:
    names = [each.name.lower() for each in terms()]
    assert len(names) >= 60
    assert len(names) == len(set(names))
    assert names == sorted(names)


def test_a_term_is_said_in_a_sentence_or_two_with_its_source() -> None:
    for term in terms():
        assert term.text.endswith("."), term
        assert 1 <= len(re.findall(r"[.:] [A-Z]|\.$", term.text)) <= 3, term
        assert len(term.text) < 260, term
        cited = ARXIV if "arXiv" in term.source else re.compile(r"\d{4}|documentation|specification")
        assert cited.search(term.source), term


def test_every_field_of_every_group_is_there_with_its_own_help() -> None:
    told = {(each.name, each.text) for each in settings()}
    for section in sections():
        for fact in facts(section.settings):
            assert any(name == fact.label and text.startswith(fact.help) for name, text in told), fact.name


def test_a_setting_without_a_source_has_that_of_its_group() -> None:
    rank = next(each for each in settings() if each.where.startswith("method lora_scratch: r"))
    assert rank.source == "Hu et al. 2021, arXiv:2106.09685"
    critic = next(each for each in settings() if each.where.startswith("objective ppo: value_learning_rate"))
    assert critic.source == "Schulman et al. 2017, arXiv:1707.06347"


def test_one_that_many_groups_share_is_listed_once_and_says_so() -> None:
    dropped = [each for each in settings() if each.where.startswith("method lora: lora_dropout")]
    assert len(dropped) == 1
    assert re.search(r" and \d+ more$", dropped[0].where)
    assert len(settings()) == len({(each.name, each.text, each.source) for each in settings()})
