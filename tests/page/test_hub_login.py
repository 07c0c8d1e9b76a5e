"""Coming in by a Hugging Face account: the real door and routes; a stand-in for the Hub speaks its protocol."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse

from studio.workshop import Workshop
from studio.workspace import Workspace
from tabs._door import Door, Sign, behind
from tabs._hub_login import HubLogin, Provider

HOST = "me-studio.hf.space"
SPACE = f"https://{HOST}"


class Hub(ThreadingHTTPServer):
    """Gives a token for the one code, to whoever can show that the code was asked for by them."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Asked)
        self.challenge, self.sub, self.broken = "", "1001", False
        self.tokens: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Asked(BaseHTTPRequestHandler):
    server: Any

    def do_POST(self) -> None:
        sent = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        proof = hashlib.sha256(sent["code_verifier"][0].encode()).digest()
        basic = base64.b64encode(b"client:secret").decode()
        right = (
            self.path == "/oauth/token"
            and sent["code"] == ["the-code"]
            and sent["redirect_uri"] == [f"{SPACE}/studio/door/hub/back"]
            and base64.urlsafe_b64encode(proof).rstrip(b"=").decode() == self.server.challenge
            and self.headers["Authorization"] == f"Basic {basic}"
        )
        self.server.tokens.append("canary-token")
        self._say({"access_token": "canary-token"} if right else {"error": "no"}, 200 if right else 400)

    def do_GET(self) -> None:
        known = self.path == "/oauth/userinfo" and self.headers["Authorization"] == "Bearer canary-token"
        told = [] if self.server.broken else {"sub": self.server.sub, "preferred_username": "ada <b>"}
        self._say(told, 200 if known else 401)

    def _say(self, told: Any, status: int) -> None:
        body = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[Hub]:
    server = Hub()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def app(workspace: Workspace, hub: Hub) -> Starlette:
    """The door of a Space; behind it each is told who they are."""
    workshop = Workshop(workspace).create()

    async def lead(who: str) -> Any:
        return PlainTextResponse(f"studio of {who}")

    def never(*_: str) -> str:
        raise AssertionError("no word is asked for")

    @contextlib.asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        yield

    door = Door(Sign("S", "a", hub=True), never, lead, secure=True)
    provider = Provider(hub.url, "client", "secret", "openid profile", HOST)
    login = HubLogin(provider, door, lambda key, name: workshop.welcome(key, name).folder)
    return behind(door, (HOST,), lifespan, *login.routes())


def apart(asked: Coroutine[Any, Any, httpx.Response]) -> httpx.Response:
    """In a thread of its own: a browser that another test has open keeps a loop running in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, asked).result()


class Browser:
    """One person's: keeps cookies, follows nothing by itself."""

    def __init__(self, app: Starlette) -> None:
        self._app = app
        self.cookies = httpx.Cookies()

    def get(self, path: str) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self._app)
            async with httpx.AsyncClient(transport=transport, base_url=SPACE, cookies=self.cookies) as client:
                answer = await client.get(path)
                self.cookies = client.cookies
                return answer

        return apart(ask())

    def go(self, hub: Hub) -> dict[str, str]:
        """To the Hub; what the Hub is asked."""
        led = self.get("/studio/door/hub")
        assert led.status_code == 303
        assert led.headers["location"].startswith(f"{hub.url}/oauth/authorize?")
        asked = {name: value for name, (value,) in parse_qs(urlsplit(led.headers["location"]).query).items()}
        hub.challenge = asked["code_challenge"]
        return asked

    def come(self, hub: Hub) -> httpx.Response:
        return self.get(f"/studio/door/hub/back?code=the-code&state={self.go(hub)['state']}")


def test_who_comes_back_from_the_hub_has_a_studio_and_the_same_one_again(
    app: Starlette, hub: Hub, workspace: Workspace
) -> None:
    ada = Browser(app)
    assert ada.get("/").status_code == 401
    assert ada.come(hub).headers["location"] == "/"
    first = ada.get("/").text
    assert first.startswith("studio of ada-b-")
    again = Browser(app)
    again.come(hub)
    assert again.get("/").text == first
    hub.sub = "1002"  # another account may bear the same name
    other = Browser(app)
    other.come(hub)
    assert other.get("/").text.startswith("studio of ada-b-")
    assert other.get("/").text != first
    kept = b"".join(path.read_bytes() for path in workspace.root.rglob("*") if path.is_file())
    assert b"canary-token" not in kept


def test_what_the_hub_did_not_begin_here_is_refused(app: Starlette, hub: Hub) -> None:
    ada, eve = Browser(app), Browser(app)
    state = ada.go(hub)["state"]
    for path in (
        "/studio/door/hub/back",
        "/studio/door/hub/back?code=the-code",
        "/studio/door/hub/back?code=the-code&state=x",
        f"/studio/door/hub/back?code=the-code&state={state}",  # another browser's
    ):
        assert eve.get(path).status_code == 403
        assert eve.get("/").status_code == 401
    assert hub.tokens == []
    late = ada.get(f"/studio/door/hub/back?code=the-code&state={state}")  # its one try is spent
    assert late.status_code == 403


def test_a_code_is_of_no_use_to_who_did_not_ask_for_it(app: Starlette, hub: Hub) -> None:
    ada = Browser(app)
    state = ada.go(hub)["state"]
    hub.challenge = "of somebody else"
    answer = ada.get(f"/studio/door/hub/back?code=the-code&state={state}")
    assert answer.status_code == 403
    assert "The Hub does not say who you are" in answer.text
    assert ada.get("/").status_code == 401


def test_a_hub_that_says_nonsense_is_a_sentence(app: Starlette, hub: Hub) -> None:
    hub.broken = True
    answer = Browser(app).come(hub)
    assert answer.status_code == 403
    assert "The Hub does not say who you are" in answer.text


def test_no_word_opens_such_a_door(app: Starlette) -> None:
    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=SPACE) as client:
            return await client.post("/studio/door", data={"name": "presenter", "word": ""})

    answer = apart(ask())
    assert answer.status_code == 403
    assert "Words open nothing here" in answer.text


def test_a_space_without_sign_in_has_no_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENID_PROVIDER_URL", "OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SPACE_HOST", HOST)
    assert Provider.of_space() is None
    for name in ("OPENID_PROVIDER_URL", "OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET"):
        monkeypatch.setenv(name, "x")
    provider = Provider.of_space()
    assert provider
    assert provider.back == f"{SPACE}/studio/door/hub/back"
