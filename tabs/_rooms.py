"""A studio of its own for each person of a workshop, in a process of its own, and the way to it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import httpx
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.types import Receive, Scope, Send

from studio.errors import RunError
from studio.launch import worker_environment
from studio.ledger import taken
from studio.models.machine import free_memory
from studio.seats import seats_for
from studio.workshop import Person, Workshop

OPENS = 120.0  # seconds that a studio may take to open, when thirty people come at once
_LOOK = 0.05
_OF_A_CONNECTION = {  # headers that speak of one connection; RFC 9110, section 7.6.1
    b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade",
}  # fmt: skip


class Rooms:
    """The studios of a workshop. They open when somebody comes, and close together."""

    def __init__(self, workshop: Workshop, hosts: Sequence[str]) -> None:
        """`hosts` are names under which the page is reached."""
        self._workshop, self._hosts = workshop, list(hosts)
        self._sockets = Path(tempfile.mkdtemp(prefix="studio-"))  # nobody else may look in; paths of sockets are short
        self._rooms: dict[str, Room] = {}
        self._opening = asyncio.Lock()
        seats = workshop.workspace.root / "seats"
        seats.mkdir(exist_ok=True)
        self._seats = f"{seats}:{seats_for(free_memory())}"
        self._host = subprocess.Popen(
            [sys.executable, "-m", "tabs._host"],
            stdin=subprocess.PIPE,
            stdout=sys.stderr.fileno(),
            env=worker_environment(),
            start_new_session=True,
        )

    async def of(self, person: Person) -> Room:
        """Theirs, open. Raises RunError where it does not open."""
        async with self._opening:
            room = self._rooms.get(person.folder)
            if room is None or room.gone:
                room = self._rooms[person.folder] = await asyncio.to_thread(self._ask, person)
        if not await room.opens():
            self._rooms.pop(person.folder, None)
            raise RunError("Your studio did not open.", remedy="Try again in a minute.")
        return room

    def _ask(self, person: Person) -> Room:
        own = self._workshop.workspace_of(person)
        socket = self._sockets / f"{secrets.token_hex(8)}.sock"
        asked = {
            "workspace": str(own.root),
            "socket": str(socket),
            "person": person.name,
            "hosts": self._hosts,
            "seats": self._seats,
        }
        assert self._host.stdin is not None
        try:
            self._host.stdin.write(json.dumps(asked).encode() + b"\n")
            self._host.stdin.flush()
        except OSError:
            raise RunError("No more studios can be opened.", remedy="Start the workshop again.") from None
        return Room(socket, own.root, int(self._workshop.limits.disk_gb * 1e9))

    async def close(self) -> None:
        """Close them all. Runs go on, and are found again."""
        for room in self._rooms.values():
            await room.close()
        assert self._host.stdin is not None
        with contextlib.suppress(OSError):
            self._host.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            await asyncio.to_thread(self._host.wait, 5)
        shutil.rmtree(self._sockets, ignore_errors=True)


class Room:
    """The way to one person's studio, as an ASGI application: what is asked goes there, the answer comes back."""

    def __init__(self, socket: Path, root: Path, disk: int) -> None:
        """`disk`: bytes that may lie under `root`."""
        self._socket, self._root, self._disk = socket, root, disk
        self.opened = self.gone = False
        transport = httpx.AsyncHTTPTransport(uds=str(socket), limits=httpx.Limits(max_connections=None))
        # A stream of events lasts as long as the page is open.
        self._there = httpx.AsyncClient(transport=transport, timeout=None)  # noqa: S113

    async def answers(self) -> bool:
        """Whether somebody listens there."""
        try:
            _, writer = await asyncio.open_unix_connection(str(self._socket))
        except OSError:
            return False
        writer.close()
        return True

    async def opens(self) -> bool:
        """Wait until somebody listens there. False where nobody comes to."""
        deadline = time.monotonic() + OPENS
        while time.monotonic() < deadline:
            if self.opened or await self.answers():
                self.opened = True
                return True
            await asyncio.sleep(_LOOK)
        return False

    async def close(self) -> None:
        await self._there.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        answer = await self._refusal(request) or await self._forward(request)
        await answer(scope, receive, send)

    async def _refusal(self, request: Request) -> PlainTextResponse | None:
        """Why a file is not taken."""
        if not request.url.path.endswith("/upload"):
            return None
        length = request.headers.get("content-length", "")
        if not length.isdecimal():
            return PlainTextResponse("An upload must say how long it is.", status_code=411)
        if await asyncio.to_thread(taken, self._root) + int(length) <= self._disk:
            return None
        told = f"Your {self._disk / 1e9:g} GB of this workshop's disk would be more than full: delete something first."
        return PlainTextResponse(told, status_code=413)

    async def _forward(self, request: Request) -> PlainTextResponse | StreamingResponse:
        path = request.scope["raw_path"] + (b"?" + query if (query := request.scope["query_string"]) else b"")
        asked = httpx.Request(
            request.method,
            httpx.URL(scheme="http", host="studio", raw_path=path),
            headers=[(name, value) for name, value in request.headers.raw if name not in _OF_A_CONNECTION],
            content=_body(request),
        )
        try:
            answer = await self._there.send(asked, stream=True)
        except httpx.TransportError as error:
            self.gone = isinstance(error, httpx.ConnectError)  # nobody listens there any more: the next one opens it
            return PlainTextResponse("Your studio has closed. Load the page again to open it.", status_code=502)
        passed = StreamingResponse(_pieces(answer), answer.status_code)
        passed.raw_headers = [
            (name.lower(), value) for name, value in answer.headers.raw if name.lower() not in _OF_A_CONNECTION
        ]
        return passed


def _body(request: Request) -> AsyncIterator[bytes] | None:
    """What was sent along; a body of unknown length where there is none would be sent in pieces."""
    there = request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers
    return request.stream() if there else None


async def _pieces(answer: httpx.Response) -> AsyncIterator[bytes]:
    with contextlib.suppress(httpx.TransportError, ClientDisconnect):
        async for piece in answer.aiter_raw():
            yield piece
    await answer.aclose()
