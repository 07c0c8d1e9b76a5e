"""A folder of source code → a row a file. Nothing outside the folder is ever read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from studio.data.text import Findings, text_of
from studio.errors import DatasetError

LARGEST = 1_000_000  # bytes of one file; what is larger is seldom written by hand
# What tools fetched or built; hidden folders (.git, .venv) are left out too.
_NOT_OURS = {"node_modules", "bower_components", "site-packages", "vendor", "venv", "env", "__pycache__"} | {
    "build",
    "dist",
    "out",
    "target",
    "coverage",
}
LANGUAGES = {
    ".py": "Python",
    ".pyi": "Python",
    ".js": "JavaScript",
    ".mjs": "JavaScript",
    ".cjs": "JavaScript",
    ".jsx": "JavaScript",
    ".ts": "TypeScript",
    ".tsx": "TypeScript",
    ".java": "Java",
    ".kt": "Kotlin",
    ".scala": "Scala",
    ".groovy": "Groovy",
    ".c": "C",
    ".h": "C",
    ".cpp": "C++",
    ".cc": "C++",
    ".cxx": "C++",
    ".hpp": "C++",
    ".hh": "C++",
    ".cu": "CUDA",
    ".cs": "C#",
    ".fs": "F#",
    ".go": "Go",
    ".rs": "Rust",
    ".swift": "Swift",
    ".m": "Objective-C",
    ".rb": "Ruby",
    ".php": "PHP",
    ".pl": "Perl",
    ".lua": "Lua",
    ".r": "R",
    ".jl": "Julia",
    ".dart": "Dart",
    ".ex": "Elixir",
    ".exs": "Elixir",
    ".erl": "Erlang",
    ".hs": "Haskell",
    ".ml": "OCaml",
    ".clj": "Clojure",
    ".zig": "Zig",
    ".nim": "Nim",
    ".f90": "Fortran",
    ".sh": "Shell",
    ".bash": "Shell",
    ".ps1": "PowerShell",
    ".sql": "SQL",
    ".html": "HTML",
    ".css": "CSS",
    ".scss": "SCSS",
    ".vue": "Vue",
    ".svelte": "Svelte",
}


def code_rows(folder: Path, name: str, findings: Findings) -> Iterator[tuple[float, dict[str, Any]]]:
    """(share read, {"path", "language", "text"}) for each source file, in the order of their paths.

    `path` is relative, with forward slashes. Links are not followed; empty files are left out; large and
    binary ones are set aside, `line` being the file's place. Raises DatasetError where there is no source.
    """
    paths = sorted(sources(folder))
    if not paths:
        raise DatasetError(
            f"The folder {name} holds no source code.", remedy="Choose a file in it, or a folder with source files."
        )
    for place, relative in enumerate(paths, start=1):
        shown = os.fsencode(relative).decode("utf-8", "replace")
        text = _text(folder / relative, shown, place, findings)
        if text.strip():
            language = LANGUAGES[Path(relative).suffix.lower()]
            yield place / len(paths), {"path": shown, "language": language, "text": text}


def sources(folder: Path) -> Iterator[str]:
    """Relative paths of all regular files of a known language."""
    for place, folders, files in os.walk(folder):  # which does not follow links to folders
        folders[:] = [one for one in folders if not one.startswith(".") and one.lower() not in _NOT_OURS]
        for file in files:
            path = Path(place, file)
            if path.suffix.lower() in LANGUAGES and path.is_file() and not path.is_symlink():
                yield path.relative_to(folder).as_posix()


def _text(path: Path, shown: str, place: int, findings: Findings) -> str:
    """A file's text; empty where it is set aside."""
    own = Findings()
    try:
        if path.stat().st_size > LARGEST:
            findings.put_aside(place, f"{shown}, a file of more than 1 MB")
            return ""
        with open(os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)), "rb") as file:  # it may have become a link
            text = "".join(text_of(file, shown, own)) if path.stat().st_size else ""
    except OSError as error:
        findings.put_aside(place, f"{shown}, which cannot be read ({error.strerror})")
        return ""
    except DatasetError as error:
        if not error.problem.endswith("is empty."):
            findings.put_aside(place, f"{shown}, of which is to say: {error.problem.removesuffix('.')}")
        return ""
    findings.notes.extend(f"{shown}: {note}" for note in own.notes)
    return text
