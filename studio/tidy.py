"""Quick suggestions for a prompt, by fixed rules that read off the right answers what the task is; without a model."""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property

from studio.evaluation.shape import MOST, Kind, kind_of, shape_of
from studio.prompt import ROW, Example, Prompt

LOOKED_AT = 500  # rows
BRIEF, DETAILED = 40, 120  # words of the middle answer, up to and from which one says so
TELLS = 0.3  # of the rows whose answer takes words from a column that the prompt does not show
LONG_CELL = 40  # characters of the middle row, from which it is worth marking where it begins and ends

_BRACED = re.compile(r"\{\{\{([^{}\n]{1,200})\}\}\}|\{\{([^{}\n]{1,200})\}\}|\$?\{([^{}\n]{1,200})\}")
_ASKS_BRIEF = re.compile(r"\b(brief(ly)?|concise(ly)?|short|one word|few words|nothing else|no explanations?)\b", re.I)
_ASKS_DETAIL = re.compile(
    r"\b(in detail|detailed|thorough(ly)?|elaborate|step by step|at length|comprehensive)\b", re.I
)
_SAYS_LENGTH = re.compile(rf"\b(words?|sentences?|paragraphs?)\b|{_ASKS_BRIEF.pattern}|{_ASKS_DETAIL.pattern}", re.I)
_MARKS = tuple("\"'`<>#=")  # beside a placeholder, which is marked then
_GOES_ON = tuple(".,;!?)")  # behind one that stands amid a sentence

_ROLES: dict[Kind, str] = {
    "json": "You read texts and write down what they say as data.",
    "labels": "You sort texts into a few kinds.",
    "number": "You work out numbers.",
    "lines": "You read texts and fill in what is asked of them, a line each.",
    "short": "You answer with a few exact words.",
    "prose": "You are a knowledgeable and careful assistant.",
}


@dataclass(frozen=True)
class Suggestion:
    """One thing that may be better."""

    key: str
    title: str
    why: str
    prompt: Prompt  # with this alone applied


def suggestions(prompt: Prompt, examples: Sequence[Example]) -> list[Suggestion]:
    """Those that would change something, in the order in which `tidied` applies them."""
    seen = _Seen(examples[:LOOKED_AT])
    return [
        Suggestion(key, title, *found)
        for key, (title, rule) in RULES.items()
        if (found := _applied(rule, prompt, seen))
    ]


def tidied(prompt: Prompt, examples: Sequence[Example], keys: Collection[str]) -> Prompt:
    """With the suggestions of these keys applied one after another, always in the same order."""
    seen = _Seen(examples[:LOOKED_AT])
    for key, (_, rule) in RULES.items():
        if key in keys and (found := _applied(rule, prompt, seen)):
            prompt = found[1]
    return prompt


# -- what rules look at --------------------------------------------------------------------------------


@dataclass
class _Seen:
    """Rows with their right answers."""

    examples: Sequence[Example]

    @cached_property
    def answers(self) -> list[str]:
        return [each.answer.strip() for each in self.examples if each.answer.strip()]

    @cached_property
    def kind(self) -> Kind:
        return kind_of(self.answers)

    @cached_property
    def lengths(self) -> list[int]:
        """Words of the answers."""
        return [len(each.split()) for each in self.answers]

    @cached_property
    def columns(self) -> list[str]:
        return list(dict.fromkeys(name for each in self.examples for name in each.fields if name != ROW))

    @property
    def names(self) -> list[str]:
        """What may stand in braces."""
        return [ROW, *self.columns]

    def used(self, prompt: Prompt) -> list[str]:
        return [name for name in self.names if f"{{{name}}}" in prompt.template]

    def wants_detail(self) -> bool:
        return self.kind == "prose" and statistics.median(self.lengths or [0]) > (BRIEF + DETAILED) / 2


Found = tuple[str, Prompt]  # (why, what it would be)
Rule = Callable[[Prompt, _Seen], Found | None]


def _applied(rule: Rule, prompt: Prompt, seen: _Seen) -> Found | None:
    found = rule(prompt, seen)
    return found if found and found[1] != prompt else None


def _with(prompt: Prompt, change: Callable[[str], str]) -> Prompt:
    """Both texts changed; a template that nothing would be left of stays."""
    return prompt.model_copy(
        update={"system": change(prompt.system), "template": change(prompt.template) or prompt.template}
    )


def _told(prompt: Prompt, sentence: str) -> Prompt:
    """With one more sentence in the system text."""
    between = "\n" if "\n" in prompt.system.strip() else " "
    return prompt.model_copy(update={"system": f"{prompt.system.rstrip()}{between}{sentence}".strip()})


