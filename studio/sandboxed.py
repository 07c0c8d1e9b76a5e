"""What runs inside a sandbox, with nothing but the standard library: a program that nobody knows, or tests of it.

The program and its tests are two processes, each in a sandbox of its own (studio/sandbox.py starts them). They share
two pipes, over which go calls and plain values as lines of JSON. So whatever a program does to its own process, it
reaches neither the tests nor what they compare with, and cannot say of itself that it passed.

The tests' process writes one line on its standard error: {"why", "detail"}, why being 'passed' or a reason of
studio/sandbox.py.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import json
import os
import resource
import sys
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import IO, Any

from studio.programs import given_by, program_of

MESSAGE = 16 * 2**20  # bytes of one line from the program, at most
_DETAIL = 500  # letters of what is told of an error


# -- values that may pass between the two -----------------------------------------------------------

_EXACT: tuple[tuple[type, Callable[[Any], Any], Callable[[Any], Any]], ...] = (
    (bytes, bytes.hex, bytes.fromhex),
    (bytearray, bytearray.hex, bytearray.fromhex),
    (complex, lambda value: [value.real, value.imag], lambda parts: complex(*parts)),
    (range, lambda value: [value.start, value.stop, value.step], lambda parts: range(*parts)),
    (Decimal, str, Decimal),
    (Fraction, str, Fraction),
)
_MANY: tuple[type, ...] = (list, tuple, set, frozenset)
_SMALL = 2**53  # integers below it are the same for every reader of JSON


def encode(value: Any, keep: Callable[[Any], int]) -> Any:
    """A value as JSON: [kind, content] where JSON has none of its own. `keep` numbers what is no plain value."""
    if value is None or isinstance(value, str | bool | float):
        return value
    if isinstance(value, int):
        return int(value) if abs(value) < _SMALL else ["int", hex(value)]
    if isinstance(value, dict):
        return ["dict", [[encode(key, keep), encode(each, keep)] for key, each in value.items()]]
    for kind in _MANY:
        if isinstance(value, kind):
            return [kind.__name__, [encode(each, keep) for each in value]]
    for kind, told, _ in _EXACT:
        if isinstance(value, kind):
            return [kind.__name__, told(value)]
    return ["object", keep(value)]


def decode(told: Any, kept: Callable[[int], Any]) -> Any:
    """What `encode` made JSON of. Raises ValueError, TypeError or the like for anything else."""
    if not isinstance(told, list):
        return told
    kind, content = told
    if kind == "object":
        return kept(content)
    if kind == "int":
        return int(content, 16)
    if kind == "dict":
        return {decode(key, kept): decode(each, kept) for key, each in content}
    for many in _MANY:
        if kind == many.__name__:
            return many(decode(each, kept) for each in content)
    for each, _, made in _EXACT:
        if kind == each.__name__:
            return made(content)
    raise ValueError(f"There is no kind of value called {kind!r}.")


# -- the program's process --------------------------------------------------------------------------


def run(code: str, name: str, names: dict[str, Any]) -> None:
    """Run a text with these names. Only ever called in a sandbox: nothing but `main` leads here."""
    exec(compile(code, name, "exec", dont_inherit=True), names)  # noqa: S102 - what sandboxes are for


class Program:
    """The names of a program, and what it made that is no plain value, by number."""

    def __init__(self, code: str) -> None:
        self._names: dict[str, Any] = {"__name__": "program"}
        self._held: list[Any] = []
        self._numbers: dict[int, int] = {}  # id of what is held → its number
        run(code, "program", self._names)

    def do(self, action: str, told: Any) -> dict[str, Any]:
        """One request. Raises whatever the program raises."""
        if action == "name":
            if told not in self._names:
                raise NameError(f"name {told!r} is not defined")
            return {"value": self._told(self._names[told])}
        what, *rest = decode(told, self._held.__getitem__)
        if action != "call":
            return {"value": self._told(_ACTIONS[action](what, *rest))}
        args, named = rest
        value = self._told(what(*args, **named))
        return {"value": value, "after": [self._told(each) for each in args]}  # lists may have been sorted in place

    def _told(self, value: Any) -> Any:
        return encode(value, self._keep)

    def _keep(self, value: Any) -> int:
        if id(value) not in self._numbers:
            self._numbers[id(value)] = len(self._held)
            self._held.append(value)
        return self._numbers[id(value)]


_ACTIONS: dict[str, Callable[..., Any]] = {
    "attribute": getattr,
    "item": lambda what, key: what[key],
    "list": list,
    "length": len,
    "truth": bool,
}


def _answer(heard: IO[bytes], said: IO[bytes]) -> None:
    """Load a program, then do what its tests ask for until they ask no more."""

    def reply(**told: Any) -> None:
        said.write(json.dumps(told).encode() + b"\n")
        said.flush()

    reply(ready=True)  # before anything of the program: from here on it is its own fault if it ends
    program: Program | None = None
    for line in heard:
        asked = json.loads(line)
        try:
            if program is None:
                program = Program(program_of(**asked))
                reply(value=None)
            else:
                reply(**program.do(**asked))
        except BaseException as error:  # also SystemExit: the tests shall hear of it
            reply(error=type(error).__name__, detail=str(error)[:_DETAIL])


# -- the tests' process -----------------------------------------------------------------------------


class Over(BaseException):
    """Nothing more comes from the program. No Exception: tests must not take it for the program's own."""


