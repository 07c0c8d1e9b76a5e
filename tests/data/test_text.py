import gzip
import io
import random

import pytest

from studio.data.text import Findings, lines, text_of, unpacked
from studio.errors import DatasetError

ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"]
TEXT = "Größe: 42 €\r\nemoji 👩‍👩‍👧‍👦, \u2028 and\ttabs\r\n" * 30


def decoded(content: bytes) -> tuple[str, list[str]]:
    findings = Findings()
    return "".join(text_of(io.BytesIO(content), "a.txt", findings)), findings.notes


@pytest.mark.parametrize("chunk", [64, 65, 66, 67, 1_000_000])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_text_comes_out_as_it_went_in(monkeypatch, encoding, chunk):
    monkeypatch.setattr("studio.data.text.CHUNK", chunk)
    assert decoded(TEXT.encode(encoding)) == (TEXT, [])


@pytest.mark.parametrize("chunk", [64, 65, 66, 67, 1_000_000])
def test_places_that_are_not_utf_8_are_read_as_windows_1252(monkeypatch, chunk):
    monkeypatch.setattr("studio.data.text.CHUNK", chunk)
    odd = {3, 17, 60}
    parts = [f"Zeile {number}: „Größe“ — 42 €\n" for number in range(90)]
    content = b"".join(part.encode("cp1252" if number in odd else "utf-8") for number, part in enumerate(parts))
    text, notes = decoded(content)
    assert text == "".join(parts)
    assert [note[:23] for note in notes] == ["3 lines are not UTF-8 a"]


def test_bytes_that_stand_for_nothing_are_replaced_and_counted():
    text, notes = decoded(b"Gr\xf6\x81e\n")
    assert text == "Grö\ufffde\n"
    assert len(notes) == 2
    assert notes[1].startswith("1 place")
    assert decoded("a replacement \ufffd of old\n".encode()) == ("a replacement \ufffd of old\n", [])


def test_a_few_controls_are_text_and_many_are_not():
    assert decoded(b"a\x01b\n" + b"text " * 100)[0] == "a\x01b\n" + "text " * 100
    text, notes = decoded(b"a\0b\0" + b"text " * 100)
    assert text == "ab" + "text " * 100
    assert notes == ["2 NUL characters were left out."]
    with pytest.raises(DatasetError, match="binary"):
        decoded(b"a\x01\x02\x03\x04b")


def test_noise_far_into_the_file_is_found(monkeypatch):
    monkeypatch.setattr("studio.data.text.CHUNK", 1_000)
    with pytest.raises(DatasetError, match="binary"):
        decoded(b"a line of text\n" * 500 + random.Random(1).randbytes(20_000))


@pytest.mark.parametrize("chunk", range(1, 12))
def test_lines_end_as_they_end(monkeypatch, chunk):
    monkeypatch.setattr("studio.data.text.CHUNK", chunk)
    wanted = ["one\n", "two\r\n", "three\r", "\r\n", "fo\u2028\x0bur\x85\r\n", "five"]
    findings = Findings()
    assert list(lines(text_of(io.BytesIO("".join(wanted).encode()), "a.txt", findings), findings)) == wanted


def test_a_long_line_is_not_held_and_the_lines_behind_it_keep_their_numbers(monkeypatch):
    monkeypatch.setattr("studio.data.text.LONGEST", 50)
    findings = Findings()
    chunks = ["short\n", "x" * 30, "y" * 30, "z\nnext\n", "l" * 60]
    assert list(lines(iter(chunks), findings)) == ["short\n", "\n", "next\n", "\n"]
    assert [(one.line, one.raw[:3]) for one in findings.set_aside] == [(2, "xxx"), (4, "lll")]


def test_what_is_kept_of_rows_set_aside_has_an_end():
    findings = Findings()
    for number in range(600):
        findings.put_aside(number, "too odd", "x" * 200_000)
    assert [len(findings.set_aside[place].raw) for place in (0, 499, 500)] == [100_000, 100_000, 0]


@pytest.mark.parametrize("damage", ["cut", "flipped", "trailing"])
def test_a_damaged_archive_gives_what_is_whole(damage):
    text = "".join(f"{random.Random(number).random()}\n" for number in range(20_000)).encode()
    packed = bytearray(gzip.compress(text))
    if damage == "cut":
        packed = packed[: len(packed) // 2]
    elif damage == "flipped":
        packed[-6] ^= 1
    else:
        packed += b"more"
    findings = Findings()
    got = unpacked(io.BytesIO(packed), "a.gz", findings).read()
    assert text.startswith(got)
    assert len(got) > len(text) // 3
    assert findings.cut_off
    assert "damaged" in findings.notes[0]


def test_an_archive_may_swell_unless_it_is_a_bomb(monkeypatch):
    packed = gzip.compress(b"all the same\n" * 100_000)
    monkeypatch.setattr("studio.data.text._SAFE_SIZE", 2_000_000)
    assert len(unpacked(io.BytesIO(packed), "a.gz", Findings()).read()) == 1_300_000
    monkeypatch.setattr("studio.data.text._SAFE_SIZE", 500_000)
    with pytest.raises(DatasetError, match=r"a\.gz unpacks to more than"):
        unpacked(io.BytesIO(packed), "a.gz", Findings()).read()
    monkeypatch.setattr("studio.data.text._RATIO", 10_000)
    assert len(unpacked(io.BytesIO(packed), "a.gz", Findings()).read()) == 1_300_000
    monkeypatch.setattr("studio.data.text._LARGEST", 1_000_000)
    with pytest.raises(DatasetError, match=r"a\.gz unpacks to more than"):
        unpacked(io.BytesIO(packed), "a.gz", Findings()).read()
