"""A reward of one's own: arithmetic over counts of the answer."""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import field_validator

from studio.errors import ConfigError, RewardError
from studio.rewards import Answered, Reward, Scorer, Tools
from studio.settings import setting

if TYPE_CHECKING:
    from studio.workspace import Workspace

_MOST_PARTS, _DEEPEST, _LARGEST = 200, 50, 1e12  # of an expression: nodes, nesting, a number in it

# What can be counted, in the order the help names it.
QUANTITIES: dict[str, Callable[[Answered], float]] = {
    "words": lambda each: len(each.answer.split()),
    "characters": lambda each: len(each.answer),
    "sentences": lambda each: len(re.findall(r"[.!?…]+(?=\s|$)|[。！？]+", each.answer)),
    "lines": lambda each: sum(bool(line.strip()) for line in each.answer.splitlines()),
    "unique_words": lambda each: len(set(each.answer.casefold().split())),
    "digits": lambda each: sum(sign.isdigit() for sign in each.answer),
    "capitals": lambda each: sum(sign.isupper() for sign in each.answer),
    "question_marks": lambda each: each.answer.count("?"),
    "exclamation_marks": lambda each: each.answer.count("!"),
    "prompt_words": lambda each: len(each.prompt.split()),
    "reference_words": lambda each: len(each.reference.split()),
    "overlap": lambda each: _overlap(each),
}
_FUNCTIONS: dict[str, tuple[Callable[..., Any], int, int]] = {  # name → what it is, fewest and most numbers it takes
    "min": (min, 2, 20),
    "max": (max, 2, 20),
    "abs": (abs, 1, 1),
    "sqrt": (math.sqrt, 1, 1),
    "log": (math.log, 1, 1),
    "exp": (math.exp, 1, 1),
    "clip": (lambda value, low, high: max(low, min(value, high)), 3, 3),
}
_OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: math.pow,  # of floats: no number grows without end, and none becomes complex
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
    ast.Not: operator.not_,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_TRIED = (  # before a run: silence, and an ordinary answer
    Answered("How are you?", "", "I am fine."),
    Answered("How are you?", "I am fine. And you, how was the trip to Rome in 2024?", "I am fine."),
)


class Expression(Reward):
    """What the formula comes to. It is read and computed here, never run as Python.

    It knows numbers, the quantities that its setting names, `+ - * / **`, comparisons (1 where they hold, else 0),
    `and`, `or`, `not`, `A if B else C`, and the functions `min`, `max`, `abs`, `sqrt`, `log`, `exp` and
    `clip(x, lowest, highest)`. There are no loops in it, so that each answer takes a bounded time.
    """

    title: ClassVar[str] = "Expression"
    about: ClassVar[str] = "A formula of your own over counts such as words, sentences and digits."
    lowest: ClassVar[float | None] = None
    highest: ClassVar[float | None] = None

    expression: str = setting(
        "min(words / 50, 1)",
        "Formula",
        max_length=500,
        help=f"Over: {', '.join(QUANTITIES)} (words shared with the right answer, 0 to 1). Where the data has no "
        "right answers, what is counted of them is 0. Try: 1 - abs(sentences - 2) / 10 if words > 5 else 0.",
    )

    @field_validator("expression")
    @classmethod
    def _readable(cls, expression: str) -> str:
        _parsed(expression)
        return expression

    def check(self, workspace: Workspace) -> None:
        tree = _parsed(self.expression)
        for each in _TRIED:
            try:
                _worth(tree, each)
            except (ArithmeticError, ValueError) as error:
                raise ConfigError(
                    f"'{self.expression[:80]}' cannot be computed for {'a usual' if each.answer else 'an empty'} "
                    f"answer ({error}).",
                    remedy="Guard what can be 0 or less, for example with max(words, 1).",
                ) from None

    def scorer(self, tools: Tools) -> Scorer:
        tree = _parsed(self.expression)

        def one(each: Answered) -> float:
            try:
                return _worth(tree, each)
            except (ArithmeticError, ValueError) as error:
                raise RewardError(
                    f"The formula of the reward 'Expression' cannot be computed for the answer "
                    f"'{each.answer[:60]}' ({error}).",
                    remedy="Guard what can be 0 or less, for example with max(words, 1).",
                ) from None

        def score(answers: Sequence[Answered]) -> list[float]:
            return [one(each) for each in answers]

        return score


