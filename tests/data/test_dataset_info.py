"""Entries as LLaMA-Factory's own dataset_info.json and its README write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from studio.data.dataset_info import mapping_for, read_info
from studio.data.files import read
from studio.data.templates import Mapping, check, to_pair
from studio.errors import DatasetError

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the real data files stand beside the checkout")

OPENAI = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
INFO: dict[str, Any] = {
    "identity": {"file_name": "identity.json"},
    "oasst_de": {"hf_hub_url": "mayflowergmbh/oasst_de"},
    "glaive": {
        "file_name": "glaive.json",
        "formatting": "sharegpt",
        "columns": {"messages": "conversations", "tools": "tools"},
    },
    "lima": {"hf_hub_url": "llamafactory/lima", "formatting": "sharegpt"},
    "mllm_demo": {
        "file_name": "mllm_demo.json",
        "formatting": "sharegpt",
        "columns": {"messages": "messages", "images": "images"},
        "tags": OPENAI,
    },
    "openorca": {
        "hf_hub_url": "Open-Orca/OpenOrca",
        "columns": {"prompt": "question", "response": "response", "system": "system_prompt"},
    },
    "wiki_demo": {"file_name": "wiki_demo.txt", "columns": {"prompt": "text"}},
    "talks": {
        "file_name": "talks.json",
        "columns": {"prompt": "instruction", "query": "input", "response": "output", "history": "history"},
    },
    "dpo_en_demo": {
        "file_name": "dpo_en_demo.json",
        "ranking": True,
        "formatting": "sharegpt",
        "columns": {"messages": "conversations", "chosen": "chosen", "rejected": "rejected"},
    },
    "orca_pairs": {
        "hf_hub_url": "Intel/orca_dpo_pairs",
        "ranking": True,
        "columns": {"prompt": "question", "chosen": "chosen", "rejected": "rejected", "system": "system"},
    },
    "kto_en_demo": {
        "file_name": "kto_en_demo.json",
        "formatting": "sharegpt",
        "columns": {"messages": "messages", "kto_tag": "label"},
        "tags": OPENAI,
    },
    "ultrafeedback_kto": {
        "hf_hub_url": "argilla/ultrafeedback-binarized-preferences-cleaned-kto",
        "subset": "default",
        "split": "test",
        "columns": {"prompt": "prompt", "response": "completion", "kto_tag": "label"},
    },
}


@pytest.fixture
def write(tmp_path: Path):
    def written(values: Any) -> Path:
        path = tmp_path / "dataset_info.json"
        path.write_text(values if isinstance(values, str) else json.dumps(values), encoding="utf-8")
        return path

    return written


@pytest.mark.parametrize(
    ("name", "format_key", "columns"),
    [
        ("identity", "instruction", {"instruction": "instruction", "input": "input", "output": "output"}),
        ("identity.json", "instruction", {"instruction": "instruction", "input": "input", "output": "output"}),
        ("glaive", "conversations", {"conversations": "conversations"}),
        ("lima", "conversations", {"conversations": "conversations"}),
        ("data/mllm_demo.json", "messages", {"messages": "messages"}),
        (
            "openorca",
            "instruction",
            {"instruction": "question", "output": "response", "system": "system_prompt"},
        ),
        ("wiki_demo.txt", "text", {"text": "text"}),
        (
            "dpo_en_demo",
            "preference",
            {"prompt": "conversations", "chosen": "chosen", "rejected": "rejected"},
        ),
        (
            "orca_pairs",
            "preference",
            {"prompt": "question", "chosen": "chosen", "rejected": "rejected", "system": "system"},
        ),
        ("kto_en_demo", "unpaired", {"completion": "messages", "label": "label"}),
        ("ultrafeedback_kto", "unpaired", {"prompt": "prompt", "completion": "completion", "label": "label"}),
    ],
)
def test_entries_become_mappings(write: Any, name: str, format_key: str, columns: dict[str, str]) -> None:
    assert mapping_for(read_info(write(INFO)), name)[0] == Mapping(format_key, columns)


def test_what_is_not_used_is_said(write: Any) -> None:
    info = read_info(write(INFO))
    assert mapping_for(info, "identity")[1] == []
    for name, column in (("glaive", "tools"), ("mllm_demo", "images"), ("talks", "history")):
        [note] = mapping_for(info, name)[1]
        assert f"'{column}'" in note
        assert note.endswith("is not used.")


def test_a_column_that_is_only_assumed_may_be_missing(write: Any) -> None:
    info = read_info(write(INFO))
    found, _ = mapping_for(info, "identity", columns=("instruction", "output"))
    assert found.columns == {"instruction": "instruction", "output": "output"}
    named, _ = mapping_for(info, "talks", columns=("instruction", "output"))
    assert named.columns["input"] == "input"  # which the check of the columns then finds missing


def test_where_a_data_set_lies(write: Any) -> None:
    info = read_info(write(INFO))
    assert (info["identity"].file_name, info["identity"].hub) == ("identity.json", None)
    kto = info["ultrafeedback_kto"]
    assert (kto.hub, kto.config, kto.split) == (INFO["ultrafeedback_kto"]["hf_hub_url"], "default", "test")
    assert info["lima"].split == "train"


@needs_shared
def test_the_real_pairs_are_read_as_their_entry_says(write: Any) -> None:
    mapping, _ = mapping_for(read_info(write(INFO)), "dpo_en_demo.json")
    pairs = read(SHARED / "dpo_en_demo.json")
    check(mapping, pairs)
    assert all(to_pair(row, mapping) for row in pairs.rows)


@pytest.mark.parametrize(
    ("tags", "says"),
    [
        ({"role_tag": "speaker"}, "the keys 'speaker' and 'value'"),
        ({"content_tag": "content"}, "the keys 'from' and 'content'"),
        ({"user_tag": "USER1"}, "a speaker called 'USER1'"),
        ({"assistant_tag": "user"}, "a speaker called 'user'"),
    ],
)
def test_tags_that_are_not_read(write: Any, tags: dict[str, str], says: str) -> None:
    info = read_info(write({"own": {"file_name": "own.json", "formatting": "sharegpt", "tags": tags}}))
    with pytest.raises(DatasetError) as caught:
        mapping_for(info, "own")
    assert says in caught.value.problem


def test_an_unknown_name_lists_the_known_ones(write: Any) -> None:
    with pytest.raises(DatasetError, match="no entry for 'other") as caught:
        mapping_for(read_info(write(INFO)), "other.json")
    assert "identity, oasst_de" in caught.value.remedy


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ("{broken", "it is not JSON"),
        ("[" * 100_000, "it is not JSON"),
        ([1], "no object of data sets"),
        ({}, "no object of data sets"),
        ({"a": "b"}, "'a' is not an object"),
        ({"a": {"formatting": "dance"}}, "the formatting 'dance'"),
        ({"a": {"columns": ["x"]}}, "the columns of 'a' are not names"),
        ({"a": {"tags": {"role_tag": 3}}}, "the tags of 'a' are not names"),
    ],
)
def test_files_that_are_none(write: Any, values: Any, says: str) -> None:
    with pytest.raises(DatasetError) as caught:
        read_info(write(values))
    assert says in caught.value.problem


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="No such file"):
        read_info(tmp_path / "dataset_info.json")
