"""Finding models: names, folders and a hub that a fake stands in for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from studio.errors import ModelError
from studio.models.catalog import SUGGESTIONS, check_name, locate
from studio.models.hub import HubUnreachable, Progress
from studio.models.tiny import tiny_model, tiny_tokenizer


class FakeHub:
    """A hub with one model in memory, or none when it is unplugged."""

    def __init__(self, files: dict[str, str], folder: Path, *, plugged: bool = True, kept: bool = False) -> None:
        self.contents, self.folder, self.plugged, self.kept = files, folder, plugged, kept
        self.asked: list[str] = []

    def reachable(self) -> bool:
        return self.plugged

    def files(self, model: str) -> dict[str, int]:
        if not self.plugged:
            raise HubUnreachable("No answer.", remedy="Check the network.")
        return {name: len(text) for name, text in self.contents.items()}

    def download(self, model: str, names: Sequence[str], progress: Progress, folder: Path | None = None) -> Path:
        self.asked = list(names)
        for name in names:
            (self.folder / name).write_text(self.contents[name])
            progress(f"Fetching {model}", 1, 1)
        return self.folder

    def cached(self, model: str) -> Path | None:
        return self.folder if self.kept else None


def ignore(*_: Any) -> None:
    """Progress nobody watches."""


def model_folder(path: Path, config: dict[str, Any] | None = None, weights: str = "model.safetensors") -> Path:
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(json.dumps(config or {"model_type": "llama"}))
    (path / weights).touch()
    return path


def test_every_suggestion_has_a_name_that_passes() -> None:
    for each in SUGGESTIONS:
        check_name(each.model)
    assert len({each.model for each in SUGGESTIONS}) == len(SUGGESTIONS)


def test_the_catalogue_counts_the_tiny_model_right() -> None:
    tiny = next(each for each in SUGGESTIONS if each.model == "tiny")
    assert tiny.parameters == tiny_model().num_parameters()
    assert tiny.context == tiny_model().config.max_position_embeddings


def test_tiny_needs_no_folder(tmp_path: Path) -> None:
    found = locate("tiny", tmp_path / "models", ignore)
    assert (found.path, found.source) == (None, "tiny")
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize(
    "name",
    [
        "",
        "gpt2",
        "a/b/c",
        "a//b",
        "../etc",
        "a/..",
        "a b/c",
        "a/b\n",
        "a/b;rm",
        "-a/b",
        "a--b/c",
        "a/b.",
        "https://x/y",
    ],
)
def test_what_is_no_name_is_refused_without_asking_anyone(name: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        locate(name, tmp_path, ignore, FakeHub({}, tmp_path, plugged=False))


def test_a_local_folder_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    tiny_model().save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    found = locate(str(folder), tmp_path / "models", ignore)
    assert (found.path, found.title, found.source) == (folder, "mine", "folder")


def test_a_folder_beside_us_wins_over_a_hub_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "some").mkdir()
    model_folder(tmp_path / "some" / "model")
    assert locate("some/model", tmp_path, ignore).source == "folder"


@pytest.mark.parametrize("weights", ["pytorch_model.bin", "model.pt", "consolidated.00.pth"])
def test_pickled_weights_are_refused_with_the_reason(weights: str, tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "m", weights=weights)
    with pytest.raises(ModelError, match="unpickling a file can run any code"):
        check_name(str(folder))


def test_incomplete_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no folder"):
        check_name(str(tmp_path / "absent"))
    with pytest.raises(ModelError, match=r"no config\.json"):
        check_name(str(tmp_path))
    with pytest.raises(ModelError, match="no weights"):
        check_name(str(model_folder(tmp_path / "m", weights="README.md")))
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").touch()
    with pytest.raises(ModelError, match="an adapter, which is not a model"):
        check_name(str(tmp_path / "adapter"))
    (tmp_path / "m" / "model.safetensors").touch()
    (tmp_path / "m" / "config.json").write_text("{")
    with pytest.raises(ModelError, match="cannot be read"):
        check_name(str(tmp_path / "m"))


def test_a_model_with_its_own_code_is_refused_unless_transformers_has_it(tmp_path: Path) -> None:
    own = {"auto_map": {"AutoModelForCausalLM": "modeling_x.X"}, "architectures": ["XForCausalLM"]}
    with pytest.raises(ModelError, match="its own Python code"):
        check_name(str(model_folder(tmp_path / "own", own)))
    check_name(str(model_folder(tmp_path / "known", own | {"architectures": ["LlamaForCausalLM"]})))


GOOD = {"config.json": '{"model_type": "llama"}', "model.safetensors": "", "tokenizer.json": "{}"}


def test_only_what_is_needed_is_fetched_from_the_hub(tmp_path: Path) -> None:
    extra = dict.fromkeys(("pytorch_model.bin", "onnx/model.json", "README.md", "consolidated.safetensors", "x.py"), "")
    hub = FakeHub(GOOD | extra, tmp_path)
    seen: list[tuple[Any, ...]] = []
    found = locate("some/model", tmp_path / "models", lambda *told: seen.append(told), hub)
    assert (found.path, found.title, found.source) == (tmp_path, "some/model", "hub")
    assert sorted(hub.asked) == sorted(GOOD)
    assert seen[-1] == ("Fetching some/model", 1, 1)


def test_a_pickled_model_of_the_hub_is_refused_before_it_is_fetched(tmp_path: Path) -> None:
    hub = FakeHub({"config.json": "{}", "pytorch_model.bin": ""}, tmp_path)
    with pytest.raises(ModelError, match="pickled"):
        locate("some/model", tmp_path, ignore, hub)
    assert not hub.asked


def test_remote_code_of_the_hub_is_refused(tmp_path: Path) -> None:
    hub = FakeHub(GOOD | {"config.json": '{"auto_map": {"AutoModel": "x.X"}}'}, tmp_path)
    with pytest.raises(ModelError, match="its own Python code"):
        locate("some/model", tmp_path, ignore, hub)


def test_without_network_a_cached_copy_serves(tmp_path: Path) -> None:
    model_folder(tmp_path)
    assert locate("some/model", tmp_path, ignore, FakeHub({}, tmp_path, plugged=False, kept=True)).path == tmp_path
    with pytest.raises(HubUnreachable):
        locate("some/model", tmp_path, ignore, FakeHub({}, tmp_path, plugged=False))
