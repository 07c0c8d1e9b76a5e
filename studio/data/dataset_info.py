"""LLaMA-Factory's dataset_info.json: what it says of a data set's columns, as a mapping of ours."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from studio.data.templates import CHOOSE_COLUMNS, Mapping
from studio.data.turns import SPEAKERS, TURN_KEYS
from studio.errors import DatasetError

INFO = "dataset_info.json"

# What LLaMA-Factory assumes where an entry leaves it out. Columns it assumes only when none is named at all.
_ALPACA = {"prompt": "instruction", "query": "input", "response": "output"}
_TAGS = {
    "role_tag": "from",
    "content_tag": "value",
    "user_tag": "human",
    "assistant_tag": "gpt",
    "system_tag": "system",
}
_SPOKEN_BY = {"user_tag": "user", "assistant_tag": "assistant", "system_tag": "system"}
_UNUSED = {
    "history": "earlier turns",
    "tools": "descriptions of tools; conversations that call tools are left out",
    "images": "pictures",
    "videos": "films",
    "audios": "sound",
}
# LLaMA-Factory's name of a column → the role it plays in a format.
_ROLES = {
    "preference": {"prompt": "prompt", "messages": "prompt", "query": "input", "chosen": "chosen",
                   "rejected": "rejected", "system": "system"},
    "unpaired": {"prompt": "prompt", "query": "input", "response": "completion", "messages": "completion",
                 "kto_tag": "label", "system": "system"},
    "instruction": {"prompt": "instruction", "query": "input", "response": "output", "system": "system"},
    "text": {"prompt": "text"},
    "messages": {"messages": "messages", "system": "system"},
    "conversations": {"messages": "conversations", "system": "system"},
}  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """One data set as dataset_info.json describes it."""

    key: str
    file_name: str | None  # beside the dataset_info.json; a folder is possible
    hub: str | None  # its name on the Hugging Face Hub
    config: str | None  # there called a subset
    split: str
    sharegpt: bool  # turns rather than Alpaca's columns
    ranking: bool  # preference pairs
    columns: dict[str, str] = field(default_factory=dict)  # LLaMA-Factory's name → the file's
    tags: dict[str, str] = field(default_factory=dict)


def read_info(path: Path) -> dict[str, Entry]:
    """Key → entry. Raises DatasetError where the file is no dataset_info.json."""
    try:
        values = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise _unreadable(path, error.strerror or "no such file") from None
    except (ValueError, RecursionError):
        raise _unreadable(path, "it is not JSON") from None
    if not isinstance(values, dict) or not values:
        raise _unreadable(path, "it holds no object of data sets")
    return {key: _entry(key, entry, path) for key, entry in values.items()}


def mapping_for(info: dict[str, Entry], name: str, columns: Collection[str] = ()) -> tuple[Mapping, list[str]]:
    """(mapping, what is not used of the entry) for a key of `info` or the name of a file in it.

    `columns` are the file's own where they are known: an assumed column that it lacks is left out.
    Raises DatasetError where there is no such entry, or its turns cannot be read here.
    """
    entry = _find(info, name)
    if entry.sharegpt:
        _check_speakers(entry)
    named = _named(entry, columns)
    key = _format(entry, named)
    roles = {role: named[part] for part, role in _ROLES[key].items() if named.get(part)}
    notes = [
        f"The column '{named[part]}' ({what}) of '{entry.key}' is not used."
        for part, what in _UNUSED.items()
        if named.get(part)
    ]
    return Mapping(key, roles), notes


def described(path: Path, columns: Collection[str]) -> tuple[Mapping | None, list[str]]:
    """(the mapping that a dataset_info.json beside the file gives it, what is to be said of that).

    None where there is no such file, it does not name this one, or cannot be used: the data may be
    sound all the same.
    """
    info = path.with_name(INFO)
    if path == info or not info.is_file():
        return None, []
    try:
        entries = read_info(info)
        if all(entry.file_name != path.name for entry in entries.values()):
            return None, []
        return mapping_for(entries, path.name, columns)
    except DatasetError as error:
        return None, [f"The {INFO} beside it was not used: {error.problem}"]


def _entry(key: str, values: Any, path: Path) -> Entry:
    if not isinstance(values, dict):
        raise _unreadable(path, f"'{key}' is not an object")
    formatting = values.get("formatting", "alpaca")
    if formatting not in ("alpaca", "sharegpt"):
        raise _unreadable(path, f"'{key}' has the formatting '{formatting}', where only alpaca and sharegpt are known")
    return Entry(
        key=key,
        file_name=_text(values.get("file_name")),
        hub=_text(values.get("hf_hub_url")),
        config=_text(values.get("subset")),
        split=_text(values.get("split")) or "train",
        sharegpt=formatting == "sharegpt",
        ranking=values.get("ranking") is True,
        columns=_names(values, "columns", key, path),
        tags=_names(values, "tags", key, path),
    )


def _names(values: dict[str, Any], part: str, key: str, path: Path) -> dict[str, str]:
    found = values.get(part) or {}
    if not isinstance(found, dict) or not all(isinstance(name, str | None) for name in found.values()):
        raise _unreadable(path, f"the {part} of '{key}' are not names")
    return {part: name for part, name in found.items() if name}


def _find(info: dict[str, Entry], name: str) -> Entry:
    by_file = (entry for entry in info.values() if entry.file_name in (name, PurePosixPath(name).name))
    entry = info.get(name) or next(by_file, None)
    if entry is None:
        shown = ", ".join([*info][:12]) + (" …" if len(info) > 12 else "")
        raise DatasetError(f"dataset_info.json has no entry for '{name}'.", remedy=f"It has: {shown}. {CHOOSE_COLUMNS}")
    return entry


def _named(entry: Entry, columns: Collection[str]) -> dict[str, str]:
    """LLaMA-Factory's names → columns, its own assumptions filled in where the file may have them."""
    assumed: dict[str, str] = {}
    if entry.sharegpt:
        assumed["messages"] = "conversations"
    elif not entry.columns:
        assumed |= _ALPACA
    if entry.ranking:
        assumed |= {"chosen": "chosen", "rejected": "rejected"}
    return {part: name for part, name in assumed.items() if not columns or name in columns} | entry.columns


