"""Characters nobody meant to write."""

from __future__ import annotations

import re
from typing import ClassVar

from studio.data.checks import Check, Row, Severity
from studio.data.checks._cells import cells, rewritten
from studio.data.templates import Mapping

# Not the joiners U+200C and U+200D: Persian and many emoji need them.
_INVISIBLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u200b\u2060\u202a-\u202e\u2066-\u2069\ufeff]")


def _as_windows(byte: int) -> str:
    """The character that Windows-1252 shows for a byte; its five gaps are shown as Latin-1 does."""
    return bytes([byte]).decode("cp1252" if byte not in (0x81, 0x8D, 0x8F, 0x90, 0x9D) else "latin-1")


_BYTE = {_as_windows(byte): byte for byte in range(256)}
_MARKS = "“”‘’‚„…–—‹›«»"  # as the second of two also good typography: "MENÜ“"
_SECOND = "".join(map(_as_windows, range(0x80, 0xC0)))
_PLAIN = "".join(each for each in _SECOND if each not in _MARKS)
_GARBLED = re.compile(
    f"[ÃÄÅ](?:[{re.escape(_PLAIN)}]|[{_MARKS}](?=[^\\W\\d_]))|Â[\xa0-\xbf]"
    f"|â[€‚„][{re.escape(_SECOND)}]|ï»¿|ðŸ[{re.escape(_SECOND)}]{{2}}"
)


class Characters(Check):
    title: ClassVar[str] = "Broken characters"
    about: ClassVar[str] = "Invisible and control characters, or UTF-8 read as Windows-1252 (Ã© for é)."
    severity: ClassVar[Severity] = "warning"
    remedy: ClassVar[str] = "Mend them"

    def why(self, row: Row, mapping: Mapping) -> str | None:
        for cell in cells(row, mapping):
            if garbled := next((each[0] for each in _GARBLED.finditer(cell.text) if _mended(each) != each[0]), None):
                return f"{garbled!r} in {cell.place}"
            if invisible := _INVISIBLE.search(cell.text):
                return f"U+{ord(invisible[0]):04X}, which nobody sees, in {cell.place}"
        return None

    def fix(self, row: Row, mapping: Mapping, row_id: int) -> Row:
        return rewritten(row, mapping, lambda text: _INVISIBLE.sub("", _GARBLED.sub(_mended, text)))


def _mended(garbled: re.Match[str]) -> str:
    try:
        return bytes(_BYTE[each] for each in garbled[0]).decode()
    except UnicodeDecodeError:
        return garbled[0]
