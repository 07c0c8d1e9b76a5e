"""What strangers send to the page, and get nowhere with: the routes, and the handlers behind Gradio's own HTTP API."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import gradio as gr
import httpx
import pytest
from fastapi import FastAPI

from studio.config import RunConfig
from studio.events import Note, Queued
from studio.launch import worker_environment
from studio.within import WITHIN
from studio.workspace import Workspace
from tabs._closed import shut
from tests.strangers.conftest import HOST, Stranger

ROWS = b'{"prompt": "a", "completion": "b"}\n' * 5
EVIL = "https://evil.example"
UP = ("../", "..%2f", "%2e%2e/", "%2e%2e%2f", "..\\", "..%5c", "....//", "%252e%252e%252f")


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file of this machine that has nothing to do with the studio."""
    path = tmp_path / "secret.csv"
    path.write_text("prompt,completion\nTOP,SECRET\nA,B\n", encoding="utf-8")
    return path


def sets(stranger: Stranger) -> list[str]:
    return sorted(each.name for each in stranger.workspace.datasets.iterdir())


# -- files by their path -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "route",
    [
        *("/studio/runs/", "/studio/download/", "/gradio_api/file=", "/gradio_api/file/", "/static/", "/assets/"),
        *("/svelte/", "/gradio_api/stream/", "/gradio_api/custom_component/", "/gradio_api/file=file://", "/pwa_icon/"),
    ],
)
def test_no_route_leads_out(route: str, stranger: Stranger) -> None:
    targets = ["/etc/passwd", "//etc/passwd", *(up * 12 + "etc/passwd" for up in UP)]
    targets += [str(stranger.workspace.root / "server.lock"), "%2fetc%2fpasswd", "~/.netrc", "etc/passwd%00.css"]
    for target in targets:
        answer = stranger.http.get(httpx.URL(f"{stranger.url}{route}{target}"))
        assert answer.status_code >= 400, target
        assert b"root:" not in answer.content


def test_files_of_the_workspace_are_not_handed_out(stranger: Stranger) -> None:
    folder = stranger.workspace.new_run("lora")
    RunConfig.parse({"model": "tiny"}).save(folder.config)
    for path in (folder.config, stranger.workspace.root, stranger.workspace.datasets):
        assert stranger.http.get(f"/gradio_api/file={path}").status_code == 403


