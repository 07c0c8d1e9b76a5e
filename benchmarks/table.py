"""What it costs to look at and edit a large data set.

Claims: pages, filters and edits of 1,000,000 rows are answered within 150 ms at the server (95 of 100); a
Parquet file of 1 GB is open, its first page shown, within 3 s and 1.5 GiB. Beside them pandas, which holds
the rows in memory: the way of a notebook. Each side runs in a process of its own, by turns.

    python benchmarks/table.py [ROWS]
"""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import _report

from studio.data import changes, collection
from studio.data.draft import Desk
from studio.data.parquet import write_rows
from studio.data.views import Condition, View
from studio.workspace import Workspace

ROUNDS = 3
EACH = 20  # questions of a kind in a round
DICE = random.Random(20261121)  # noqa: S311 - the same rows for everyone, no secret
WORDS = ["".join(DICE.choices("abcdefghijklmnopqrstuvwxyz", k=DICE.randint(2, 9))) for _ in range(30_000)]


def rows(count: int) -> Iterator[dict[str, Any]]:
    """Instructions of about 60 letters, answers of about 250, a label, a number."""
    answers = [" ".join(DICE.choices(WORDS, k=40)) for _ in range(20_000)]
    for i in range(count):
        yield {
            "instruction": f"{' '.join(DICE.choices(WORDS, k=8))} {i}",
            "input": "" if i % 3 else answers[-i % 20_000][:60],
            "output": answers[i % 20_000] + f" {i}",
            "label": ("positive", "negative", "neutral")[i % 3],
            "score": i / count,
        }


def large(path: Path, size: int) -> None:
    """A Parquet file of about `size` bytes as others write them: snappy, row groups of a million rows."""
    import pyarrow
    import pyarrow.parquet

    with pyarrow.parquet.ParquetWriter(path, pyarrow.schema([("prompt", "string"), ("answer", "string")])) as writer:
        while not path.exists() or path.stat().st_size < size:
            texts = [[" ".join(DICE.choices(WORDS, k=k)) for _ in range(200_000)] for k in (10, 50)]
            writer.write_table(pyarrow.table(texts, names=["prompt", "answer"]), row_group_size=1_000_000)


# -- the two sides, each in a process of its own ------------------------------------------------------


def timed(asked: Callable[[int], Any]) -> list[float]:
    """Milliseconds of each of EACH questions."""
    found = []
    for number in range(EACH):
        began = time.perf_counter()
        asked(number)
        found.append(1000 * (time.perf_counter() - began))
    return found


def ours(root: Path, name: str) -> dict[str, list[float]]:
    """What the editor's handlers do, the reading of a page into JSON included."""
    from tabs._data.bench import Looking
    from tabs._data.grid import shown_rows

    workspace = Workspace(root)
    page: Any = SimpleNamespace(workspace=workspace, desk=Desk())
    kept = collection.find(workspace, name)
    assert kept is not None
    draft = page.desk.draft(kept)
    total = draft.table.base_rows

    def show(view: View = View(), at: int = 0) -> None:  # noqa: B008 - frozen
        json.dumps(shown_rows(page, Looking(name, view=view, at=at))[1])

    def edit(number: int) -> None:
        row = DICE.randrange(total)
        draft.do(lambda table: changes.edit(table, row, "output", f"edited {number} {time.time()}"), "someone")
        show(at=row)

    def where(column: str, operator: str, value: Callable[[int], str]) -> Callable[[int], None]:
        return lambda number: show(View(conditions=(Condition(column, operator, value(number)),)))

    show()
    return {
        "page": timed(lambda _: show(at=DICE.randrange(total))),
        "edit a cell and show the page": timed(edit),
        "filter: a label": timed(where("label", "is", lambda n: f"negative{'' if n % 2 else ' '}".strip())),
        "filter: a word in a text column": timed(where("output", "contains", lambda n: WORDS[n * 31 + 7])),
        "filter: longer than": timed(where("output", "longer", lambda n: str(300 + n))),
        "search: a word in every column": timed(lambda n: show(View(search=WORDS[n * 37 + 5]))),
        "sort by a text column": timed(
            lambda n: show(View(sort="output", descending=bool(n % 2), search="" if n else " "))
        ),
    }


def pandas_(path: Path) -> dict[str, list[float]]:
    import pandas

    table = pandas.read_parquet(path)
    total = len(table)

    def page(found: Any, at: int = 0) -> None:
        found.iloc[at : at + 100].to_json(orient="records")

    def edit(number: int) -> None:
        row = DICE.randrange(total)
        table.iat[row, 2] = f"edited {number}"
        page(table, row)

    def anywhere(word: str) -> Any:
        texts = [
            table[c].str.contains(word, case=False, regex=False) for c in ("instruction", "input", "output", "label")
        ]
        return table[texts[0] | texts[1] | texts[2] | texts[3]]

    return {
        "page": timed(lambda _: page(table, DICE.randrange(total))),
        "edit a cell and show the page": timed(edit),
        "filter: a label": timed(lambda _: page(table[table["label"] == "negative"])),
        "filter: a word in a text column": timed(
            lambda n: page(table[table["output"].str.contains(WORDS[n * 31 + 7], case=False, regex=False)])
        ),
        "filter: longer than": timed(lambda n: page(table[table["output"].str.len() > 300 + n])),
        "search: a word in every column": timed(lambda n: page(anywhere(WORDS[n * 37 + 5]))),
        "sort by a text column": timed(lambda n: page(table.sort_values("output", ascending=bool(n % 2)))),
    }


