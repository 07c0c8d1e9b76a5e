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
from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator

from studio.errors import ConfigError
from studio.settings import Settings


@cache
def discover(package: ModuleType, base: type[Settings]) -> dict[str, type[Settings]]:
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


def key_of(entry: Settings) -> str:
    """The file name under which an entry's class was found."""
    return type(entry).__module__.rpartition(".")[2]


def entry_of(package: ModuleType, base: type[Settings], what: str) -> Any:
    """The annotation of a config field that holds `{name: KEY, **settings}` of a catalog."""

    def parse(value: Any) -> Settings:
        if isinstance(value, base):
            return value
        entries = discover(package, base)
        values = {"name": value} if isinstance(value, str) else dict(value or {})
        name = values.pop("name", None)
        if name not in entries:
            raise ConfigError(f"{name!r} is not {what}.", remedy=f"Choose one of: {', '.join(entries)}.")
        return entries[name].parse(values, what.split()[-1])

    def plain(entry: Settings) -> dict[str, Any]:
        return {"name": key_of(entry), **entry.model_dump(mode="json")}

    return Annotated[base, PlainValidator(parse), PlainSerializer(plain)]
