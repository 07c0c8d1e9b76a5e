"""The page's header: what the machine is doing, pulled from a JSON route, and a button that gives memory back."""

from __future__ import annotations

from typing import Any

import gradio as gr
from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from studio.meters import Freed, Meters, Sample
from tabs._door import LEAVE
from tabs._live import ASSETS, script
from tabs._shared import escaped

_DOING = {
    "chat": "The chat's model is writing",
    "tokens": "Tokens are being counted",
    "checks": "A data set is being checked",
    "queries": "A query is running",
    "adapter": "An adapter is being weighed",
    "rehearsal": "A run is being rehearsed",
    "rewards": "Rewards are being tried out",
    "answers": "Answers are being written or criticised",
    "prompts": "Prompts are being tried",
    "evaluations": "Models are being evaluated",
    "benchmark": "Models are being measured",
    "card": "A model is being measured",
    "export": "An export is being made",
    "import": "Something is being imported",
    "publish": "Something is being published",
}


def header(person: str) -> gr.HTML:
    """The studio's name, the meters and the button, in one line; and who came in by the door, with the way out."""
    template = (ASSETS / "meters.html").read_text(encoding="utf-8")
    return gr.HTML(
        "",
        html_template=template.replace("<!--person-->", _leave(person) if person else ""),
        js_on_load=script("meters"),
        apply_default_css=False,
        elem_id="meters",
    )


def _leave(person: str) -> str:
    # Gradio's templates give a dollar and braces a meaning.
    name = escaped(person).translate({ord(each): f"&#{ord(each)};" for each in "${}`\\"})
    return (
        f'<form class="person" method="post" action="{LEAVE}"><span>{name}</span>'
        f'<button title="Sign out, so that nobody else at this machine can act in your name">Sign out</button></form>'
    )


def router(meters: Meters) -> APIRouter:
    """The routes that the header's script asks."""
    routes = APIRouter()

    @routes.get("/studio/meters")
    def read() -> Response:
        return JSONResponse(payload(meters.read()), headers={"Cache-Control": "no-store"})

    @routes.post("/studio/memory/free")
    def free(busy: bool = False) -> Response:
        freed = meters.free(also_busy=busy)
        return JSONResponse({"told": told(freed), "busy": bool(freed.busy)})

    return routes


def payload(sample: Sample) -> dict[str, Any]:
    """What the script draws: GB and percent."""
    return {
        "active": True,  # there is always more to ask for
        "cpu": round(sample.cpu),
        "ram": [_gb(sample.ram.used), _gb(sample.ram.total)],
        "own": {name: _gb(held) for name, held in sample.own.items()},
        "gpus": [
            {
                "name": gpu.name,
                "load": gpu.load,
                "memory": gpu.memory and [_gb(gpu.memory.used), _gb(gpu.memory.total)],
                "celsius": gpu.celsius,
                "watts": gpu.watts and round(gpu.watts),
            }
            for gpu in sample.gpus
        ],
    }


def told(freed: Freed) -> str:
    """What came of the button, in a sentence or two."""
    parts = []
    if freed.ram:
        on_gpu = f", and {_size(freed.gpu)} of the GPU" if freed.gpu else ""
        parts.append(f"{_size(freed.ram)} of memory is free again{on_gpu}.")
    elif not freed.busy:
        parts.append("Nothing to free: no model is loaded beside training runs.")
    parts += [f"{_DOING[name]}, so its memory was not touched." for name in freed.busy]
    return " ".join(parts)


def _gb(number: int) -> float:
    return round(number / 1e9, 2)


def _size(number: int) -> str:
    return f"{number / 1e9:.1f} GB" if number >= 1e8 else f"{number / 1e6:.0f} MB"
