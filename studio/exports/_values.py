"""Values of a run as code of a program: literals, with what the form says of them above."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

from studio.errors import RunError
from studio.exports import _texts as texts
from studio.settings import Settings, facts

_OWN = ("peft_type", "peft_version", "inference_mode")  # fields of peft's configs that it fills in by itself

Named = dict[str, tuple[str, Any]]  # name in the program → (what is said above it, value)


def about(cls: type[Settings], key: str) -> str:
    """A setting's label, and the first sentence of its help."""
    fact = next(each for each in facts(cls) if each.name == key)
    return f"'{fact.label}': {fact.help.partition('. ')[0].rstrip('.')}."


def assigned(name: str, said: str, value: Any) -> str:
    """A line that gives a name to a value, below a comment."""
    return f"{comment(said)}{name} = {literal(value)}\n"


def comment(text: str) -> str:
    return "".join(f"# {line}\n" for line in textwrap.wrap(text, texts.WIDE))


def dtype(name: str) -> str:
    """Raises RunError for what is no format: it becomes code."""
    if name not in ("bfloat16", "float16", "float32"):
        raise RunError("The run's log names no number format that is known.", remedy="Run it again.")
    return f"torch.{name}"


def told(config: Any) -> dict[str, Any]:
    """What a config of peft says beside its defaults."""
    assert is_dataclass(config)
    found = {}
    for each in fields(config):
        value = getattr(config, each.name)
        default = each.default_factory() if callable(each.default_factory) else each.default
        if each.init and each.name not in _OWN and value != default:
            found[each.name] = value
    return found


def call(name: str, values: Mapping[str, Any], comments: Mapping[str, str]) -> str:
    """A call with a line for each argument."""
    said = {key: f"  # {comments[key]}" if key in comments else "" for key in values}
    lines = [f"    {key}={literal(value)},{said[key]}\n" for key, value in values.items()]
    return f"{name}(\n{''.join(lines)})"


def literal(value: Any) -> str:
    """As Python reads it back. Raises RunError for what is no plain value."""
    return repr(_plain(value))


def _plain(value: Any) -> Any:
    match value:
        case Enum():
            return _plain(value.value)
        case None | bool() | int() | float() | str():
            return value
        case set() | frozenset():
            return sorted(map(_plain, value))
        case list() | tuple():
            return [_plain(each) for each in value]
        case dict():
            return {str(key): _plain(each) for key, each in value.items()}
    raise RunError(
        f"A setting of the method is a {type(value).__name__}, which cannot be written down.",
        remedy="Export the adapter instead.",
    )
