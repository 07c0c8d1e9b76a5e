"""The table of all runs and the queue: the JSON routes that the Runs tab's script asks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field

from studio import ledger
from studio.errors import RunError, StudioError
from studio.jobs import Jobs
from studio.ledger import About
from studio.store import ACTIVE, RESTING, State, Store
from studio.workspace import RunFolder

ON_A_PAGE = 50
Sortable = Literal[
    "star", "title", "status", "created", "deleted", "step", "loss", "eval_loss", "tokens", "seconds", "size", "tags",
    "note",
]  # fmt: skip


class Asked(BaseModel):
    """Which runs, in which order."""

    text: str = Field("", max_length=500)  # words that all occur in what is told of a run
    status: Literal["", "active", "queued", "paused", "stopped", "failed", "done"] = ""
    tag: str = Field("", max_length=100)
    starred: bool = False
    sort: Sortable = "created"
    down: bool = True
    page: int = Field(0, ge=0)
    trash: bool = False

    @property
    def plain(self) -> bool:
        """Whether the page's runs can be told without looking at all others."""
        return self.sort == "created" and not self.text and not self.status

    def wants(self, line: Line) -> bool:
        """Whether what is known of a run only from its log is as asked for."""
        if self.status and self.status != line.status and not (self.status == "active" and line.status in ACTIVE):
            return False
        told = " ".join((line.title, line.note, line.source, line.id, *line.tags)).casefold()
        return all(word in told for word in self.text.casefold().split())


class Change(BaseModel):
    """What a person says of a run; None: as it is."""

    run: str
    star: bool | None = None
    tags: str | None = Field(None, max_length=5000)  # with commas between them
    note: str | None = Field(None, max_length=50_000)


class Move(BaseModel):
    """A run that waits, and the one it shall go before; None: after all."""

    run: str
    before: str | None = None


class Several(BaseModel):
    """Ids of runs."""

    runs: list[str] = Field(max_length=100_000)


@dataclass(frozen=True)
class Line:
    """One run in the table. None: not known yet, or there is nothing to measure."""

    id: str
    title: str
    source: str  # of its rows
    status: str
    problem: str
    created: float  # seconds since 1970
    deleted: float
    step: int | None
    total_steps: int
    loss: float | None  # of the last step
    eval_loss: float | None
    tokens: int | None
    seconds: float | None  # of training
    size: int | None  # bytes on disk
    star: bool
    tags: tuple[str, ...]
    note: str
    active: bool
    stopping: bool
    resumable: bool


