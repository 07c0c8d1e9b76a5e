import random
from itertools import combinations

import pytest

from studio.data.duplicates import bands, clusters, copies, similarity
from studio.data.shingles import shingles

RANDOM = random.Random(7)
VOCABULARY = ["".join(RANDOM.choices("abcdefghij", k=5)) for _ in range(3000)]


def text(words=80):
    return " ".join(RANDOM.choices(VOCABULARY, k=words))


def changed(original, times):
    words = original.split()
    for place in RANDOM.sample(range(len(words)), times):
        words[place] = "changed"
    return " ".join(words)


def triples(text):
    words = text.lower().split()
    return set(zip(words, words[1:], words[2:], strict=False)) or {tuple(words)}


def alike(one, other):
    return len(triples(one) & triples(other)) / len(triples(one) | triples(other))


def test_shingles_are_the_word_triples():
    texts = ["a b c d e", "", "a", "one two", "A  b\tC d\ne", "b a c", "x y z x y z", " "]
    known = shingles(texts)
    assert known.lengths.tolist() == [3, 0, 1, 1, 3, 1, 4, 0]
    assert known[0] == known[4]
    assert len(known[6]) == 3
    for (i, one), (j, other) in combinations([(i, one) for i, one in enumerate(texts) if one.strip()], 2):
        assert similarity(known[i], known[j]) == pytest.approx(alike(one, other))


def test_similarity_is_that_of_the_words_across_chunks():
    """Texts of all lengths, beyond one chunk's characters, against Python's own sets."""
    texts = [text(RANDOM.randint(1, 400)) for _ in range(400)] + [text(120_000)]
    texts += [changed(each, min(3, len(each.split()))) for each in texts]
    known = shingles(texts)
    for index in range(len(texts) // 2):
        twin = index + len(texts) // 2
        assert similarity(known[index], known[twin]) == pytest.approx(alike(texts[index], texts[twin]))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Straße über ÄPFEL", "straße ÜBER äpfel"),
        ("no\u00a0break space", "no break space"),
        ("今日は天気がいいです", "今日は 天気が いいです"),
    ],
)
def test_case_and_spacing_do_not_count(one, other):
    assert clusters([one, "something else entirely", other]) == [[0, 2]]


def test_scripts_without_spaces_are_compared_by_letter():
    one = "今日は天気がとてもいいですから公園まで散歩に行きましょう"
    assert clusters([one, one.replace("散歩に", "散歩へ"), "これは全く関係のない別の文章です"], 0.7) == [[0, 1]]


def test_a_lone_surrogate_is_text_too():
    assert clusters(["broken \ud800 text", "broken \ud800 text"]) == [[0, 1]]


def test_planted_copies_are_found_and_nothing_else():
    texts = [text() for _ in range(600)]
    for index in range(0, 200, 2):
        texts[index + 1] = changed(texts[index], 2)
    wanted = [[index, index + 1] for index in range(0, 200, 2) if alike(texts[index], texts[index + 1]) >= 0.85]
    assert len(wanted) > 60
    assert clusters(texts) == wanted


def test_the_threshold_decides():
    base = text(100)
    texts = [base, changed(base, 1), changed(base, 8)]
    assert 0.5 < alike(base, texts[2]) < 0.8 < alike(base, texts[1]) < 0.95
    assert clusters(texts, 0.5) == [[0, 1, 2]]
    assert clusters(texts, 0.8) == [[0, 1]]
    assert clusters(texts, 0.95) == []


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.85, 0.95])
def test_few_pairs_at_the_threshold_are_missed(threshold):
    count, width = bands(threshold)
    assert (1 - threshold**width) ** count <= 0.001


def test_blank_texts_are_no_copies_of_each_other():
    assert clusters(["", " ", "\n"]) == []
    assert clusters([]) == []


def test_many_copies_of_one_text_are_one_group():
    assert clusters(["the very same text", "another text of its own"] * 20_000) == [
        list(range(0, 40_000, 2)),
        list(range(1, 40_000, 2)),
    ]


def test_a_crowd_of_like_texts_is_one_group():
    base = text(90)
    assert clusters([f"{base} {word}" for word in VOCABULARY[:300]]) == [list(range(300))]


def test_what_goes_is_like_a_text_that_stays():
    base = text(100)
    chain = [base]
    for _ in range(6):
        chain.append(changed(chain[-1], 3))
    found = copies(chain, 0.8)
    assert clusters(chain, 0.8) == [list(range(7))]
    gone = {copy.index for copy in found}
    assert 0 < len(gone) < 6
    for copy in found:
        assert copy.of < copy.index
        assert copy.of not in gone
        assert copy.similarity == pytest.approx(alike(chain[copy.index], chain[copy.of]))
        assert copy.similarity >= 0.8


def test_a_short_text_is_itself_whatever_follows():
    assert clusters(["one two", "x y z", "one two", "p q r", "one", "a b c", "one"]) == [[0, 2], [4, 6]]
