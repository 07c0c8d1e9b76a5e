"""Bytes of an unknown kind → decoded text, a chunk at a time, however large the file is."""

from __future__ import annotations

import codecs
import gzip
import io
import re
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO

from studio.data.dataset import SetAside
from studio.errors import DatasetError

CHUNK = 1 << 20  # bytes read at a time
LONGEST = 64_000_000  # characters of one line, one paragraph or one JSON value; more is set aside without being held
GZIP = b"\x1f\x8b"
KINDS = "Save it as CSV, TSV, JSON, JSON Lines, Parquet or plain text and choose that file."

_RAW = 100_000  # characters kept of a row that is set aside
_ALL_RAW = 50_000_000  # characters kept of all of them: a file of nothing but bad rows must not fill the memory
_RATIO, _SAFE_SIZE, _LARGEST = 100, 100_000_000, 20_000_000_000  # unpacked: times its size, bytes, bytes
_OTHER_KINDS = (  # first bytes of what people rename by mistake
    (b"PK\x03\x04", "a ZIP archive or an Excel or Word file"),
    (b"\xd0\xcf\x11\xe0", "an old Excel or Word file"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ", "an xz archive"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive"),
    (GZIP, "a gzip archive within a gzip archive"),
    (b"%PDF", "a PDF"),
    (b"SQLite format 3", "an SQLite database"),
    (b"PAR1", "a Parquet file within a gzip archive"),
    (b"ARROW1", "an Arrow file"),
)
_MARKS = (  # UTF-32's little-endian mark begins as UTF-16's does, so it is asked first
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_Decode = Callable[[bytes, str, bool], tuple[str, int]]  # → (text, bytes used); a character cut in two waits
_DECODE: dict[str, _Decode] = {
    "utf-8": codecs.utf_8_decode,
    "utf-16-le": codecs.utf_16_le_decode,
    "utf-16-be": codecs.utf_16_be_decode,
    "utf-32-le": codecs.utf_32_le_decode,
    "utf-32-be": codecs.utf_32_be_decode,
}
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1a]")
_DIRECTION = re.compile("[\u202a-\u202e\u2066-\u2069]")


class Findings:
    """What reading a file shows besides its rows."""

    def __init__(self) -> None:
        self.set_aside: list[SetAside] = []
        self.notes: list[str] = []
        self.cut_off = False  # the file breaks off: what stands last may be half a row
        self._room = _ALL_RAW

    def put_aside(self, line: int, reason: str, raw: str = "") -> None:
        """Record a row that cannot be read; its text is kept as far as there is room."""
        kept = raw[: min(_RAW, self._room)]
        self._room -= len(kept)
        self.set_aside.append(SetAside(line, reason, kept))

    def count(self, number: int, one: str, many: str) -> None:
        """Note how many there were, unless there were none; `many` holds `{}` for the number."""
        if number:
            self.notes.append(one if number == 1 else many.format(f"{number:,}"))


def unpacked(file: BinaryIO, name: str, findings: Findings) -> BinaryIO:
    """What a gzip archive holds, as a stream. Reading it raises DatasetError where it swells beyond all measure."""
    return io.BufferedReader(_Unpacked(file, name, findings), CHUNK)


class _Unpacked(io.RawIOBase):
    """An archive that breaks off ends there; `findings` say so."""

    def __init__(self, file: BinaryIO, name: str, findings: Findings) -> None:
        self._file, self._name, self._findings = file, name, findings
        self._stream = gzip.GzipFile(fileobj=file)
        self._size = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview[int], /) -> int:  # type: ignore[override]
        if self._findings.cut_off:
            return 0
        try:
            data = self._stream.read1(len(buffer))
        except (EOFError, gzip.BadGzipFile, zlib.error):
            self._findings.cut_off = True
            self._findings.notes.append("The gzip archive is damaged: only what stands before the break was read.")
            return 0
        self._size += len(data)
        if self._size > _LARGEST or (self._size > _SAFE_SIZE and self._size > _RATIO * self._file.tell()):
            raise DatasetError(
                f"{self._name} unpacks to more than {self._size // 1_000_000:,} MB, which is beyond what is read.",
                remedy="If its content is sound, unpack it yourself, split it and choose the parts.",
            )
        buffer[: len(data)] = data
        return len(data)


def text_of(file: BinaryIO, name: str, findings: Findings) -> Iterator[str]:
    """The decoded text in chunks; none but the last ends between a carriage return and its line feed.

    UTF-8, UTF-16 and UTF-32 are told apart by their marks and zeros; bytes that are not UTF-8 are taken for
    Windows-1252, each place by itself. Raises DatasetError for what is not text, or is blank.
    """
    data = _more(file)
    if kind := next((kind for first, kind in _OTHER_KINDS if data.startswith(first)), None):
        raise DatasetError(f"{name} is {kind}, whatever its name says.", remedy=KINDS)
    decoder, held, blank = _Decoder(_encoding(data), name), "", True
    while data:
        more = _more(file)
        text, used = decoder.decode(data, final=not more)
        text, held = held + text, ""
        if text.endswith("\r") and more:
            text, held = text[:-1], "\r"
        blank = blank and not text.strip()
        data = data[used:] + more if more else b""
        yield text
    if blank:
        kind = "a damaged gzip archive" if findings.cut_off else "empty"
        raise DatasetError(f"{name} is {kind}.", remedy="Choose a file with rows in it.")
    decoder.tell(findings)


