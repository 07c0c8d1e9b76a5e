"""Files as they really arrive: broken, misnamed, hostile. Each is made here, with what reading it must give."""

from __future__ import annotations

import gzip
import io
import json
import sqlite3
import zlib
from dataclasses import dataclass, field
from typing import Any

Row = dict[str, Any]
LONG = "x" * 10_000_000
TURNED = "abc\u202edef\u202c"
FAMILY = "👩‍👩‍👧‍👦 e\u0301 ﷽"


@dataclass(frozen=True)
class Broken:
    """A file and what is to come of it: rows, rows set aside, notes, or a refusal."""

    name: str
    content: bytes
    rows: list[Row] = field(default_factory=list)
    aside: list[tuple[int, str]] = field(default_factory=list)  # (line, part of the reason)
    notes: list[str] = field(default_factory=list)  # part of each note, in order
    refused: str = ""  # part of the refusal


def broken_files() -> dict[str, Broken]:
    """What is wrong → the file."""
    return {**_json_files(), **_tables(), **_encodings(), **_other_kinds(), **_archives(), **_parquet_files()}


def _json_files() -> dict[str, Broken]:
    a, b = {"a": 1}, {"a": 2}
    deep = b'{"a": ' + b"[" * 10_000 + b"]" * 10_000 + b"}"
    turns = [{"role": "assistant", "content": "first"}, {"role": "wizard", "content": "?"}]
    return {
        "a broken line": _lines('{"a": 1}\n{"a": \n{"a": 2}\n', [a, b], [(2, "not JSON: expecting value at line 2")]),
        "a truncated last line": _lines('{"a": 1}\n{"a": 2}\n{"a', [a, b], [(3, "unterminated string")]),
        "a truncated list": _json(
            '[{"a": 1},\n{"a": 2},\n{"a": "x', [a, b], [(3, "at line 3, column 7; nothing behind it was read")]
        ),
        "a list without its end": _json('[{"a": 1},\n{"a": 2}', [a, b], notes=["The list has no end"]),
        "a damaged row in a list": _json(
            '[{"a": 1},\n{"a": 2},\n{"a" 3},\n{"a": 4}]', [a, b], [(3, "expecting ':' delimiter at line 3, column 6")]
        ),
        "a list without a comma": _json('[{"a": 1}\n{"a": 2}]', [a], [(2, "a comma is missing before line 2")]),
        "a list damaged at once": _json('[{"a" 1}, {"a": 2}]', refused="is not valid JSON (expecting ':' delimiter"),
        "lists one after another": _json('[{"a": 1}]\n[{"a": 2}, 7]', [a, b], [(3, "a number, not an object")]),
        "a list in a .jsonl": _lines('[{"a": 1},\n {"a": 2}]', [a, b]),
        "a trailing comma in a list": _json('[{"a": 1}, {"a": 2},]', [a, b]),
        "trailing commas in objects": _lines('{"a": 1,}\n{"a": 2}', [b], [(1, "not JSON: ")]),
        "NaN labels": _lines(
            '{"a": NaN}\n{"a": [-Infinity, 1]}', [{"a": None}, {"a": [None, 1]}], notes=["2 NaN or Infinity"]
        ),
        "mixed types in a column": _lines(
            '{"a": 1}\n{"a": "1"}\n{"a": null}\n{"a": [1.5, true]}', [a, {"a": "1"}, {"a": None}, {"a": [1.5, True]}]
        ),
        "a key twice": _lines('{"a": 1, "a": 2}\n{"a": 1}', [b, a], notes=["1 object holds a key twice"]),
        "a half character": _lines('{"a": "x\\ud800y"}', [{"a": "x\ufffdy"}], notes=["1 row held half a character"]),
        "a line of 10 MB": _lines(f'{{"a": "{LONG}"}}\n{{"a": 2}}', [{"a": LONG}, b]),
        "10,000 lists in each other": _lines(deep + b'\n{"a": 2}', [b], [(1, "nested too deeply")]),
        "200 lists in each other": _lines(
            b'{"a": ' + b"[" * 200 + b"]" * 200 + b'}\n{"a": 2}', [b], [(1, "nested too deeply")]
        ),
        "a number of 5,000 digits": _lines('{"a": ' + "9" * 5_000 + '}\n{"a": 2}', [b], [(1, "not JSON: ")]),
        "objects without a break": _json('{"a": 1}{"a": 2} {"a": 1}', [a, b, a]),
        "objects without a break, damaged": _json('{"a": 1}{"a": 2}{"a', [a, b], [(3, "unterminated string")]),
        "objects over several lines": _json('{\n "a": 1\n}\n{\n "a": 2\n}\n', [a, b]),
        "a single object over several lines": _json('{\n "a": 1,\n "b": "x"\n}', [{"a": 1, "b": "x"}]),
        "one conversation over several lines": _json(json.dumps({"messages": turns}, indent=2), [{"messages": turns}]),
        "one conversation and its tools": _json(
            json.dumps({"messages": turns, "tools": [{"name": "t"}]}), [{"messages": turns, "tools": [{"name": "t"}]}]
        ),
        "roles unknown and in no order": _lines(json.dumps({"messages": turns}), [{"messages": turns}]),
        "a list under a key": _json('{"total": 2, "rows": [{"a": 1}, {"a": 2}]}', [a, b], notes=["the list 'rows'"]),
        "a list under a key, with others": _json('{"data": [{"a": 1}, 7], "x": [{}]}', [a], [(2, "a number, not")]),
        "a truncated list under a key": _json(
            '{"data": [\n{"a": 1},\n{"a": 2},\n{"a', [a, b], [(3, "unterminated string starting at line 4")]
        ),
        "a broken first line with a list": _lines(
            '{"tags": [{"a": 1}, \n{"a": 1}\n{"a": 2}', [a, b], [(1, "not JSON: ")]
        ),
        "comments": _lines('// rows\n{"a": 1}\n# more\n{"a": 2}', [a, b], [(1, "not JSON: "), (3, "not JSON: ")]),
        "single quotes": _lines("{'a': 1}\n{'a': 2}", refused="is not valid JSON (expecting property name"),
        "a number": _json("7", refused="the first entry is a number, not an object"),
        "null": _json("null", refused="the first entry is nothing, not an object"),
        "a list of lists": _json("[[1, 2], [3, 4]]", refused="the first entry is a list, not an object"),
        "a list of texts": _json('["a", "b"]', refused="the first entry is a text, not an object"),
        "an empty list": _json("[]", refused="has no rows"),
        "one row only": _lines('{"a": 1}', [a]),
    }