def _format(entry: Entry, named: dict[str, str]) -> str:
    if entry.ranking:
        return "preference"
    if "kto_tag" in named:
        return "unpaired"
    if entry.sharegpt:
        keys = tuple({**_TAGS, **entry.tags}[tag] for tag in ("role_tag", "content_tag"))
        return next(key for key, known in TURN_KEYS.items() if known == keys)
    return "instruction" if "response" in named else "text"


def _check_speakers(entry: Entry) -> None:
    """Raise DatasetError where the turns' keys or speakers have names that are not read here."""
    tags = {**_TAGS, **entry.tags}
    keys = (tags["role_tag"], tags["content_tag"])
    strangers = [tags[tag] for tag, role in _SPOKEN_BY.items() if SPEAKERS.get(tags[tag].lower()) != role]
    if keys not in TURN_KEYS.values():
        problem = f"The turns of '{entry.key}' have the keys '{keys[0]}' and '{keys[1]}', which are not read here."
    elif strangers:
        problem = f"The turns of '{entry.key}' have a speaker called '{strangers[0]}', who is not known here."
    else:
        return
    raise DatasetError(problem, remedy='Write its turns as {"role": "user", "content": "..."}, and name those tags.')


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _unreadable(path: Path, why: str) -> DatasetError:
    return DatasetError(
        f"{path.name} cannot be used: {why}.",
        remedy="Mend it as LLaMA-Factory's data/README.md describes, or leave it out and choose the columns by hand.",
    )
