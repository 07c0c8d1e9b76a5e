"""The folder is the registry, the file name is the key.

A file in a catalog's folder whose name has no underscore in front is an entry; it holds one public
subclass of the catalog's base class. Files import torch inside functions only, so that the page can
list what exists without paying for it.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from types import ModuleType
from typing import Any, ClassVar

from pydantic_core import core_schema

from studio.errors import ConfigError
from studio.settings import Settings


class Entry(Settings):
    """Base of what catalogs hold: settings that also say, in words for people, what they are for."""

    title: ClassVar[str]  # as people call it
    about: ClassVar[str]  # what it does, in a sentence


@cache
def discover(package: ModuleType, base: type[Entry]) -> dict[str, type[Entry]]:
    """File name → the Settings class that file defines, sorted by name."""
    found = {}
    for module_info in pkgutil.iter_modules(package.__path__):
        if module_info.name.startswith("_"):
            continue
        module = importlib.import_module(f"{package.__name__}.{module_info.name}")
        own = [
            value
            for value in vars(module).values()
            if isinstance(value, type) and issubclass(value, base) and value.__module__ == module.__name__
        ]
        if len(own) != 1:
            raise TypeError(f"{module.__name__} must define exactly one {base.__name__}, it defines {len(own)}")
        found[module_info.name] = own[0]
    return dict(sorted(found.items()))


def key_of(entry: Entry) -> str:
    """The file name under which an entry's class was found."""
    return type(entry).__module__.rpartition(".")[2]


class Chosen:
    """Annotates a config field that holds `{name: KEY, **settings}` of a catalog, or just KEY."""

    def __init__(self, package: ModuleType, base: type[Entry]) -> None:
        self.package = package
        self.base = base

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        told = core_schema.plain_serializer_function_ser_schema(plain)
        return core_schema.no_info_plain_validator_function(self.parse, serialization=told)

    def parse(self, value: Any) -> Entry:
        """Raises ConfigError for an unknown name or wrong settings."""
        if isinstance(value, self.base):
            return value
        what = self.base.__name__.lower()
        entries = discover(self.package, self.base)
        values = value if isinstance(value, dict) else {"name": value}
        name = values.get("name")
        if not isinstance(name, str) or name not in entries:
            raise ConfigError(f"{name!r} is not a known {what}.", remedy=f"Choose one of: {', '.join(entries)}.")
        settings = {key: each for key, each in values.items() if key != "name"}
        return entries[name].parse(settings, what)


class Several(Chosen):
    """Annotates a config field that holds `{KEY: {**settings}, ...}` of a catalog: each entry at most once."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        told = core_schema.plain_serializer_function_ser_schema(
            lambda entries: {key: entry.model_dump(mode="json") for key, entry in entries.items()}
        )
        return core_schema.no_info_plain_validator_function(self.parse_all, serialization=told)

    def parse_all(self, value: Any) -> dict[str, Entry]:
        """Raises ConfigError, as `parse` does."""
        named = {str(key): {} for key in value} if isinstance(value, list) else value
        what = self.base.__name__.lower()
        if not isinstance(named, dict) or not all(
            isinstance(each, (dict, self.base, type(None))) for each in named.values()
        ):
            raise ConfigError(f"{value!r} is no list of {what}s.", remedy=f"Write '{what}s: {{NAME: {{}}}}'.")
        return {
            str(key): each if isinstance(each, self.base) else self.parse({**(each or {}), "name": key})
            for key, each in named.items()
        }


def plain(entry: Entry) -> dict[str, Any]:
    """An entry as a config file holds it; `Chosen.parse` reads it back."""
    return {"name": key_of(entry), **entry.model_dump(mode="json")}
