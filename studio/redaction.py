"""Secrets: how tokens look, which variables of the environment hold one, and texts without them."""

from __future__ import annotations

import os
import re
import sys
import traceback

TOKEN = re.compile(
    r"(?<![\w-])(?:"
    r"sk-[\w-]{20,200}|gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_\w{22,255}|hf_[A-Za-z0-9]{30,64}"
    r"|glpat-[\w-]{20,64}|xox[abeoprs]-[A-Za-z0-9-]{10,200}|(?:AKIA|ASIA)[A-Z0-9]{16}|AIza[\w-]{35}"
    r"|eyJ[\w-]{8,4000}\.eyJ[\w-]{8,4000}\.[\w-]{8,1000}"
    r")(?![\w-])"
)
_NAMED = re.compile(
    r"(?:^|_)(?:API_?KEY|KEYS?|TOKENS?|SECRETS?|PASS|PASSWD|PASSWORD|PASSPHRASE|CREDENTIALS?)(?:_|$)", re.IGNORECASE
)
_SHORTEST = 8  # letters of a secret; what is shorter may be a word of any text


def is_secret(name: str) -> bool:
    """Whether a variable of that name is likely to hold one."""
    return _NAMED.search(name) is not None


def redacted(text: str) -> str:
    """The text without what looks like a token, and without what a variable of this process keeps secret."""
    for name, value in os.environ.items():
        if len(value) >= _SHORTEST and value in text and is_secret(name):
            text = text.replace(value, "…")
    return TOKEN.sub("…", text)


def print_fault() -> None:
    """As traceback.print_exc, which may quote what was sent with a request."""
    print(redacted(traceback.format_exc()), end="", file=sys.stderr, flush=True)
