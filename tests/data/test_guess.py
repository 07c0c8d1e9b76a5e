"""How long rows are, told from their letters."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from studio.data import guess
from studio.data.guess import tokens_of
from studio.data.templates import Mapping


@pytest.fixture
def mapping() -> Mapping:
    return Mapping(format="text", columns={"text": "text", "more": "more", "odd": "odd"})


def test_letters_of_all_columns_count_whatever_they_hold(
    tmp_path: Path, mapping: Mapping, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guess, "_BATCH", 2)  # rows at once: the last of five stands alone
    texts = ["four", None, "größer", "", "12345678"]
    table = pa.table({"text": texts, "more": [1, 22, None, 333, 4], "odd": [[1], [2], [3], [4], [5]]})
    pq.write_table(table, tmp_path / "rows.parquet")
    assert tokens_of(tmp_path / "rows.parquet", mapping, 10).tolist() == [5, 2, 6, 3, 9]
    assert tokens_of(tmp_path / "rows.parquet", mapping, 10_000).tolist() == [2, 1, 2, 1, 3]
    pq.write_table(table[:0], tmp_path / "none.parquet")
    assert tokens_of(tmp_path / "none.parquet", mapping, 10).tolist() == []


def test_a_file_is_read_in_parts_and_once(tmp_path: Path, mapping: Mapping, monkeypatch: pytest.MonkeyPatch) -> None:
    pq.write_table(pa.table({"text": ["some words"] * 5_000}), tmp_path / "rows.parquet")
    sizes: list[int] = []

    class Reading(pq.ParquetFile):
        def iter_batches(self, *args: Any, **kwargs: Any) -> Any:
            for batch in super().iter_batches(*args, **kwargs):
                sizes.append(batch.num_rows)
                yield batch

        def read(self, *args: Any, **kwargs: Any) -> Any:
            raise AssertionError("a column was read whole")

    monkeypatch.setattr(pq, "ParquetFile", Reading)
    asking = [threading.Thread(target=tokens_of, args=(tmp_path / "rows.parquet", mapping, 10)) for _ in range(3)]
    for each in asking:
        each.start()
    for each in asking:
        each.join()
    assert max(sizes) <= 1_000
    assert sum(sizes) == 5_000
