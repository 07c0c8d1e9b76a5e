"""The efficiency card without a browser."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

from studio.card import Card, card_of, lines
from studio.carder import Carder
from studio.cli_prompts import Say, Told
from studio.errors import RunError
from studio.workspace import Workspace


def card(
    what: str, workspace: Workspace, say: Say, told: Told, *, measure: bool = False, as_json: bool = False
) -> None:
    """Say what a model of the catalog, or that of a run, is made of and costs; `measure`: its forward pass, too.

    Raises StudioError.
    """
    try:
        model, run = "", workspace.run(Path(what).name).id
    except RunError:
        model, run = what, ""
    found = card_of(workspace, model, run)
    if measure:
        with closing(Carder(workspace)) as carder, told() as tell:
            for part in carder.measure(model, run):
                if isinstance(part, Card):
                    found = part
                else:
                    tell(part.doing)
    if as_json:
        say(json.dumps(found.plain()))
        return
    for name, value, about in lines(found):
        say(f"{name:<22} {value:<18} {about}")
