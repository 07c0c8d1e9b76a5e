import pytest

from studio.evaluation.metrics import LABELS, exact_match, field_accuracy, score, token_f1, valid_json

REFERENCE = '{"intent":"return","quantity":2,"urgent":true,"id":null}'


@pytest.mark.parametrize(
    ("reference", "answer", "wanted"),
    [
        ("Paris", " Paris\n", 1),
        ("Paris", "paris", 0),
        (REFERENCE, '{ "id": null, "urgent": true, "quantity": 2.0, "intent": "return" }', 1),
        (REFERENCE, REFERENCE.replace("true", "1"), 0),
        (REFERENCE, REFERENCE.replace("2", '"2"'), 0),
        (REFERENCE, REFERENCE + ".", 0),
        ("[1, [2]]", "[1,[2]]", 1),
        ("[1, [2]]", "[1,[2],3]", 0),
        ("007", "7", 0),
    ],
)
def test_exact_match(reference, answer, wanted):
    assert exact_match([reference], [answer]) == wanted


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        ('{"a": 1}', 1), (" [1]\n", 1), ('```json\n{"a": 1}\n```', 0), ('{"a": 1} Done!', 0), ("{'a': 1}", 0),
        ('{"a": NaN}', 0), ("", 0), ("7", 0), ('{"a": 1', 0), ("[" * 100_000, 0),
    ],
)  # fmt: skip
def test_valid_json(answer, wanted):
    assert valid_json(["{}"], [answer]) == wanted


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        (REFERENCE, 1),
        ('{"intent":"return","quantity":3,"urgent":true,"id":null}', 3 / 4),
        ('{"intent":"return"}', 1 / 4),
        ('{"intent":"return","urgent":1,"more":0}', 1 / 4),
        ("{}", 0),
        ("[]", 0),
        ("return", 0),
    ],
)
def test_field_accuracy(answer, wanted):
    assert field_accuracy([REFERENCE], [answer]) == wanted


def test_field_accuracy_wants_references_with_fields():
    with pytest.raises(ValueError, match="not a JSON object"):
        field_accuracy(["text"], ["{}"])


@pytest.mark.parametrize(
    ("reference", "answer", "wanted"),
    [
        ("The cat sat.", "a CAT, sat", 1),
        ("cat sat down", "cat ran", 2 * 1 / 5),  # P 1/2, R 1/3
        ("to be or not to be", "to to to", 2 * 2 / 9),  # repeats count as often as both have them
        ("cat", "dog", 0),
        ("the", "", 1),
        ("cat", "", 0),
    ],
)
def test_token_f1(reference, answer, wanted):
    assert token_f1([reference], [answer]) == pytest.approx(wanted)


def test_means_over_rows():
    assert exact_match(["a", "b", "c", "d"], ["a", "b", "c", "x"]) == 0.75
    assert exact_match([], []) == 0
    with pytest.raises(ValueError, match="shorter"):
        token_f1(["a", "b"], ["a"])


def test_the_metrics_suit_the_references():
    assert score([REFERENCE] * 2, [REFERENCE, "no"]) == {"valid_json": 0.5, "field_accuracy": 0.5, "exact_match": 0.5}
    assert score([REFERENCE, "text"], [REFERENCE, "text"]) == {"token_f1": 1, "exact_match": 1}
    assert score(["[1]"], ["[1]"]).keys() == {"token_f1", "exact_match"}
    assert {*score([REFERENCE], [""]), *score([""], [""]), "rouge_l"} == LABELS.keys()  # that one takes its time
