from studio.data import aside
from studio.data.files import read


def test_a_mended_line_can_be_brought_again(tmp_path):
    for name, content, broken, mended in (
        ("a.csv", "q;a\nx;1\ny;2;3\nz;4\n", "y;2;3", "y;23"),
        ("a.tsv", "q\ta\nx\t1\ny\t2\t3\n", "y\t2\t3", "y\t23"),
        ("a.jsonl", '{"q":"x","a":"1"}\n{"q":"y","a":"23"\n', '{"q":"y","a":"23"', '{"q":"y","a":"23"}'),
    ):
        source = tmp_path / name
        source.write_text(content)
        dataset = read(source)
        assert [row.raw.rstrip() for row in dataset.set_aside] == [broken]
        path = tmp_path / f"aside{aside.ending(name)}"
        aside.write_aside(path, dataset.set_aside, dataset.columns)
        path.write_text(path.read_text().replace(broken, mended))
        again = read(path)
        assert again.rows == [{"q": "y", "a": "23"}], name
        assert again.set_aside == []


def test_the_ending_is_that_of_the_rows_own_kind():
    assert aside.ending("x.CSV.gz") == ".csv"
    assert aside.ending("x.txt") == ".txt"
    assert aside.ending("x.json") == aside.ending("x.parquet") == ".jsonl"
