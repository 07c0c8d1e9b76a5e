"""Many people on one machine: who takes part, what each may take, and a workspace for each.

`workshop.json` in the workshop's workspace names the people, with a hash of each one's word; `people/FOLDER` is a
workspace like any other, in which a studio of its own works.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import secrets
import time
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock

from studio.config import RunConfig
from studio.errors import ConfigError
from studio.ledger import taken
from studio.settings import Settings, setting
from studio.workspace import Workspace, slug, write_whole

PRESENTER = "presenter"  # a name nobody else can take
LONGEST = 40  # letters of a name
SHORTEST = 6  # letters of a word
_SCRYPT = {"n": 2**14, "r": 8, "p": 1, "dklen": 32}  # some 50 ms: nothing to a person, much to who tries all words
_SIMPLE = "abcdefghjkmnpqrstuvwxyz23456789"  # nothing that looks like something else on a blackboard


class Limits(Settings):
    """What one person of a workshop may take."""

    max_steps: int = setting(1000, "Steps a run", ge=1, help="A run that is asked for more is refused or ended there.")
    minutes: float = setting(
        30.0, "Minutes a run", gt=0, help="A run that trains longer is ended; what it learnt is kept."
    )
    disk_gb: float = setting(5.0, "Disk", unit="GB", gt=0, help="Above it, uploads and new runs are refused.")
    people: int = setting(60, "People", ge=1, le=1000, help="How many can take part.")


@dataclass(frozen=True)
class Person:
    """Somebody who takes part."""

    name: str  # as written
    folder: str  # of the workspace, within people/


@dataclass(frozen=True)
class Entrance:
    """Who may come in: whoever reaches the page; or `name` with `word`; or everybody who takes part in `workshop`."""

    name: str = ""
    word: str = ""  # of the name, or the presenter's
    workshop: Workshop | None = None
    guarded: bool = False  # something of others already asks who comes, such as a Space


class Workshop:
    """The people of one workshop, on disk. Safe to call from several threads and processes."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._lock = filelock.FileLock(str(workspace.root / "workshop.lock"))

    def create(self, limits: dict[str, Any] | None = None) -> Workshop:
        """Make it, or take up the one that is there; `limits` change those it has. Raises ConfigError."""
        with self._lock:
            kept = self._read()
            kept.setdefault("code", _word(6))
            kept["limits"] = Limits.parse({**kept.get("limits", {}), **(limits or {})}).model_dump()
            self._write(kept)
        for folder in (self.workspace.people, self.workspace.turns):
            folder.mkdir(exist_ok=True)
        return self

    @property
    def code(self) -> str:
        """What newcomers must know."""
        return self._read()["code"]

    @property
    def limits(self) -> Limits:
        return Limits.parse(self._read()["limits"])

    def people(self) -> list[Person]:
        """Everybody, in the order of their coming."""
        return [Person(each["name"], each["folder"]) for each in self._read().get("people", {}).values()]

    def workspace_of(self, person: Person) -> Workspace:
        """Theirs, with the models that the workshop has at hand."""
        own = Workspace(self.workspace.people / person.folder).create()
        for model in self.workspace.models.iterdir():
            link = own.models / model.name
            if model.is_dir() and not model.name.startswith(".") and not link.exists():
                with contextlib.suppress(FileExistsError):
                    link.symlink_to(model, target_is_directory=True)
        return own

    def enter(self, name: str, word: str, code: str = "") -> Person:
        """Who comes with that name: somebody known, whose word it must be, or a newcomer, who must know the code.

        Raises ConfigError.
        """
        shown = " ".join(name.split())
        key = unicodedata.normalize("NFKC", shown).casefold()
        if not shown or len(shown) > LONGEST or not shown.isprintable() or key == PRESENTER:
            raise ConfigError(
                "That cannot be a name here.",
                remedy=f"Take one of 1 to {LONGEST} letters that is not '{PRESENTER}'.",
            )
        known = self._read().get("people", {}).get(key)
        if known is None:
            return self._join(key, shown, word, code)
        if not hmac.compare_digest(_hash(word, bytes.fromhex(known["salt"])), bytes.fromhex(known["hash"])):
            raise ConfigError(
                "That name is taken, with another word.", remedy="Write the word that you chose, or take another name."
            )
        return Person(known["name"], known["folder"])

    def _join(self, key: str, shown: str, word: str, code: str) -> Person:
        if not hmac.compare_digest(code.strip().casefold().encode(), self.code.encode()):
            raise ConfigError("That is not the workshop's code.", remedy="Whoever holds the workshop knows it.")
        if len(word) < SHORTEST:
            raise ConfigError(
                f"Your word is too short: others could guess it in {SHORTEST - 1} letters or fewer.",
                remedy=f"Take one of {SHORTEST} or more letters that you use nowhere else.",
            )
        salt = secrets.token_bytes(16)
        return self._admit(key, shown, {"salt": salt.hex(), "hash": _hash(word, salt).hex()})

    def welcome(self, key: str, name: str) -> Person:
        """Somebody whom others vouch for, by what those call them for ever; a newcomer, too. Raises ConfigError."""
        key, shown = f"\n{key}", " ".join(name.split())[:LONGEST]  # no name has a line break
        known = self._read().get("people", {}).get(key)
        return Person(known["name"], known["folder"]) if known else self._admit(key, shown, {})

    def _admit(self, key: str, shown: str, proof: dict[str, str]) -> Person:
        with self._lock:
            kept = self._read()
            people = kept.setdefault("people", {})
            if key in people:
                raise ConfigError("That name was taken a moment ago.", remedy="Take another one.")
            if len(people) >= self.limits.people:
                raise ConfigError(
                    f"The workshop is full: {len(people)} people take part.",
                    remedy="Whoever holds it can raise --limit people=N.",
                )
            folder = f"{slug(shown)}-{secrets.token_hex(4)}"
            people[key] = {"name": shown, "folder": folder, "since": time.time(), **proof}
            self._write(kept)
        return Person(shown, folder)

    def reset(self) -> Path | None:
        """Begin anew, with nobody: everything of everybody is moved aside. Where to; None where there was nothing.

        Raises RunError while a studio works there.
        """
        with self.workspace.claim():
            if not self.workspace.workshop.is_file():
                return None
            aside = self.workspace.root / time.strftime("workshop-until-%Y%m%d-%H%M%S")
            aside.mkdir()
            for each in (self.workspace.people, self.workspace.turns, self.workspace.workshop):
                if each.exists():
                    each.rename(aside / each.name)
            return aside

    def _read(self) -> dict[str, Any]:
        try:
            return json.loads(self.workspace.workshop.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}

    def _write(self, kept: dict[str, Any]) -> None:
        write_whole(self.workspace.workshop, json.dumps(kept, indent=1))
        self.workspace.workshop.chmod(0o600)


