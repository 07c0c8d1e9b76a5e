"""Files people brought: a folder each in the workspace, under a name of the server's making.

`NAME/data.csv` (or another ending) is the file as it came, `NAME/about.json` what is known of it.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import shutil
import time
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from studio.data.files import read
from studio.data.templates import Mapping
from studio.errors import DatasetError
from studio.workspace import Workspace, slug

_NAME = re.compile(r"[a-z0-9-]{1,40}-[0-9a-f]{8}")


@dataclass(frozen=True)
class Upload:
    """One uploaded file. Its folder's name is its own."""

    name: str
    title: str
    original_name: str
    uploaded: float  # seconds since the epoch
    mapping: Mapping | None  # as a person chose it; None: to be detected
    data: Path


def add(workspace: Workspace, upload: Path, original_name: str) -> str:
    """See library.add. A folder gets its name when it is whole: a cut-off copy is never listed."""
    shown = _clean(original_name)
    read(upload, shown)
    suffix = PurePosixPath(shown).suffix.lower()
    digest = hashlib.sha256(suffix.encode() + upload.read_bytes()).hexdigest()[:8]
    if kept := next((one for one in listed(workspace) if one.name.endswith(f"-{digest}")), None):
        return kept.name
    title = PurePosixPath(shown).stem
    name = f"{slug(title)}-{digest}"
    temporary = workspace.datasets / f".{secrets.token_hex(8)}"
    try:
        temporary.mkdir(parents=True)
        shutil.copyfile(upload, temporary / f"data{suffix}")
        about = {"title": title, "original_name": shown, "uploaded": time.time(), "mapping": None}
        _write(temporary / "about.json", about)
        temporary.rename(workspace.datasets / name)
    except OSError as error:
        if not (workspace.datasets / name).is_dir():  # else: the same file came twice at the same time
            raise DatasetError(
                f"{shown} cannot be kept ({error.strerror}).",
                remedy="Free some space, or choose another folder with --workspace.",
            ) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return name


def listed(workspace: Workspace) -> list[Upload]:
    """All uploads, newest first."""
    if not workspace.datasets.is_dir():
        return []
    found = (find(workspace, entry.name) for entry in workspace.datasets.iterdir())
    return sorted(filter(None, found), key=lambda upload: (-upload.uploaded, upload.name))


def find(workspace: Workspace, name: str) -> Upload | None:
    """The upload of that name; None for any name that is not one, hostile ones included."""
    if not _NAME.fullmatch(name):
        return None
    folder = workspace.datasets / name
    try:
        about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
        mapping = Mapping.parse(about["mapping"]) if about["mapping"] else None
        data = next(path for path in sorted(folder.iterdir()) if path.stem == "data")
        return Upload(name, about["title"], about["original_name"], about["uploaded"], mapping, data)
    except (OSError, ValueError, LookupError, TypeError, StopIteration, DatasetError):
        return None  # no upload, or a damaged one


def store_mapping(upload: Upload, mapping: Mapping) -> None:
    """Write the mapping beside the file, whole or not at all."""
    path = upload.data.parent / "about.json"
    about = json.loads(path.read_text(encoding="utf-8"))
    partial = path.with_name(f".{secrets.token_hex(8)}")
    _write(partial, {**about, "mapping": mapping.plain()})
    partial.replace(path)


def remove(upload: Upload) -> None:
    """Delete the folder. It loses its name first, so that it is never seen half deleted."""
    folder = upload.data.parent
    nameless = folder.with_name(f".{secrets.token_hex(8)}")
    folder.rename(nameless)
    shutil.rmtree(nameless)


def _write(path: Path, about: dict[str, Any]) -> None:
    path.write_text(json.dumps(about, ensure_ascii=False, indent=2), encoding="utf-8")


def _clean(original_name: str) -> str:
    """A browser's file name without folders, control characters or undue length; its ending is kept."""
    last = re.split(r"[/\\]", original_name)[-1]
    printable = "".join(character for character in last if character.isprintable()).strip()
    path = PurePosixPath(printable or "untitled")
    return f"{path.stem[:80]}{path.suffix}"