def _text(prompt: Prompt) -> str:
    return f"{prompt.system}\n{prompt.template}"


def _sentences(text: str) -> list[str]:
    """Each with the white space before it; joined they are the text."""
    return re.split(r"(?<=[.!?])(?=\s)|(?<=\n)", text)


def _plain(sentence: str) -> str:
    return " ".join(re.findall(r"\w+", sentence.casefold()))


def _without(text: str, dropped: Collection[str]) -> str:
    """`dropped` are plain sentences."""
    kept = [each for each in _sentences(text) if "{" in each or _plain(each) not in dropped]
    return "".join(kept).lstrip() if len(kept) < len(_sentences(text)) else text


# -- mending -------------------------------------------------------------------------------------------


def _spaces(prompt: Prompt, seen: _Seen) -> Found | None:
    def change(text: str) -> str:
        return re.sub(r"\n{3,}", "\n\n", re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE)).strip()

    why = (
        "Spaces at the end of lines and several empty lines say nothing, and a space at the very end changes how what "
        "follows is cut into tokens."
    )
    return why, _with(prompt, change)


def _braces(prompt: Prompt, seen: _Seen) -> Found | None:
    mended: dict[str, str] = {}

    def meant(match: re.Match[str]) -> str:
        name = _nearest(next(filter(None, match.groups())), seen.names)
        if name and match[0] != f"{{{name}}}":
            mended[match[0]] = f"{{{name}}}"
        return mended.get(match[0], match[0])

    template = _BRACED.sub(meant, prompt.template)
    if not mended:
        return None
    shown = ", ".join(f"{was} → {now}" for was, now in mended.items())
    why = f"What stands in braces is no column as it is written, so every row would show the braces: {shown}."
    return why, prompt.model_copy(update={"template": template})


def _nearest(name: str, known: Sequence[str]) -> str | None:
    """The placeholder that is meant; None where it may be none at all, as in JSON."""
    bare = name.strip()
    if bare in known:
        return bare
    plain = {re.sub(r"[\s-]+", "_", each).casefold(): each for each in reversed(known)}
    wanted = re.sub(r"[\s-]+", "_", bare).casefold()
    close = get_close_matches(wanted, plain, 1, 0.66) if re.fullmatch(r"\w{3,}", wanted) else []
    return plain.get(wanted) or (plain[close[0]] if close else None)


def _row(prompt: Prompt, seen: _Seen) -> Found | None:
    if seen.used(prompt) or _braces(prompt, seen):
        return None
    why = "Without a placeholder every row is asked the same; {row} stands for what the row asks."
    return why, prompt.model_copy(update={"template": f"{prompt.template.rstrip()}\n\n{{{ROW}}}"})


def _columns(prompt: Prompt, seen: _Seen) -> Found | None:
    used = seen.used(prompt)
    missing = [name for name in seen.columns if name not in used and _matters(name, used, seen)]
    if not used or not missing:
        return None
    lines = "\n".join(f"{name}: {{{name}}}" for name in missing)
    shown = " and ".join(f"'{name}'" for name in missing)
    why = f"The right answers depend on the column {shown}, which the instruction does not show. "
    why += "Take it only where it is known before the answer is."
    return why, prompt.model_copy(update={"template": f"{prompt.template.rstrip()}\n\n{lines}"})


def _matters(column: str, used: Sequence[str], seen: _Seen) -> bool:
    """Whether it is part of what rows ask, or answers take words from it, and the used columns do not show it."""
    rows = [(cell, each) for each in seen.examples if (cell := each.fields.get(column, "").strip())]
    if 2 * len(rows) < len(seen.examples) or len({cell for cell, _ in rows}) < 2:
        return False
    if 2 * sum(each.answer.strip() in cell for cell, each in rows) >= len(rows):
        return False  # it is the answer, or holds it
    shown = [" ".join(each.fields.get(name, "") for name in used) for _, each in rows]
    if sum(cell in text for (cell, _), text in zip(rows, shown, strict=True)) >= MOST * len(rows):
        return False
    if ROW not in used and sum(cell in each.fields[ROW] for cell, each in rows) >= MOST * len(rows):
        return True
    taken = (
        _telling(cell) & _telling(each.answer) - _telling(text) for (cell, each), text in zip(rows, shown, strict=True)
    )
    return sum(map(bool, taken)) >= TELLS * len(rows)


def _telling(text: str) -> set[str]:
    """Its words, short ones aside."""
    return {word for word in re.findall(r"\w+", text.casefold()) if len(word) > 3 or word.isdigit()}