def _tables() -> dict[str, Broken]:
    ab, cd = {"a": "1", "b": "2"}, {"a": "3", "b": "4"}
    wide = [f"c{number}" for number in range(2_000)]
    tab = "a\tb\n1\t2\n3\t4\n"
    odd_names = {"row": "1", 'the "text"': "2", "a;b ✓": "3"}
    return {
        "only a header": _csv("a,b\n", refused="has no rows"),
        "nothing at all": _csv("", refused="is empty"),
        "only blanks": _csv("  \t \n ", refused="is empty"),
        "only blank lines": _csv("\n\r\n\n", refused="is empty"),
        "quotes and line breaks in cells": _csv('a,b\n"x, ""y""\nz",2\n', [{"a": 'x, "y"\nz', "b": "2"}]),
        "a quotation without an end": _csv(
            'a,b\n1,2\n5,"6\n3,4\n1,2,3\n',
            [ab, cd],
            [(3, "a quotation mark that is never closed"), (5, "3 fields")],
        ),
        "a quotation that ends in another": _csv(
            'a,b\n1,2\n5,"6\n3,4\n1,"2"\n', [ab, cd, ab], [(3, "a quotation mark that is never closed")]
        ),
        "inches": _csv('a,b\n5" screen,2\n"a" b,2\n', [{"a": '5" screen', "b": "2"}, {"a": "a b", "b": "2"}]),
        "ragged rows": _csv(
            "a,b\n1,2\n3\n4,5,6\n3,4\n",
            [ab, {"a": "3", "b": ""}, cd],
            [(4, "3 fields where the header has 2")],
            ["1 row has fewer fields"],
        ),
        "semicolons": _csv("a;b\n1;2\n3;4\n", [ab, cd]),
        "tabs in a .csv": _csv(tab, [ab, cd]),
        "bars": _csv("a|b\n1|2\n3|4\n", [ab, cd]),
        "carriage returns only": _csv("a,b\r1,2\r3,4\r", [ab, cd]),
        "columns twice": _csv("a,a\n1,2\n", [{"a": "1", "a 2": "2"}], notes=["given one: 'a 2'"]),
        "columns without a name": _csv(
            "a,,\n1,2,3\n", [{"a": "1", "column 2": "2", "column 3": "3"}], notes=["'column 2'"]
        ),
        "columns with odd names": _csv('row,"the ""text""",a;b ✓\n1,2,3\n', [odd_names]),
        "2,000 columns": _csv(f"{','.join(wide)}\n{','.join(wide)}\n", [dict(zip(wide, wide, strict=True))]),
        "too many columns": _csv("a" + "," * 30_000 + "\n1,2\n", refused="30,001 columns"),
        "one column with commas": _csv(
            "text\nHello, you\nand, you, too\n", [{"text": "Hello, you"}, {"text": "and, you, too"}]
        ),
        "one row of a table": _csv("a,b\n1,2", [ab]),
        "JSON Lines in a .csv": _csv('{"a": "1", "b": "2"}\n', [ab]),
    }


