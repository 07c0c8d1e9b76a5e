"""A page that others reach, really served, and its own HTTP API as a stranger uses it."""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from studio.within import WITHIN
from studio.workspace import Workspace
from tabs._shared import Page
from tabs.app import make_app

HOST = "studio.example"  # under which others reach it


class Stranger:
    """Asks what any page asks, but what it likes."""

    def __init__(self, url: str, page: Page, blocks: Any) -> None:
        self.url, self.page, self.workspace, self.blocks = url, page, page.workspace, blocks
        self.http = httpx.Client(base_url=url, timeout=60)
        self.config: dict[str, Any] = self.http.get("/config").json()
        self.ids = {each["props"].get("elem_id"): each["id"] for each in self.config["components"]}
        self.session = secrets.token_hex(4)

    def of(self, name: str, event: str) -> dict[str, Any]:
        """The handler of a component's event."""
        wanted = [self.ids[name], event]
        return next(each for each in self.config["dependencies"] if wanted in map(list, each["targets"]))

    def ask(self, name: str, event: str, said: dict[str, Any], **more: Any) -> dict[str, Any]:
        """What Gradio says of it last: {"success", "output"}. `said` puts values into components."""
        return self.call(self.of(name, event)["id"], said, **more)

    def call(self, number: int, said: dict[str, Any], **more: Any) -> dict[str, Any]:
        """As `ask`, of the handler of that number."""
        handler = self.config["dependencies"][number]
        values = {each["id"]: each["props"].get("value") for each in self.config["components"]}
        values |= {self.ids[each]: value for each, value in said.items()}
        data = [values.get(each) for each in handler["inputs"]]
        asked = {"data": data, "fn_index": handler["id"], "session_hash": self.session, **more}
        joined = self.http.post("/gradio_api/queue/join", json=asked)
        if joined.status_code != 200:
            return {"success": False, "output": joined.json(), "status": joined.status_code}
        with self.http.stream("GET", "/gradio_api/queue/data", params={"session_hash": self.session}) as stream:
            for line in stream.iter_lines():
                told = json.loads(line.removeprefix("data: ") or "{}") if line.startswith("data:") else {}
                if told.get("msg") in ("process_completed", "unexpected_error", "close_stream"):
                    return {"success": bool(told.get("success")), "output": told.get("output")}
        return {"success": False, "output": None}

    def upload(self, name: str, content: bytes, **headers: str) -> httpx.Response:
        return self.http.post("/gradio_api/upload", files={"files": (name, content)}, headers=headers)

    def bring(self, name: str, content: bytes) -> tuple[Path, dict[str, Any]]:
        """Upload a file and have it made a data set: where Gradio put it, and what came of it."""
        (path,) = self.upload(name, content).json()
        return Path(path), self.claim(path, orig_name=name)

    def claim(self, path: str, **more: Any) -> dict[str, Any]:
        """Say that a file was uploaded."""
        sent = {"path": path, "orig_name": "a.csv", "meta": {"_type": "gradio.FileData"}, **more}
        return self.ask("dataset-upload", "upload", {"dataset-upload": sent})


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stranger]:
    """One for all tests. What it puts into the environment is there for those alone that ask `stranger`."""
    root = tmp_path_factory.mktemp("strangers")
    workspace, pages = Workspace(root / "workspace").create(), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(root / "uploads"))
        patch.setenv(WITHIN, "")  # the page names its folder there, which goes again
        patch.setattr("tabs.app.Page", lambda **parts: pages.append(Page(**parts)) or pages[-1])
        app: Any = make_app(workspace, hosts=(HOST,), keep_warm=False)
    blocks = next(each.app.get_blocks() for each in app.routes if hasattr(getattr(each, "app", None), "get_blocks"))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    port = server.servers[0].sockets[0].getsockname()[1]
    someone = Stranger(f"http://127.0.0.1:{port}", pages[0], blocks)
    yield someone
    someone.http.close()
    server.should_exit = True
    thread.join(timeout=10)


@pytest.fixture
def stranger(served: Stranger, monkeypatch: pytest.MonkeyPatch) -> Stranger:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(served.workspace.root.with_name("uploads")))
    monkeypatch.setenv(WITHIN, str(served.workspace.root))
    return served
