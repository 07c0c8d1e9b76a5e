"""The page as a whole: tabs in their order, the look, and the doors that stay shut."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import pkgutil
import socket
import threading
import time
import webbrowser
from collections.abc import AsyncIterator
from types import ModuleType
from typing import Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # read by gradio when it is imported

import gradio as gr
import psutil
import uvicorn
from fastapi import FastAPI
from gradio.themes import Base, Soft
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware

import tabs
from studio.data.draft import Desk
from studio.errors import ConfigError, RunError
from studio.jobs import Jobs
from studio.meters import Meters
from studio.searcher import Searches
from studio.store import Store
from studio.workshop import Entrance
from studio.workspace import Workspace
from tabs import (
    _closed,
    _downloads,
    _engines,
    _entrance,
    _language,
    _live,
    _meters,
    _runs,
    _searching,
    _swifter,
    _versus,
)
from tabs._engines import Engines
from tabs._guard import LOOPBACK, SameOrigin
from tabs._shared import QUIET, Page

QUEUE_S = 0.02  # between two looks for whom to serve; at Gradio's 1 and 10 ms an idle studio takes a twelfth of a core
HERE = """() => [document.querySelector('#tabs [role="tab"][aria-selected="true"]')?.id ?? ""]"""
MAX_UPLOAD = "1gb"
OPEN = Entrance()


def tab_modules() -> list[ModuleType]:
    """Every file of this folder that is a tab, in the order they ask for."""
    found = [
        importlib.import_module(f"tabs.{info.name}")
        for info in pkgutil.iter_modules(tabs.__path__)
        if not info.name.startswith("_") and info.name != "app"
    ]
    return sorted(found, key=lambda module: module.ORDER)


def build(
    workspace: Workspace,
    store: Store,
    jobs: Jobs,
    engines: Engines,
    searches: Searches,
    *,
    alone: bool,
    person: str = "",
) -> gr.Blocks:
    """The page; see `Page` for its parts. `person` is who came in by the door, where there is one."""
    with gr.Blocks(title="Finetune Studio", fill_width=True) as demo:
        # One slot a handler, Gradio's default, would let a room of people wait for one person's upload. It is said
        # while the page is empty: Gradio then describes the whole of it to itself once less.
        demo.queue(default_concurrency_limit=20)
        demo._queue.sleep_when_free = demo._queue.progress_update_sleep_when_free = QUEUE_S
        _meters.header(person)
        # Not inside the strip, which counts its children.
        empty = ("run", "source", "looked")
        begin = {
            **dict.fromkeys(empty, ""),
            "wanted": None,
            "base": None,
            "overlay": [],
            "prompt": None,
            "judged": None,
        }
        states: dict[str, Any] = {name: gr.State(value) for name, value in begin.items()}
        with gr.Tabs(elem_id="tabs") as strip:
            page = Page(
                workspace=workspace,
                store=store,
                jobs=jobs,
                desk=Desk(),
                searches=searches,
                tabs=strip,
                alone=alone,
                **vars(engines),
                **states,
            )
            for module in tab_modules():
                key = module.__name__.rpartition(".")[2]
                with gr.Tab(module.TITLE, id=key, elem_id=f"tab-{key}") as tab:
                    module.build(page, tab)

        def arrive(request: gr.Request) -> str:
            """Back to the run that trains, or the one the address names; else the newest."""
            found, newest = _looked_for(store, request)
            return found or newest

        def show(here: str, request: gr.Request) -> Any:
            """Its curves, unless the person has left the start by then."""
            return (
                gr.Tabs(selected="curves")
                if here == "tab-start-button" and _looked_for(store, request)[0]
                else gr.skip()
            )

        here = gr.Textbox(visible=False)
        arrived = demo.load(arrive, None, page.run, **QUIET).then(show, here, page.tabs, js=HERE, **QUIET)
        arrived.then(None, js="() => { document.body.dataset.arrived = ''; }", **QUIET)  # whoever drives it may begin
    return demo


def _looked_for(store: Store, request: gr.Request) -> tuple[str, str]:
    """The run that the address names or that trains, and the newest; '' where there is none."""
    states = store.states(limit=20)
    asked = (request.query_params or {}).get("run")
    found = next((s for s in states if s.id == asked), None) or next((s for s in states if s.active), None)
    return found.id if found else "", states[0].id if states else ""


def make_app(workspace: Workspace, *, hosts: tuple[str, ...] = (), keep_warm: bool = True, person: str = "") -> FastAPI:
    """The web application over one workspace. `hosts` are names it may be reached under beside loopback's.

    `person` is who came in by the door, where one is in front of it.
    """
    store = Store(workspace)
    jobs = Jobs(workspace, store, keep_warm=keep_warm)
    searches, engines = Searches(jobs), _engines.over(workspace)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        jobs.start()
        searches.start()
        try:
            yield
        finally:
            searches.close()
            jobs.close()
            engines.close()

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.jobs = jobs
    app.include_router(_live.router(store, jobs))
    app.include_router(_versus.router(store, jobs))
    app.include_router(_runs.router(store, jobs))
    app.include_router(_searching.router(store, searches))
    app.include_router(_downloads.router(workspace))
    app.include_router(_meters.router(Meters(jobs, engines.children())))
    app.include_router(_swifter.router())
    app.add_middleware(SameOrigin)
    app.add_middleware(CORSMiddleware, allow_origins=[])
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[*LOOPBACK, *hosts])
    alone = not hosts and not person
    page = build(workspace, store, jobs, engines, searches, alone=alone, person=person)
    shared = Workspace(workspace.shared).models  # of a workshop: everybody's, read only
    i18n = _language.spoken(page)
    _closed.shut(app, page, within=() if alone else (workspace.root, shared))
    css = (_live.ASSETS / "studio.css").read_text(encoding="utf-8")
    return gr.mount_gradio_app(
        app,
        page,
        path="/",
        theme=_theme(),
        css=css,
        head=_live.HEAD,
        i18n=i18n,
        footer_links=[],
        favicon_path=str(_live.ASSETS / "icon.svg"),
        run_history=False,
        enable_monitoring=False,
        max_file_size=MAX_UPLOAD,
        show_error=False,
    )


def _theme() -> Base:
    fonts = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
    mono = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"]
    soft = Soft(primary_hue="indigo", secondary_hue="teal", neutral_hue="slate", font=fonts, font_mono=mono)
    plain = {
        f"block_{part}_{side}": value
        for part in ("title", "label")
        for side, value in {
            "background_fill": "transparent",
            "background_fill_dark": "transparent",
            "text_color": "*body_text_color",
            "text_color_dark": "*body_text_color",
            "text_weight": "600",
            "border_width": "0px",
        }.items()
    }
    # Small print must be readable, and a box must look like one: the defaults are too faint on white.
    clear = {
        "body_background_fill": "*neutral_50",
        "background_fill_primary": "white",
        "block_background_fill": "white",
        "block_border_width": "1px",
        "block_shadow": "none",
        "input_background_fill": "white",
        "input_border_width": "1px",
        "input_border_color": "*neutral_300",
        "input_shadow": "none",
        "body_text_color_subdued": "*neutral_600",
        "block_info_text_color": "*neutral_600",
        "button_primary_background_fill": "*primary_600",
        "button_secondary_border_color": "*neutral_300",
        "button_border_width": "1px",
    }
    # A chat scrolls under its label, which must therefore hide what is behind it.
    label = {"block_label_background_fill": "white", "block_label_background_fill_dark": "*block_background_fill"}
    return soft.set(**{**plain, **clear, **label}, block_title_padding="0")


class QuietServer(uvicorn.Server):
    """Ends without a word: uvicorn reports each open page's connection as a fault, with its traceback."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        await super().shutdown(sockets)


