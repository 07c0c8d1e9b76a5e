"""The program in what a model answered. Only ever read inside a sandbox: the parser of Python may fail on hostile text.

The standard library only, as in studio/sandboxed.py.
"""

from __future__ import annotations

import ast
import re
import textwrap

_FENCE = re.compile(r"^[ \t]*```[^\n]*\n(.*?)(?:^[ \t]*```|\Z)", re.DOTALL | re.MULTILINE)
_BEGINS = re.compile(r"^(?:def|class|async|import|from|@)", re.MULTILINE)


def program_of(prompt: str, answer: str, entry_point: str) -> str:
    """The program that an answer is: its code whole, or the code of the prompt with the answer as its continuation.

    What is written around code is dropped: before and behind fences, and lines at the margin behind the last line
    that still makes a program. Where nothing makes one, the answer as it is: it will not compile, and that is told.
    """
    code = _fenced(answer, entry_point)
    given = given_by(prompt, entry_point)
    begins = _BEGINS.search(code)
    for text in (code, code[begins.start() :] if begins else ""):
        if (found := _beginning(text)) and _defines(found, entry_point):
            return f"{given}\n\n{found}"
    if given:
        for text in (code, "    " + code.lstrip()):  # what cuts answers may have taken the first line's spaces
            if found := _beginning(f"{given.rstrip()}\n{text}", keeps=len(given.rstrip().splitlines())):
                return found
    return code


def given_by(prompt: str, entry_point: str) -> str:
    """The code of a prompt that asks for a function by its head, with what stands before it; "" for any other."""
    code = _fenced(prompt, entry_point)
    return code if entry_point and _defines(code, entry_point) else ""


def _fenced(text: str, name: str) -> str:
    """The first block between fences that defines `name`, else the first, else the text itself."""
    blocks = _FENCE.findall(text)
    holding = [block for block in blocks if re.search(rf"\b(?:def|class)\s+{re.escape(name)}\b", block)]
    return textwrap.dedent((holding or blocks)[0]) if blocks else text


def _beginning(text: str, keeps: int = 0) -> str:
    """The longest beginning of a text that is Python and has more than `keeps` lines; "" for none.

    It ends at the end of the text or before a line at the margin: half a function is none.
    """
    lines = text.splitlines()
    ends = (place for place in reversed(range(keeps + 1, len(lines))) if lines[place][:1].strip())
    for end in (len(lines), *ends):
        found = "\n".join(lines[:end])
        if end > keeps and _tree(found) is not None:
            return found
    return ""


def _defines(code: str, name: str) -> bool:
    """Whether a text is Python and defines a function or class of that name, or any where none is given."""
    tree = _tree(code)
    made = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return tree is not None and any(isinstance(each, made) and name in ("", each.name) for each in tree.body)


def _tree(code: str) -> ast.Module | None:
    try:
        tree = ast.parse(code)
        compile(tree, "program", "exec", dont_inherit=True)  # also refuses a 'return' outside of functions
        return tree
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
