"""Coming in by one's Hugging Face account, where the studio runs as a Space that asks for it (`hf_oauth: true`).

The authorization code flow with PKCE (RFC 6749, section 4.1; RFC 7636). The token that it ends with is used once, to
ask who has come, and forgotten.
"""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlencode

import httpx
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from studio.errors import ConfigError
from tabs._door import DOOR, Door

BEGIN, BACK = f"{DOOR}/hub", f"{DOOR}/hub/back"
MINUTES = 10  # in which somebody comes back from the Hub, or begins anew
_STATE = "studio-hub"  # cookie: this browser is the one that went to the Hub
_MOST = 1000  # who are on their way
_SECONDS = 20.0  # for the Hub to answer

Welcome = Callable[[str, str], str]  # (what the Hub calls somebody for ever, their name) → who it is


@dataclass(frozen=True)
class Provider:
    """What a Space is told of its sign-in; see huggingface.co/docs/hub/spaces-oauth."""

    url: str
    client: str
    secret: str
    scopes: str
    host: str  # the Space's own

    @classmethod
    def of_space(cls) -> Provider | None:
        """None where no sign-in is configured."""
        told = [os.environ.get(name, "") for name in ("OPENID_PROVIDER_URL", "OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET")]
        host = os.environ.get("SPACE_HOST", "")
        if not all((*told, host)):
            return None
        return cls(*told, scopes=os.environ.get("OAUTH_SCOPES", "openid profile"), host=host)

    @property
    def back(self) -> str:
        return f"https://{self.host}{BACK}"


class HubLogin:
    """Two routes: to the Hub, and back."""

    def __init__(self, provider: Provider, door: Door, welcome: Welcome) -> None:
        self._provider, self._door, self._welcome = provider, door, welcome
        self._going: OrderedDict[str, tuple[str, float]] = OrderedDict()  # state → verifier, and until when

    def routes(self) -> list[Route]:
        return [Route(BEGIN, self._begin), Route(BACK, self._back)]

    async def _begin(self, _: Request) -> Response:
        state, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(48)
        self._going[state] = (verifier, time.monotonic() + 60 * MINUTES)
        while len(self._going) > _MOST:
            self._going.popitem(last=False)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        asked = {
            "response_type": "code",
            "client_id": self._provider.client,
            "redirect_uri": self._provider.back,
            "scope": self._provider.scopes,
            "state": state,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        answer = RedirectResponse(f"{self._provider.url}/oauth/authorize?{urlencode(asked)}", 303)
        answer.set_cookie(_STATE, state, max_age=60 * MINUTES, path=BACK, secure=True, httponly=True, samesite="none")
        return answer

    async def _back(self, request: Request) -> Response:
        state = request.query_params.get("state", "")
        verifier, until = self._going.pop(state, ("", 0.0))
        known = verifier and time.monotonic() < until and secrets.compare_digest(request.cookies.get(_STATE, ""), state)
        if not known or "code" not in request.query_params:
            return await self._door.refuse(request, ConfigError("The Hub did not let you in.", remedy="Try once more."))
        try:
            key, name = await self._who(request.query_params["code"], verifier)
            return await self._door.let_in(request, self._welcome(key, name))
        except ConfigError as error:
            return await self._door.refuse(request, error)

    async def _who(self, code: str, verifier: str) -> tuple[str, str]:
        """What the Hub says of who has come. Raises ConfigError."""
        asked = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._provider.back,
            "client_id": self._provider.client,
            "code_verifier": verifier,
        }
        try:
            async with httpx.AsyncClient(base_url=self._provider.url, timeout=_SECONDS) as hub:
                given = await hub.post("/oauth/token", data=asked, auth=(self._provider.client, self._provider.secret))
                token = given.raise_for_status().json()["access_token"]
                told = await hub.get("/oauth/userinfo", headers={"Authorization": f"Bearer {token}"})
                found = told.raise_for_status().json()
                return str(found["sub"]), str(found.get("preferred_username") or found.get("name") or found["sub"])
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f"The Hub does not say who you are ({type(error).__name__}).", remedy="Try again in a minute."
            ) from None
