"""Recipes without a browser."""

from __future__ import annotations

from studio.cli_prompts import Say
from studio.recipes import as_yaml, recipe, recipes


def show(name: str | None, say: Say) -> None:
    """List them, or print one as a config for `train`. Raises ConfigError where there is none of that name."""
    if name:
        say(as_yaml(recipe(name)).rstrip("\n"))
        return
    for each in recipes().values():
        say(f"{each.name:<20} {each.title}: {each.about}")
