"""Checks that need to see all rows."""

import random

from studio.data.checks import checks, examine
from studio.data.language import language
from studio.data.templates import Mapping

TEXT = Mapping("text", {"text": "body"})
LABELLED = Mapping("labelled", {"text": "t", "label": "l"})
WORDS = [f"word{number}" for number in range(500)]


def hits(name, rows, mapping, **settings):
    found = examine([(place + 100, row) for place, row in enumerate(rows)], mapping, [checks()[name](**settings)])
    return [(hit.row_id, hit.why) for finding in found for hit in finding.hits]


def test_only_later_copies_are_hits():
    rows = [{"body": text, "id": place} for place, text in enumerate(["a b", "c", "a b", "A  b", "", "", "a b"])]
    assert hits("duplicate", rows, TEXT) == [(102, "the same as row 101"), (106, "the same as row 101")]
    assert hits("near_duplicate", rows, TEXT) == [(103, "like row 101 (100 %)")]


def test_near_copies_by_likeness():
    base = random.Random(1).choices(WORDS, k=100)
    near, far = [*base[:50], "new", *base[51:]], [word if place % 9 else "new" for place, word in enumerate(base)]
    rows = [{"body": " ".join(words)} for words in (base, far, near)]
    assert hits("near_duplicate", rows, TEXT) == [(102, "like row 101 (94 %)")]
    assert hits("near_duplicate", rows, TEXT, threshold=0.95) == []


def test_languages_by_column():
    english, german = "This is a plain sentence in English, nothing more.", "Das ist ein schlichter Satz auf Deutsch."
    pair = Mapping("prompt_completion", {"prompt": "q", "completion": "a"})
    rows = [{"q": english, "a": german}] * 3 + [{"q": english, "a": english}, {"q": "ok", "a": "def f(x): return x[0]"}]
    assert hits("language", rows, pair) == [(103, "'a' looks like en, not de")]
    assert [row_id for row_id, _ in hits("language", rows, pair, expected="de")] == [100, 101, 102, 103]


def test_short_texts_names_and_code_have_no_language():
    assert language("Das ist ein schlichter Satz auf Deutsch.") == "de"
    for text in [
        "Hallo Welt",
        "Marie Curie, Albert Einstein, Isaac Newton",
        "for (int i = 0; i < n; i++) { sum += a[i]; }",
    ]:
        assert language(text) is None


def test_uneven_labels():
    rows = [{"t": f"text {n}", "l": "ham"} for n in range(95)] + [{"t": f"t {n}", "l": 3} for n in range(4)]
    assert hits("class_balance", rows, LABELLED) == [
        (100, "'l' is 'ham' in 95 of 99 rows (96.0 %)"),
        (195, "'l' is '3' in 4 of 99 rows (4.0 %)"),
    ]
    assert hits("class_balance", rows[90:], LABELLED) == []


def test_words_are_counted_whole():
    rows = [{"body": "Then he said: the man, He."}, {"body": "Women and a girl. Hermes."}]
    assert hits("word_lists", rows, TEXT) == [(100, "male: 3 times in 1 rows"), (101, "female: 2 times in 1 rows")]
    assert hits("word_lists", rows, TEXT, groups="gods: hermes, zeus") == [(101, "gods: 1 times in 1 rows")]
    assert not checks()["word_lists"].default