def serve(
    workspace: Workspace,
    *,
    host: str,
    port: int,
    open_browser: bool,
    keep_warm: bool = True,
    entrance: Entrance = OPEN,
) -> None:
    """Serve the page until Ctrl-C. Raises StudioError where the port or the workspace is taken, or all may come in."""
    if not (entrance.name or entrance.workshop or entrance.guarded or host in LOOPBACK):
        raise ConfigError(
            f"Whoever reaches {host} could use this studio, and read what is in it.",
            remedy="Add --auth NAME, or --workshop for many people; without --host only this machine reaches the page.",
        )
    listener = _listen(host, port)
    port = listener.getsockname()[1]
    shown = f"http://{'127.0.0.1' if host in ('0.0.0.0', '::', '') else host}:{port}"  # noqa: S104
    told = f"Finetune Studio is at {shown}  (workspace: {workspace.root}; Ctrl-C ends it)"
    if entrance.workshop and entrance.word:
        told += f"\nNewcomers need the code {entrance.workshop.code}; 'presenter' sees everybody, with {entrance.word}"
    with workspace.claim() if entrance.workshop else contextlib.nullcontext():
        app = _application(workspace, entrance, _hosts(host), keep_warm=keep_warm)
        server = QuietServer(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
        threading.Thread(target=_announce, args=(server, told, shown if open_browser else ""), daemon=True).start()
        server.run(sockets=[listener])


def _application(workspace: Workspace, entrance: Entrance, hosts: tuple[str, ...], *, keep_warm: bool) -> Any:
    """Raises RunError where another studio has the workspace."""
    if entrance.workshop:
        return _entrance.for_many(entrance.workshop, entrance.word, hosts)
    app = make_app(workspace, hosts=hosts, keep_warm=keep_warm, person=entrance.name)
    app.state.jobs.claim()  # here rather than in the server's start, which knows only tracebacks
    return _entrance.for_one(app, entrance.name, entrance.word, hosts) if entrance.name else app


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named: asyncio lets no answer wait for more only where it knows that this is TCP.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    if os.name != "nt":  # there it would let two servers share one port
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise RunError(
            f"The studio cannot listen on {host}:{port} ({error.strerror or error}).",
            remedy="Something else may use that port: choose another with --port.",
        ) from None
    return listener


def _hosts(host: str) -> tuple[str, ...]:
    """Names under which others may speak to us: those we listen on, and a Space's own; none on loopback alone."""
    names = [os.environ.get("SPACE_HOST", "")]
    if host in ("0.0.0.0", "::", ""):  # noqa: S104 - the person asked for every address of this machine
        interfaces = psutil.net_if_addrs().values()
        names += [socket.gethostname(), *(address.address for each in interfaces for address in each)]
    else:
        names.append(host)
    return tuple(str(name) for name in names if name and name not in LOOPBACK)


def _announce(server: uvicorn.Server, told: str, opened: str) -> None:
    """Say where the page is once it is there, and open it in a browser where `opened` names it."""
    while not server.started:
        if server.should_exit:
            return
        time.sleep(0.05)
    print(told, flush=True)
    if opened:
        webbrowser.open(opened)