def open_ours(root: Path, path: Path) -> dict[str, list[float]]:
    """From the upload on, on the workspace's disk: kept, hashed, opened, its first page and one in the middle."""
    from tabs._data.bench import Looking
    from tabs._data.grid import shown_rows

    began = time.perf_counter()
    workspace = Workspace(root).create()
    page: Any = SimpleNamespace(workspace=workspace, desk=Desk())
    name = collection.add(workspace, path, path.name)
    shown_rows(page, Looking(name))
    first = time.perf_counter() - began
    began = time.perf_counter()
    shown_rows(page, Looking(name, at=1_000_000))
    return {"first page": [first], "a page in the middle": [time.perf_counter() - began]}


def open_pandas(path: Path) -> dict[str, list[float]]:
    import pandas

    began = time.perf_counter()
    table = pandas.read_parquet(path)
    table.head(100).to_json(orient="records")
    return {"first page": [time.perf_counter() - began]}


def save_ours(root: Path, name: str) -> dict[str, list[float]]:
    workspace = Workspace(root)
    kept = collection.find(workspace, name)
    assert kept is not None
    draft = Desk().draft(kept)
    draft.do(lambda table: changes.edit(table, 5, "output", f"saved at {time.time()}"), "someone")
    began = time.perf_counter()
    draft.save("someone")
    return {"save": [time.perf_counter() - began]}


SIDES = {"ours": ours, "pandas": pandas_, "open_ours": open_ours, "open_pandas": open_pandas, "save_ours": save_ours}


def apart(side: str, *asked: object) -> tuple[dict[str, list[float]], float]:
    """(what a side measured, its peak memory in GB), in a process of its own."""
    command = [sys.executable, __file__, "--side", side, *map(str, asked)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    values = json.loads(done.stdout.splitlines()[-1])
    return values["times"], values["peak"]


def main(count: int) -> None:
    print(_report.machine())
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        workspace = Workspace(root / "workspace").create()
        source = root / "rows.parquet"
        write_rows(rows(count), source)
        name = collection.add(workspace, source, "rows.parquet")
        print(f"\n{count:,} rows of {source.stat().st_size / count:.0f} bytes as Parquet; ms at the server")
        _compare(
            [lambda: apart("ours", workspace.root, name), lambda: apart("pandas", source)],
        )
        times, peak = apart("save_ours", workspace.root, name)
        print(f"save as a new version: {times['save'][0]:.1f} s, peak {peak:.2f} GB")
        print("\na Parquet file of 1 GB, opened from its upload on; s")
        path = root / "large.parquet"
        large(path, 1_000_000_000)
        for _ in range(ROUNDS):
            mine, my_peak = apart("open_ours", tempfile.mkdtemp(dir=root), path)
            theirs, their_peak = apart("open_pandas", path)
            shown = ", ".join(f"{key} {values[0]:.2f} s" for key, values in mine.items())
            other = theirs["first page"][0]
            print(f"ours: {shown}, peak {my_peak:.2f} GB; pandas: {other:.2f} s, peak {their_peak:.2f} GB")


def _compare(sides: list[Callable[[], tuple[dict[str, list[float]], float]]]) -> None:
    found: list[dict[str, list[float]]] = [{}, {}]
    peaks: list[list[float]] = [[], []]
    for _ in range(ROUNDS):
        for i, side in enumerate(sides):
            times, peak = side()
            peaks[i].append(peak)
            for key, values in times.items():
                found[i].setdefault(key, []).extend(values)
    for key in found[0]:
        for name, values in zip(("ours", "pandas"), (found[0][key], found[1][key]), strict=True):
            p95 = statistics.quantiles(values, n=20)[-1]
            print(f"{_report.row(f'{key}, {name}', values, 'ms')}  p95 {p95:.0f} ms")
    usual = [value for key, values in found[0].items() if not key.startswith(("search", "sort")) for value in values]
    print(
        f"pages, filters and edits together, ours: p95 {statistics.quantiles(usual, n=20)[-1]:.0f} ms (n={len(usual)})"
    )
    print(f"peak memory: ours {max(peaks[0]):.2f} GB, pandas {max(peaks[1]):.2f} GB")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--side"]:
        times = SIDES[sys.argv[2]](*(Path(a) if i == 0 or Path(a).exists() else a for i, a in enumerate(sys.argv[3:])))  # pyright: ignore
        peak = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1e6
        print(json.dumps({"times": times, "peak": peak}))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
