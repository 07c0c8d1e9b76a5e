"""What answers and texts are measured by, held against others' numbers, and what tells a difference from chance."""

from __future__ import annotations

import copy
import json
import math
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from studio.errors import ModelError
from studio.evaluation.labels import averaged, class_report, confusion
from studio.evaluation.likelihood import read_texts, windows
from studio.evaluation.measures import Measure, likely, measures
from studio.evaluation.paired import change, holm, interval, whole
from studio.models.tiny import tiny_model, tiny_tokenizer


def test_a_running_text_is_as_likely_as_lm_eval_says() -> None:
    known = json.loads((Path(__file__).parent / "rolling_likelihoods.json").read_text(encoding="utf-8"))
    found = read_texts(tiny_model(), tiny_tokenizer(), known["texts"], most=known["window"])
    assert [tokens for _, tokens in found] == known["tokens"]
    assert max(known["tokens"]) > 3 * known["window"]
    for (nats, tokens), expected in zip(found, known["log_likelihoods"], strict=True):
        assert math.exp(nats / tokens) == pytest.approx(math.exp(-expected / tokens), rel=1e-5)


def test_each_token_is_predicted_once_behind_what_stands_before_it() -> None:
    for count in (1, 4, 5, 8, 11):
        ids = list(range(count))
        found = list(windows(ids, -1, 4))
        assert [each for _, predicted in found for each in predicted] == ids
        for read, predicted in found:
            assert len(read) <= 4
            assert [-1, *ids][ids.index(predicted[0]) + 1 - (len(read) - len(predicted) + 1) :][: len(read)] == read
    assert list(windows([], -1, 4)) == []


def test_a_text_needs_a_token_that_it_stands_behind() -> None:
    tokenizer = copy.deepcopy(tiny_tokenizer())
    tokenizer.bos_token = tokenizer.eos_token = None
    with pytest.raises(ModelError, match="no token that begins or ends a text"):
        read_texts(tiny_model(), tokenizer, ["So it goes."])


def test_bleu_and_chrf_are_sacrebleu_s_with_its_signature() -> None:
    right = ["the cat sat on the mat today", "two dogs ran over the wet grass", "it rains in the north of France"]
    said = ["the cat sat on a mat today", "two dogs ran on the grass again", ""]
    by_key = {each.key: each for each in measures("prose", right)}
    for key, theirs in (("bleu", BLEU()), ("chrf", CHRF())):
        assert whole(_stats(by_key[key], right, said), by_key[key].score) == pytest.approx(
            theirs.corpus_score(said, [right]).score
        )
        assert by_key[key].signature == str(theirs.get_signature())
        low, high = interval(_stats(by_key[key], right, said), by_key[key].score)
        assert low < high


def _stats(measure: Measure, right: list[str], said: list[str]) -> np.ndarray:
    assert measure.stats
    return measure.stats(right, said)


def test_label_measures_are_those_of_the_confusion_matrix() -> None:
    dice = np.random.default_rng(0)
    names = ["a", "b", "c"]
    right = [names[each] for each in dice.integers(0, 3, 60)]
    said = [names[each] for each in dice.integers(0, 3, 60)]
    places = [[names.index(each) for each in side] for side in (right, said)]
    expected = averaged(places[0], places[1], class_report(confusion(places[0], places[1], 3)))
    for measure in measures("labels", right):
        assert whole(_stats(measure, right, said), measure.score) == pytest.approx(expected[measure.key])
    several = measures("labels", ['["a", "b"]', '["b"]', '["c"]'], ";")
    found = {
        each.key: whole(_stats(each, ['["a", "b"]', '["b"]', '["c"]'], ["b; a", "c", "[]"]), each.score)
        for each in several
    }
    assert found["accuracy"] == pytest.approx(1 / 3)
    assert found["f1"] == pytest.approx((1 + 2 / 3 + 0) / 3)


def test_the_error_is_that_of_the_last_number_in_an_answer() -> None:
    exact, error = measures("number", ["1"])
    assert (exact.key, error.key) == ("exact_match", "error")
    assert [each.key for each in measures("quantity", ["1"])] == ["error", "exact_match"]
    said = ["The answer is 42.", "Price: 5", "5-10", "1,234.5 km", "-$3", "1e3", "GPT-4"]
    assert _stats(error, ["0"] * 7, said)[:, 0].tolist() == [42, 5, 10, 1234.5, 3, 1000, 4]
    assert [error.fits(each) for each in ("none", "", "1e999", "7")] == [False, False, False, True]
    assert exact.fits("none")


def test_the_paired_test_is_the_exact_one_where_that_can_be_counted() -> None:
    before, after = np.zeros((12, 2)), np.zeros((12, 2))
    before[:, 1] = after[:, 1] = 1
    after[:9, 0] = 1
    before[9:11, 0] = 1  # nine got better, two worse: McNemar's exact p
    exact = 2 * sum(math.comb(11, worse) for worse in range(3)) / 2**11
    found = change(before, after, lambda sums: sums[:, 0] / sums[:, 1])
    assert found.gain == pytest.approx(7 / 12)
    assert found.p == pytest.approx(exact, abs=0.02)
    assert 0 < found.low < found.gain < found.high
    differences = np.array([0.5, -0.2, 0.9, 0.4, 0.7, 0.1, -0.1])  # and the sign-flip test's
    signs = [
        [1 if place in flipped else -1 for place in range(7)] for n in range(8) for flipped in combinations(range(7), n)
    ]
    exact = np.mean([abs(np.dot(each, differences)) >= differences.sum() - 1e-9 for each in signs])
    was, now = (np.stack([each, np.ones(7)], axis=1) for each in (np.zeros(7), differences))
    assert change(was, now, lambda sums: sums[:, 0] / sums[:, 1]).p == pytest.approx(exact, abs=0.03)


def test_several_comparisons_make_a_small_p_less_telling() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_models_alike_are_not_told_apart() -> None:
    dice = np.random.default_rng(1)
    same = np.stack([dice.random(40), np.ones(40)], axis=1)
    found = change(same, same, lambda sums: sums[:, 0] / sums[:, 1])
    assert (found.gain, found.low, found.high, found.p) == (0, 0, 0, 1)
    for measure in likely(tokens_alike=True, has_bytes=True):
        assert not measure.higher
