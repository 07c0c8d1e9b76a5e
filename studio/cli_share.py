"""What comes from elsewhere and what leaves, without a browser."""

from __future__ import annotations

import getpass
import json
import sys
import time
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from studio.child import Progress
from studio.cli_prompts import Say, Told
from studio.errors import RunError
from studio.exporter import Exported, Exporter, made, parse
from studio.importer import Importer, Report, lines
from studio.publish import Order, Published, Publisher, own_token, parcel
from studio.recommend import lasting
from studio.rehearsal import size
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


def publish(
    run: str, order: Order, form: str, workspace: Workspace, say: Say, told: Told, *, sure: bool = False
) -> None:
    """Push a run to the Hub in that form, exported first where it was not yet; its address is said last.

    What would be sent is shown, and asked about unless `sure`. The token is HF_TOKEN's, that of `hf auth login`, or
    typed in. Raises StudioError.
    """
    order, name = order.checked(), workspace.run(Path(run).name).id
    ready = parcel(workspace, _exported(name, form, workspace, told).name)
    for file, length in ready.files:
        say(f"{size(length):>10}  {file}")
    whose = "public" if order.public else "private"
    say(f"{len(ready.files)} files, {size(ready.bytes)}, to {order.repo} ({whose})")
    if not (sure or confirmed(say)):
        return
    token = own_token() or (getpass.getpass("Token of the Hub (it is not kept): ") if sys.stdin.isatty() else "")
    found: Published | None = None
    with closing(Publisher(workspace)) as publisher, told() as tell:
        began = time.monotonic()
        for part in publisher.send(ready, order, token):
            if isinstance(part, Progress):
                tell(_doing(part, time.monotonic() - began))
            else:
                found = part
    assert found is not None  # or it would have raised
    for note in found.notes:
        say(note)
    say(found.url)


def confirmed(say: Say) -> bool:
    """Whether a person agrees. Raises RunError where there is none to ask."""
    if not sys.stdin.isatty():
        raise RunError("Nobody is there to confirm what would be sent.", remedy="Add --yes once the list is right.")
    say("Send these files? [y/N]")
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _exported(run: str, form: str, workspace: Workspace, told: Told) -> Exported:
    """The newest export of that run in that form, made now where there is none. Raises StudioError."""
    export = parse({"name": form})
    known = (each for each in made(workspace) if each.run == run and each.export.get("name") == form)
    if found := next(known, None):
        return found
    with closing(Exporter(workspace)) as exporter, told() as tell:
        began = time.monotonic()
        for part in exporter.export(run, export):
            if isinstance(part, Exported):
                return part
            tell(_doing(part, time.monotonic() - began))
    raise RunError("The export came to no end.", remedy="Try again.")


def _doing(part: Progress, seconds: float) -> str:
    if not part.total or not part.done:
        return part.doing
    left = seconds * (part.total - part.done) / part.done
    return f"{part.doing}: {part.done / part.total:.0%}, {lasting(left)} left".replace("%", " %")