def test_a_file_of_the_machine_is_not_taken_for_an_upload(stranger: Stranger, secret: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.csv"
    link.symlink_to(secret)
    before = sets(stranger)
    for path in (secret, link, f"{secret.parent}/../{secret.parent.name}/secret.csv", f"file://{secret}"):
        assert not stranger.claim(str(path))["success"], path
    assert sets(stranger) == before
    assert secret.read_text(encoding="utf-8").startswith("prompt")


def test_a_link_among_the_uploads_leads_nowhere(stranger: Stranger, secret: Path) -> None:
    path, _ = stranger.bring("a.jsonl", ROWS)
    path.parent.mkdir(exist_ok=True)
    link = path.with_name("link.csv")
    link.symlink_to(secret)
    assert not stranger.claim(str(link))["success"]
    assert b"SECRET" not in stranger.http.get(f"/gradio_api/file={link}").content


@pytest.mark.parametrize("widget", ["train-old", "train-model", "train-source"])
def test_no_path_is_taken_for_data_or_a_model(widget: str, stranger: Stranger, secret: Path) -> None:
    for path in (str(secret), f"{stranger.workspace.root}/../../{secret.name}", "/etc", "~", "./", str(secret.parent)):
        asked = {"train-model": "tiny", widget: path}
        assert not stranger.ask("train-start", "click", asked)["success"]


def test_the_dataset_tab_takes_no_path(stranger: Stranger, secret: Path) -> None:
    answer = stranger.ask("dataset-choice", "change", {"dataset-choice": str(secret)})
    assert not answer["success"] or "SECRET" not in str(answer)
    assert "SECRET" not in str(stranger.ask("dataset-copy", "click", {"dataset-choice": str(secret)}))


# -- names ---------------------------------------------------------------------------------------------------

NAMES = [
    *("CON", "NUL", "aux.jsonl", ".hidden", "..", "...", " ", "-rf", "--help", "a" * 300, "é" * 200, "a\u202egnp.exe"),
    *("$(touch hit)", "`touch hit`", ";touch hit;", "a|b", "a\nb", "%s%n", "{{7*7}}", "<img src=x onerror=alert(1)>"),
]


@pytest.mark.parametrize("name", NAMES)
def test_a_file_of_any_name_becomes_a_folder_of_ours(name: str, stranger: Stranger) -> None:
    stranger.bring(f"{name}.jsonl", ROWS)
    for made in sets(stranger):
        assert re.fullmatch(r"[a-z0-9-]{1,60}", made), made
        assert made.split("-")[0] not in {"con", "nul"} or re.fullmatch(r".*-[0-9a-f]{8}", made)
    assert not list(Path.cwd().glob("hit*"))


@pytest.mark.parametrize("name", ["../../x.jsonl", "/etc/x.jsonl", "a/../../x.jsonl", "..\\..\\x.jsonl", "C:\\x.jsonl"])
def test_an_upload_lands_where_uploads_do(name: str, stranger: Stranger) -> None:
    (path,) = stranger.upload(name, ROWS).json()
    assert Path(path).resolve().parent.parent.name == "uploads"
    assert ".." not in Path(path).parts


@pytest.mark.parametrize("name", [*NAMES, "../x", "x/../../y", "no-such-run", "a\0b", "*", "%"])
def test_a_run_is_asked_for_by_its_own_id_alone(name: str, stranger: Stranger) -> None:
    """Also with what stands in another workspace beside this one."""
    other = Workspace(stranger.workspace.root.parent / "other").create()
    theirs = other.new_run("lora")
    RunConfig.parse({"model": "tiny"}).save(theirs.config)
    for run in (name, theirs.id, f"../../other/runs/{theirs.id}"):
        asked = "".join(f"%{byte:02x}" for byte in run.encode())
        assert stranger.http.get(f"/studio/runs/{asked}").status_code in (400, 404)
        assert stranger.http.post(f"/studio/runs/{asked}/stop").status_code in (400, 404, 405)
    assert not theirs.stop_flag.exists()


# -- another site's page -------------------------------------------------------------------------------------


def test_dns_rebinding_gets_no_answer(stranger: Stranger) -> None:
    for host in ("evil.example", "127.0.0.1.evil.example", f"{HOST}.evil.example", "localhost@evil.example", ""):
        for path in ("/", "/config", "/gradio_api/info", "/studio/runs/x"):
            assert stranger.http.get(path, headers={"Host": host}).status_code == 400, host


@pytest.mark.parametrize("origin", [EVIL, "null", "http://localhost.evil.example", f"http://{HOST}.evil.example"])
def test_another_sites_page_neither_uploads_nor_acts(origin: str, stranger: Stranger) -> None:
    for path in ("/gradio_api/upload", "/gradio_api/queue/join", "/gradio_api/run/predict", "/studio/runs/x/stop"):
        answer = stranger.http.post(path, content=b"{}", headers={"Origin": origin, "Content-Type": "text/plain"})
        assert answer.status_code == 403, path


def test_no_other_site_is_let_in_before_it_asks(stranger: Stranger) -> None:
    asked = {"Origin": EVIL, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    for path in ("/gradio_api/queue/join", "/gradio_api/upload", "/config", "/studio/runs/x/stop"):
        answer = stranger.http.options(path, headers=asked)
        assert answer.status_code >= 400
        told = stranger.http.get("/config", headers={"Origin": EVIL, "Cookie": "a=b"})
        for each in (answer, told):
            assert "access-control-allow-origin" not in each.headers
            assert "access-control-allow-credentials" not in each.headers


def test_no_other_site_may_frame_it_or_be_asked_by_it(stranger: Stranger) -> None:
    """What is not said here, a browser does not do: an image in a model's answer is not fetched from elsewhere."""
    for path in ("/", "/config"):
        policy = stranger.http.get(path).headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "frame-ancestors 'self'" in policy
        assert "*;" not in policy.replace("*.huggingface.co", "")
        assert not re.search(r"(img|connect|script|font|media)-src", policy)  # each is as default-src


# -- Gradio's own offers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        *("file=http://127.0.0.1:1/x", "file=HTTPS://example.com/x.png", "file=http:/127.0.0.1/x", "openapi.json"),
        *("proxy=http://127.0.0.1:1/", "proxy=https://x.hf.space/", "deep_link?session_hash=x", "dev/reload"),
        *("vibe-code/", "run-history/records", "runs", "stream/a/b/0/playlist.m3u8", "custom_component/a/b/c/d.js"),
    ],
)
def test_gradio_fetches_and_keeps_nothing_for_strangers(path: str, stranger: Stranger) -> None:
    assert stranger.http.get(f"/gradio_api/{path}").status_code == 403


def test_nothing_is_fetched_for_a_file_that_is_an_address(stranger: Stranger) -> None:
    before = sets(stranger)
    odd = ("http://127.0.0.1:1/a.csv", "http://2130706433/a.csv", "http://[::ffff:169.254.169.254]/a.csv")
    for url in (*odd, "http://0x7f.1/a.csv", "https://example.com/a.csv", "file:///etc/passwd"):
        assert not stranger.claim("a.csv", url=url)["success"]
        assert not stranger.claim(url)["success"]
    assert sets(stranger) == before