def _delimiters(prompt: Prompt, seen: _Seen) -> Found | None:
    """Around the placeholder of the longest cells, where anything else stands in the template."""
    lengths = {name: [len(each.fields.get(name, "")) for each in seen.examples] for name in seen.used(prompt)}
    longest, name = max(((statistics.median(each or [0]), name) for name, each in lengths.items()), default=(0, ""))
    if longest < LONG_CELL or prompt.template.count(f"{{{name}}}") != 1:
        return None
    before, after = (each.strip(" \t") for each in prompt.template.split(f"{{{name}}}"))
    marked = before.rstrip().endswith(_MARKS) or after.lstrip().startswith(_MARKS + _GOES_ON)
    if marked or not re.search(r"\w", before + after):
        return None
    head = before + "\n" * bool(before and not before.endswith("\n"))
    tail = "\n" * bool(after and not after.startswith("\n")) + after
    why = "A mark around the row shows where it begins and ends, so that what it says is not taken for instructions."
    return why, prompt.model_copy(update={"template": f'{head}"""\n{{{name}}}\n"""{tail}'})


def _doubled(prompt: Prompt, seen: _Seen) -> Found | None:
    known: set[str] = set()
    again: list[str] = []

    def change(text: str) -> str:
        kept = []
        for each in _sentences(text):
            plain = _plain(each)
            if plain in known and "{" not in each and len(plain.split()) > 2:
                again.append(each.strip())
                continue
            known.add(plain)
            kept.append(each)
        return "".join(kept).lstrip() if again else text

    changed = _with(prompt, change)
    return (f"It is said twice, and read twice for every row: “{again[0]}”", changed) if again else None


def _contradiction(prompt: Prompt, seen: _Seen) -> Found | None:
    """Where both are asked for, the answers say which is meant."""
    said = [each for text in (prompt.system, prompt.template) for each in _sentences(text) if "{" not in each]
    brief, detail = ([each for each in said if asks.search(each)] for asks in (_ASKS_BRIEF, _ASKS_DETAIL))
    wrong, right = (brief, detail) if seen.wants_detail() else (detail, brief)
    wrong = [each for each in wrong if each not in right]
    if not wrong or not right or not seen.lengths:
        return None
    how = "long" if seen.wants_detail() else "short"
    why = f"“{wrong[0].strip()}” goes against “{right[0].strip()}”; the right answers are {how}, as the latter asks."
    return why, _with(prompt, lambda text: _without(text, {_plain(each) for each in wrong}))


# -- adding --------------------------------------------------------------------------------------------


def _role(prompt: Prompt, seen: _Seen) -> Found | None:
    if prompt.system.strip() or re.match(r"\s*(you are|act as|your (role|task))\b", prompt.template, re.I):
        return None
    why = (
        "The system text is empty. A sentence on what the model is for keeps it to the task; small models gain little."
    )
    return why, _told(prompt, _ROLES[seen.kind])


def _format(prompt: Prompt, seen: _Seen) -> Found | None:
    shape = shape_of(seen.answers)
    if shape is None or all(each.casefold() in _text(prompt).casefold() for each in shape.words):
        return None
    return f"The right answers are {shape.what}, which the prompt does not say, or not in all.", _told(
        prompt, shape.sentence
    )


def _length(prompt: Prompt, seen: _Seen) -> Found | None:
    if seen.kind != "prose" or len(seen.lengths) < 4 or _SAYS_LENGTH.search(_text(prompt)):
        return None
    low, middle, high = (_rounded(each) for each in statistics.quantiles(seen.lengths, n=4))
    span = f"about {middle}" if low == high else f"{low} to {high}"
    how = "Be brief: answer" if middle <= BRIEF else "Go into detail: answer" if middle >= DETAILED else "Answer"
    why = f"Half of the right answers have {low} to {high} words; a model that is not told writes as long as it likes."
    return why, _told(prompt, f"{how} in {span} words.")


def _rounded(words: float) -> int:
    step = 1 if words < 10 else 5 if words < 50 else 10
    return max(1, step * round(words / step))


RULES: dict[str, tuple[str, Rule]] = {  # key → (title, rule); mending before adding
    "spaces": ("Leave out empty space", _spaces),
    "braces": ("Mend the placeholders", _braces),
    "row": ("Show the row", _row),
    "columns": ("Show the columns that matter", _columns),
    "delimiters": ("Mark where the row begins and ends", _delimiters),
    "doubled": ("Say it once", _doubled),
    "contradiction": ("Settle what contradicts itself", _contradiction),
    "role": ("Say what the model is for", _role),
    "format": ("Say what an answer looks like", _format),
    "length": ("Say how long an answer is", _length),
}
