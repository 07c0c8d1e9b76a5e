"""Data sets by name: which files are taken, what is asked of the person, and what failures become."""

from __future__ import annotations

import errno
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub import errors

from studio.data.dataset import Dataset
from studio.data.hub import (
    POPULAR,
    HuggingFaceDataHub,
    Part,
    choose,
    converted_parts,
    data_parts,
    fetch,
    refusal,
    repo_of,
)
from studio.data.templates import Mapping, detect
from studio.data.trees import is_tree
from studio.errors import DatasetError

PARQUET = "refs/convert/parquet"


def quiet(title: str, done: float, total: float) -> None:
    pass


class FakeHub:
    """A hub in memory: repository → parts; files hold their own path."""

    def __init__(self, **repos: list[Part]) -> None:
        self.repos = {name.replace("__", "/"): parts for name, parts in repos.items()}

    def parts(self, name: str) -> list[Part]:
        if name not in self.repos:
            raise DatasetError(f"The Hub has no data set '{name}'.", remedy="Check the spelling.")
        return self.repos[name]

    def download(self, name: str, part: Part, folder: Path, progress: Any) -> list[Path]:
        for path in part.files:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(path)
        progress(f"Fetching {name}", part.size, part.size)
        return [folder / path for path in part.files]


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch):
    """The real hub class over a branch → files table instead of the network."""

    def answer(branches: dict[str | None, dict[str, int]]) -> HuggingFaceDataHub:
        def dataset_info(self: Any, name: str, *, revision: str | None, **_: Any) -> Any:
            if revision not in branches:
                raise errors.RevisionNotFoundError.__new__(errors.RevisionNotFoundError)
            files = branches[revision].items()
            return SimpleNamespace(siblings=[SimpleNamespace(rfilename=path, size=size) for path, size in files])

        monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", dataset_info)
        return HuggingFaceDataHub()

    return answer


def test_the_hubs_own_parquet_copy_comes_first(online: Any) -> None:
    hub = online({
        PARQUET: {
            ".gitattributes": 1,
            "default/train/0001.parquet": 20,
            "default/train/0000.parquet": 10,
            "default/test/0000.parquet": 5,
            "big/partial-train/0000.parquet": 7,
            "huge/train-part0/0000.parquet": 1,
            "huge/train-part1/0000.parquet": 1,
            "default/train/0000.parquet.crc": 99,
        },
        None: {"train.csv": 1},
    })  # fmt: skip
    found = hub.parts("a/b")
    assert {(part.config, part.split, part.size, part.partial) for part in found} == {
        ("default", "train", 30, False), ("default", "test", 5, False),
        ("big", "train", 7, True), ("huge", "train", 2, False),
    }  # fmt: skip
    train = choose(found)
    assert list(train.files) == ["default/train/0000.parquet", "default/train/0001.parquet"]
    assert train.revision == PARQUET


def test_without_it_the_data_files_of_the_main_branch(online: Any) -> None:
    hub = online({None: {"README.md": 1, "script.py": 9, "dataset_infos.json": 2, "code_alpaca_20k.json": 8}})
    assert hub.parts("a/b") == [Part("default", "train", {"code_alpaca_20k.json": 8})]


def test_a_repository_without_data_says_so(online: Any) -> None:
    with pytest.raises(DatasetError, match="has no files of rows") as caught:
        online({None: {"README.md": 1, "load.py": 9}}).parts("a/b")
    assert "need a program" in caught.value.remedy


@pytest.mark.parametrize(
    ("paths", "wanted"),
    [
        (["data/train-00000-of-00001.parquet", "data/test-0.parquet"], {("default", "test"), ("default", "train")}),
        (["en/train.jsonl.gz", "de/dev.jsonl.gz"], {("en", "train"), ("de", "validation")}),
        (["train/a.csv", "train/b.csv", "valid.csv"], {("default", "train"), ("default", "validation")}),
        (["rows.json", "rows.csv", "notes.txt"], {("default", "train")}),
        (["contest.jsonl"], {("default", "train")}),
        ([".hidden.json", "state.json"], set()),
    ],
)
def test_what_file_names_say(paths: list[str], wanted: set[tuple[str, str]]) -> None:
    assert {(part.config, part.split) for part in data_parts(dict.fromkeys(paths, 1))} == wanted


def test_only_one_kind_of_file_is_taken() -> None:
    [part] = data_parts({"rows.csv": 1, "rows.json": 2, "rows.jsonl.gz": 3})
    assert part.files == {"rows.jsonl.gz": 3}


def parts(*names: str) -> list[Part]:
    return [Part(config, split, {"0.parquet": 1}) for config, split in (name.split("/") for name in names)]


@pytest.mark.parametrize(
    ("there", "config", "split", "wanted"),
    [
        (["default/train", "default/test", "x/train"], None, None, "default/train"),
        (["only/train", "only/test"], None, "test", "only/test"),
        (["a/train", "b/train"], "b", None, "b/train"),
        (["a/full"], None, None, "a/full"),
    ],
)
def test_sensible_choices(there: list[str], config: str | None, split: str | None, wanted: str) -> None:
    part = choose(parts(*there), config, split)
    assert f"{part.config}/{part.split}" == wanted


@pytest.mark.parametrize(
    ("there", "config", "split", "says", "advice"),
    [
        (["a/train", "b/train"], None, None, "more than one configuration", "Choose one of: a, b."),
        (["a/train", "b/train"], "c", None, "no configuration 'c'", "Choose one of: a, b."),
        (["a/train_sft", "a/train_gen"], None, None, "more than one split", "Choose one of: train_sft, train_gen."),
        (["a/train", "b/dev"], "a", "dev", "no split 'dev'", "Choose one of: train."),
    ],
)
def test_choices_left_to_the_person(
    there: list[str], config: str | None, split: str | None, says: str, advice: str
) -> None:
    with pytest.raises(DatasetError, match=says) as caught:
        choose(parts(*there), config, split)
    assert caught.value.remedy == advice


