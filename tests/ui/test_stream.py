"""The stream of answers between Gradio's page and its server: no event of a person may go unheard."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import gradio as gr
import pytest
import uvicorn
from fastapi import FastAPI
from playwright.sync_api import Browser, expect

from tabs._live import ASSETS

pytestmark = pytest.mark.browser

LATE = 0.5  # seconds that the word of the stream's end is on its way


class Late:
    """A network on which the word that a stream has ended comes after the answer to another request."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def later(message: Any) -> None:
            if b"close_stream" in message.get("body", b""):
                await asyncio.sleep(LATE)
            await send(message)

        streams = scope["type"] == "http" and scope["path"].endswith("/queue/data")
        await self.app(scope, receive, later if streams else send)


def counting() -> gr.Blocks:
    """Two buttons, each of which counts its clicks on the server."""
    with gr.Blocks() as blocks:
        for name in ("first", "second"):
            count, shown = gr.State(0), gr.Textbox(elem_id=f"{name}-count")
            button = gr.Button(name, elem_id=name)
            button.click(lambda count: (count + 1, str(count + 1)), count, [count, shown])
    return blocks


@pytest.fixture
def site() -> Iterator[str]:
    head = f"<script>{(ASSETS / 'stream.js').read_text(encoding='utf-8')}</script>"
    app = gr.mount_gradio_app(FastAPI(), counting(), path="/", head=head)
    server = uvicorn.Server(uvicorn.Config(Late(app), port=0, log_level="error", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


def test_a_click_while_the_stream_ends_is_heard(browser: Browser, site: str) -> None:
    page = browser.new_page()
    page.goto(site)
    for times in ("1", "2", "3"):
        page.locator("#first").click()
        expect(page.locator("#first-count textarea")).to_have_value(times)
        page.locator("#second").click()  # the word of the stream's end is still on its way
        expect(page.locator("#second-count textarea")).to_have_value(times, timeout=5_000)
        page.wait_for_timeout(LATE * 1500)  # now it has come: the stream is opened anew
    page.close()
