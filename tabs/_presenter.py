"""What whoever holds a workshop sees: everybody's newest run, its curves, and who waits."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from studio.store import State, Store, thin
from studio.turns import stands
from studio.workshop import Person, Workshop
from studio.workspace import Workspace
from tabs._language import tables
from tabs._live import ASSETS, script

MOST_POINTS = 160  # of a curve: as many as a small picture shows
_CURVES = ("loss", "eval_loss")


class Board:
    """Reads what everybody does; holds nothing that is not on disk."""

    def __init__(self, workshop: Workshop) -> None:
        self._workshop = workshop
        self._stores: dict[str, Store] = {}
        self._lock = threading.Lock()

    def now(self) -> dict[str, Any]:
        """Everybody, in the order of their coming."""
        with self._lock:
            people = self._workshop.people()
            waiting = stands(self._workshop.workspace)
            order = sorted((each for each in waiting if waiting[each].waits), key=lambda each: waiting[each].rank())
            return {
                "active": True,
                "code": self._workshop.code,
                "waiting": len(order),
                "people": [
                    self._person(each, order.index(each.folder) + 1 if each.folder in order else 0) for each in people
                ],
            }

    def _person(self, person: Person, place: int) -> dict[str, Any]:
        """`place` in the queue, from 1; 0 outside of it."""
        store = self._stores.setdefault(
            person.folder, Store(Workspace(self._workshop.workspace.people / person.folder))
        )
        states = store.states(limit=20)
        shown = next((each for each in states if each.active and each.status != "queued"), None) or (
            states[0] if states else None
        )
        return {"name": person.name, "place": place, "runs": len(states), "run": shown and _run(store, shown)}


def _run(store: Store, state: State) -> dict[str, Any]:
    points, curves = store.points(state.id), {}
    for name in _CURVES:
        seen = [(each.step, each.metrics[name]) for each in points if name in each.metrics]
        if seen:
            curves[name] = thin([step for step, _ in seen], [value for _, value in seen], MOST_POINTS)
    return {
        "title": state.title,
        "status": state.status,
        "step": state.step,
        "total": state.total_steps,
        "left": state.remaining,
        "problem": state.problem if state.status == "failed" else "",
        "curves": curves,
    }


def application(workshop: Workshop) -> Starlette:
    """The presenter's page."""
    board = Board(workshop)

    async def page(_: Request) -> Response:
        text = (ASSETS / "presenter.html").read_text(encoding="utf-8")
        languages = json.dumps(tables()).replace("<", "\\u003c")
        text = text.replace("/*languages*/ {}", languages).replace("/*script*/", script("language", "presenter"))
        return HTMLResponse(text, headers={"Cache-Control": "no-store"})

    async def now(_: Request) -> Response:
        return JSONResponse(await asyncio.to_thread(board.now), headers={"Cache-Control": "no-store"})

    async def home(_: Request) -> Response:
        return RedirectResponse("/", 303)

    return Starlette(routes=[Route("/", page), Route("/studio/everybody", now), Route("/{path:path}", home)])