class Unfit(Exception):
    """The tests ask for what cannot be asked of a program in another process."""


class Remote:
    """What lives in the program's process. Equal to nothing but itself: what it is like is not the program's to say."""

    def __init__(self, link: Link, number: int) -> None:
        self._link, self._number = link, number

    def __call__(self, *args: Any, **named: Any) -> Any:
        return self._link.ask("call", self, list(args), named)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self._link.ask("attribute", self, name)

    def __getitem__(self, key: Any) -> Any:
        return self._link.ask("item", self, key)

    def __iter__(self) -> Any:
        return iter(self._link.ask("list", self))

    def __len__(self) -> int:
        return self._link.ask("length", self)

    def __bool__(self) -> bool:
        return self._link.ask("truth", self)


class Link:
    """Questions to the program's process. What comes back is data, whatever it claims to be."""

    def __init__(self, heard: IO[bytes], said: IO[bytes]) -> None:
        self._heard, self._said = heard, said
        self.calls = 0
        self.over = False  # kept, for tests that catch everything would go on without their program

    def ready(self) -> bool:
        """Whether the process is there; nothing of the program has run yet."""
        return self._heard.readline(MESSAGE) != b""

    def load(self, prompt: str, answer: str, entry_point: str) -> None:
        self._exchange({"prompt": prompt, "answer": answer, "entry_point": entry_point})

    def named(self, name: str) -> Any:
        """What the program calls by that name. Raises NameError."""
        return self._value(self._exchange({"action": "name", "told": name}))

    def ask(self, action: str, *told: Any) -> Any:
        self.calls += 1
        reply = self._exchange({"action": action, "told": encode(list(told), _number)})
        if action == "call":
            for mine, after in zip(told[1], reply.get("after", ()), strict=False):
                _refill(mine, self._value({"value": after}))
        return self._value(reply)

    def _exchange(self, asked: dict[str, Any]) -> dict[str, Any]:
        with contextlib.suppress(BrokenPipeError):
            self._said.write(json.dumps(asked).encode() + b"\n")
            self._said.flush()
        line = self._heard.readline(MESSAGE)
        if not line.endswith(b"\n"):
            self.over = True
            raise Over
        reply = json.loads(line)
        if "error" in reply:
            error = _as_raised(str(reply["error"]), str(reply.get("detail", ""))[:_DETAIL])
            self.over |= isinstance(error, Over)
            raise error
        return reply

    def _value(self, reply: dict[str, Any]) -> Any:
        return decode(reply["value"], lambda number: Remote(self, number))


def _number(value: Any) -> int:
    if isinstance(value, Remote):
        return value._number
    raise Unfit(f"The tests pass a {type(value).__name__} to the program; only plain values can be passed.")


def _refill(mine: Any, after: Any) -> None:
    """Make a list, set or dictionary of the tests what the program made of its copy."""
    if isinstance(mine, list) and isinstance(after, list):
        mine[:] = after
    elif isinstance(mine, dict | set) and type(mine) is type(after):
        mine.clear()
        mine.update(after)


def _as_raised(name: str, text: str) -> BaseException:
    """An exception of the program's, as its tests may catch it; what ends a program is no such exception.

    Nor is what ends a loop: `all(map(check, cases))` would be true of cases that the program never answered.
    """
    kind = getattr(builtins, name, None)
    if not (isinstance(kind, type) and issubclass(kind, Exception)) or name in ("StopIteration", "StopAsyncIteration"):
        kind = Over if name in ("SystemExit", "KeyboardInterrupt") else RuntimeError
    try:
        error = kind(text)
    except TypeError:  # such as UnicodeDecodeError's, which takes five values
        error = ValueError(text)
    error.of_program = name  # pyright: ignore[reportAttributeAccessIssue]
    return error


def judge(link: Link, prompt: str, answer: str, entry_point: str, setup: str, tests: str) -> tuple[str, str]:
    """(why, detail) of one answer: the tests are run here, what they call there."""
    try:
        link.load(prompt, answer, entry_point)
        names: dict[str, Any] = {"__name__": "tests"}
        for name, code in (("prompt", given_by(prompt, entry_point)), ("setup", setup)):
            run(code, name, names)
        _borrow(link, names, f"{setup}\n{tests}", entry_point)
        run(tests, "tests", names)
        _run(names, names.get(entry_point))
    except Over as error:
        return "ended", "The program ended itself." if hasattr(error, "of_program") else ""
    except BaseException as error:
        return _reason(error)
    if link.over:
        return "ended", ""
    if not link.calls:
        return "tests", "The tests never called the program."
    return "passed", ""


