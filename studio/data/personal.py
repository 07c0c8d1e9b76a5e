"""Personal data and secrets in a text. What has a check digit must pass it: an order number is no card."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from studio.redaction import TOKEN

KINDS = {  # kind, as its mask shows it → as people call it
    "KEY": "private key",
    "TOKEN": "access token",
    "EMAIL": "e-mail address",
    "IBAN": "bank account number",
    "CARD": "payment card number",
    "PHONE": "telephone number",
}

_KEY = re.compile(
    r"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [A-Z0-9 ]{0,40}-----|\Z)", re.S
)
_EMAIL = re.compile(
    r"(?<![\w.+%-])[\w+%][\w.+%-]{0,63}@(?:[A-Za-z0-9](?:[\w-]{0,61}\w)?\.){1,8}[A-Za-z]{2,24}(?![\w@])"
)
_IBAN = re.compile(r"(?<![\w-])[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}")
_CARD = re.compile(r"(?<![\w.,-])\d(?:[ -]?\d){12,18}(?![\w-]|[.,]\d)")
_BRANDS = re.compile(
    r"4\d{15}|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}"
    r"|3[47]\d{13}|3(?:0[0-5]|[68]\d)\d{11}|35\d{14}|6(?:011|5\d\d)\d{12}"
)
_PHONE = re.compile(
    r"(?<![\w+.,/-])(?<!\d )(?:"  # a number behind a number is one of a row of them
    r"(?:\+[1-9]\d{0,2}|00[1-9]\d{0,2}[ /-])(?:[ ./-]?\(?\d{1,5}\)?){2,6}"  # +49 (30) 1234-567
    r"|(?:\+?1[ .-])?(?:\(\d{3}\) ?|\d{3}[.-])\d{3}[.-]\d{4}"  # (555) 123-4567
    r"|\(?0[1-9]\d{1,4}\)?(?: ?/ ?| )\d{2,4}(?:[ -]?\d{2,5}){1,3}"  # 030 1234567
    r")(?![\w-]|[.,:/]\d)"
)
_IBAN_LENGTHS = {  # characters: countries, from ISO 13616's registry
    15: "NO", 16: "BE", 18: "DK FI NL", 19: "SI", 20: "AT EE LT", 21: "CH HR LI LV", 22: "BG DE GB IE RS",
    23: "AE IL", 24: "AD CZ ES RO SA SE SK", 25: "PT", 26: "IS TR", 27: "FR GR IT MC SM", 28: "CY HU PL",
    29: "BR UA", 31: "MT",
}  # fmt: skip
_IBAN_LENGTH = {country: length for length, countries in _IBAN_LENGTHS.items() for country in countries.split()}


@dataclass(frozen=True)
class Found:
    """Where something personal stands in a text, `text[start:end]`."""

    start: int
    end: int
    kind: str  # a key of KINDS


def find(text: str) -> list[Found]:
    """What is there, in the text's order; nothing overlaps."""
    found: list[Found] = []
    taken = bytearray(len(text))
    for kind, pattern, length in _SEARCHES:
        for match in pattern.finditer(text):
            start, end = match.start(), match.start() + length(match[0])
            if end > start and not any(taken[start:end]):
                taken[start:end] = b"\1" * (end - start)
                found.append(Found(start, end, kind))
    return sorted(found, key=lambda each: each.start)


def mask(text: str) -> str:
    """The text with [EMAIL] and the like in place of what `find` finds."""
    return "".join(_pieces(text))


def _pieces(text: str) -> Iterator[str]:
    begin = 0
    for each in find(text):
        yield f"{text[begin : each.start]}[{each.kind}]"
        begin = each.end
    yield text[begin:]


def _token(text: str) -> int:
    """A word with hyphens, such as sk-something-long, is no token: those hold digits."""
    return len(text) if any(map(str.isdigit, text)) else 0


def _iban(text: str) -> int:
    """Length of the account number the text begins with: ISO 7064, remainder 1 modulo 97."""
    wanted = _IBAN_LENGTH.get(text[:2], 0)
    for end in range(len(text) + 1):
        number = text[:end].replace(" ", "")
        if wanted and len(number) == wanted:
            digits = "".join(str(int(each, 36)) for each in number[4:] + number[:4])
            return end if int(digits) % 97 == 1 else 0
    return 0


def _card(text: str) -> int:
    """A known brand's number whose check digit is right: Luhn, ISO/IEC 7812-1."""
    digits = re.sub("[ -]", "", text)
    total = 0
    for place, digit in enumerate(map(int, reversed(digits))):
        total += sum(divmod(2 * digit, 10)) if place % 2 else digit
    return len(text) if _BRANDS.fullmatch(digits) and total % 10 == 0 else 0


def _phone(text: str) -> int:
    """E.164 allows 15 digits, but so many in one go are a sum's; one point alone is a decimal's."""
    digits = sum(map(str.isdigit, text))
    most = 13 if digits >= len(text) - 1 else 15
    return len(text) if 8 <= digits <= most and text.count(".") != 1 else 0


_SEARCHES: tuple[tuple[str, re.Pattern[str], Callable[[str], int]], ...] = (
    ("KEY", _KEY, len),
    ("TOKEN", TOKEN, _token),
    ("EMAIL", _EMAIL, len),
    ("IBAN", _IBAN, _iban),
    ("CARD", _CARD, _card),
    ("PHONE", _PHONE, _phone),
)
