import subprocess
import sys
import textwrap

import pytest

from studio.data.files import open_rows
from studio.errors import DatasetError
from tests.data.broken_files import Broken, broken_files

FILES = broken_files()


@pytest.mark.parametrize("broken", FILES.values(), ids=FILES)
def test_a_broken_file_loads_or_says_why_not(tmp_path, broken: Broken):
    path = tmp_path / broken.name
    path.write_bytes(broken.content)
    if broken.refused:
        with pytest.raises(DatasetError) as caught:
            list(open_rows(path))
        assert broken.refused in caught.value.problem
        assert caught.value.problem.startswith(broken.name)
        assert len(caught.value.problem) < 250
        assert caught.value.remedy.endswith(".")
        return
    reading = open_rows(path)
    assert list(reading) == broken.rows
    assert [one.line for one in reading.set_aside] == [line for line, _ in broken.aside]
    for one, (_, reason) in zip(reading.set_aside, broken.aside, strict=True):
        assert reason in one.reason
    assert len(reading.notes) == len(broken.notes)
    for note, part in zip(reading.notes, broken.notes, strict=True):
        assert part in note


def test_what_is_set_aside_can_be_brought_again(tmp_path):
    """What was wrong with a row is all that is wrong with it: mended, it loads."""
    path = tmp_path / "a.csv"
    path.write_text('a,b\n1,2\n5,"6\n3,4,5\n')
    reading = open_rows(path)
    assert list(reading) == [{"a": "1", "b": "2"}]
    assert [one.raw for one in reading.set_aside] == ['5,"6\n', "3,4,5\n"]


def test_a_quotation_left_open_does_not_gather_up_the_file(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('a,b\n1,"2\n' + "3,4\n" * 150_000 + '5,"6"\n')
    rows = iter(open_rows(path))
    assert next(rows) == {"a": "3", "b": "4"}
    assert sum(1 for _ in rows) == 150_000


def test_bad_rows_do_not_fill_the_memory(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n' + f"{'x' * 101_000}\n" * 600)
    reading = open_rows(path)
    assert list(reading) == [{"a": 1}]
    assert len(reading.set_aside) == 600
    assert len(reading.set_aside[0].raw) == 100_000
    assert sum(len(one.raw) for one in reading.set_aside) == 50_000_000


def test_a_line_beyond_measure_is_set_aside_alone(tmp_path, monkeypatch):
    monkeypatch.setattr("studio.data.text.LONGEST", 3_000_000)
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n{"a": "' + "x" * 5_000_000 + '"}\n{"a": \n{"a": 2}\n')
    reading = open_rows(path)
    assert list(reading) == [{"a": 1}, {"a": 2}]
    assert [one.line for one in reading.set_aside] == [2, 3]
    assert "a line of more than 3 million characters" in reading.set_aside[0].reason


COUNT = """
    import sys
    from pathlib import Path
    from studio.data.files import open_rows

    for name in sys.argv[1:]:
        print(sum(1 for _ in open_rows(Path(name))))
    status = Path("/proc/self/status").read_text()
    print(status.split("VmHWM:")[1].split()[0])  # kB at the most; unlike ru_maxrss without the parent's
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc elsewhere")
def test_large_files_are_read_in_little_memory(tmp_path):
    import pyarrow
    import pyarrow.parquet

    row = '{"instruction": "' + "Größe? " * 20 + '", "output": "' + "y " * 400 + '"}\n'
    record = '"' + "Größe, oder? " * 20 + '","line one\nline two ' + "y " * 350 + '"\n'
    thousands = 120
    _fill(tmp_path / "a.jsonl", "", row, thousands)
    _fill(tmp_path / "a.csv", "instruction,output\n", record, thousands)
    _fill(tmp_path / "b.json", '{"rows": [\n', row.rstrip() + ",\n", thousands)
    texts = [f"{number:0<2000}" for number in range(1_000)] * thousands
    table = pyarrow.table({"a": texts})
    pyarrow.parquet.write_table(table, tmp_path / "c.parquet", len(texts), use_dictionary=False, compression="none")
    files = [str(tmp_path / name) for name in ("a.jsonl", "a.csv", "b.json", "c.parquet")]
    command = [sys.executable, "-c", textwrap.dedent(COUNT), *files]
    *counts, peak = map(int, subprocess.run(command, capture_output=True, check=True, text=True).stdout.split())
    assert counts == [thousands * 1_000] * 4
    assert peak < 250_000


def _fill(path, first: str, line: str, thousands: int) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(first)
        for _ in range(thousands):
            file.write(line * 1_000)
    assert path.stat().st_size > 110_000_000
