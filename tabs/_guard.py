"""What keeps other sites' pages out, in front of every page of ours."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

LOOPBACK = ("127.0.0.1", "localhost", "[::1]", "::1")


class SameOrigin:
    """Another site's page must not act here in a visitor's name: what changes things must come from our own.

    Plain ASGI, for Starlette's function middlewares copy every stream through a queue.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] not in ("GET", "HEAD"):
            headers = Headers(scope=scope)
            origin = headers.get("origin")
            if origin and urlsplit(origin).netloc != headers.get("host"):
                refusal = PlainTextResponse("This request came from another site.", status_code=403)
                return await refusal(scope, receive, send)
        await self.app(scope, receive, send)