def _hash(word: str, salt: bytes) -> bytes:
    """scrypt, RFC 7914."""
    return hashlib.scrypt(unicodedata.normalize("NFKC", word).encode(), salt=salt, **_SCRYPT)


def _word(letters: int) -> str:
    return "".join(secrets.choice(_SIMPLE) for _ in range(letters))


def new_word() -> str:
    """One that nobody guesses, to be read out or copied."""
    return "-".join(_word(4) for _ in range(3))


# -- what one person may take -----------------------------------------------------------------------


def limits_of(workspace: Workspace) -> Limits | None:
    """Of a person of a workshop; None for whoever has the machine for themselves."""
    return Workshop(Workspace(workspace.shared)).limits if workspace.shared != workspace.root else None


def check_limits(workspace: Workspace, config: RunConfig | None = None) -> None:
    """Raises ConfigError where a person has no room left, or `config` asks for more than they may take."""
    limits = limits_of(workspace)
    if limits is None:
        return
    if config and (config.training.max_steps or 0) > limits.max_steps:
        raise ConfigError(
            f"In this workshop a run takes at most {limits.max_steps:,} steps; this one asks for "
            f"{config.training.max_steps:,}.",
            remedy="Lower 'Steps'.",
        )
    used = taken(workspace.root)
    if used > limits.disk_gb * 1e9:
        raise ConfigError(
            f"Your {limits.disk_gb:g} GB of this workshop's disk are full: {used / 1e9:.1f} GB.",
            remedy="Delete runs under 'Runs' and empty the trash, or data sets that you need no more.",
        )


def too_much(limits: Limits, step: int, seconds: float) -> str:
    """Why a run that came so far is ended; '' where it may go on."""
    if step >= limits.max_steps:
        return f"The workshop's {limits.max_steps:,} steps a run are up; what was learnt is kept."
    if seconds >= 60 * limits.minutes:
        return f"The workshop's {limits.minutes:g} minutes a run are up; what was learnt is kept."
    return ""
