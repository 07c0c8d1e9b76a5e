"""Words as rewards count them."""

from __future__ import annotations

import re


def listed(text: str) -> list[str]:
    """What stands between commas or line breaks, each once."""
    return list(dict.fromkeys(word for part in re.split(r"[,\n]", text) if (word := " ".join(part.split()))))


def occurs(word: str, text: str) -> bool:
    """Whether a word or phrase stands in `text` as a whole; case does not count, nor how white space is written."""
    spelt = r"\s+".join(map(re.escape, word.casefold().split()))
    return re.search(rf"(?<!\w){spelt}(?!\w)", text.casefold()) is not None
