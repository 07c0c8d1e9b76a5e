"""One spelling for the texts of a field: abbreviations written out, doses and quotation marks alike."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from studio.data.makers import Ask, Made, Maker, Progress, Row, require, walk
from studio.errors import DatasetError
from studio.settings import setting

_MOST = 5_000  # abbreviations and kept words; all of them become one pattern

_GAP = r"[^\S\n]{0,3}"  # within a line, a no-break space included
_SUB = rf"(?:{_GAP}\([0-9A-Za-z]{{1,6}}\))*"  # "(3)(b)"
_CITATIONS = (  # what lawyers cite by; no rule may touch it
    rf"§{{1,2}}{_GAP}\d[\w.\-]*{_SUB}",
    rf"(?<!\w)(?:Art(?:icle|\.)?|Sec(?:tion|\.)?|No\.|Nr\.|Abs\.|[Cc]l(?:ause|\.)|[Pp]ara(?:graph|\.)?|Reg\.)"
    rf"{_GAP}\d[\w.\-]*{_SUB}",
    rf"(?<!\w)\d{{1,4}}{_GAP}(?:[A-Z]\.{_GAP}){{2,5}}(?:§{{1,2}}{_GAP})?\d[\w.\-]*{_SUB}",
)
_ADDRESSES = (r"(?<!\w)(?:https?://|www\.)\S+", r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}\.[\w.-]{1,100}")
_UNITS = "mg|mcg|µg|μg|g|kg|ml|mL|dl|dL|l|L|mmol|mmHg|IU|mEq|kcal|cm|mm|km|kPa|bpm|min|h"
_DOSE = re.compile(rf"(?<![\w.,])(\d+(?:[.,]\d+)*)({_UNITS})(?!\w)")
_SINGLE, _DOUBLE = re.compile("[‘’‚‛]"), re.compile("[“”„‟]")
_SPACE = re.compile(r"[^\S\n]{2,}|[^\S\n ]")
_EDGES = re.compile(r" ?\n ?")
_GAPS = re.compile(r"\n{3,}")
_NO_MORE = re.compile(r"\s*\Z")


@dataclass(frozen=True)
class Rules:
    """What `normalise` does. Neither `keep` nor an expansion nor a legal citation is ever touched."""

    abbreviations: dict[str, str]  # as written → written out
    keep: tuple[str, ...] = ()  # names that look like something else, such as a drug's
    doses: bool = True  # "5mg" → "5 mg"
    quotes: bool = True  # curly → straight
    spaces: bool = True  # one between words, at most one blank line

    @cached_property
    def forms(self) -> dict[str, str]:
        """Every spelling that is replaced: one that begins small may also begin a sentence."""
        capital = {short[0].upper() + short[1:]: long[0].upper() + long[1:] for short, long in self._small}
        return {**capital, **self.abbreviations}

    @property
    def _small(self) -> list[tuple[str, str]]:
        return [pair for pair in self.abbreviations.items() if pair[0][0].islower()]

    @cached_property
    def kept(self) -> re.Pattern[str]:
        """Spans that stay as they are."""
        words = {*self.keep, *(word.capitalize() for word in self.keep), *self.forms.values()}
        return re.compile("|".join([*_ADDRESSES, *_CITATIONS, *filter(None, [_any_of(words)])]))

    @cached_property
    def short(self) -> re.Pattern[str] | None:
        """Any abbreviation, where it is a word by itself."""
        return re.compile(_any_of(self.forms)) if self.forms else None


class Normalise(Maker):
    """Rewrites texts by rules a person can read; only rows in which something changed are made."""

    title: ClassVar[str] = "Normalise"
    about: ClassVar[str] = (
        "Writes out abbreviations and gives doses, quotation marks and spaces one spelling. Citations stay as they are."
    )

    columns: str = setting("", "Columns", help="Names with commas between them. Empty: every column with text.")
    abbreviations: str = setting(
        "",
        "Abbreviations",
        help='Lines such as \'b.i.d. = twice daily\', or JSON such as {"b.i.d.": "twice daily"}. '
        "Case counts, except where one begins a sentence.",
    )
    keep: str = setting("", "Never change", help="Words with commas between them, such as the names of drugs.")
    doses: bool = setting(True, "Space before units", help="5mg becomes 5 mg; numbers stay as they are.")
    quotes: bool = setting(True, "Straight quotes", help="Curly quotation marks and apostrophes become straight ones.")
    spaces: bool = setting(True, "Single spaces", help="Off for code and verse, where white space means something.")

    def rules(self) -> Rules:
        """The rules these settings describe. Raises DatasetError for a list that cannot be read."""
        abbreviations, kept = parse_terms(self.abbreviations)
        keep = tuple(dict.fromkeys([*kept, *_names(self.keep)]))
        if len(abbreviations) + len(keep) > _MOST:
            raise DatasetError(f"There are more than {_MOST:,} abbreviations.", remedy="Keep those the data uses.")
        return Rules(abbreviations, keep, self.doses, self.quotes, self.spaces)

    def make(
        self, rows: Iterable[Row], ask: Ask | None, progress: Progress, dropped: Counter[str] | None = None
    ) -> Iterator[Made]:
        """Changed rows. Raises DatasetError for a column that is missing or a list that cannot be read."""
        rules = self.rules()
        columns, each = walk(rows, progress)
        wanted = _names(self.columns)
        require(wanted, columns, "Columns")
        for index, row in each:
            texts = {name: cell for name in wanted or row if isinstance(cell := row.get(name), str)}
            changed = {name: new for name, cell in texts.items() if (new := normalise(cell, rules)) != cell}
            if changed:
                yield Made({**row, **changed}, index, "changed")


def normalise(text: str, rules: Rules) -> str:
    """The text under the rules; doing it twice changes nothing more."""
    if rules.spaces:
        text = _outside(rules, _SPACE, " ", text)
        text = _GAPS.sub("\n\n", _EDGES.sub("\n", text)).strip()
    if rules.quotes:
        text = _outside(rules, _DOUBLE, '"', _outside(rules, _SINGLE, "'", text))
    if rules.doses:
        text = _outside(rules, _DOSE, r"\1 \2", text)
    if rules.short:
        text = _outside(rules, rules.short, lambda match: _written_out(match, rules.forms), text)
    return text


def parse_terms(text: str) -> tuple[dict[str, str], list[str]]:
    """(abbreviation → expansion, words to keep) from lines or JSON.

    JSON may hold the pairs themselves, or them under "abbreviations" beside lists of words to keep.
    Raises DatasetError naming the first entry that is neither.
    """
    if not text.lstrip().startswith("{"):
        return _pairs(enumerate(text.splitlines(), start=1)), []
    try:
        values: Any = json.loads(text)
    except (ValueError, RecursionError):
        raise DatasetError("The abbreviations are not JSON.", remedy=_HOW) from None
    pairs = values.get("abbreviations", values)
    if not isinstance(pairs, dict):
        raise DatasetError("'abbreviations' is no set of pairs.", remedy=_HOW)
    for short, long in pairs.items():
        if not (short.strip() and isinstance(long, str) and long.strip()):
            raise DatasetError(f"The abbreviation {short[:40]!r} has no words that it stands for.", remedy=_HOW)
    lists = (each for each in values.values() if isinstance(each, list))
    words = [_one_line(word) for words in lists for word in words if isinstance(word, str) and word.strip()]
    return {_one_line(short): _one_line(long) for short, long in pairs.items()}, words


def _one_line(text: str) -> str:
    return " ".join(text.split())


_HOW = 'Write lines such as \'b.i.d. = twice daily\', or JSON such as {"b.i.d.": "twice daily"}.'


def _pairs(lines: Iterable[tuple[int, str]]) -> dict[str, str]:
    found = {}
    for number, line in lines:
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        short, _, long = map(_one_line, line.partition("="))
        if not short or not long:
            raise DatasetError(f"Line {number} of the abbreviations is no pair: {line.strip()[:60]!r}.", remedy=_HOW)
        found[short] = long
    return found


def _outside(rules: Rules, pattern: re.Pattern[str], new: str | Callable[[re.Match[str]], str], text: str) -> str:
    """`pattern` replaced wherever it does not reach into a kept span."""
    parts, done = [], 0
    for kept in [*rules.kept.finditer(text), None]:
        begin = kept.start() if kept else len(text)
        for match in pattern.finditer(text, done, begin):  # not a slice: what stands before is still seen
            parts += [text[done : match.start()], new(match) if callable(new) else match.expand(new)]
            done = match.end()
        parts.append(text[done:begin])
        if kept:
            parts.append(kept[0])
            done = kept.end()
    return "".join(parts)


def _written_out(match: re.Match[str], forms: dict[str, str]) -> str:
    """The expansion; the full stop at the end of a text is also the one of its last sentence."""
    ends = match[0].endswith(".") and _NO_MORE.match(match.string, match.end())
    return forms[match[0]] + ("." if ends else "")


def _any_of(words: Iterable[str]) -> str:
    """A pattern for any of the words by itself, the longest first."""
    if not (ordered := sorted(words, key=lambda word: (-len(word), word))):
        return ""
    return rf"(?<![\w.])(?:{'|'.join(map(re.escape, ordered))})(?!\w)"


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