def test_shutting_names_the_folder_to_children_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WITHIN, "")  # so that it goes again
    with gr.Blocks() as page:
        pass
    shut(FastAPI(), page, within=[tmp_path])
    assert worker_environment()[WITHIN] == str(tmp_path)
    assert page.has_launched


def test_no_handler_is_public_and_none_serves_components(stranger: Stranger) -> None:
    assert [each for each in stranger.config["dependencies"] if each.get("api_visibility") == "public"] == []
    assert stranger.http.get("/gradio_api/info").json() == {"named_endpoints": {}, "unnamed_endpoints": {}}
    for component in list(stranger.ids.values())[:9]:
        asked = {"component_id": component, "fn_name": "__init__", "data": [], "session_hash": "x"}
        assert stranger.http.post("/gradio_api/component_server", json=asked).status_code == 404
    assert stranger.http.get("/monitoring").status_code == 403


def test_an_upload_has_an_end(stranger: Stranger, monkeypatch: pytest.MonkeyPatch) -> None:
    gigabyte = 2**30
    assert stranger.config.get("max_file_size") in (gigabyte, 10**9)
    monkeypatch.setattr(stranger.blocks, "max_file_size", 10_000)
    answer = stranger.upload("a.jsonl", b"x" * 1_000_000)
    assert answer.status_code == 413


def test_nothing_is_kept_of_who_asked(stranger: Stranger) -> None:
    assert not stranger.config.get("run_history")
    assert not stranger.config.get("analytics_enabled")
    assert not stranger.config.get("show_error")


# -- what is shown -------------------------------------------------------------------------------------------

BEACON = '<img src="http://evil.example/x" onerror="alert(1)"><script>alert(1)</script>![x](http://evil.example/y)'


def texts(value: Any) -> list[str]:
    """All that stand in a value."""
    if isinstance(value, dict | list):
        return [text for each in (value.values() if isinstance(value, dict) else value) for text in texts(each)]
    return [value] if isinstance(value, str) else []


def test_models_and_data_are_never_rendered(stranger: Stranger) -> None:
    """Answers stand in chatbots that render nothing, and no handler writes Markdown."""
    kinds = {each["id"]: each for each in stranger.config["components"]}
    chats = [each["props"] for each in kinds.values() if each["type"] == "chatbot"]
    assert len(chats) == 2
    assert all(each["render_markdown"] is False and each["sanitize_html"] is not False for each in chats)
    written = {each for handler in stranger.config["dependencies"] for each in handler["outputs"]}
    assert not [kinds[each] for each in written if kinds[each]["type"] == "markdown"]


def test_a_cell_is_shown_as_text(stranger: Stranger) -> None:
    """In each part of the Dataset tab that is filled when a data set is chosen."""
    row = json.dumps({"prompt": BEACON, "completion": "b"}) + "\n"
    _, made = stranger.bring("beacon.jsonl", row.encode() * 5)
    name = made["output"]["data"][0]["value"]
    shown = [text for each in htmls(stranger, name) for text in texts(each)]
    assert any("evil.example" in text for text in shown)
    assert not [text for text in shown if "<img" in text or "<script" in text]


def htmls(stranger: Stranger, name: str) -> list[Any]:
    """What the handlers that are called when a data set is chosen say of it."""
    plain = {stranger.ids[each] for each in ("dataset-about", "dataset-example", "versions-history")}
    found = []
    for number, handler in enumerate(stranger.config["dependencies"]):
        if stranger.ids["dataset-choice"] in handler["inputs"] and plain & set(handler["outputs"]):
            asked = stranger.call(number, {"dataset-choice": name})
            data = (asked["output"] or {}).get("data") or []
            found += [value for each, value in zip(handler["outputs"], data, strict=False) if each in plain]
    return found


def test_a_run_that_says_html_says_it_as_text(stranger: Stranger) -> None:
    folder = stranger.workspace.new_run(BEACON)
    assert re.fullmatch(r"[a-z0-9-]+", folder.id)
    RunConfig.parse({"model": "tiny", "label": BEACON[:100]}).save(folder.config)
    for event in (Queued(), Note(text=BEACON)):
        folder.events.append(event)
    answer = stranger.http.get(f"/studio/runs/{folder.id}")
    assert answer.headers["content-type"] == "application/json"  # text, which the page's script puts into textContent
    assert answer.headers["x-content-type-options"] == "nosniff"