def _borrow(link: Link, names: dict[str, Any], code: str, entry_point: str) -> None:
    """Give the tests what they use and do not make: modules that they forgot to import, and the program's names.

    With an entry point, what the prompt itself defines stays the prompt's: the program's word on it does not count.
    """
    used, dotted, called = _free(code)
    for name in dotted & sys.stdlib_module_names - {entry_point}:
        names[name] = __import__(name)
    wanted = {name for name in used - names.keys() - {"candidate"} if not hasattr(builtins, name)}
    if not (wanted or entry_point) and len(alone := {name for name in called if hasattr(builtins, name)}) == 1:
        wanted = alone  # a task may ask for a function called 'sum'
    for name in wanted | ({entry_point} if entry_point else set()):
        try:
            names[name] = link.named(name)
        except NameError:
            names.pop(name, None)  # also the prompt's head, which does nothing
    if entry_point in names:
        names["candidate"] = names[entry_point]


def _free(code: str) -> tuple[set[str], set[str], set[str]]:
    """(Names that a text uses and does not make, those of them with a dot behind, those that are called)."""
    used, made, dotted, called = set[str](), set[str](), set[str](), set[str]()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Name):
            (used if isinstance(node.ctx, ast.Load) else made).add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            made.add(node.name)
        elif isinstance(node, ast.arg):
            made.add(node.arg)
        elif isinstance(node, ast.alias):
            made.add((node.asname or node.name).partition(".")[0])
        elif isinstance(node, ast.ExceptHandler) and node.name:
            made.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            dotted.add(node.value.id)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            called.add(node.func.id)
    return used - made, dotted - made, called - made


def _run(names: dict[str, Any], entry: Any) -> None:
    """Call what the tests only defined: HumanEval's check(candidate), or functions named test_…"""
    if "check" in names and entry is not None:
        names["check"](entry)
    for name, each in list(names.items()):
        if name.startswith("test_") and callable(each) and not isinstance(each, Remote):
            each()


def _reason(error: BaseException) -> tuple[str, str]:
    """What an exception says, that of the program told from the tests' own."""
    raised = getattr(error, "of_program", "")
    said = error.args[0] if raised and error.args else error  # str() of a KeyError puts quotes around
    detail = f"{raised or type(error).__name__}: {said}"[:_DETAIL]
    if raised:
        syntax = raised in ("SyntaxError", "IndentationError", "TabError")
        return ("memory" if raised == "MemoryError" else "syntax" if syntax else "error"), detail
    if isinstance(error, AssertionError):
        return "wrong", str(error)[:_DETAIL]
    return ("tests" if isinstance(error, Unfit | SyntaxError) else "error"), detail


# -- both -------------------------------------------------------------------------------------------


def _limit(cpu: int, memory: int, files: int) -> None:
    """What this process may take, for good: hard limits, which it cannot raise.

    A limit of memory is each process's own: that there is but one is what makes it one for all. RLIMIT_NPROC, which
    counts a user's processes within the namespace (before Linux 5.14 all of that user's), does not hold for root's: it
    only stands behind the filter that refuses new ones.
    """
    limits = {
        resource.RLIMIT_AS: memory,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: files,
        resource.RLIMIT_NOFILE: 64,
        resource.RLIMIT_NPROC: 1,
    }
    for kind, most in limits.items():
        resource.setrlimit(kind, (most, most))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + 1))  # a signal that can be ignored, then one that cannot


def main() -> None:
    """`sandboxed.py answer LIMITS` or `sandboxed.py test LIMITS JOB`, the latter two as JSON; JOB names a file."""
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))  # what the sandbox was set up with
    part, limits = sys.argv[1], json.loads(sys.argv[2])
    heard, said, told = (os.dup(each) for each in (0, 1, 2))
    nothing = os.open("/dev/null", os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(2 if part == "answer" else nothing, 1)  # what a program prints is no reply
    _limit(**limits)
    with os.fdopen(heard, "rb") as listening, os.fdopen(said, "wb") as saying:
        if part == "answer":
            os.close(told)
            _answer(listening, saying)
            return
        os.dup2(nothing, 2)
        with open(sys.argv[3], encoding="utf-8") as file:
            job = json.load(file)
        link = Link(listening, saying)
        why, detail = judge(link, **job) if link.ready() else ("sandbox", "")
        os.write(told, json.dumps({"why": why, "detail": detail}).encode() + b"\n")
        os._exit(0)  # nothing of the tests' comes after the verdict


if __name__ == "__main__":
    main()
