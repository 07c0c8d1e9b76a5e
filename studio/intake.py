"""Models and adapters that people bring: copied into a folder that is safe to read, or refused.

Nothing of what is brought is run, unpickled or followed to where it points. Only files that a model or an adapter is
made of are copied, under their own last names.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Literal

from studio.errors import ModelError
from studio.proof import ADAPTER_CONFIG, ADAPTER_WEIGHTS, MODEL_CONFIG, PLAIN, Shapes, pickled, prove, shown

Tell = Callable[[str, float, float], None]  # (what is being done, done, total); raises to cancel

LARGEST = 200_000_000_000  # bytes of all files together
MOST_MEMBERS = 2_000  # of an archive
MOST_AT_ONCE = 4_000_000  # bytes of an archive held in memory: its list of members is read in one piece
# A member that unpacks to so many times its bytes, and to more than these, is a bomb.
RATIO, RATIO_FROM = 50, 10_000_000
SPARE = 200_000_000  # bytes that stay free on the disk
_CHUNK = 1_000_000

_MODEL = (".safetensors", ".json", ".txt", ".jinja", "tokenizer.model")
ADAPTER = (ADAPTER_CONFIG, ADAPTER_WEIGHTS, "heads.json", "heads.safetensors", "vocabulary.json", MODEL_CONFIG)
_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")

Kind = Literal["adapter", "model"]


@dataclass(frozen=True)
class Brought:
    """What lies in the folder now."""

    kind: Kind
    folder: Path
    size: int  # bytes
    weights: Shapes  # of all *.safetensors but those of heads
    left_out: list[str]  # names of files beside it that were not copied


@dataclass(frozen=True)
class _Piece:
    """One file that was brought, before it is read."""

    name: str  # with '/' between folders
    size: int  # bytes, as its folder or its archive says
    open: Callable[[], IO[bytes]]


def gather(sources: Sequence[Path], to: Path, tell: Tell) -> Brought:
    """Copy a folder's files, an archive's or the single files `sources` into `to`, an empty folder, and prove them.

    Raises ModelError for what is neither an adapter nor a model, or is not safe; what `tell` raises ends it. The
    caller removes `to` then.
    """
    if not sources:
        raise ModelError("Nothing was brought.", remedy="Choose a .zip, a folder, or the files of an adapter.")
    with _pieces(sources) as pieces:
        kind, inside = _kind(pieces)
        wanted, left_out = _chosen(kind, inside, pieces)
        _check_size(wanted, to)
        _copy(wanted, to, tell)
    shapes = prove(to, adapter=kind == "adapter")
    return Brought(kind, to, sum(each.stat().st_size for each in to.iterdir()), shapes, left_out)


# -- where it comes from ---------------------------------------------------------------------------------


@contextmanager
def _pieces(sources: Sequence[Path]) -> Iterator[list[_Piece]]:
    first = sources[0]
    try:
        folder = len(sources) == 1 and first.is_dir() and not first.is_symlink()
    except (OSError, ValueError) as error:  # longer than any name, or with a NUL in it
        raise _unreadable(first.name, error) from None
    if folder:
        yield [piece for each in sorted(_entries(first)) if (piece := _of_file(each, folders=True))]
    elif len(sources) == 1 and first.suffix.lower() == ".zip":
        with _archive(first) as pieces:
            yield pieces
    else:
        yield [piece for each in sources if (piece := _of_file(each, folders=False))]


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise _unreadable(folder.name, error) from None


def _of_file(path: Path, *, folders: bool) -> _Piece | None:
    """None for a folder where `folders` may be there. Raises ModelError for links, devices and what is not there."""
    try:
        about = path.lstat()
    except (OSError, ValueError) as error:
        raise _unreadable(path.name, error) from None
    if stat.S_ISLNK(about.st_mode):
        raise ModelError(
            f"{shown(path.name)} is a link to another place, and links are not followed.",
            remedy="Bring the files themselves; a model of the Hub's cache can be chosen by its name.",
        )
    if stat.S_ISDIR(about.st_mode) and folders:
        return None
    if not stat.S_ISREG(about.st_mode):
        raise ModelError(f"{shown(path.name)} is no file.", remedy="Bring a .zip, a folder, or plain files.")

    def opened() -> IO[bytes]:
        try:
            # What was a file a moment ago may be a link by now.
            return os.fdopen(
                os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)), "rb"
            )
        except OSError as error:
            raise _unreadable(path.name, error) from None

    return _Piece(path.name, about.st_size, opened)


class _Piecewise(io.FileIO):
    """A file of which nobody reads much at once: an archive says itself how long its list of members is."""

    def read(self, size: int | None = -1, /) -> bytes:
        wanted = size if size is not None and size >= 0 else os.fstat(self.fileno()).st_size - self.tell()
        if wanted > MOST_AT_ONCE:
            raise _too_many()
        return super().read(wanted) or b""


@contextmanager
def _archive(path: Path) -> Iterator[list[_Piece]]:
    """The members of a .zip. Raises ModelError for all that an archive of ours would never hold."""
    try:
        with _Piecewise(path) as file, zipfile.ZipFile(file) as archive:  # pyright: ignore[reportArgumentType]
            members = archive.infolist()
            if len(members) > MOST_MEMBERS:
                raise _too_many()
            names = [each.filename for each in members]
            if len(set(names)) < len(names):
                raise ModelError("The archive holds a file twice.", remedy="Pack the folder anew.")
            files = [member for member in members if _check_member(member)]
            yield [_Piece(each.filename, each.file_size, lambda each=each: archive.open(each)) for each in files]
    except (zipfile.BadZipFile, EOFError, NotImplementedError, UnicodeError, zlib.error, struct.error) as error:
        raise ModelError(
            f"{shown(path.name)} is no whole .zip archive ({_first_line(error)}).", remedy="Pack the folder anew."
        ) from None
    except OSError as error:
        raise _unreadable(path.name, error) from None


def _check_member(member: zipfile.ZipInfo) -> bool:
    """Whether it is a file. Raises ModelError where unpacking it could harm."""
    name = member.orig_filename
    parts = name.split("/")
    outside = name.startswith("/") or "\\" in name or ".." in parts or re.match(r"[A-Za-z]:", name)
    if outside or "\0" in name or any(len(part) > 255 for part in parts) or len(name) > 1_000:
        raise ModelError(
            f"The archive holds a file whose name leads out of it, or is none ({shown(name)}).",
            remedy="Do not open it by other means either; bring the files themselves.",
        )
    mode = member.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise ModelError(f"The archive holds a link or a device ({shown(name)}).", remedy="Pack the files themselves.")
    if member.flag_bits & 1:
        raise ModelError("The archive is encrypted.", remedy="Pack it without a password.")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ModelError("The archive is packed in an unusual way.", remedy="Pack it as a plain .zip (deflate).")
    if member.file_size > RATIO_FROM and member.file_size > RATIO * member.compress_size:
        raise ModelError(
            f"{shown(name)} would unpack from {member.compress_size / 1e6:,.1f} to {member.file_size / 1e6:,.0f} MB, "
            "as no weights do.",
            remedy="Bring the files themselves, not packed.",
        )
    return not member.is_dir()


# -- what of it is wanted --------------------------------------------------------------------------------


def _kind(pieces: Iterable[_Piece]) -> tuple[Kind, str]:
    """What was brought and in which folder of it, '' or ending in '/': where its config lies, the outermost first."""
    kinds: dict[str, Kind] = {ADAPTER_CONFIG: "adapter", "config.json": "model"}
    names = [PurePosixPath(each.name) for each in pieces]
    found = sorted((len(name.parts), name.name, str(name.parent)) for name in names if name.name in kinds)
    if not found:
        raise _none([str(name) for name in names])
    depth, name, parent = found[0]
    rivals = [each for each in found if each[0] == depth and each[2] != parent]
    if rivals:
        raise ModelError(
            f"It holds more than one adapter or model ({shown(parent)}, {shown(rivals[0][2])}).",
            remedy="Bring one of them at a time.",
        )
    return kinds[name], "" if parent == "." else f"{parent}/"


def _none(names: Sequence[str]) -> ModelError:
    lower = [name.lower() for name in names]
    if any(name.endswith((*_PICKLED, "data.pkl")) for name in lower):
        return pickled("It")
    if any(name.endswith(".gguf") for name in lower):
        return ModelError(
            "A GGUF file is made for inference and cannot be trained on.",
            remedy="Bring the model it was made from, as safetensors.",
        )
    return ModelError(
        f"It holds neither {ADAPTER_CONFIG} nor config.json, so it is no adapter and no model.",
        remedy=f"An adapter is {ADAPTER_CONFIG} with {ADAPTER_WEIGHTS}; a model is config.json, *.safetensors and "
        "tokenizer.json.",
    )


def _chosen(kind: Kind, inside: str, pieces: Iterable[_Piece]) -> tuple[list[_Piece], list[str]]:
    """What is copied, and the names of what is not. Raises ModelError for code, and where weights are missing."""
    wanted: dict[str, _Piece] = {}
    left_out: list[str] = []
    for piece in pieces:
        name = piece.name.removeprefix(inside) if piece.name.startswith(inside) else ""
        fits = name in ADAPTER if kind == "adapter" else name.endswith(_MODEL) and not name.startswith("consolidated")
        if fits and PLAIN.fullmatch(name):
            wanted[name] = piece
        else:
            left_out.append(piece.name)
    if kind == "model" and (code := next((name for name in left_out if name.lower().endswith((".py", ".pyc"))), "")):
        raise ModelError(
            f"The model brings its own Python code ({shown(code)}), which Finetune Studio never runs.",
            remedy="Choose a model whose architecture is part of transformers; then its files need no code.",
        )
    there = ADAPTER_WEIGHTS in wanted if kind == "adapter" else any(name.endswith(".safetensors") for name in wanted)
    if not there:
        if any(name.lower().endswith(_PICKLED) for name in left_out):
            raise pickled("It")
        missing = ADAPTER_WEIGHTS if kind == "adapter" else "*.safetensors"
        raise ModelError(f"There are no weights: {missing} is missing.", remedy="Bring that file, too.")
    return list(wanted.values()), left_out


def _check_size(pieces: Sequence[_Piece], to: Path) -> None:
    total = sum(each.size for each in pieces)
    if total > LARGEST:
        raise ModelError(
            f"It would take {total / 1e9:,.0f} GB.", remedy=f"More than {LARGEST / 1e9:,.0f} GB are not brought here."
        )
    free = shutil.disk_usage(to).free
    if total + SPARE > free:
        raise ModelError(
            f"It takes {total / 1e9:,.1f} GB, and {free / 1e9:,.1f} GB are free on this disk.",
            remedy="Free some space, or choose another workspace.",
        )


def _copy(pieces: Sequence[_Piece], to: Path, tell: Tell) -> None:
    done, total = 0, sum(each.size for each in pieces)
    for piece in pieces:
        name, left = PurePosixPath(piece.name).name, piece.size
        with piece.open() as source, (to / name).open("xb") as target:
            while chunk := source.read(_CHUNK):
                tell(f"Copying {name}", done, total)
                left -= len(chunk)
                if left < 0:
                    raise ModelError(f"{name} grew while it was read.", remedy="Wait until it is whole; try again.")
                done += target.write(chunk)
        if left:
            raise ModelError(f"{name} is shorter than it should be.", remedy="Bring it again.")


# -- what is said ----------------------------------------------------------------------------------------


def _too_many() -> ModelError:
    return ModelError("The archive lists far too many files.", remedy="Pack only the adapter's or the model's files.")


def _unreadable(name: str, error: Exception) -> ModelError:
    because = getattr(error, "strerror", None) or _first_line(error)
    return ModelError(f"{shown(name)} cannot be read ({because}).", remedy="Check its name and its permissions.")


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return shown(lines[0]) if lines else type(error).__name__
