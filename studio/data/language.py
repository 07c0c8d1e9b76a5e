"""Which language a text is in, where it is long enough and plain enough to say."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

_LETTERS = 20  # fewer of them say too little
_READ = 500  # characters looked at: more of them cost time and tell no more
_CONFIDENT = 0.9  # probability among some 140 languages
_SYMBOLS = re.compile(r"[{}\[\]();=<>_\\|#$`]")
_CODE = re.compile(
    r"```|^\s*(?:def |class |import |from \w+ import |#include|function |const |let |var |public |SELECT |return )",
    re.MULTILINE,
)


def language(text: str) -> str | None:
    """Its code (ISO 639-1 where there is one); None for short texts, code, and where it is not clear."""
    text = text[:_READ]
    if sum(map(str.isalpha, text)) < _LETTERS or looks_like_code(text):
        return None
    code, probability = _identifier().classify(text)
    return code if probability >= _CONFIDENT else None


def looks_like_code(text: str) -> bool:
    """Whether a text holds a code block or the signs that programs are full of."""
    return bool(_CODE.search(text)) or len(_SYMBOLS.findall(text)) > 0.05 * len(text)


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
