"""The door in front of the page: who comes in, by name and word, and to which studio they are led.

Plain pages of our own, without Gradio: what stands before the login is as small as it can be.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from http.cookies import SimpleCookie
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from studio.errors import ConfigError, StudioError
from tabs._guard import LOOPBACK, SameOrigin
from tabs._language import asked, in_language
from tabs._live import ASSETS
from tabs._shared import escaped

COOKIE = "studio-session"
DOOR = "/studio/door"
LEAVE = "/studio/door/leave"
SESSION_SECONDS = 30 * 24 * 3600
_MOST_SESSIONS = 10_000
_TRIES, _PAUSE = 5, 30.0  # wrong words for one name, and the seconds in which it then takes no more
_LONGEST = 20_000  # bytes of a form

Enter = Callable[[str, str, str], str]  # (name, word, code) → who it is; raises ConfigError
Lead = Callable[[str], Awaitable[ASGIApp]]  # who it is → their studio; raises StudioError


@dataclass
class Session:
    """Somebody who came in."""

    who: str
    until: float


class Sessions:
    """Who came in, by what only their browser knows. Those of an earlier server are gone."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, Session] = OrderedDict()

    def begin(self, who: str) -> str:
        token = secrets.token_urlsafe(32)
        self._known[token] = Session(who, time.time() + SESSION_SECONDS)
        while len(self._known) > _MOST_SESSIONS:
            self._known.popitem(last=False)
        return token

    def who(self, scope: Scope) -> str | None:
        """None for a stranger."""
        session = self._known.get(_token(scope))
        return session.who if session and session.until > time.time() else None

    def end(self, scope: Scope) -> None:
        self._known.pop(_token(scope), None)


class Patience:
    """Lets nobody try one word after the other."""

    def __init__(self) -> None:
        self._wrong: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def check(self, name: str) -> None:
        """Raises ConfigError while that name takes no more words."""
        count, last = self._wrong.get(name.casefold(), (0, 0.0))
        if count >= _TRIES and (left := last + _PAUSE - time.monotonic()) > 0:
            raise ConfigError("Too many wrong words.", remedy=f"Try again in {round(left) + 1} seconds.")

    def wrong(self, name: str) -> None:
        count, _ = self._wrong.pop(name.casefold(), (0, 0.0))
        self._wrong[name.casefold()] = (count + 1, time.monotonic())
        while len(self._wrong) > _MOST_SESSIONS:
            self._wrong.popitem(last=False)

    def right(self, name: str) -> None:
        self._wrong.pop(name.casefold(), None)


@dataclass(frozen=True)
class Sign:
    """What stands on the door."""

    title: str
    about: str
    code: bool = True  # whether newcomers are asked for one
    hub: bool = False  # whether people come in by their Hugging Face account, and by nothing else