def _encodings() -> dict[str, Broken]:
    text, rows = "a,b\nGröße,€\n", [{"a": "Größe", "b": "€"}]
    mixed = "a,b\nGröße,1\n".encode() + "Größe,2\n".encode("cp1252") + "日本,3\n".encode()
    chinese = '{"文": "一二三四五六七八九十"}\n'
    half = text.encode("utf-16") + b"\x00\xd8x\x00,\x001\x00\n\x00"
    return {
        "a byte order mark": _csv(text.encode("utf-8-sig"), rows),
        "UTF-16 LE with a mark": _csv(b"\xff\xfe" + text.encode("utf-16-le"), rows),
        "UTF-16 BE with a mark": _csv(b"\xfe\xff" + text.encode("utf-16-be"), rows),
        "UTF-16 LE without a mark": _csv(text.encode("utf-16-le"), rows),
        "UTF-16 BE without a mark": _csv(text.encode("utf-16-be"), rows),
        "UTF-32 LE without a mark": _csv(text.encode("utf-32-le"), rows),
        "UTF-32 BE with a mark": _csv(b"\0\0\xfe\xff" + text.encode("utf-32-be"), rows),
        "Chinese in UTF-16 without a mark": _lines(chinese.encode("utf-16-le"), [{"文": "一二三四五六七八九十"}]),
        "half a character in UTF-16": _csv(half, [*rows, {"a": "\ufffdx", "b": "1"}], notes=["1 place that is no"]),
        "Latin-1": _csv(
            "a,b\ncafé,1\nthé,2\n".encode("latin-1"),
            [{"a": "café", "b": "1"}, {"a": "thé", "b": "2"}],
            notes=["2 lines are not UTF-8"],
        ),
        "mixed encodings": _csv(
            mixed,
            [{"a": "Größe", "b": "1"}, {"a": "Größe", "b": "2"}, {"a": "日本", "b": "3"}],
            notes=["1 line is not UTF-8"],
        ),
        "a NUL": _csv("a,b\n1\0,2\n", [{"a": "1", "b": "2"}], notes=["1 NUL character was left out"]),
        "many NULs": _csv("a,b\n1,\0\0\0\0\0\n", refused="binary"),
        "writing that turns": _lines(
            json.dumps({"a": TURNED}, ensure_ascii=False), [{"a": TURNED}], notes=["turn the writing direction"]
        ),
        "joined emoji": _csv(f"a,b\n{FAMILY},1\n", [{"a": FAMILY, "b": "1"}]),
        "a line separator in a cell": _csv("a,b\nx\u2028y,1\n", [{"a": "x\u2028y", "b": "1"}]),
    }