def test_a_data_set_is_fetched_by_its_short_name(tmp_path: Path) -> None:
    told: list[tuple[str, float, float]] = []
    hub = FakeHub(**{"tatsu-lab__alpaca": converted_parts({"default/train/0000.parquet": 24})})
    found = fetch("alpaca", None, None, hub, tmp_path, lambda *each: told.append(each))
    assert found == [tmp_path / "default/train/0000.parquet"]
    assert found[0].read_text() == "default/train/0000.parquet"
    assert told == [("Fetching tatsu-lab/alpaca", 24, 24)]
    with pytest.raises(DatasetError, match="no data set 'some/where'"):
        fetch("some/where", None, None, hub, tmp_path, quiet)


def test_names() -> None:
    assert repo_of(" databricks/databricks-dolly-15k ") == POPULAR["dolly"].repo
    assert repo_of("https://huggingface.co/datasets/OpenAssistant/oasst1/") == "OpenAssistant/oasst1"
    assert repo_of("squad") == "squad"
    for hostile in ("", "../x", "a/../b", "/etc/passwd", "a/b/c", "https://example.org/x", "a b", "a\nb"):
        with pytest.raises(DatasetError, match="is not a name"):
            repo_of(hostile)


def test_each_popular_one_has_a_licence_and_a_name_that_is_one() -> None:
    for popular in POPULAR.values():
        assert repo_of(popular.repo) == popular.repo
        assert popular.licence


def test_the_popular_ones_columns_are_known() -> None:
    alpaca = {"instruction": "a", "input": "", "output": "b", "text": "Below is an instruction ..."}
    dolly = {"instruction": "a", "context": "", "response": "b", "category": "open_qa"}
    code = {"output": "b", "input": "", "instruction": "a"}
    plain = {"instruction": "instruction", "input": "input", "output": "output"}
    wanted = {"instruction": "instruction", "input": "context", "output": "response"}
    for row, columns in ((alpaca, plain), (code, plain), (dolly, wanted)):
        assert detect(Dataset("a", tuple(row), [row], [])) == Mapping("instruction", columns)
    oasst = (
        "message_id", "parent_id", "user_id", "created_date", "text", "role", "lang", "review_count", "review_result",
        "deleted", "rank", "synthetic", "model_name", "detoxify", "message_tree_id", "tree_state", "emojis", "labels",
    )  # fmt: skip
    assert is_tree(oasst)


def answered(kind: type[Any], status: int) -> BaseException:
    """An error of huggingface_hub as it comes with a response, without making one."""
    error = kind.__new__(kind)  # pyright: ignore[reportCallIssue]
    error.response = SimpleNamespace(status_code=status)
    return error


@pytest.mark.parametrize(
    ("error", "said", "advice"),
    [
        (answered(errors.GatedRepoError, 403), "needs its licence accepted", "https://huggingface.co/datasets/a/b"),
        (answered(errors.RepositoryNotFoundError, 404), "has no data set 'a/b'", "spelling"),
        (answered(errors.HfHubHTTPError, 503), "answered 503", "Wait a minute"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk is full", "Free some space"),
        (errors.OfflineModeIsEnabled("offline mode is enabled."), "cannot be reached", "upload a file"),
        (ConnectionError("[Errno -2] Name or service not known"), "Name or service not known", "network"),
    ],
)
def test_each_failure_says_what_to_do(error: BaseException, said: str, advice: str) -> None:
    found = refusal("a/b", error)
    assert said in found.problem
    assert advice in found.remedy


def test_offline_by_choice_asks_nobody(tmp_path: Path) -> None:
    hub = HuggingFaceDataHub()  # HF_HUB_OFFLINE is set for all tests
    with pytest.raises(DatasetError, match="cannot be reached"):
        fetch("alpaca", None, None, hub, tmp_path, quiet)
    with pytest.raises(DatasetError, match="cannot be reached"):
        hub.download("nobody/nothing", Part("default", "train", {"a.csv": 1}), tmp_path, quiet)


def test_only_the_parts_files_are_downloaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: dict[str, Any] = {}

    def download(name: str, *, tqdm_class: Any, **options: Any) -> str:
        asked.update(options, name=name)
        tqdm_class(desc="Reconstructing", total=0).update(3)
        return str(options["local_dir"])

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    told: list[tuple[str, float, float]] = []
    part = Part("default", "train", {"default/train/0000.parquet": 3, "odd[1].csv": 1}, PARQUET)
    found = HuggingFaceDataHub().download("a/b", part, tmp_path, lambda *each: told.append(each))
    assert found == [tmp_path / "default/train/0000.parquet", tmp_path / "odd[1].csv"]
    assert asked["repo_type"] == "dataset"
    assert asked["revision"] == PARQUET
    assert asked["allow_patterns"] == ["default/train/0000.parquet", "odd[[]1].csv"]
    assert told == [("Fetching a/b", 3, 4)]


def test_a_stop_asked_for_while_fetching_reaches_the_caller(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def stop(*_: Any) -> None:
        raise Stop

    def download(*_: Any, tqdm_class: Any, **__: Any) -> str:
        try:
            tqdm_class(desc="Reconstructing", total=0).update(1)
        except Stop:
            raise RuntimeError("cannot download") from None
        return "never"

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    with pytest.raises(Stop):
        HuggingFaceDataHub().download("a/b", Part("default", "train", {"a.csv": 2}), tmp_path, stop)
