"""What comes from elsewhere and what leaves, without a browser."""

from __future__ import annotations

import json
import time
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from studio.child import Progress
from studio.cli_prompts import Say, Told
from studio.importer import Importer, Report, lines
from studio.recommend import lasting
from studio.workspace import Workspace


def bring(what: str, workspace: Workspace, say: Say, told: Told, *, base: str = "", as_json: bool = False) -> None:
    """Import an adapter or a model: a folder, a .zip, or the name of an adapter on the Hub. Raises StudioError.

    `base` is the model that an adapter belongs to; '': as it says itself. The run or the model is named last.
    """
    path = Path(what).expanduser()
    local = path.exists() or path.suffix == ".zip" or what.startswith((".", "/", "~")) or "/" not in what
    found: Report | None = None
    with closing(Importer(workspace)) as importer, told() as tell:
        began = time.monotonic()
        for part in importer.bring([path] if local else [], hub="" if local else what, base=base):
            if isinstance(part, Progress):
                tell(_doing(part, time.monotonic() - began))
            else:
                found = part
    assert found is not None  # or it would have raised
    if as_json:
        say(json.dumps(asdict(found)))
        return
    for name, value in lines(found):
        say(f"{name:<16} {value}")
    say(str(workspace.runs / found.key) if found.kind == "adapter" else found.key)


def _doing(part: Progress, seconds: float) -> str:
    if not part.total or not part.done:
        return part.doing
    left = seconds * (part.total - part.done) / part.done
    return f"{part.doing}: {part.done / part.total:.0%}, {lasting(left)} left".replace("%", " %")
