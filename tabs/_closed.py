"""What Gradio does for anybody who asks, and this page needs nowhere, is refused; browsers are told to ask us alone."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI
from gradio import processing_utils
from gradio.exceptions import InvalidPathError
from starlette.datastructures import MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from studio.within import WITHIN

# Fetching addresses for others, a page's state kept on disk for ever, an editor of the studio's own code.
_SHUT = (
    *("proxy=", "deep_link", "vibe-", "undo-vibe-", "process_recording", "run-history", "dev/", "stream/"),
    *("custom_component/", "openapi.json", "runs"),
)
_OF_FILES = "file="
# Nothing is fetched from another site, sent to one, or framed by one; a Space stands in a frame of the Hub's. Gradio
# and Plotly make functions of texts.
_POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; object-src 'none'; base-uri 'self'; "
    "form-action 'self'; frame-ancestors 'self' https://huggingface.co https://*.huggingface.co"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}


def shut(app: FastAPI, page: gr.Blocks, *, within: Sequence[Path]) -> None:
    """Close what stands open in a page that is mounted on `app`.

    `within` are the only folders of which data and models may be named by path; none: any, as nobody else comes.
    """
    page.has_launched = True  # else a handler is given whatever file of this machine a request names as uploaded
    processing_utils.async_ssrf_protected_download = _fetch_nothing
    if within:
        os.environ[WITHIN] = os.pathsep.join(map(str, within))  # children read it too
    app.add_middleware(_Closed)


class _Closed:
    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        if _refused(scope["path"]):
            return await PlainTextResponse("This is not offered here.", 403)(scope, receive, send)

        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        await self.app(scope, receive, sealed)


def _refused(path: str) -> bool:
    _, _, asked = path.partition("/gradio_api/")
    name = asked.removeprefix(_OF_FILES)
    return asked.startswith(_SHUT) or (name != asked and name.lower().startswith(("http:", "https:")))


async def _fetch_nothing(url: str, *_: Any, **__: Any) -> str:
    """In the place of what Gradio calls for a file that is named by its address."""
    raise InvalidPathError("Nothing is fetched from an address: upload the file.")
