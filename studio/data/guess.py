"""How long rows are in tokens, told from their characters: known at once, without a tokenizer."""

from __future__ import annotations

import threading
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from studio.data.templates import Mapping

if TYPE_CHECKING:
    import numpy as np

LETTERS_A_TOKEN = 4  # of English, with a vocabulary of tens of thousands; other languages and code take more tokens
_FEWEST_ENTRIES = 1_000  # a smaller vocabulary is one of letters
_BATCH = 1_000  # rows in memory at once
_READING = threading.Lock()
_AROUND = 30  # tokens that a chat template adds, its system prompt included


def tokens_of(path: Path, mapping: Mapping, vocabulary: int) -> np.ndarray:
    """Tokens of each row of a Parquet file, guessed from the columns that play a part; int64 of shape (rows,)."""
    with _READING:  # who asks meanwhile finds it read
        letters = _letters(path, tuple(mapping.columns.values()))
    each = LETTERS_A_TOKEN if vocabulary >= _FEWEST_ENTRIES else 1
    return -(-letters // each) + (0 if mapping.format in ("text", "labelled") else _AROUND)


@lru_cache(maxsize=16)
def _letters(path: Path, columns: tuple[str, ...]) -> np.ndarray:
    """Characters of each row in those columns together."""
    import numpy as np
    import pyarrow
    import pyarrow.compute as compute
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as file:
        there = [name for name in dict.fromkeys(columns) if name in file.schema_arrow.names]
        total = np.zeros(file.metadata.num_rows, dtype=np.int64)
        for name in there:
            try:
                batches = file.iter_batches(_BATCH, columns=[name])
                counts = [compute.utf8_length(batch.column(0).cast("string")) for batch in batches]  # pyright: ignore[reportAttributeAccessIssue]
            except pyarrow.ArrowException:  # neither text nor a number: a run says what is wrong with it
                continue
            total += pyarrow.chunked_array(counts, pyarrow.int32()).fill_null(0).to_numpy()
    return total
