"""Exports without a browser."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import yaml

from studio.cli_prompts import Say, Told
from studio.errors import ConfigError, RunError
from studio.exporter import Exported, Exporter, delete, parse
from studio.rehearsal import size
from studio.workspace import Workspace


def export(
    run: str,
    form: str,
    workspace: Workspace,
    say: Say,
    told: Told,
    *,
    to: Path | None = None,
    settings: Sequence[str] = (),
    as_json: bool = False,
) -> None:
    """Make what a run learnt into one file, and say what was checked and where it lies. Ctrl-C leaves nothing.

    `settings` are 'NAME=VALUE' each. With `to` the file is moved there instead of being listed in the studio.
    Raises StudioError and OSError.
    """
    chosen = parse({**_read(settings), "name": form})
    if to and to.exists() and not to.is_dir():
        raise RunError(f"{to} is there already.", remedy="Name another file, or a folder to put it into.")
    found: Exported | None = None
    with closing(Exporter(workspace)) as exporter, told() as tell:
        for part in exporter.export(Path(run).name, chosen):
            if isinstance(part, Exported):
                found = part
            else:
                tell(f"{part.doing} ({part.done:,.0f} of {part.total:,.0f})" if part.total else part.doing)
    assert found is not None  # nobody else can cancel it
    path = _moved(workspace, found, to) if to else found.path(workspace)
    if as_json:
        say(json.dumps(found.plain() | {"path": str(path)}))
        return
    for sentence in found.checked:
        say(sentence)
    say(f"{size(found.bytes)}, SHA-256 {found.sha256}")
    say(str(path))


def _moved(workspace: Workspace, found: Exported, to: Path) -> Path:
    target = to / found.file if to.is_dir() else to
    shutil.move(found.path(workspace), target)
    delete(workspace, found.name)
    return target


def _read(settings: Sequence[str]) -> dict[str, Any]:
    """As YAML reads the values. Raises ConfigError."""
    found = {}
    for each in settings:
        name, equals, value = each.partition("=")
        if not equals:
            raise ConfigError(f"'{each}' is no setting.", remedy="Write it as NAME=VALUE.")
        try:
            found[name] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise ConfigError(f"The value of '{name}' cannot be read.", remedy="Put it in quotes.") from None
    return found
