"""Recipes: ready configs for usual tasks, each with the reasons for its values. A file of assets/recipes is one."""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from studio.config import RunConfig, read_settings
from studio.data.formats import FORMATS
from studio.data.library import Sample, samples
from studio.errors import ConfigError

RECIPES = Path(__file__).resolve().parents[1] / "assets" / "recipes"
_WIDTH = 100  # of comments


@dataclass(frozen=True)
class Recipe:
    """One of them. `why` says of a setting, named as 'group.field', for what reason it has its value."""

    name: str
    title: str
    about: str
    values: dict[str, Any]  # as a config file holds them
    why: dict[str, str]
    then: str  # what to do once it was trained

    @property
    def config(self) -> RunConfig:
        """Raises ConfigError."""
        return RunConfig.parse(self.values)

    @property
    def sample(self) -> Sample:
        """The data set it can be tried on."""
        return samples()[self.config.dataset.source]

    @property
    def columns(self) -> str:
        """What rows it needs, in a sentence."""
        shape = FORMATS[self.sample.mapping.format]
        used = [role for role in shape.roles if role.required or role.name in self.sample.mapping.columns]
        named = [role.label.lower() + ("" if role.required else " (may be left out)") for role in used]
        return f"{shape.label}: {', '.join(named)}."


@cache
def recipes() -> dict[str, Recipe]:
    """File name → recipe, sorted by title."""
    found = [_read(path) for path in RECIPES.glob("*.yaml")]
    return {each.name: each for each in sorted(found, key=lambda each: each.title)}


def recipe(name: str) -> Recipe:
    """Raises ConfigError where there is none of that name."""
    if found := recipes().get(name):
        return found
    close = difflib.get_close_matches(name, recipes(), n=1)
    meant = f"Did you mean '{close[0]}'? " if close else ""
    raise ConfigError(f"There is no recipe '{name[:80]}'.", remedy=f"{meant}Choose one of: {', '.join(recipes())}.")


def _read(path: Path) -> Recipe:
    """Raises ConfigError."""
    values = read_settings(path)
    return Recipe(path.stem, values["title"], values["about"], values["config"], values["why"], values["then"])


def reasons(chosen: Recipe) -> list[tuple[str, str, str]]:
    """(setting, its value, why). Raises KeyError for a reason of a setting that the recipe does not hold."""
    return [(name, _said(_at(chosen.values, name)), why) for name, why in chosen.why.items()]


def _at(values: dict[str, Any], name: str) -> Any:
    for key in name.split("."):
        values = values[key]
    return values


def _said(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {each}" for key, each in value.items())
    return str(value).lower() if isinstance(value, bool) else f"{value}"


def as_yaml(chosen: Recipe) -> str:
    """The recipe as a config file for `finetune-studio train`, its reasons as comments."""
    return "\n".join(_lines(chosen)) + "\n"


def _lines(chosen: Recipe) -> Iterator[str]:
    yield from _comment(f"{chosen.title}. {chosen.about}")
    yield from _comment(f"Data: {chosen.columns} '{chosen.sample.name}' is a sample; put your own file in its place.")
    yield "#"
    for name, value, why in reasons(chosen):
        yield from _comment(f"{name} = {value}: {why}")
    yield from ("#", *_comment(f"Afterwards: {chosen.then}"), "")
    yield yaml.safe_dump(chosen.values, sort_keys=False, allow_unicode=True, width=_WIDTH).rstrip("\n")


def _comment(text: str) -> Iterator[str]:
    yield from textwrap.wrap(text, _WIDTH, initial_indent="# ", subsequent_indent="#   ")