class Table:
    """All runs of a workspace, and those in its trash."""

    def __init__(self, store: Store, jobs: Jobs) -> None:
        self.jobs = jobs
        self.here = Shelf(store)
        self.thrown = Shelf(Store(store.workspace.bin()))

    def payload(self, asked: Asked) -> dict[str, Any]:
        """A page of the table, what it can be filtered by, and the queue."""
        shelf = self.thrown if asked.trash else self.here
        folders = shelf.workspace.run_folders()
        said = {folder.id: ledger.about(folder) for folder in folders}
        chosen = [folder for folder in folders if _fits(asked, said[folder.id])]  # newest first
        every, unread = ([], 0) if asked.plain else shelf.read(chosen, said)
        every = [line for line in every if asked.wants(line)]
        total = len(chosen if asked.plain else every)
        first = min(asked.page, max(total - 1, 0) // ON_A_PAGE) * ON_A_PAGE
        shown = slice(first, first + ON_A_PAGE)
        if asked.plain:
            lines = shelf.lines((chosen if asked.down else chosen[::-1])[shown], said)
        else:
            lines = _sorted(every, asked)[shown]
        waiting = self.here.store.there(self.jobs.queue())
        return {
            "rows": [asdict(line) for line in lines],
            "total": total,
            "first": first,
            "on_a_page": ON_A_PAGE,
            "unread": unread,
            "all": len(folders),
            "thrown": len(folders if asked.trash else self.thrown.workspace.run_folders()),
            "tags": sorted({tag for about in said.values() for tag in about.tags}, key=str.casefold),
            "queue": [{"id": state.id, "title": state.title, "created": state.created} for state in waiting],
            "active": bool(waiting or unread) or any(line.active or line.size is None for line in lines),
        }

    def weigh(self, ids: Iterable[str]) -> dict[str, Any]:
        """What deleting these runs of the trash would free; without any: all that are in it."""
        trash = self.thrown.workspace
        folders = [trash.run(each) for each in ids] or trash.run_folders()
        return {"runs": [folder.id for folder in folders], "bytes": sum(ledger.taken(each.path) for each in folders)}

    def describe(self, change: Change) -> None:
        """Keep what is said of a run. Raises RunError."""
        new = change.model_dump(exclude_none=True, exclude={"run"})
        if change.tags is not None:
            new["tags"] = ledger.tags_of(change.tags)
        ledger.describe(self.here.workspace.run(change.run), **new)


class Shelf:
    """The runs of one folder."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.workspace = store.workspace
        self.sizes = ledger.Sizes(store.state)

    def lines(self, folders: Iterable[RunFolder], said: dict[str, About]) -> list[Line]:
        """Of the runs that are still there."""
        by_id = {folder.id: folder for folder in folders}
        found = [(state, by_id[state.id]) for state in self.store.there(by_id)]
        return [_line(state, said[state.id], folder, self.sizes.of(folder)) for state, folder in found]

    def read(self, folders: list[RunFolder], said: dict[str, About]) -> tuple[list[Line], int]:
        """Of those whose logs were read already, and how many were not: reading thousands takes a while."""
        known = [folder for folder in folders if self.sizes.of(folder) is not None]
        return self.lines(known, said), len(folders) - len(known)


def _fits(asked: Asked, about: About) -> bool:
    return (about.star or not asked.starred) and (not asked.tag or asked.tag in about.tags)


def _line(state: State, about: About, folder: RunFolder, size: int | None) -> Line:
    begun = state.step > 0
    return Line(
        id=state.id,
        title=state.title,
        source=str(state.config.get("dataset", {}).get("source", "")),
        status=state.status,
        problem=state.problem,
        created=state.created,
        deleted=about.deleted,
        step=state.step if begun else None,
        total_steps=state.total_steps,
        loss=state.metrics.get("loss"),
        eval_loss=(state.last_eval or {}).get("eval_loss"),
        tokens=state.tokens if begun else None,
        seconds=state.seconds if begun else None,
        size=size,
        star=about.star,
        tags=about.tags,
        note=about.note,
        active=state.active,
        stopping=state.active and folder.stop_flag.exists(),
        resumable=state.status in RESTING,
    )


def _sorted(lines: list[Line], asked: Asked) -> list[Line]:
    """What is not known or not said stays below, whichever way it goes."""

    def value(line: Line) -> Any:
        found = getattr(line, asked.sort)
        found = ", ".join(found) if isinstance(found, tuple) else found
        return found.casefold() if isinstance(found, str) else found

    known = [line for line in lines if value(line) not in (None, "")]
    return sorted(known, key=value, reverse=asked.down) + [line for line in lines if value(line) in (None, "")]


def router(store: Store, jobs: Jobs) -> APIRouter:
    """The routes."""
    routes = APIRouter()
    table = Table(store, jobs)
    workspace = store.workspace

    @routes.get("/studio/ledger")
    def shown(asked: Annotated[Asked, Query()]) -> Response:
        return JSONResponse(table.payload(asked), headers={"Cache-Control": "no-store"})

    @routes.post("/studio/ledger/about")
    def about(change: Change) -> Response:
        return _answer(table.describe, [change])

    @routes.post("/studio/ledger/move")
    def move(asked: Move) -> Response:
        return _answer(lambda each: jobs.move(each.run, each.before), [asked])

    @routes.post("/studio/ledger/weigh")
    def weigh(several: Several) -> Response:
        try:
            return JSONResponse(table.weigh(several.runs))
        except RunError as error:
            return JSONResponse({"problem": str(error)}, status_code=404)

    @routes.post("/studio/ledger/{action}")
    def act(action: Literal["delete", "restore", "erase"], several: Several) -> Response:
        if action == "delete":
            return _answer(jobs.delete, several.runs)
        done = {"restore": ledger.restore, "erase": ledger.erase}[action]
        return _answer(lambda each: done(workspace, each), several.runs)

    return routes


def _answer(act: Callable[[Any], None], things: list[Any]) -> Response:
    """Do it to each that can be done: {"done": those, "problem": why one could not}."""
    done, problem = [], ""
    for each in things:
        try:
            act(each)
            done.append(each)
        except StudioError as error:
            problem = problem or str(error)
    return JSONResponse({"done": [each for each in done if isinstance(each, str)], "problem": problem})
