"""Settings: pydantic models whose fields state everything about themselves once.

The form, the validation, the YAML, the command line and the docs derive from `facts(cls)`.
"""

from __future__ import annotations

import types
import typing
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args, get_origin

import pydantic
from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

from studio.errors import ConfigError


class Settings(BaseModel):
    """One group of settings. Unknown names are refused: a typo must not pass for a default."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)

    @classmethod
    def parse(cls, values: Any, where: str = "") -> Self:
        """Validate plain values. Raises ConfigError naming the first field that is wrong."""
        try:
            return cls.model_validate(values)
        except pydantic.ValidationError as error:
            raise refusal(cls, error, where) from None


@dataclass(frozen=True)
class Facts:
    """All that is known of one field."""

    name: str
    label: str
    kind: Literal["int", "float", "bool", "choice", "text", "list"]
    default: Any
    optional: bool  # None is a legal value and means "not set"
    unit: str
    help: str
    source: str  # paper, section or documentation page behind the setting
    minimum: float | None
    maximum: float | None
    choices: tuple[str, ...]
    advanced: bool
    step: float | None  # a number best found by trying, between its bounds: a slider's step
    search: tuple[float, float] | bool | None  # where a search may look; True: anywhere within the bounds


def setting(
    default: Any,
    label: str,
    *,
    help: str,
    unit: str = "",
    source: str = "",
    advanced: bool = False,
    step: float | None = None,
    search: tuple[float, float] | bool | None = None,
    **bounds: Any,
) -> Any:
    """A field that carries its label, unit, help and source beside pydantic's own bounds.

    `search` is where a search for good settings may look: (lowest, highest), or True for anywhere within the bounds.
    """
    extra: Any = {"unit": unit, "source": source, "advanced": advanced, "step": step, "search": search}
    return Field(default, title=label, description=help, json_schema_extra=extra, **bounds)


def facts(cls: type[BaseModel]) -> list[Facts]:
    """The facts of every plain field of `cls`, in the order of declaration; nested groups left out."""
    return [_facts(name, info) for name, info in cls.model_fields.items() if info.title]


def _facts(name: str, info: FieldInfo) -> Facts:
    annotation, optional = _without_none(info.annotation)
    extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
    bounds = {
        key: value
        for meta in info.metadata
        for key in ("ge", "gt", "le", "lt")
        if (value := getattr(meta, key, None)) is not None
    }
    return Facts(
        name=name,
        label=info.title or name,
        kind=_kind(annotation),
        default=info.default,
        optional=optional,
        unit=str(extra.get("unit", "")),
        help=info.description or "",
        source=str(extra.get("source", "")),
        minimum=bounds.get("ge", bounds.get("gt")),
        maximum=bounds.get("le", bounds.get("lt")),
        choices=_choices(annotation),
        advanced=bool(extra.get("advanced", False)),
        step=float(step) if isinstance(step := extra.get("step"), int | float) else None,
        search=extra.get("search"),  # pyright: ignore[reportArgumentType]
    )


def _choices(annotation: Any) -> tuple[str, ...]:
    """What a field, or each member of a list, may be."""
    if get_origin(annotation) is tuple:
        annotation = get_args(annotation)[0]
        if annotation is bool:
            return "false", "true"
    return tuple(str(choice) for choice in get_args(annotation)) if get_origin(annotation) is Literal else ()


def _without_none(annotation: Any) -> tuple[Any, bool]:
    if get_origin(annotation) in (typing.Union, types.UnionType):
        kept = [part for part in get_args(annotation) if part is not type(None)]
        if len(kept) < len(get_args(annotation)):
            return kept[0], True
    return annotation, False


def _kind(annotation: Any) -> Literal["int", "float", "bool", "choice", "text", "list"]:
    if get_origin(annotation) is tuple:
        return "list"
    if get_origin(annotation) is Literal:
        return "choice"
    if annotation is bool:
        return "bool"
    if annotation is int:
        return "int"
    return "float" if annotation is float else "text"


def refusal(cls: type[BaseModel], error: pydantic.ValidationError, where: str = "") -> ConfigError:
    """The first fault pydantic found, as a sentence about the field a person sees."""
    first = error.errors()[0]
    path = ".".join(str(part) for part in (*filter(None, [where]), *first["loc"])) or "The config"
    if first["type"] == "extra_forbidden":
        return ConfigError(
            f"'{path}' is not a setting.",
            remedy=f"Known here: {', '.join(_names_at(cls, first['loc'][:-1]))}.",
        )
    if first["type"] == "missing":
        return ConfigError(f"'{path}' is missing.", remedy="Give it a value.")
    inner = first.get("ctx", {}).get("error")
    if isinstance(inner, ConfigError):
        return inner
    said = first["msg"][0].lower() + first["msg"][1:]
    shown = first["input"] if isinstance(first["input"], (str, int, float, bool)) else type(first["input"]).__name__
    return ConfigError(f"'{path}' is {shown!r}: {said}.", remedy="Change it and try again.")


def _names_at(cls: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    for part in loc:
        info = cls.model_fields.get(str(part))
        annotation = _without_none(info.annotation)[0] if info else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            break
        cls = annotation
    return list(cls.model_fields)