def _other_kinds() -> dict[str, Broken]:
    return {
        "a workbook": _csv(b"PK\x03\x04\x14\x00\x06\x00", refused="Excel"),
        "an old workbook": _csv(b"\xd0\xcf\x11\xe0\xa1\xb1", refused="old Excel"),
        "a web page": _csv("\n<!DOCTYPE html><html></html>", refused="a web page"),
        "a PDF": _json(b"%PDF-1.7\n%\xe2\xe3", refused="a PDF"),
        "a database": _csv(_database(), refused="an SQLite database"),
        "noise": Broken("a.txt", bytes(range(256)) * 8, refused="binary"),
    }


def _archives() -> dict[str, Broken]:
    ab = {"a": "1", "b": "2"}
    table = b"a,b\n" + b"1,2\n" * 30
    torn = _torn_gzip(b'a,b\n1,2\n1,2\n"1\n1,2\n1,')
    return {
        "a gzip under another name": _csv(gzip.compress(table), [ab] * 30, notes=["is a gzip archive"]),
        "no gzip, for all its name": Broken("a.csv.gz", table, [ab] * 30, notes=["is not a gzip archive"]),
        "a torn gzip of a table": Broken(
            "a.csv.gz", torn, [ab] * 2, [(4, "never closed")], ["only what stands before"]
        ),
        "a torn gzip of rows": Broken(
            "a.csv.gz", _torn_gzip(b"a,b\n1,2\n1"), [ab], [(3, "the file breaks off")], ["only what stands before"]
        ),
        "a torn gzip of JSON Lines": Broken(
            "a.jsonl.gz", _torn_gzip(b'{"a": 1}\n{"a'), [{"a": 1}], [(2, "unterminated")], ["only what stands before"]
        ),
        "a gzip of nothing but its first bytes": Broken("a.csv.gz", gzip.compress(table)[:11], refused="damaged gzip"),
        "a gzip bomb": Broken("a.jsonl.gz", _bomb(), refused="unpacks to more than 100 MB"),
        "a gzip in a gzip": Broken("a.csv.gz", gzip.compress(gzip.compress(table)), refused="within a gzip archive"),
    }


def _parquet_files() -> dict[str, Broken]:
    rows = [{"messages": [{"role": "user", "content": "hi"}], "n": 1}, {"messages": [], "n": None}]
    whole = _parquet(rows)
    return {
        "nested Parquet": Broken("a.parquet", whole, rows),
        "Parquet in a .csv": _csv(whole, rows),
        "truncated Parquet": Broken("a.parquet", whole[: len(whole) // 2], refused="damaged Parquet"),
        "Parquet with a damaged page": Broken(
            "a.parquet", whole[:8] + b"\xff" * 40 + whole[48:], refused="damaged Parquet"
        ),
        "no Parquet, for all its name": Broken("a.parquet", b"a,b\n1,2\n", refused="not a Parquet file"),
        "Parquet in a gzip": Broken("a.json.gz", gzip.compress(whole), refused="a Parquet file within a gzip archive"),
    }


def _csv(content: str | bytes, *expected: Any, **named: Any) -> Broken:
    return Broken("a.csv", _bytes(content), *expected, **named)


def _json(content: str | bytes, *expected: Any, **named: Any) -> Broken:
    return Broken("a.json", _bytes(content), *expected, **named)


def _lines(content: str | bytes, *expected: Any, **named: Any) -> Broken:
    return Broken("a.jsonl", _bytes(content), *expected, **named)


def _bytes(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content


def _torn_gzip(content: bytes) -> bytes:
    """An archive of which everything up to a point can be unpacked, and nothing behind it."""
    packer = zlib.compressobj(wbits=31)
    return packer.compress(content) + packer.flush(zlib.Z_SYNC_FLUSH)


def _bomb() -> bytes:
    """150 MB of blank lines behind a row, in 150 kB."""
    packer = zlib.compressobj(9, wbits=31)
    parts = [packer.compress(b'{"a": 1}\n'), *(packer.compress(b"\n" * 1_000_000) for _ in range(150)), packer.flush()]
    return b"".join(parts)


def _database() -> bytes:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE rows (a TEXT)")
    content = connection.serialize()
    connection.close()
    return content


def _parquet(rows: list[Row]) -> bytes:
    import pyarrow
    import pyarrow.parquet

    file = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    return file.getvalue()
