"""Chat templates that come to an end: a model's own is a program by whoever made the model.

transformers renders them in Jinja's sandbox, out of which nothing gets; but in there a template may count for ever, or
fill the memory with one expression. Here each step of a loop and each call looks at the clock, and whatever a template
makes is charged to what one rendering may make, before it is made where a little can become much.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any

from jinja2 import Template, TemplateSyntaxError, nodes, pass_context
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from studio.errors import ModelError

SECONDS = 10.0  # for one conversation; a sound template needs thousandths of one
LONGEST = 200_000  # characters of a template; the longest of well-known models have some 30,000
_MOST, _TIMES = 10_000_000, 200  # characters that a rendering may make, and so many more for each that it is given
_LARGEST = 10_000  # of a whole number that a filter or a call is given: mostly it says how often or how wide
_BITS = 256  # of a whole number that is computed
_STEP = 10  # characters that a step of a loop or an item of a list counts as; a call counts tenfold
_INDENT = 16  # spaces of an indentation

_FILTERS = {
    *("abs", "capitalize", "count", "d", "default", "dictsort", "e", "escape", "first", "float", "forceescape"),
    *("format", "indent", "int", "items", "join", "last", "length", "list", "lower", "map", "max", "min", "reject"),
    *("rejectattr", "replace", "reverse", "round", "safe", "select", "selectattr", "sort", "string", "title"),
    *("tojson", "trim", "unique", "upper", "wordcount"),
}
_OF_TEXT = {
    *("capitalize", "casefold", "center", "count", "endswith", "find", "format", "index", "join", "ljust", "lower"),
    *("lstrip", "partition", "removeprefix", "removesuffix", "replace", "rfind", "rindex", "rjust", "rpartition"),
    *("rsplit", "rstrip", "split", "splitlines", "startswith", "strip", "swapcase", "title", "upper", "zfill"),
    *(name for name in dir(str) if name.startswith("is")),
}
_OF = {str: _OF_TEXT, dict: {"copy", "get", "items", "keys", "values"}}  # kind → the methods that may be called
_OF[list] = _OF[tuple] = {"copy", "count", "index"}
_GLOBALS = ("range", "dict", "namespace", "cycler", "joiner", "raise_exception", "strftime_now")
_WIDE = re.compile(r"\{[^{}]*\{|%[^A-Za-z%]*\*|\d{4}")  # in a format: a width that is computed, or a large one


def bound() -> None:
    """Have transformers render all chat templates of this process so."""
    from transformers.utils import chat_template_utils as theirs

    if getattr(theirs._compile_jinja_template, "bounded", False):
        return
    read: Any = lru_cache(maxsize=32)(Bounded(theirs._compile_jinja_template("").environment).read)
    read.bounded = True
    theirs._compile_jinja_template = read


class _Given(Context):
    """What a rendering knows, and what it may still make."""

    def __init__(self, environment: Any, parent: dict[str, Any], *args: Any, **named: Any) -> None:
        super().__init__(environment, parent, *args, **named)
        own = sum(_size(value) for name, value in parent.items() if name not in environment.globals)
        self.left = [_MOST + _TIMES * own]
        self.until = time.monotonic() + SECONDS

    def derived(self, locals: dict[str, Any] | None = None) -> Context:
        made: Any = super().derived(locals)
        made.left, made.until = self.left, self.until
        return made

    def charge(self, size: int) -> None:
        """Raise ModelError where that is more than may still be made, or the time is up."""
        self.left[0] -= size
        if self.left[0] < 0 or time.monotonic() > self.until:
            raise _refused("takes too long or makes too much", "It does not come to an end by itself.")

    def made(self, value: Any) -> Any:
        """`value`, charged."""
        self.charge(_size(value, self.left[0]))
        return value


class _Whole(Template):
    def render(self, *args: Any, **named: Any) -> str:
        try:
            return super().render(*args, **named)
        except (RecursionError, MemoryError):
            raise _refused("is nested too deeply, or makes too much") from None


class Bounded(ImmutableSandboxedEnvironment):
    """A sandbox like another, with bounds."""

    context_class, template_class = _Given, _Whole
    intercepted_binops = frozenset(["+", "-", "*", "/", "//", "%", "**"])

    def __init__(self, plain: Any) -> None:
        extensions = [type(each) for each in plain.extensions.values()]
        super().__init__(trim_blocks=plain.trim_blocks, lstrip_blocks=plain.lstrip_blocks, extensions=extensions)
        plain.wrap_str_format = self.wrap_str_format  # its filters look up attributes there
        self.globals = {name: plain.globals[name] for name in _GLOBALS}
        self.filters = {name: _bounded(plain.call_filter, name) for name in plain.filters if name in _FILTERS}
        self.filters |= {"_each": _each, "_made": _made}
        self.tests = {name: _bounded(plain.call_test, name) for name in plain.tests}
        self.finalize = _made  # of what is put out

    def read(self, template: str) -> Any:
        """The template. Raises ModelError where it is none."""
        if len(template) > LONGEST:
            raise _refused(f"has over {LONGEST:,} characters")
        try:
            return self.from_string(template)
        except TemplateSyntaxError as error:
            raise _refused(f"cannot be read ({error.message} Line {error.lineno}.)", "") from None
        except (RecursionError, MemoryError, SyntaxError):
            raise _refused("is nested too deeply") from None

    def _generate(self, source: nodes.Template, *args: Any, **named: Any) -> str:
        return super()._generate(_Counted().visit(source), *args, **named)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "%" and isinstance(left, str):
            context.charge(_formatted(left, right if isinstance(right, tuple) else (right,)))
        if operator == "*":
            for text, times in ((left, right), (right, left)):
                if isinstance(text, str | list | tuple) and isinstance(times, int):
                    context.charge(_size(text, context.left[0]) * max(times, 0))
        if operator == "**" and not (isinstance(right, int | float) and abs(right) <= _BITS):
            raise _refused("computes numbers that are too large")
        return context.made(super().call_binop(context, operator, left, right))

    def call(__self, __context: Any, __obj: Any, *args: Any, **named: Any) -> Any:
        _check_arguments(args, named)
        owner, name = getattr(__obj, "__self__", None), getattr(__obj, "__name__", "")
        for kind, known in _OF.items():
            if isinstance(owner, kind):
                if name not in known:
                    raise _refused(f"calls '{name}' of a {kind.__name__}, which no template needs")
                if kind is str:
                    __context.charge(_growth(name, owner, args))
                break
        else:
            if owner is not None and type(owner).__module__ == "builtins" and not isinstance(owner, type):
                raise _refused(f"calls '{name}' of a {type(owner).__name__}, which no template needs")
        __context.charge(10 * _STEP)
        return __context.made(super().call(__context, __obj, *args, **named))

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        own = super().wrap_str_format(value)
        if own is None:
            return None
        text = value.__self__

        @pass_context
        def formatted(context: Any, *args: Any, **named: Any) -> str:
            if value.__name__ != "format":
                raise _refused("calls 'format_map', which no template needs")
            context.charge(_formatted(text, (*args, *named.values())))
            return own(*args, **named)

        return formatted


class _Counted(NodeTransformer):
    """Has loops counted, and what literals and joined texts make."""

    def visit_For(self, node: nodes.For) -> nodes.Node:
        written = sum(len(each.data) for each in node.find_all(nodes.TemplateData))
        self.generic_visit(node)
        node.iter = _filter(node.iter, "_each", [nodes.Const(written)])
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return _filter(node, "_made", [])

    visit_List = visit_Dict = visit_Concat

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:
        self.generic_visit(node)
        return _filter(node, "_made", []) if isinstance(node.arg, nodes.Slice) else node

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:
        self.generic_visit(node)
        return _filter(node, "_made", []) if node.ctx == "load" else node


def _filter(node: Any, name: str, args: list[nodes.Expr]) -> Any:
    return nodes.Filter(node, name, args, [], None, None).set_lineno(node.lineno).set_environment(node.environment)


@pass_context
def _each(context: Any, values: Iterable[Any], written: int) -> Iterator[Any]:
    """The same values, each step charged with the text that stands in the loop."""
    for value in values:
        context.charge(_STEP + written)
        yield value


@pass_context
def _made(context: Any, value: Any) -> Any:
    return context.made(value)


def _bounded(apply: Callable[..., Any], name: str) -> Callable[..., Any]:
    """A filter or a test as it was, within bounds."""

    @pass_context
    def own(context: Any, value: Any, *args: Any, **named: Any) -> Any:
        _check_arguments(args, named)
        if name in ("indent", "tojson"):
            width = named.get("width" if name == "indent" else "indent", args[0] if args else 0) or 0
            if (len(width) if isinstance(width, str) else width) > _INDENT:
                raise _refused(f"indents by more than {_INDENT} spaces")
        if name == "join":
            value = list(value)  # it may be on its way
        if name == "format":
            context.charge(_formatted(str(value), (*args, *named.values())))
        context.charge(_growth(name, value, (*args, *named.values())))
        return context.made(apply(name, value, args, named, context))

    return own


def _growth(name: str, value: Any, args: tuple[Any, ...]) -> int:
    """Characters that come of what can become much more than what it is given; 0 for all else."""
    if name == "replace" and len(args) > 1:
        return str(value).count(str(args[0])) * len(str(args[1]))
    if name == "join" and isinstance(value, str):  # a text's own method
        return len(value) * len(args[0]) if args and hasattr(args[0], "__len__") else 0
    if name == "join":
        return len(value) * len(str(args[0])) if args else 0
    return _INDENT * str(value).count("\n") if name == "indent" else 0


def _formatted(text: str, values: tuple[Any, ...]) -> int:
    """Characters at most of what a format makes of these."""
    if _WIDE.search(text):
        raise _refused("formats texts in a way that may make too much")
    return (text.count("{") + text.count("%")) * (1_000 + sum(map(_size, values)))


def _check_arguments(args: tuple[Any, ...], named: dict[str, Any]) -> None:
    for each in (*args, *named.values()):
        if isinstance(each, int) and abs(each) > _LARGEST:
            raise _refused(f"asks for something {each:,} times or wide" if abs(each) < 1e15 else "counts too far")


def _size(value: Any, most: float = math.inf) -> int:
    """Characters of a text; of lists and the like, about as many as if written out. Not counted beyond `most`."""
    if isinstance(value, str):
        return len(value)
    size, left = 0, [value]
    while left and size <= most:  # a list may hold another many times over, and that one in its turn
        each = left.pop()
        if isinstance(each, dict):
            left += [*each, *each.values()]
        elif isinstance(each, list | tuple):
            left += each
        elif isinstance(each, int) and each.bit_length() > _BITS:
            raise _refused("computes numbers that are too large")
        size += len(each) if isinstance(each, str | range) else _STEP
    return size


def _refused(what: str, why: str = "Sound templates of chats do nothing like it.") -> ModelError:
    return ModelError(
        f"The model's chat template {what}. {why}",
        remedy="Set 'Chat template' to 'chatml' under the advanced settings, or choose another model.",
    )
