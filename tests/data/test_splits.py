import random
from collections import Counter
from typing import Any

import pytest

from studio.data.checks import Hit
from studio.data.dataset import canonical
from studio.data.leakage import leakage
from studio.data.splits import split_indices
from studio.data.templates import Mapping
from studio.errors import DatasetError

TEXT = Mapping("text", {"text": "text"})
WORDS = [f"word{number}" for number in range(2000)]
HOWS = ["random", "stratified", "grouped", "clusters"]


def rows(count, copies=1, seed=1):
    dice = random.Random(seed)
    made = [
        {"text": " ".join(dice.choices(WORDS, k=30)), "label": dice.choice("aaabbc"), "who": dice.randrange(40)}
        for _ in range(count)
    ]
    return [dict(row) for row in made for _ in range(copies)]


def divide(data, how: Any = "random", shares=(0.1, 0.2), seed=3, **options):
    column = {"stratified": "label", "grouped": "who"}.get(how)
    return split_indices(data, how=how, shares=shares, seed=seed, **{"column": column, "texts": TEXT, **options})


@pytest.mark.parametrize("how", HOWS)
def test_every_row_is_on_one_side_and_the_shares_are_kept(how):
    data = rows(600)
    sides = divide(data, how)
    assert sorted(index for side in sides for index in side) == list(range(600))
    assert all(side == sorted(side) for side in sides)
    assert [len(side) for side in sides] == pytest.approx([420, 60, 120], abs=20)


@pytest.mark.parametrize("how", HOWS)
def test_a_seed_says_it_all(how):
    assert divide(rows(200), how) == divide(rows(200), how)
    assert divide(rows(200), how) != divide(rows(200), how, seed=4)


@pytest.mark.parametrize("how", HOWS)
def test_equal_rows_stand_on_one_side(how):
    data = rows(100, copies=3)
    sides = [{canonical(data[index]) for index in side} for side in divide(data, how)]
    assert all(sides)
    assert not sides[0] & sides[1]
    assert not sides[0] & sides[2]
    assert not sides[1] & sides[2]


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("count", [2, 3, 4, 7])
@pytest.mark.parametrize("shares", [(0.0, 0.0), (0.01, 0.0), (0.0, 0.01), (0.1, 0.1), (0.5, 0.49), (0.98, 0.0)])
def test_train_is_never_empty_and_a_share_is_a_row_at_least(how, count, shares):
    data = [{**row, "who": place} for place, row in enumerate(rows(count))]
    train, validation, test = divide(data, how, shares)
    assert train
    held = validation + test
    assert bool(held) == any(shares)
    if count > 2:
        assert bool(validation) == (shares[0] > 0)
        assert bool(test) == (shares[1] > 0)


def test_stratified_keeps_the_shares_of_each_label():
    data = [{"text": f"row {number}", "label": label} for number, label in enumerate("a" * 500 + "b" * 100 + "c" * 20)]
    train, validation, test = divide(data, "stratified", (0.1, 0.2))
    for side, share in ((train, 0.7), (validation, 0.1), (test, 0.2)):
        counts = Counter(data[index]["label"] for index in side)
        for label, total in (("a", 500), ("b", 100), ("c", 20)):
            assert abs(counts[label] - share * total) <= 1


def test_grouped_keeps_a_value_together():
    data = rows(500)
    sides = [{data[index]["who"] for index in side} for side in divide(data, "grouped")]
    assert len(set.union(*sides)) == sum(map(len, sides)) == 40


def test_clusters_keep_near_duplicates_together():
    data = rows(150)
    near = [{"text": row["text"] + " changed"} for row in data]
    sides = divide(data + near, "clusters")
    assert all({(index + 150) % 300 for index in side} == set(side) for side in sides)
    apart = divide(data + near, "random")
    assert not all({(index + 150) % 300 for index in side} == set(side) for side in apart)
    assert divide(data + near, "clusters", texts=lambda row: row["text"]) == sides


def test_equal_rows_and_groups_are_bound_through_each_other():
    """Two rows of one cluster, one of them equal to a third row outside it, cannot be parted."""
    data = rows(60)
    data += [dict(row) for row in data]
    sides = divide(data, "clusters", texts=lambda row: "the same text for all of group" if row["who"] < 20 else "")
    low = [{data[index]["who"] < 20 for index in side} for side in sides]
    assert sum(True in each for each in low) == 1


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"how": "grouped", "column": "absent"}, "no column 'absent' to split by; there is 'text', 'label', 'who'"),
        ({"how": "stratified", "column": None}, "no column None"),
        ({"how": "clusters", "texts": None}, "is not known"),
        ({"shares": (0.5, 0.5)}, "cannot have the shares 0.5 and 0.5"),
        ({"shares": (-0.1, 0.5)}, "cannot have the shares"),
    ],
)
def test_what_cannot_be_split_is_said(options, says):
    with pytest.raises(DatasetError, match=says):
        divide(rows(10), **options)


def test_a_single_group_cannot_be_split():
    one = [{**row, "who": 1} for row in rows(10)]
    with pytest.raises(DatasetError, match="All rows belong together"):
        divide(one, "grouped")
    assert divide(one, "grouped", (0.0, 0.0)) == (list(range(10)), [], [])
    assert divide([]) == ([], [], [])


def test_leakage_names_rows_to_learn_from():
    data = rows(40)
    held = [dict(data[7]), {"text": data[9]["text"] + " changed"}, {"text": "something else"}, {"text": ""}]
    found = leakage([(100 + place, row) for place, row in enumerate([*data, {"text": " "}])], TEXT, held, TEXT)
    assert found == [
        Hit(107, "like row 1 of the held-out rows (100 %)"),
        Hit(109, "like row 2 of the held-out rows (97 %)"),
    ]
    assert leakage([], TEXT, held, TEXT) == []
    assert leakage(enumerate(data), TEXT, held[2:], TEXT) == []
