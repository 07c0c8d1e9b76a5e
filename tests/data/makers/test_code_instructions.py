"""Code becomes tasks without ever being run."""

import ast
from collections import Counter
from pathlib import Path

import pytest

from studio.data.makers.code_instructions import CodeInstructions, first_sentence
from studio.errors import DatasetError

SOURCE = '''"""A module."""
import functools

@functools.cache
def area(width: float,
         height: float = 1.0) -> float:
    """The area of a rectangle. In square metres.

    More about it.
    """

    # both sides count
    return width * height


def undocumented():
    return 1


class Stack:
    """A pile of things."""

    def push(self, thing):
        """Put a thing on top"""
        self.things.append(thing)

    class Inner:
        async def wait(self):
            """Wait for a thing."""
            return None


def outer():
    def inner():
        """Not to be found."""
    return inner
'''


def made(maker, *sources, **more):
    dropped = Counter()
    rows = [{"text": source, **more} for source in sources]
    return [one.row for one in maker.make(rows, None, lambda *_: None, dropped)], dropped


def test_functions_methods_and_classes_with_docstrings_become_rows():
    rows, dropped = made(CodeInstructions(), SOURCE, path="shapes.py")
    asked = [row["instruction"] for row in rows]
    named = ("function `area`", "class `Stack`", "method `push` of the class `Stack`")
    for wanted, text in zip((*named, "async method `wait` of the class `Stack.Inner`"), asked, strict=True):
        assert wanted in text
    assert "The area of a rectangle." in asked[0]
    assert "square metres" not in asked[0]
    assert {row["path"] for row in rows} == {"shapes.py"}
    assert {row["input"] for row in rows} == {""}
    assert not dropped


def test_every_answer_is_the_definition_by_itself():
    rows, _ = made(CodeInstructions(), SOURCE)
    assert rows[0]["output"].startswith("@functools.cache\ndef area(")
    assert rows[2]["output"].startswith("def push(self, thing):\n    ")
    for row in rows:
        (node,) = ast.parse(row["output"]).body
        assert isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
        assert ast.get_docstring(node)


def test_without_docstrings_the_code_does_the_same():
    rows, _ = made(CodeInstructions(keep_docstring=False), SOURCE)
    assert rows[0]["output"] == (
        "@functools.cache\ndef area(width: float,\n         height: float = 1.0) -> float:\n"
        "    # both sides count\n    return width * height"
    )
    for row in rows:
        assert ast.get_docstring(ast.parse(row["output"]).body[0]) is None  # pyright: ignore[reportArgumentType]


def test_the_signature_may_be_given():
    rows, _ = made(CodeInstructions(signature_as_input=True), SOURCE, 'def ö(ä): """Über."""; return ä')
    assert [row["input"] for row in rows] == [
        "def area(width: float,\n         height: float = 1.0) -> float:",
        "class Stack:",
        "def push(self, thing):",
        "async def wait(self):",
        "def ö(ä):",
    ]


def test_one_liners_and_mere_docstrings_are_counted_where_nothing_would_be_left():
    sources = (
        'def f(): """Say one."""; return 1',
        'def g():\n    """Say two."""',
        'def h():\n    """Say."""; return 3',
    )
    rows, dropped = made(CodeInstructions(keep_docstring=False), *sources)
    assert rows == []
    assert list(dropped.values()) == [3]
    assert len(made(CodeInstructions(), *sources)[0]) == 3


def test_phrasings_vary_and_stay():
    source = "\n".join(f'def f{n}():\n    """Return {n}."""\n    return {n}\n' for n in range(40))
    asked = [row["instruction"] for row in made(CodeInstructions(), source)[0]]
    assert asked == [row["instruction"] for row in made(CodeInstructions(), source)[0]]
    assert len({text.split("`")[0] for text in asked}) >= 4


def test_what_is_too_long_is_counted():
    rows, dropped = made(CodeInstructions(max_lines=3), SOURCE)
    assert ["push" in row["instruction"] for row in rows] == [True, False]
    assert sum(dropped.values()) == 2


def test_code_is_never_run(tmp_path: Path):
    victim = tmp_path / "victim.txt"
    victim.write_text("still here", encoding="utf-8")
    attack = f"import os\nos.remove({str(victim)!r})\n"
    source = f'{attack}\n@exec({attack!r})\ndef f(x=os.remove({str(victim)!r})):\n    """Delete."""\n    return 1\n'
    rows, _ = made(CodeInstructions(), source)
    assert len(rows) == 1
    assert victim.read_text(encoding="utf-8") == "still here"


@pytest.mark.parametrize(
    "source",
    [
        "def f(:",
        "\x00",
        "x = " + "(" * 5_000,
        "x = " + "-" * 200_000 + "1",
        "x = a" + ".b" * 100_000,
        "x = " + "+".join(["1"] * 100_000),
        "#" * 1_000_001,
        "print 'two'",
        "x = " + "9" * 10_000,
        "\ud800",
    ],
    ids=["syntax", "nul", "brackets", "minus", "dots", "sum", "size", "python2", "digits", "surrogate"],
)
def test_hostile_files_are_counted(source):
    good = 'def f():\n    """Say one."""\n    return 1'
    rows, dropped = made(CodeInstructions(), source, good)
    assert len(rows) == 1
    assert dropped == {"files that are not Python": 1}


def test_odd_files_are_read():
    source = '\ufeffdef f():\r\n    """Say one."""\r\n    return "\\d"\r\n'  # a mark, CRLF, a warning of the parser's
    rows, dropped = made(CodeInstructions(), source)
    assert rows[0]["output"] == 'def f():\n    """Say one."""\n    return "\\d"'
    assert not dropped


def test_a_string_that_lost_its_indent_is_not_taken():
    source = 'class A:\n    def f(self):\n        """Say it."""\n        return """\nflush left\n"""\n'
    rows, dropped = made(CodeInstructions(), source)
    assert rows == []
    assert sum(dropped.values()) == 1


@pytest.mark.parametrize(
    ("docstring", "first"),
    [
        ("Return it", "Return it."),
        ("Return it:\n\n  x", "Return it."),
        ("Use e.g. This one. Then that.", "Use e.g. This one."),
        ("Two\nlines. And more", "Two lines."),
        ("Version 3.11 only.", "Version 3.11 only."),
    ],
)
def test_first_sentence(docstring, first):
    assert first_sentence(docstring) == first


def test_a_missing_column_is_named():
    with pytest.raises(DatasetError, match="no column 'code'"):
        made(CodeInstructions(column="code"), SOURCE)
