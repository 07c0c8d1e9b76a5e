from studio.data.dataset import Dataset, split

ROWS = [{"text": f"row {number}"} for number in range(20)]


def texts(rows):
    return [row["text"] for row in rows]


def test_split_takes_the_share_and_loses_nothing():
    train, held = split(ROWS, 0.25, seed=1)
    assert len(held) == 5
    assert sorted(texts(train) + texts(held)) == sorted(texts(ROWS))
    assert texts(train) == [text for text in texts(ROWS) if text in texts(train)]  # the file's order


def test_split_depends_on_the_seed_alone():
    assert split(ROWS, 0.25, seed=1) == split(ROWS, 0.25, seed=1)
    assert split(ROWS, 0.25, seed=1) != split(ROWS, 0.25, seed=2)


def test_equal_rows_stand_on_one_side():
    rows = [{"text": f"row {number % 7}"} for number in range(40)]
    for seed in range(20):
        train, held = split(rows, 0.3, seed)
        assert held
        assert not set(texts(train)) & set(texts(held))


def test_both_sides_get_a_row_whatever_the_share():
    for share in (0.0001, 0.9999):
        train, held = split(ROWS[:2], share, seed=0)
        assert (len(train), len(held)) == (1, 1)


def test_nothing_is_held_out_without_a_share_or_a_second_row():
    assert split(ROWS, 0, seed=0) == (ROWS, [])
    assert split([{"text": "same"}] * 5, 0.5, seed=0) == ([{"text": "same"}] * 5, [])


def test_a_large_group_of_equal_rows_does_not_swallow_the_training_rows():
    rows = [{"text": "same"}] * 90 + ROWS[:10]
    for seed in range(10):
        assert len(split(rows, 0.1, seed)[1]) <= 10


def test_the_fingerprint_tells_content_and_order_not_key_order():
    one = Dataset("a", ("x", "y"), [{"x": 1, "y": "ü"}, {"x": 2, "y": ""}], [])
    same = Dataset("b", ("y", "x"), [{"y": "ü", "x": 1}, {"y": "", "x": 2}], [])
    turned = Dataset("a", ("x", "y"), one.rows[::-1], [])
    assert one.fingerprint == same.fingerprint
    assert one.fingerprint != turned.fingerprint
    assert len(one.fingerprint) == 64
