"""The page with a door in front of it: for one account, or for the people of a workshop."""

from __future__ import annotations

import contextlib
import hmac
from collections.abc import AsyncIterator, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.types import ASGIApp

from studio.errors import ConfigError
from studio.workshop import PRESENTER, Person, Workshop
from tabs import _presenter
from tabs._door import Door, Sign, alive, behind, one_account
from tabs._hub_login import HubLogin, Provider
from tabs._rooms import Rooms

_ONE = Sign("Finetune Studio", "Whoever started this studio gave it a name and a word.", code=False)
_MANY = Sign(
    "Finetune Studio · workshop",
    "Everybody has a studio of their own here: your data, runs and files are seen by nobody but you and whoever holds "
    "the workshop.",
)
_OF_HUB = Sign(
    "Finetune Studio", "Everybody has a studio of their own here. Your account only says who you are.", hub=True
)


def for_one(app: Any, name: str, word: str, hosts: Sequence[str]) -> Starlette:
    """`app`, the page, for whoever knows the name and the word."""

    async def lead(_: str) -> ASGIApp:
        return app

    return behind(Door(_ONE, one_account(name, word), lead), hosts, lambda _: alive(app))


def for_many(workshop: Workshop, word: str, hosts: Sequence[str]) -> Starlette:
    """A studio each for the people of a workshop; `word` is the presenter's."""
    rooms: list[Rooms] = []
    people: dict[str, Person] = {each.folder: each for each in workshop.people()}
    overview = _presenter.application(workshop)
    provider = Provider.of_space()

    def enter(name: str, tried: str, code: str) -> str:
        if word and name.casefold() == PRESENTER:
            if hmac.compare_digest(tried.encode(), word.encode()):
                return PRESENTER
            raise ConfigError(
                "That is not the presenter's word.",
                remedy="Whoever started the workshop was told it. All others take another name.",
            )
        person = workshop.enter(name, tried, code)
        people[person.folder] = person
        return person.folder

    def welcome(key: str, name: str) -> str:
        person = workshop.welcome(key, name)
        people[person.folder] = person
        return person.folder

    async def lead(who: str) -> ASGIApp:
        return overview if who == PRESENTER else await rooms[0].of(people[who])

    @contextlib.asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        rooms.append(Rooms(workshop, hosts))
        try:
            yield
        finally:
            await rooms[0].close()

    door = Door(_OF_HUB if provider else _MANY, enter, lead, secure=provider is not None)
    more = HubLogin(provider, door, welcome).routes() if provider else ()
    return behind(door, hosts, lifespan, *more)