def lines(chunks: Iterator[str], findings: Findings) -> Iterator[str]:
    r"""Lines with their ends: \n, \r\n or \r alone; U+2028 and its like may stand inside a text.

    A line longer than LONGEST is set aside; a blank one stands in its place, so that counting stays right.
    """
    number, pieces, size = 1, [], 0
    for chunk in chunks:
        for piece in io.StringIO(chunk, newline=""):
            if piece[-1] not in "\r\n":  # the line goes on in the next chunk
                size += len(piece)
                pieces = [*pieces, piece] if size <= LONGEST else [*pieces, piece][:1]
                continue
            if size:
                piece = _joined([*pieces, piece], size, number, findings)
                pieces, size = [], 0
            yield piece
            number += 1
    if size:
        yield _joined(pieces, size, number, findings)


def _joined(pieces: list[str], size: int, number: int, findings: Findings) -> str:
    if size <= LONGEST:
        return "".join(pieces)
    findings.put_aside(number, f"a line of more than {LONGEST // 1_000_000} million characters", pieces[0])
    return "\n"


def _more(file: BinaryIO) -> bytes:
    """The next chunk, to the end of a line where that is near."""
    return file.read(CHUNK) + file.readline(CHUNK)


class _Decoder:
    """Decodes chunk by chunk and counts what the person should know."""

    def __init__(self, encoding: str, name: str) -> None:
        self._encoding, self._name = encoding, name
        self._first, self._turned = True, False
        self._length = self._nuls = self._controls = self._lost = self._odd_lines = 0

    def decode(self, data: bytes, final: bool) -> tuple[str, int]:
        """(text, bytes used). Raises DatasetError once it is plain that this is no text."""
        decode = _DECODE[self._encoding]
        try:
            text, used = decode(data, "strict", final)
        except UnicodeDecodeError:
            text, used = self._mended(decode, data, final)
        if self._first:
            text, self._first = text.removeprefix("\ufeff"), False
        self._length += len(text)
        controls = len(_CONTROL.findall(text))
        self._controls += controls
        if self._controls + self._lost > 2 + self._length // 100:
            raise DatasetError(f"{self._name} is not text: it holds binary data.", remedy=KINDS)
        if controls and (nuls := text.count("\0")):
            self._nuls += nuls
            text = text.replace("\0", "")
        self._turned = self._turned or (not text.isascii() and _DIRECTION.search(text) is not None)
        return text, used

    def _mended(self, decode: _Decode, data: bytes, final: bool) -> tuple[str, int]:
        """Every place that cannot be decoded is read as Windows-1252, or in UTF-16 and UTF-32 replaced."""
        if self._encoding != "utf-8":
            text, used = decode(data, "replace", final)
            self._lost += text.count("\ufffd")
            return text, used
        text, used = decode(data, "surrogateescape", final)  # strict UTF-8 has no surrogates: these mark the places
        self._odd_lines += len(re.findall("[\udc80-\udcff][^\r\n]*", text))
        kept = text.count("\ufffd")
        text = re.sub("[\udc80-\udcff]+", _as_windows_1252, text)
        self._lost += text.count("\ufffd") - kept
        return text, used

    def tell(self, findings: Findings) -> None:
        """Note what was counted."""
        accents = "read as Windows-1252: check that letters with accents look right."
        findings.count(
            self._odd_lines, f"1 line is not UTF-8 and was {accents}", f"{{}} lines are not UTF-8 and were {accents}"
        )
        findings.count(
            self._lost,
            "1 place that is no character was replaced by �.",
            "{} places that are no character were replaced by �.",
        )
        findings.count(self._nuls, "1 NUL character was left out.", "{} NUL characters were left out.")
        if self._turned:
            findings.notes.append(
                "Some text holds characters that turn the writing direction: what it shows may not be what it says."
            )


def _as_windows_1252(match: re.Match[str]) -> str:
    return match[0].encode("ascii", "surrogateescape").decode("cp1252", "replace")


def _encoding(data: bytes) -> str:
    """UTF-8 unless a byte order mark, or where the zeros stand, say otherwise."""
    if marked := next((encoding for mark, encoding in _MARKS if data.startswith(mark)), None):
        return marked
    head = data[: min(4000, len(data) // 4 * 4)]
    if len(head) < 4 or b"\0" not in head:
        return "utf-8"
    if not any(head[3::4]) and max(head[2::4]) <= 0x10 and any(head[::4]):  # no character is beyond 0x10ffff
        return "utf-32-le"
    if not any(head[::4]) and max(head[1::4]) <= 0x10 and any(head[3::4]):
        return "utf-32-be"
    even, odd = head[::2].count(0), head[1::2].count(0)
    for encoding, zeros, others in (("utf-16-le", odd, even), ("utf-16-be", even, odd)):
        if zeros > 0.3 * len(head) and not others:
            return encoding
        if zeros > 0.02 * len(head) and zeros > 5 * others and not _is_utf_8(head):  # few Latin letters in it
            return encoding
    return "utf-8"


def _is_utf_8(head: bytes) -> bool:
    try:
        codecs.utf_8_decode(head, "strict", False)
    except UnicodeDecodeError:
        return False
    return True
