"""Exports pushed to a Hub that speaks the real one's language: private, whole, and the token nowhere to be found."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy
import pytest
from safetensors.numpy import save_file

from studio import cli, cli_share
from studio.child import Progress
from studio.config import RunConfig
from studio.errors import ModelError, RunError
from studio.events import Done, Saved
from studio.exporter import Exported, made
from studio.publish import (
    LARGEST,
    Order,
    Parcel,
    Published,
    Publisher,
    _answer,
    own_token,
    parcel,
    redacted,
    refusal,
    request,
)
from studio.store import Store
from studio.workspace import RunFolder, Workspace
from tabs import _publish
from tests.fake_hub import FakeServer

# huggingface_hub gives httpx an open file so.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

CANARY, READER = "hf_CanaryCanaryCanaryCanaryCanary01", "hf_ReaderReaderReaderReaderReader02"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeServer]:
    """What this process, and every one that is started meanwhile, takes for the Hub."""
    running = FakeServer({CANARY: "write", READER: "read"})
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", running.url)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_PROGRESS_BARS", True)
    monkeypatch.setenv("HF_ENDPOINT", running.url)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")  # a protocol of its own, which only the Hub speaks
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    yield running
    running.close()


@pytest.fixture
def publisher(workspace: Workspace) -> Iterator[Publisher]:
    running = Publisher(workspace)
    yield running
    running.close()


@pytest.fixture
def run(workspace: Workspace, tiny_config: Callable[..., RunConfig]) -> RunFolder:
    folder = workspace.new_run("lora")
    tiny_config().save(folder.config)
    folder.adapter.mkdir()
    save_file({"lora_A.weight": numpy.ones((4, 64), numpy.float32)}, folder.adapter / "adapter_model.safetensors")
    (folder.adapter / "adapter_config.json").write_text('{"peft_type": "LORA"}', encoding="utf-8")
    for each in (Saved(step=4, size=1), Done()):
        folder.events.append(each)
    return folder


@pytest.fixture
def exported(workspace: Workspace, run: RunFolder) -> Exported:
    """The adapter, a card and something nested, as an export of that form lies on disk."""
    folder = workspace.exports / "20260101-000000-adapter-abcd"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / "mine.zip", "w") as archive:
        for each in sorted(run.adapter.iterdir()):
            archive.write(each, each.name)
        archive.writestr("README.md", "# Mine\n")
        archive.writestr("pictures/loss.svg", "<svg/>")
    size = (folder / "mine.zip").stat().st_size
    found = Exported(folder.name, "Mine", run.id, {"name": "adapter"}, "mine.zip", size, "0", ["Read back."], 1.0)
    (folder / "about.json").write_text(json.dumps(found.plain()), encoding="utf-8")
    assert made(workspace) == [found]
    return found


def sent(workspace: Workspace, ready: Parcel, order: Order, token: str = CANARY) -> Published:
    """As a process of its own does it, but here."""
    replies: list[dict[str, Any]] = []
    _answer(request(workspace, ready, order, token), lambda **values: replies.append(values), lambda: False)
    return Published(**replies[-1]["published"])


def sent_apart(publisher: Publisher, ready: Parcel, order: Order, token: str = CANARY) -> Published:
    *progress, last = publisher.send(ready, order, token)
    assert all(isinstance(each, Progress) for each in progress)
    assert isinstance(last, Published)
    return last


def found_in(folder: Path, secret: str) -> list[Path]:
    """Files below `folder` that hold it, in whichever way it would be written."""
    forms = [secret.encode(), secret[3:].encode(), secret.encode("utf-16-le")]
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    return [path for path in files if any(form in path.read_bytes() for form in forms)]


def test_it_is_private_and_whole(
    hub: FakeServer, publisher: Publisher, workspace: Workspace, exported: Exported, capfd: pytest.CaptureFixture[str]
) -> None:
    ready = parcel(workspace, exported.name)
    assert ("pictures/loss.svg", 6) in ready.files
    published = sent_apart(publisher, ready, Order("my-model"))
    repo = hub.repos["somebody/my-model"]
    with zipfile.ZipFile(exported.path(workspace)) as archive:
        assert repo["files"] == {name: archive.read(name) for name in archive.namelist()}
    assert (repo["private"], repo["commits"]) == (True, ["Publish Mine"])
    assert published == Published(
        "somebody/my-model", f"{hub.url}/somebody/my-model", "0" * 40, True, len(ready.files), ready.bytes
    )
    assert not list(workspace.exports.glob(".sending-*"))
    assert not found_in(workspace.root, CANARY)  # nor in publish.log
    assert CANARY not in "".join(capfd.readouterr())


def test_it_is_public_only_where_that_is_asked(hub: FakeServer, workspace: Workspace, exported: Exported) -> None:
    assert not sent(workspace, parcel(workspace, exported.name), Order("somebody/open", public=True)).private
    assert hub.repos["somebody/open"]["private"] is False


def test_a_name_that_is_taken_is_left_alone_unless_asked(
    hub: FakeServer, workspace: Workspace, exported: Exported
) -> None:
    ready = parcel(workspace, exported.name)
    hub.repos["somebody/mine"] = {"private": True, "files": {"old": b"1"}, "commits": []}
    with pytest.raises(ModelError, match="is taken"):
        sent(workspace, ready, Order("mine"))
    with pytest.raises(ModelError, match=r"is private, and this was to be public"):
        sent(workspace, ready, Order("mine", public=True, update=True))
    assert hub.repos["somebody/mine"]["files"] == {"old": b"1"}
    assert sent(workspace, ready, Order("mine", update=True)).notes
    assert set(hub.repos["somebody/mine"]["files"]) == {"old", *(name for name, _ in ready.files)}


def test_an_open_repository_takes_nothing_that_was_to_be_private(
    hub: FakeServer, workspace: Workspace, exported: Exported
) -> None:
    hub.repos["somebody/mine"] = {"private": False, "files": {}, "commits": []}
    with pytest.raises(ModelError, match="is public, and this was to be private"):
        sent(workspace, parcel(workspace, exported.name), Order("mine", update=True))
    assert not hub.repos["somebody/mine"]["files"]


@pytest.mark.parametrize(
    ("token", "repo", "refuse", "why"),
    [
        ("hf_UnknownUnknownUnknownUnknown03", "mine", {}, "does not know the token"),
        (READER, "mine", {}, "no right to write"),
        (CANARY, "another/mine", {}, "no right to write to 'another/mine'"),
        (CANARY, "mine", {"/api/repos": (403, "Private repository storage limit reached")}, "too large for what"),
        (CANARY, "mine", {"/api/validate-yaml": (400, "bad")}, "would not take it .Invalid metadata in README"),
        (CANARY, "mine", {"/upload": (413, "Entity too large")}, "too large"),
        (CANARY, "mine", {"/api/repos": (418, f"no, {CANARY} is no teapot")}, "answered 418 .no, hf_… is no teapot"),
    ],
)
def test_what_the_hub_refuses_is_said_without_the_token(
    token: str, repo: str, refuse: dict[str, Any], why: str, hub: FakeServer,
    workspace: Workspace, exported: Exported,
) -> None:  # fmt: skip
    hub.refuse = refuse
    with pytest.raises(ModelError, match=why) as refused:
        sent(workspace, parcel(workspace, exported.name), Order(repo), token)
    assert token not in str(refused.value)
    assert not any(each["files"] for each in hub.repos.values())
    assert not found_in(workspace.root, token)


def test_without_a_network_that_is_said(
    hub: FakeServer, publisher: Publisher, workspace: Workspace, exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelError, match="cannot be reached"):
        sent_apart(publisher, parcel(workspace, exported.name), Order("mine"))
    assert not hub.asked


def test_who_leaves_leaves_an_empty_repository(
    hub: FakeServer, publisher: Publisher, workspace: Workspace, exported: Exported
) -> None:
    hub.hold.clear()
    parts = publisher.send(parcel(workspace, exported.name), Order("mine"), CANARY)
    for part in parts:
        if isinstance(part, Progress) and "safetensors" in part.doing:
            break
    publisher.close()  # as the button does
    with pytest.raises(ModelError, match=r"ended"):
        list(parts)
    assert hub.repos["somebody/mine"] == {"private": True, "files": {}, "commits": []}


def test_a_text_with_a_token_in_it_is_not_sent(hub: FakeServer, workspace: Workspace, exported: Exported) -> None:
    with zipfile.ZipFile(exported.path(workspace), "a") as archive:
        archive.writestr("notes.txt", f"my token is {READER}")
    with pytest.raises(RunError, match=r"notes\.txt holds what looks like a token"):
        sent(workspace, parcel(workspace, exported.name), Order("mine"))
    assert not hub.asked


def test_what_was_shown_is_what_is_sent(hub: FakeServer, workspace: Workspace, exported: Exported) -> None:
    ready = parcel(workspace, exported.name)
    with zipfile.ZipFile(exported.path(workspace), "a") as archive:
        archive.writestr("more.txt", "more")
    with pytest.raises(RunError, match="changed since it was shown"):
        sent(workspace, ready, Order("mine"))
    assert not hub.asked


def test_a_single_file_goes_with_its_card(hub: FakeServer, workspace: Workspace, exported: Exported) -> None:
    path = exported.path(workspace)
    path.with_name("mine.gguf").write_bytes(b"GGUF" + bytes(2_000))
    about = replace(exported, file="mine.gguf", bytes=2_004)
    (path.parent / "about.json").write_text(json.dumps(about.plain()), encoding="utf-8")
    ready = parcel(workspace, exported.name)
    sent(workspace, ready, Order("mine"))
    files = hub.repos["somebody/mine"]["files"]
    assert files["mine.gguf"] == b"GGUF" + bytes(2_000)
    assert files["README.md"].startswith(b"---")
    assert path.with_name("mine.gguf").is_file()  # a link to it was sent


def test_what_is_no_model_or_too_large_is_refused(workspace: Workspace, exported: Exported) -> None:
    path = exported.path(workspace)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("train.py", "1/0")
    with pytest.raises(RunError, match="holds no weights"):
        parcel(workspace, exported.name)
    path.write_bytes(b"GGUF")
    path.rename(path.with_name("mine.gguf"))
    about = replace(exported, file="mine.gguf", bytes=LARGEST + 1)
    (path.parent / "about.json").write_text(json.dumps(about.plain()), encoding="utf-8")
    with pytest.raises(RunError, match=r"takes files of up to 50"):
        parcel(workspace, exported.name)
    for name in ("", "../x", "nowhere"):
        with pytest.raises(RunError, match="no such export"):
            parcel(workspace, name)


@pytest.mark.parametrize(
    "name", ["", "a/b/c", "../x", "a b", "-x", "x--y", "x..y", "x.git", "ü", "a/" + "x" * 95, "a\n"]
)
def test_names_that_no_repository_can_have_are_refused(name: str) -> None:
    if name == "a\n":  # what surrounds a name is not part of it
        assert Order(name).checked().repo == "a"
        return
    with pytest.raises(ModelError, match="can be no repository's name"):
        Order(name).checked()


def test_without_a_token_that_is_said(publisher: Publisher, workspace: Workspace, exported: Exported) -> None:
    with pytest.raises(ModelError, match="There is no token"):
        sent_apart(publisher, parcel(workspace, exported.name), Order("mine"), " ")
    with pytest.raises(ModelError, match="no token"):
        sent_apart(publisher, parcel(workspace, exported.name), Order("mine"), "hf_\nX-Evil: 1")
    assert publisher.child.pid is None


def test_nothing_that_looks_like_a_token_is_said() -> None:
    assert redacted(f"{CANARY} and hf_abcdefgh1234 and secret", "secret") == "hf_… and hf_… and hf_…"
    told = refusal(RuntimeError(f"for {CANARY}"), Order("mine"), CANARY)
    assert CANARY[3:] not in str(told)


def test_the_token_of_this_machine_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", CANARY)
    assert own_token() == CANARY


# -- where people ask for it ---------------------------------------------------------------------------


def test_the_command_shows_what_it_would_send_and_asks(
    hub: FakeServer, workspace: Workspace, exported: Exported, run: RunFolder, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("HF_TOKEN", CANARY)
    asked = ["publish", run.id, "mine", "--workspace", str(workspace.root)]
    monkeypatch.setattr(cli_share, "confirmed", lambda say: False)
    assert cli.main(lambda *_: None, asked) == 0
    assert "README.md" in capsys.readouterr().out
    assert not hub.asked
    assert cli.main(lambda *_: None, [*asked, "--yes"]) == 0
    told = capsys.readouterr()
    assert told.out.splitlines()[-1] == f"{hub.url}/somebody/mine"
    assert hub.repos["somebody/mine"]["private"] is True
    assert CANARY not in told.out + told.err
    assert len(made(workspace)) == 1  # what was exported already is not made again
    assert not found_in(workspace.root, CANARY)


@pytest.fixture
def page(workspace: Workspace, publisher: Publisher) -> Any:
    return SimpleNamespace(workspace=workspace, publisher=publisher, store=Store(workspace), alone=True)


def test_the_page_shows_the_list_before_anything_is_sent(hub: FakeServer, page: Any, exported: Exported) -> None:
    listed, send, shown = _publish._show(page, exported.name, "mine", False, False)
    assert "README.md" in listed
    assert "private" in listed
    assert send.interactive
    assert not hub.asked
    *_, last = _publish._send(page, exported.name, "mine", False, False, CANARY, shown)
    assert "somebody/mine" in last[0]
    assert last[-1] == ""  # the token's field
    with pytest.raises(RunError, match="Look at the list"):
        next(_publish._send(page, exported.name, "another", False, False, CANARY, shown))
    with pytest.raises(RunError, match="Look at the list"):
        next(_publish._send(page, exported.name, "mine", True, False, CANARY, shown))


def test_strangers_push_with_a_token_of_their_own(
    hub: FakeServer, page: Any, exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", CANARY)
    page.alone = False
    shown = _publish._show(page, exported.name, "mine", False, False)[-1]
    with pytest.raises(ModelError, match="There is no token"):
        list(_publish._send(page, exported.name, "mine", False, False, "", shown))
    assert not hub.asked
    page.alone = True
    list(_publish._send(page, exported.name, "mine", False, False, "", shown))
    assert "somebody/mine" in hub.repos


def test_names_of_files_are_shown_as_text(page: Any, exported: Exported) -> None:
    with zipfile.ZipFile(exported.path(page.workspace), "a") as archive:
        archive.writestr("<img src=x onerror=alert(1)>", "x")
    listed = _publish._show(page, exported.name, "mine", False, False)[0]
    assert "&lt;img" in listed
    assert "<img" not in listed
