"""Checks of what stands in one row."""

import pytest

from studio.data.checks import checks
from studio.data.templates import Mapping
from studio.errors import ConfigError

TEXT = Mapping("text", {"text": "body"})
PAIR = Mapping("prompt_completion", {"prompt": "q", "completion": "a"})
MESSAGES = Mapping("messages", {"messages": "m"})
PREFERENCE = Mapping("preference", {"prompt": "p", "chosen": "c", "rejected": "r"})


def check(name, **settings):
    return checks()[name](**settings)


@pytest.mark.parametrize(
    ("name", "row", "why"),
    [
        ("empty_row", {"q": " \n", "a": None}, "nothing is written in it"),
        ("empty_row", {"q": "", "a": 0}, None),
        ("empty_prompt", {"q": " ", "a": "b"}, "nothing in 'q'"),
        ("empty_prompt", {"q": "", "a": ""}, None),
        ("empty_answer", {"q": "b", "a": " "}, "nothing in 'a'"),
        ("empty_answer", {"q": "b", "a": "c"}, None),
        ("echo", {"q": "Say  it", "a": "say it"}, "'a' is what was asked"),
        ("echo", {"q": "Say it", "a": "it"}, None),
        ("too_short", {"q": "b", "a": " ab "}, "2 characters in 'a'"),
        ("too_short", {"q": "b", "a": "abc"}, None),
        ("too_long", {"q": "b" * 5000, "a": "c" * 3000}, "8,001 characters"),
        ("line_breaks", {"q": "b", "a": "c\n\n\n\nd"}, "3 blank lines in a row in 'a'"),
        ("line_breaks", {"q": "b", "a": "c\n\n\nd"}, None),
        ("whitespace", {"q": "b ", "a": "c"}, "around 'q'"),
        ("whitespace", {"q": "b", "a": "    if c:\n        d"}, None),
    ],
)
def test_single_rows(name, row, why):
    assert check(name).why(row, PAIR) == why


def test_a_pair_without_a_preference():
    assert check("equal_pair").why({"p": "a", "c": "b  c", "r": "b c"}, PREFERENCE) == "'c' and 'r' are the same"
    assert check("equal_pair").why({"p": "a", "c": "b", "r": "c"}, PREFERENCE) is None
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    assert check("equal_pair").why({"c": turns, "r": list(turns)}, PREFERENCE)
    assert not check("equal_pair").applies(PAIR)


def test_what_is_asked_may_stand_in_the_answers():
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    assert check("empty_prompt").why({"p": "", "c": turns, "r": "b"}, PREFERENCE) is None
    assert check("empty_prompt").why({"p": "", "c": "a", "r": "b"}, PREFERENCE) == "nothing in 'p'"


@pytest.mark.parametrize(
    ("speakers", "says"),
    [
        ("user assistant", None),
        ("system user assistant user assistant", None),
        ("user user assistant", "turn 2 is a second 'user' turn in a row"),
        ("user assistant system user assistant", "turn 3 is a system prompt"),
        ("user wizard", "unknown role 'wizard'"),
    ],
)
def test_turns(speakers, says):
    row = {"m": [{"role": speaker, "content": "hm"} for speaker in speakers.split()]}
    why = check("turns").why(row, MESSAGES)
    assert why is None if says is None else says in why


@pytest.mark.parametrize(
    ("broken", "mended"),
    [
        ("cafÃ©, Ã¼ber, Ã€", "café, über, À"),
        ("itâ€™s 5Â\xa0â‚¬ â€“ ðŸ˜€", "it’s 5\xa0€ – 😀"),
        ("a\x00b\u200bc\ufeffd\x1be", "abcde"),
        ("Ã‰tÃ©", "Été"),
    ],
)
def test_broken_characters_are_mended(broken, mended):
    assert check("characters").why({"body": broken}, TEXT)
    assert check("characters").fix({"body": broken}, TEXT, 0) == {"body": mended}


@pytest.mark.parametrize(
    "text",
    [
        "café über Ã",
        "„DAS MENÜ“",
        "voilà\xa0» dit-il",
        "IRMÃ”",
        "a\tb\nc",
        "👩\u200d💻",
        "می\u200cخواهم",
        "Â la carte",
        "5 €",
    ],
)
def test_good_characters_are_left_alone(text):
    assert check("characters").why({"body": text}, TEXT) is None


def test_indentation_of_code_survives():
    row = {"body": "\n  \n    if a:\n        b\n\n"}
    assert check("whitespace").fix(row, TEXT, 0) == {"body": "    if a:\n        b"}


@pytest.mark.parametrize("label", ["", None, float("nan"), "NaN", " "])
def test_labels_that_are_none(label):
    mapping = Mapping("labelled", {"text": "t", "label": "l"})
    assert check("missing_label").why({"t": "a", "l": label}, mapping) == "no label in 'l'"
    assert check("missing_label").why({"t": "a", "l": 0}, mapping) is None
    assert check("missing_label").why({"t": "a", "l": False}, mapping) is None


def test_thresholds_have_bounds():
    for name, values in [("near_duplicate", {"threshold": 0.4}), ("too_short", {"characters": 0})]:
        with pytest.raises(ConfigError):
            checks()[name].parse(values)
    with pytest.raises(ConfigError, match="names no words"):
        checks()["word_lists"].parse({"groups": "female"})
