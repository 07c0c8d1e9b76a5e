from studio.data.dataset import Dataset


def test_the_fingerprint_tells_content_and_order_not_key_order():
    one = Dataset("a", ("x", "y"), [{"x": 1, "y": "ü"}, {"x": 2, "y": ""}], [])
    same = Dataset("b", ("y", "x"), [{"y": "ü", "x": 1}, {"y": "", "x": 2}], [])
    turned = Dataset("a", ("x", "y"), one.rows[::-1], [])
    assert one.fingerprint == same.fingerprint
    assert one.fingerprint != turned.fingerprint
    assert len(one.fingerprint) == 64
