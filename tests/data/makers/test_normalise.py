"""Rules change what they are for, leave citations alone, and are done after one pass."""

import json
import random

import pytest

from studio.data.makers.normalise import Normalise, Rules, normalise, parse_terms
from studio.errors import DatasetError

TERMS = {
    "pt": "patient",
    "b.i.d.": "twice daily",
    "BP": "blood pressure (BP)",
    "h/o": "history of",
    "MS": "multiple sclerosis",
    "a": "an b",
    "b": "c",
    "sec": "second",
}
RULES = Rules(TERMS, keep=("MS Contin", "metformin"))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("5mg b.i.d.\n6mg b.i.d.\nstop", "5 mg twice daily\n6 mg twice daily\nstop"),
        ("pt h/o MS, ptosis", "patient history of multiple sclerosis, ptosis"),
        ("Pt well.", "Patient well."),
        ("PT well, ms later", "PT well, ms later"),  # case counts
        ("x.pt stays", "x.pt stays"),
        ("5mg b.i.d. with food", "5 mg twice daily with food"),
        ("5mg b.i.d.", "5 mg twice daily."),  # the full stop that ended the sentence
        ("BP high", "blood pressure (BP) high"),
        ("blood pressure (BP) high", "blood pressure (BP) high"),
        ("MS Contin 15mg", "MS Contin 15 mg"),
        ("1,000.5mcg and 0,5ml but 5G, 3.mg, v2.5g", "1,000.5 mcg and 0,5 ml but 5G, 3.mg, v2.5g"),
        ("“Yes”, it’s ‘so’", "\"Yes\", it's 'so'"),
        ("two  \t words\u00a0here \n\n\n\n next ", "two words here\n\nnext"),
        ("mail pt@example.com or https://example.com/pt?a=5mg", "mail pt@example.com or https://example.com/pt?a=5mg"),
    ],
)
def test_rules(text, wanted):
    assert normalise(text, RULES) == wanted


@pytest.mark.parametrize(
    "citation",
    [
        "§ 12(3)(b)",
        "§§ 305g",
        "§  12  (3)",
        "Art. 5 No. 2",
        "Article 6(1)(f)",
        "Section 12.3(a)",
        "42 U.S.C. § 1983",
        "17 C.F.R. § 240.10b-5",
        "410 U.S. 113",
        "Clause 4g",
    ],
)
def test_citations_stay_as_they_are(citation):
    assert normalise(f"see  {citation}, 5mg", RULES) == f"see {citation}, 5 mg"


def test_each_rule_can_be_switched_off():
    text = "“5mg”  a\tpt"
    assert normalise(text, Rules({}, doses=False, quotes=False, spaces=False)) == text


def test_twice_changes_nothing_more():
    rng = random.Random(7)
    words = [
        *TERMS,
        *TERMS.values(),
        "5mg",
        "5 mg",
        "§ 12(3)",
        "Art.",
        "No.",
        "“",
        "”",
        "’s",
        "\n",
        "\n\n\n",
        "  ",
        "\t",
    ]
    words += [
        ".",
        ",",
        "(",
        ")",
        "5",
        "mg",
        "metformin",
        "MS Contin",
        "42 U.S.C.",
        "§",
        "Pt",
        "a@example.com",
        "\u00a0",
    ]
    for _ in range(3000):
        text = "".join(rng.choice(words) + rng.choice(["", " ", " "]) for _ in range(rng.randrange(1, 14)))
        once = normalise(text, RULES)
        assert normalise(once, RULES) == once, text


def test_long_texts_of_the_worst_kind_end():
    for piece in ("1", " ", "a.", "§ ", "1 A.B.", "(", "www.", "a@", "5mg ", "No. 1 ", "\n "):
        text = normalise(piece * 20_000, RULES)
        assert normalise(text, RULES) == text


def test_only_changed_rows_are_made_and_other_cells_kept():
    rows = [{"text": "5mg", "n": 1}, {"text": "fine", "n": 2}, {"text": None, "n": 3}, {"other": "6mg"}]
    result = list(Normalise().make(rows, None, lambda *_: None))
    assert [(one.row, one.origin, one.kind) for one in result] == [
        ({"text": "5 mg", "n": 1}, 0, "changed"),
        ({"other": "6 mg"}, 3, "changed"),
    ]
    chosen = Normalise(columns=" text ,n")
    assert [one.origin for one in chosen.make(rows, None, lambda *_: None)] == [0]
    with pytest.raises(DatasetError, match="no column 'body'"):
        list(Normalise(columns="body").make(rows, None, lambda *_: None))


def test_terms_come_as_lines_or_json():
    lines = "# notes\n b.i.d. = twice  daily \n\npt=patient"
    pairs = {"b.i.d.": "twice daily", "pt": "patient"}
    assert parse_terms(lines) == (pairs, [])
    assert parse_terms(json.dumps(pairs)) == (pairs, [])
    assert parse_terms(json.dumps({"abbreviations": pairs, "drugs": ["metformin"]})) == (pairs, ["metformin"])
    assert Normalise(abbreviations=lines, keep="aspirin, pt").rules().keep == ("aspirin", "pt")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("pt = patient\nbad line", "Line 2"),
        ("= nothing", "Line 1"),
        ("{broken", "not JSON"),
        ("{" + '"a":{' * 50_000, "not JSON"),
        ('{"pt": 5}', "'pt'"),
        ('{"": "x"}', "''"),
        ('{"abbreviations": [1]}', "no set of pairs"),
    ],
)
def test_lists_that_cannot_be_read_are_named(text, problem):
    with pytest.raises(DatasetError, match=problem):
        Normalise(abbreviations=text).rules()


def test_words_that_look_like_patterns_are_words():
    assert normalise("c++ (.*) x", Rules({"c++": "C plus plus", "(.*)": "anything"})) == "C plus plus anything x"