class Door:
    """Leads whoever has come in to their studio, and everybody else to the form."""

    def __init__(self, sign: Sign, enter: Enter, lead: Lead, *, secure: bool = False) -> None:
        """`secure`: the page is reached by HTTPS within another site's frame, as on a Space."""
        self.sessions, self._patience = Sessions(), Patience()
        self._sign, self._enter, self._lead = sign, enter, lead
        self._bound = "; SameSite=None; Secure; Partitioned" if secure else "; SameSite=Lax"
        self._headers = _ALONE if secure else {**_ALONE, "X-Frame-Options": "DENY"}

    def routes(self) -> list[Any]:
        """For an application of Starlette: the door itself, and everything behind it."""
        return [
            Route(DOOR, self._form),
            Route(DOOR, self._try, methods=["POST"]),
            Route(LEAVE, self._leave, methods=["POST"]),
            Mount("/", self),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Everything behind the door."""
        if scope["type"] != "http":
            return
        who = self.sessions.who(scope)
        try:
            answer = await self._lead(who) if who is not None else _outside(Request(scope))
        except StudioError as error:
            answer = PlainTextResponse(f"{error.problem} {error.remedy}", status_code=503)
        await answer(_unmounted(scope), receive, send)

    async def _form(self, request: Request, problem: str = "", name: str = "", status: int = 200) -> Response:
        values = {
            "title": escaped(self._sign.title),
            "about": escaped(self._sign.about),
            "problem": f'<p class="fault" role="alert">{problem}</p>' if problem else "",
            "name": escaped(name),
            "newcomer": "" if self._sign.code else "hidden",
            "words": "hidden" if self._sign.hub else "",
            "hub": "" if self._sign.hub else "hidden",
        }
        page = (ASSETS / "door.html").read_text(encoding="utf-8")
        for key, value in values.items():
            page = page.replace(f"<!--{key}-->", value)
        page = in_language(page, asked(request.headers.get("accept-language", "")))
        return HTMLResponse(page, status, {**self._headers, "Vary": "Accept-Language"})

    async def _try(self, request: Request) -> Response:
        if self._sign.hub:
            return await self.refuse(request, ConfigError("Words open nothing here.", remedy="Sign in at the Hub."))
        if int(request.headers.get("content-length") or _LONGEST + 1) > _LONGEST:
            return PlainTextResponse("That is too much for a form.", status_code=413)
        async with request.form(max_files=0, max_fields=8) as form:
            name, word, code = (str(form.get(each, "")) for each in ("name", "word", "code"))
        name = " ".join(name.split())[:200]
        try:
            self._patience.check(name)
            try:
                who = await asyncio.to_thread(self._enter, name, word[:1000], code[:200])
            except ConfigError:
                self._patience.wrong(name)
                raise
            self._patience.right(name)
            return await self.let_in(request, who)
        except StudioError as error:
            return await self.refuse(request, error, name)

    async def let_in(self, request: Request, who: str) -> Response:
        """Lead them to their studio from now on. Raises StudioError where it does not open."""
        await self._lead(who)  # here, where a form waits, rather than in front of an empty page
        self.sessions.end(request.scope)
        answer = RedirectResponse("/", 303, _ALONE)
        self._give(answer, self.sessions.begin(who), SESSION_SECONDS)
        return answer

    async def refuse(self, request: Request, error: StudioError, name: str = "") -> Response:
        """The form again, with the reason."""
        told = f"<strong>{escaped(error.problem)}</strong> <span>{escaped(error.remedy)}</span>"
        return await self._form(request, told, name, 403)

    async def _leave(self, request: Request) -> Response:
        self.sessions.end(request.scope)
        answer = RedirectResponse(DOOR, 303, _ALONE)
        self._give(answer, "", 0)
        return answer

    def _give(self, answer: Response, token: str, seconds: int) -> None:
        cookie = f"{COOKIE}={token}; Path=/; HttpOnly; Max-Age={seconds}{self._bound}"
        answer.raw_headers.append((b"set-cookie", cookie.encode()))


_ALONE = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; img-src data:; style-src 'unsafe-inline'; form-action 'self'; "
    "base-uri 'none'",
}


def _outside(request: Request) -> Response:
    """What a stranger gets: whoever reads pages, the form; whatever asks for data, a refusal."""
    if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
        return RedirectResponse(DOOR, 303, {"Cache-Control": "no-store"})
    return PlainTextResponse("Sign in first.", status_code=401)


def _unmounted(scope: Scope) -> Scope:
    """As it was before Starlette's mount, which counts as a part of the path what leads to it."""
    return {**scope, "root_path": scope.get("app_root_path", "")}


def _token(scope: Scope) -> str:
    cookies = SimpleCookie()
    with contextlib.suppress(Exception):  # other pages of this host may have set anything
        cookies.load(b"; ".join(value for name, value in scope["headers"] if name == b"cookie").decode("latin-1"))
    return cookies[COOKIE].value if COOKIE in cookies else ""


def behind(
    door: Door,
    hosts: Sequence[str],
    lifespan: Callable[[Any], contextlib.AbstractAsyncContextManager[None]],
    *more: Any,
) -> Starlette:
    """The application in front: the door, what else is open to it (`more` routes), and the studios behind."""
    guards = [Middleware(TrustedHostMiddleware, allowed_hosts=[*LOOPBACK, *hosts]), Middleware(SameOrigin)]
    return Starlette(routes=[*more, *door.routes()], middleware=guards, lifespan=lifespan)


def one_account(name: str, word: str) -> Enter:
    """For a studio that one person, or a few who trust one another, reach by one name and word."""

    def enter(given: str, tried: str, _: str) -> str:
        same = hmac.compare_digest(given.casefold().encode(), name.casefold().encode())
        if not hmac.compare_digest(tried.encode(), word.encode()) or not same:
            raise ConfigError("That name and word do not belong together.", remedy="Try again.")
        return name

    return enter


@contextlib.asynccontextmanager
async def alive(app: Any) -> AsyncIterator[None]:
    """`app`, which stands behind a door, with its own beginning and end."""
    async with app.router.lifespan_context(app):
        yield