def _overlap(each: Answered) -> float:
    from studio.evaluation.metrics import token_f1

    return token_f1([each.reference], [each.answer])


def _parsed(expression: str) -> ast.expr:
    """Raises ConfigError for all but what `_value` knows."""
    try:
        tree = ast.parse(expression.strip(), mode="eval").body
    except SyntaxError as error:
        raise _refused(expression, f"it is no formula: {error.msg}") from None
    except (ValueError, MemoryError, RecursionError):
        raise _refused(expression, "it is no formula") from None
    if sum(1 for _ in ast.walk(tree)) > _MOST_PARTS:
        raise _refused(expression, f"it has over {_MOST_PARTS} parts")
    if fault := _fault(tree, _DEEPEST):
        raise _refused(expression, fault)
    return tree


def _refused(expression: str, why: str) -> ConfigError:
    return ConfigError(
        f"The formula '{expression[:80]}' cannot be used: {why}.",
        remedy=f"Use numbers, + - * / **, comparisons, 'A if B else C', {', '.join(_FUNCTIONS)}, and "
        f"{', '.join(QUANTITIES)}.",
    )


def _fault(node: ast.expr, deeper: int) -> str:
    """In a few words what is not allowed in it; '' where all is."""
    if not deeper:
        return f"it is nested over {_DEEPEST} deep"
    match node:
        case ast.Constant(value=value):
            sound = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _LARGEST
            return "" if sound else f"{str(value)[:20]!r} is no number up to {_LARGEST:g}"
        case ast.Name(id=name):
            return "" if name in QUANTITIES else f"there is no '{name}'"
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in _FUNCTIONS:
            _, fewest, most = _FUNCTIONS[name]
            inside = args
            if not fewest <= len(args) <= most:
                return f"{name} takes {fewest if fewest == most else f'{fewest} or more'} numbers, not {len(args)}"
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            inside = [left, right]
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _OPERATORS:
            inside = [operand]
        case ast.Compare(left=left, ops=ops, comparators=others) if all(type(op) in _OPERATORS for op in ops):
            inside = [left, *others]
        case ast.BoolOp(values=values):
            inside = values
        case ast.IfExp(test=test, body=body, orelse=orelse):
            inside = [test, body, orelse]
        case _:
            return f"'{ast.unparse(node)[:40]}' is not allowed in it"
    return next((fault for each in inside if (fault := _fault(each, deeper - 1))), "")


def _worth(tree: ast.expr, each: Answered) -> float:
    """Raises ArithmeticError or ValueError, as Python does for a division by zero or the root of -1."""
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    found = _value(tree, {name: float(count(each)) for name, count in QUANTITIES.items() if name in used})
    if not math.isfinite(found):
        raise OverflowError("the result is too large")
    return found


def _value(node: ast.expr, known: Mapping[str, float]) -> float:
    """Every value is a float, so that whatever is computed takes no longer and no more room than that."""
    match node:
        case ast.Constant(value=value):
            found = float(value)  # pyright: ignore[reportArgumentType]
        case ast.Name(id=name):
            found = known[name]
        case ast.Call(func=ast.Name(id=name), args=args):
            found = _FUNCTIONS[name][0](*(_value(each, known) for each in args))
        case ast.BinOp(left=left, op=op, right=right):
            found = _OPERATORS[type(op)](_value(left, known), _value(right, known))
        case ast.UnaryOp(op=op, operand=operand):
            found = float(_OPERATORS[type(op)](_value(operand, known)))
        case ast.Compare(left=left, ops=ops, comparators=others):
            values = [_value(each, known) for each in (left, *others)]
            pairs = zip(ops, values, values[1:], strict=False)
            found = float(all(_OPERATORS[type(op)](one, other) for op, one, other in pairs))
        case ast.BoolOp(op=op, values=values):
            holds = (all if isinstance(op, ast.And) else any)(_value(each, known) for each in values)
            found = float(holds)
        case ast.IfExp(test=test, body=body, orelse=orelse):
            found = _value(body if _value(test, known) else orelse, known)
        case _:
            raise ValueError(f"{ast.unparse(node)[:40]} is not allowed")
    return found
