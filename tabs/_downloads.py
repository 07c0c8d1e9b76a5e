"""Files made for a browser to fetch. Not through Gradio, which would copy each of them once more."""

from __future__ import annotations

import contextlib
import hashlib
import re
import secrets
import shutil
import time
from pathlib import Path
from urllib.parse import quote

from fastapi import APIRouter
from fastapi.responses import FileResponse, PlainTextResponse, Response

from studio import exporter
from studio.workspace import Workspace, slug
from tabs._shared import escaped

_NAME = re.compile(r"[a-z0-9-]{1,80}\.[a-z]{1,10}")
_KEPT_SECONDS = 24 * 3600


_SECRET = secrets.token_bytes(16)  # of this process: names of its files cannot be guessed


def place(workspace: Workspace, title: str, ending: str, of: str = "") -> Path:
    """Where a new file goes, under a name nobody can guess; yesterday's go. The same place for the same `of`."""
    token = hashlib.blake2b(of.encode(), key=_SECRET, digest_size=8).hexdigest() if of else secrets.token_hex(8)
    for old in workspace.downloads.iterdir():
        with contextlib.suppress(OSError):  # another request removes it too
            if old.stat().st_mtime < time.time() - _KEPT_SECONDS:
                shutil.rmtree(old) if old.is_dir() else old.unlink()
    return workspace.downloads / f"{slug(title)}-{token}{ending}"


def link(path: Path, text: str) -> str:
    """A link that downloads the file."""
    return f'<a class="download" href="/studio/download/{quote(path.name)}" download>{escaped(text)}</a>'


def kept_link(path: Path, text: str) -> str:
    """A link that downloads an export's file from where it lies."""
    href = f"/studio/export/{_secret(path)}/{quote(path.name)}"
    return f'<a class="download" href="{href}" download>{escaped(text)}</a>'


def _secret(path: Path) -> str:
    """What is asked for instead of the path: nobody can guess it."""
    return hashlib.blake2b(str(path).encode(), key=_SECRET, digest_size=16).hexdigest()


def router(workspace: Workspace) -> APIRouter:
    """The route the links lead to."""
    routes = APIRouter()

    @routes.get("/studio/download/{name}")
    def download(name: str) -> Response:
        path = workspace.downloads / name
        if not _NAME.fullmatch(name) or not path.is_file():
            return _gone()
        shown = re.sub(r"-[0-9a-f]{16}(?=\.)", "", name)
        return FileResponse(path, filename=shown, media_type="application/octet-stream")

    @routes.get("/studio/export/{secret}/{name}")
    def export(secret: str, name: str) -> Response:
        paths = (each.path(workspace) for each in exporter.made(workspace))
        found = next((each for each in paths if secrets.compare_digest(_secret(each), secret)), None)
        if found is None or found.name != name:
            return _gone()
        return FileResponse(found, filename=name, media_type="application/octet-stream")

    return routes


def _gone() -> Response:
    return PlainTextResponse("This file is not there any more: make it again.", status_code=404)
