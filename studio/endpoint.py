"""A chat model that somebody else serves: any endpoint that is compatible with OpenAI's."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from pydantic import field_validator

from studio.data.turns import Message
from studio.errors import ConfigError, ModelError
from studio.settings import Settings, setting

if TYPE_CHECKING:
    import httpx

WAITS = (1.0, 4.0, 15.0)  # seconds before it is asked again for what may pass
_LOOK = 0.2  # seconds between two looks at whether it is still wanted
_MOST = 2_000_000  # bytes of an answer
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,90}_API_KEY", re.IGNORECASE)
_OTHER_ADDRESS = "Check its address; it usually ends with /v1."


class WriterSettings(Settings):
    """Who writes for a search; nobody named: the model whose prompt is looked for."""

    url: str = setting(
        "",
        "Address of an endpoint",
        max_length=500,
        help="Of a capable model that writes for the search, as OpenAI's interface has it: http://localhost:11434/v1. "
        "Rows that are shown to it leave this machine. Empty: the model itself writes.",
    )
    model: str = setting("", "Its model", max_length=200, help="As the endpoint names it.")
    key: str = setting(
        "",
        "Variable of its key",
        help="The environment variable that holds the key; its name ends with _API_KEY, such as OPENAI_API_KEY. The "
        "key itself is kept nowhere.",
    )
    timeout: float = setting(
        120.0, "Time for an answer", gt=0, le=3_600, unit="s", advanced=True, help="After that it is given up."
    )

    @field_validator("url")
    @classmethod
    def _is_address(cls, url: str) -> str:
        if not url:
            return url
        import httpx

        try:
            parts = httpx.URL(url)
        except httpx.InvalidURL:
            parts = httpx.URL("")
        if parts.scheme not in ("http", "https") or not parts.host or (parts.port or 0) > 65_535 or " " in url:
            raise ConfigError(
                "The address of the endpoint is none that begins with http:// or https://.",
                remedy="Write it as in http://localhost:11434/v1.",
            )
        if parts.userinfo or parts.query or parts.fragment:
            raise ConfigError(
                "The address of the endpoint holds more than host and path.",
                remedy="Leave out what stands before @ and behind ? or #; a key belongs into an environment variable.",
            )
        return url.rstrip("/")

    @field_validator("key")
    @classmethod
    def _is_variable(cls, key: str) -> str:
        """Of such a name, so that a key that was pasted here is neither kept nor shown, nor another secret sent."""
        if key and not _VARIABLE.fullmatch(key):
            raise ConfigError(
                "The key of the endpoint is not named by an environment variable that ends with _API_KEY.",
                remedy="Write the name of the variable, such as OPENAI_API_KEY, not the key itself.",
            )
        return key

    def check(self) -> None:
        """Raise ConfigError where something is named but could not be asked."""
        if not self.url and (self.model or self.key):
            raise ConfigError(
                "A model or key of an endpoint is given, but no address.",
                remedy="Give its address, or leave all of it empty.",
            )
        if self.url and not self.model:
            raise ConfigError(
                "No model of the endpoint is named.", remedy="Fill in 'Its model', as the endpoint names it."
            )
        self.secret()

    def secret(self) -> str:
        """The key itself. Raises ConfigError where the variable holds none."""
        found = os.environ.get(self.key, "").strip() if self.key else ""
        if self.key and not re.fullmatch(r"[!-~]+", found):
            raise ConfigError(
                f"The environment variable {self.key} holds no key.",
                remedy="Set it before the studio starts, or name another.",
            )
        return found


class _Passing(ModelError):
    """What may be over when it is asked again."""


class Endpoint:
    """Asks one."""

    def __init__(self, settings: WriterSettings, waits: Sequence[float] = WAITS) -> None:
        """Raises ConfigError where there is no key."""
        self._settings, self._waits = settings, waits
        self._key = settings.secret()
        self._name = settings.url.split("/")[2]

    def __call__(self, asked: Sequence[Message], look: Callable[[], None] = lambda: None) -> str:
        """What its model says. `look` is called while that is awaited, and may raise. Raises ModelError."""
        with ThreadPoolExecutor(1) as own:  # whoever asks may be within a loop of its own
            return own.submit(asyncio.run, self._heeding(asked, look)).result()

    async def _heeding(self, asked: Sequence[Message], look: Callable[[], None]) -> str:
        work = asyncio.create_task(self._insisting(asked))
        while not (await asyncio.wait({work}, timeout=_LOOK))[0]:
            look()
        return work.result()

    async def _insisting(self, asked: Sequence[Message]) -> str:
        import httpx

        async with httpx.AsyncClient(timeout=self._settings.timeout) as client:
            for wait in self._waits:
                try:
                    return await self._once(client, asked)
                except _Passing:
                    await asyncio.sleep(wait)
            return await self._once(client, asked)

    async def _once(self, client: httpx.AsyncClient, asked: Sequence[Message]) -> str:
        import httpx

        seconds = self._settings.timeout
        try:
            # httpx's own limit is for each piece of an answer, of which a slow one may have many.
            async with asyncio.timeout(seconds):
                status, body = await self._sent(client, {"model": self._settings.model, "messages": list(asked)})
        except (TimeoutError, httpx.TimeoutException):
            raise ModelError(
                f"{self._name} gave no answer within {seconds:g} seconds.",
                remedy="Give it more time, or name a quicker model.",
            ) from None
        except httpx.HTTPError as error:  # its words may hold the key
            raise _Passing(
                f"{self._name} cannot be reached ({type(error).__name__}).",
                remedy="See that it runs, and check its address.",
            ) from None
        if status != 200:
            raise self._refused(status, body)
        return self._said(body)

    async def _sent(self, client: httpx.AsyncClient, request: dict[str, Any]) -> tuple[int, bytes]:
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        address = f"{self._settings.url}/chat/completions"
        async with client.stream("POST", address, json=request, headers=headers) as response:
            body = b""
            async for piece in response.aiter_bytes():
                body += piece
                if len(body) > _MOST:
                    raise self._rubbish()
            return response.status_code, body

    def _refused(self, status: int, body: bytes) -> ModelError:
        """What a status other than 200 means."""
        if status in (401, 403):
            named = f"the key in {self._settings.key}" if self._key else "to answer without a key"
            return ModelError(
                f"{self._name} refuses {named} ({status}).", remedy="Name the environment variable of a valid key."
            )
        if status == 404:
            return ModelError(
                f"{self._name} has no model '{self._settings.model}', or no chat at that address (404).",
                remedy=f"Check the model's name. {_OTHER_ADDRESS}",
            )
        if status == 429:
            return _Passing(
                f"{self._name} is asked more than it allows (429).", remedy="Wait, or see what your key is allowed."
            )
        kind = _Passing if status >= 500 or status == 408 else ModelError
        told = self._told(body)
        return kind(f"{self._name} refuses the request ({status}{f': {told}' if told else ''}).", remedy=_OTHER_ADDRESS)

    def _told(self, body: bytes) -> str:
        """Why, in its own words; without the key, should it repeat it."""
        try:
            told = str(json.loads(body)["error"]["message"])
        except (ValueError, LookupError, TypeError, RecursionError):
            return ""
        told = told.replace(self._key, "…") if self._key else told
        return " ".join(told.split())[:200].rstrip(". ")

    def _said(self, body: bytes) -> str:
        try:
            said = json.loads(body)["choices"][0]["message"]["content"]
        except (ValueError, LookupError, TypeError, RecursionError):
            raise self._rubbish() from None
        if said is not None and not isinstance(said, str):
            raise self._rubbish()
        return said or ""

    def _rubbish(self) -> ModelError:
        return ModelError(
            f"{self._name} answers, but not as a chat endpoint that is compatible with OpenAI's.", remedy=_OTHER_ADDRESS
        )
