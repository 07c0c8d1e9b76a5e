"""Gradio's own page, quicker to build: its slowest loop is replaced as its script is served."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gradio
from fastapi import APIRouter
from fastapi.responses import Response

# Of each component it looks through the targets of all handlers: a million looks, and a second or more, in a page of a
# thousand components. What it finds is looked up here in a map, made once for each list of handlers.
SLOW = (
    "let n=t.filter(t=>t.targets.find(([t])=>t===e.id))"
    ".map(t=>{let n=t.targets.find(([t])=>t===e.id);return n?n[1]:null}).filter(Boolean);"
)
QUICK = (
    "if(this.handlersOf!==t){this.handlersOf=t;this.heard=new Map;for(let{targets:n}of t)"
    "for(let[t,r]of new Map([...n].reverse()))r&&this.heard.set(t,[...this.heard.get(t)??[],r])}"
    "let n=this.heard.get(e.id)??[];"
)


def router() -> APIRouter:
    """Serves the script that holds the loop, in place of Gradio; a Gradio without it is left alone."""
    routes = APIRouter()
    for path in (Path(gradio.__file__).parent / "templates/frontend/assets").glob("core-*.js"):
        if SLOW in (script := path.read_text(encoding="utf-8")):
            routes.add_api_route(f"/assets/{path.name}", _sending(script.replace(SLOW, QUICK)))
    return routes


def _sending(script: str) -> Callable[[], Response]:
    return lambda: Response(script, media_type="text/javascript")
