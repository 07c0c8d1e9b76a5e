"""What lies beside the weights in an export, so that others can use it, and how it all becomes one file."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any, Literal

from studio.errors import ModelError, RunError
from studio.exports import Source, Tell
from studio.models.catalog import folder_of, is_here
from studio.models.structure import Structure
from studio.models.vocabulary import terms_of

SMALL = 1_000_000  # bytes at most of configs, a chat template and a card together
_PIECE = 8_000_000  # bytes between two words on how far it is
_BEFORE_ALL = (1980, 1, 1, 0, 0, 0)  # the date of each file: the same run makes the same zip, letter by letter


def check_saved(source: Source) -> None:
    """Raises RunError where nothing was learnt that could be taken away."""
    if not source.folder.adapter.is_dir():
        raise RunError("This run saved no adapter.", remedy="Choose a run that was trained to its end.")


def check_base(source: Source) -> None:
    """Raises ModelError where the base's weights are not on this machine."""
    if not is_here(source.config.model, source.workspace.models):
        raise ModelError(
            f"The base model '{source.config.model}' is not on this machine, and its weights are part of this export.",
            remedy="Chat with it or train it once, which fetches it.",
        )


def structure_of(source: Source) -> Structure:
    """Of the base. Raises ModelError where that is not on this machine."""
    from studio.models.catalog import structure_of

    check_base(source)
    found = structure_of(source.config.model, source.workspace.models, writes=source.config.objective.writes)
    assert found is not None  # or `is_here` would not have said so
    return found


def tokenizer_room(source: Source) -> int:
    """Bytes that the tokenizer's files take."""
    folder = folder_of(source.config.model, source.workspace.models)
    names = ("tokenizer.json", "vocab.json", "merges.txt", "tokenizer.model")
    files = [folder / name for name in names] if folder else []
    return SMALL + sum(file.stat().st_size for file in files if file.is_file())


def tokenizer_of(source: Source) -> Any | None:
    """The tokenizer as the run trained with it; None where the base is not on this machine. Raises ModelError."""
    from studio.data.rendering import use_template
    from studio.data.vocabulary import add_terms
    from studio.models.base import load_tokenizer
    from studio.models.catalog import locate
    from studio.models.tiny import tiny_tokenizer

    config = source.config
    if not is_here(config.model, source.workspace.models):
        return None
    located = locate(config.model, source.workspace.models, lambda *_: None)
    writes = config.objective.writes
    found = load_tokenizer(located.path, located.title, writes=writes) if located.path else tiny_tokenizer()
    if writes:
        use_template(found, getattr(config.objective, "chat_template", "auto"))
    if terms := terms_of(source.folder.adapter):
        add_terms(found, terms)
    return found


def texts(source: Source, weights: Literal["adapter", "merged"]) -> dict[str, str]:
    """File name → text of what explains the run to whoever finds the weights."""
    from studio.exports.card import model_card  # that file belongs to the catalog, which this one serves

    return model_card(source, weights)


def zipped(folder: Path, to: Path, tell: Tell) -> None:
    """Pack the files of `folder` into a zip, not compressed, for weights hardly are; each goes once it is in."""
    files = sorted(each for each in folder.rglob("*") if each.is_file() and not each.is_symlink())
    done, total = 0, sum(each.stat().st_size for each in files)
    with zipfile.ZipFile(to, "x", zipfile.ZIP_STORED) as archive:
        for file in files:
            entry = zipfile.ZipInfo(file.relative_to(folder).as_posix(), _BEFORE_ALL)
            entry.external_attr = 0o644 << 16
            with file.open("rb") as read, archive.open(entry, "w", force_zip64=True) as write:
                while piece := read.read(_PIECE):
                    write.write(piece)
                    done += len(piece)
                    tell("Packing", done, total)
            file.unlink()
