"""What a studio tells whom: no secret to who does not need it, none on disk, no request to who was not named."""

from __future__ import annotations

import json
import os
import sys
import traceback
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from studio import child, events, launch
from studio.child import Child
from studio.config import RunConfig
from studio.endpoint import Endpoint, WriterSettings
from studio.errors import ConfigError, ModelError, explain
from studio.examiner import Examiner
from studio.jobs import Jobs
from studio.launch import HUB, WorkerProcess, keys_for, worker_environment
from studio.preflight import check
from studio.prompter import Prompter
from studio.querier import Querier
from studio.redaction import is_secret, print_fault, redacted
from studio.responder import Responder
from studio.store import wait_for_end
from studio.study import StudySettings
from studio.workspace import RunFolder, Workspace
from tabs import prompts
from tests.strangers.conftest import Stranger

HF = "hf_" + "CaNaRy" * 6
SECRETS = {
    "HF_TOKEN": HF,
    "WANDB_API_KEY": "canary-of-wandb-0123456789",
    "OPENAI_API_KEY": "sk-canary-of-openai-0123456789abcdef",
    "AWS_SECRET_ACCESS_KEY": "canary-of-aws-0123456789",
    "MLFLOW_TRACKING_PASSWORD": "canary-of-mlflow-0123456789",
    "DATABASE_PASSWORD": "canary-of-a-database-0123456789",
}


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """In the environment of the studio."""
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    return SECRETS


def given(keys: Any = ()) -> set[str]:
    return SECRETS.keys() & worker_environment(keys=keys).keys()


def run(workspace: Workspace, **values: Any) -> RunFolder:
    folder = workspace.new_run("lora")
    folder.config.write_text(json.dumps(RunConfig.parse({"model": "tiny", **values}).to_dict()), encoding="utf-8")
    return folder


# -- who is told ---------------------------------------------------------------------------------------------


def test_a_worker_gets_the_keys_that_its_run_needs(secrets: dict[str, str], workspace: Workspace) -> None:
    assert given() == set()
    for values, names in (
        ({}, set()),
        ({"model": "starter"}, set()),
        ({"model": "owner/name"}, {"HF_TOKEN"}),
        ({"trackers": {"wandb": "online"}}, {"WANDB_API_KEY"}),
        ({"trackers": {"wandb": "off", "tensorboard": True}}, set()),
        ({"trackers": {"mlflow": True}}, {"MLFLOW_TRACKING_PASSWORD"}),
        ({"trackers": {"trackio": True}}, {"HF_TOKEN"}),
    ):
        assert given(keys_for(run(workspace, **values))) == names, values


def test_who_fetches_nothing_does_not_log_in_by_the_file_either(secrets: dict[str, str]) -> None:
    assert worker_environment()["HF_HUB_DISABLE_IMPLICIT_TOKEN"] == "1"
    assert "HF_HUB_DISABLE_IMPLICIT_TOKEN" not in worker_environment(keys=HUB)


def test_what_is_no_secret_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TOKENIZERS_PARALLELISM", "PATH", "HOME", "CUDA_HOME", "HF_HOME", "HF_HUB_OFFLINE", "KEYBOARD"):
        monkeypatch.setenv(name, "x")
        assert worker_environment()[name] == "x"
        assert not is_secret(name)


def test_an_idle_worker_has_no_keys_and_takes_no_run_that_needs_some(
    secrets: dict[str, str], workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, str]] = []
    monkeypatch.setattr(launch.subprocess, "Popen", _popen(seen))
    idle = WorkerProcess(workspace, "0")
    assert not SECRETS.keys() & seen[0].keys()
    assert not idle.take(run(workspace, model="owner/name"))
    WorkerProcess(workspace, "0", run(workspace, model="owner/name"))
    assert SECRETS.keys() & seen[1].keys() == {"HF_TOKEN"}
    WorkerProcess(workspace, "0", run(workspace))
    assert not SECRETS.keys() & seen[2].keys()


def test_children_get_no_more_than_they_may_need(
    secrets: dict[str, str], workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, str]] = []
    monkeypatch.setattr(child.subprocess, "Popen", _popen(seen))
    for kind, names in (
        (Querier, set()),
        (Examiner, set()),
        (Responder, {"HF_TOKEN"}),
        (Prompter, {"HF_TOKEN", "OPENAI_API_KEY", "WANDB_API_KEY"}),  # which of the keys, a study says
    ):
        kind(workspace).child._start()
        assert SECRETS.keys() & seen[-1].keys() == names, kind


def _popen(seen: list[dict[str, str]]) -> Any:
    class Stream:
        closed = False

        def close(self) -> None: ...

    class Process:
        stdin = stdout = Stream()
        pid = 1

        def __init__(self, *_: Any, env: dict[str, str], **__: Any) -> None:
            seen.append(env)

        def poll(self) -> int:
            return 0

        def wait(self, timeout: float | None = None) -> int:
            return 0

        def kill(self) -> None: ...

    return Process


# -- what is written -----------------------------------------------------------------------------------------


def test_a_whole_run_writes_no_secret_anywhere(
    secrets: dict[str, str], workspace: Workspace, jobs: Jobs, tiny_config: Any
) -> None:
    assert wait_for_end(jobs.store, jobs.submit(tiny_config()), 120).status == "done"
    files = [path for path in workspace.root.rglob("*") if path.is_file()]
    assert len(files) > 10
    for path in files:
        held = path.read_bytes()
        assert not [name for name, value in SECRETS.items() if value.encode() in held], path


@pytest.mark.parametrize("said", [f"401 for token {HF}", f"Authorization: Bearer {SECRETS['OPENAI_API_KEY']}", "{}"])
def test_a_fault_is_told_without_the_secret_that_it_quotes(
    said: str, secrets: dict[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    said = said.format(SECRETS["DATABASE_PASSWORD"])
    try:
        raise ValueError(said)
    except ValueError as error:
        problem = explain(error).problem
        print_fault()
    shown = problem + capfd.readouterr().err
    assert "ValueError" in shown
    assert not [value for value in SECRETS.values() if value in shown]


def test_tokens_are_known_by_their_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of others, too."""
    for token in (HF, "sk-" + "a" * 40, "ghp_" + "a" * 36, "AKIA" + "A" * 16, "glpat-" + "a" * 20):
        assert redacted(f"it said {token}, twice") == "it said …, twice"
    for text in ("hf_hub", "sk-learn is a package", "token: yes", "desk-" + "a" * 30):
        assert redacted(text) == text


def test_no_secret_goes_into_a_config() -> None:
    for key in (HF, SECRETS["OPENAI_API_KEY"], "HOME", "PATH", "x" * 300):
        with pytest.raises(ConfigError):
            WriterSettings.parse({"url": "http://localhost/v1", "model": "m", "key": key})
    for url in ("http://user:pass@localhost/v1", "http://localhost/v1?key=x", "http://localhost/v1#x"):
        with pytest.raises(ConfigError):
            WriterSettings.parse({"url": url, "model": "m"})


def test_events_know_no_environment() -> None:
    """No kind of event has a field that could hold one."""
    for kind in events.KINDS.values():
        assert not {"environment", "environ", "token", "key", "secret", "password"} & set(kind.__dataclass_fields__)


# -- who is asked --------------------------------------------------------------------------------------------

ODD = [
    *(
        "file:///etc/passwd",
        "ftp://127.0.0.1/v1",
        "gopher://127.0.0.1/x",
        "unix:/var/run/docker.sock",
        "//127.0.0.1/v1",
    ),
    *("http://", "http:///v1", "http://a b/v1", "http://127.0.0.1:99999/v1", "javascript:alert(1)", "data:,x", "-v"),
    *(
        "http://127.0.0.1\r\nX: y/v1",
        "http://127.0.0.1\0/v1",
        "http://user@169.254.169.254/v1",
        "--url=x",
        "http://0177.0.0.1/v1",
    ),
]
INSIDE = [
    *(
        "http://127.0.0.1:9/v1",
        "http://2130706433/v1",
        "http://0x7f000001/v1",
        "http://127.1/v1",
    ),
    *("http://[::1]/v1", "http://[::ffff:127.0.0.1]/v1", "http://169.254.169.254/latest", "http://[fd00:ec2::254]/v1"),
    *("http://0/v1", "http://10.0.0.1/v1", "http://192.168.1.1/v1", "http://localhost.localdomain/v1"),
    *("http://metadata.google.internal/v1", "http://127.0.0.1.nip.io/v1", "https://example.com/v1"),
]


@pytest.mark.parametrize("url", ODD)
def test_an_endpoint_is_a_web_address(url: str) -> None:
    with pytest.raises(ConfigError):
        WriterSettings.parse({"url": url, "model": "m"})


@pytest.mark.parametrize("url", INSIDE)
def test_strangers_name_no_endpoint_at_all(url: str, stranger: Stranger) -> None:
    """However it is written: where others reach the page, it asks none in their name."""
    assert not stranger.page.alone
    settings = StudySettings.parse({"writer": {"url": url, "model": "m"}})
    with pytest.raises(ConfigError, match="open to others"):
        prompts._begin(stranger.page, settings)
    assert not list(stranger.workspace.root.glob("studies/*"))


def test_an_endpoint_that_sends_elsewhere_is_not_followed() -> None:
    asked: list[str] = []

    class Elsewhere(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.path)
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(307)
            self.send_header("Location", f"http://127.0.0.1:{server.server_port}/inside")
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST

        def log_message(self, format: str, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        settings = WriterSettings.parse({"url": f"http://127.0.0.1:{server.server_port}/v1", "model": "m"})
        with pytest.raises(ModelError):
            Endpoint(settings, waits=())([{"role": "user", "content": "x"}])
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert asked == ["/v1/chat/completions"]


def test_nobody_is_told_that_anything_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_DISABLE_TELEMETRY", raising=False)
    told = worker_environment()
    assert told["HF_HUB_DISABLE_TELEMETRY"] == "1"
    assert told["DO_NOT_TRACK"] == "1"
    assert told["GRADIO_ANALYTICS_ENABLED"] == "False"
    assert os.environ.get("GRADIO_ANALYTICS_ENABLED") == "False" or "tabs.app" not in sys.modules


def test_traceback_is_printed_by_ours_alone() -> None:
    """What goes into a log goes through `print_fault`; the server's own console is its owner's."""
    root = Path(traceback.__file__).parent
    assert root.exists()
    ours = Path(__file__).parents[2] / "studio"
    left = {path.name for path in ours.rglob("*.py") if "traceback.print_exc" in path.read_text(encoding="utf-8")}
    assert left <= {"jobs.py", "searcher.py", "redaction.py"}


def test_a_config_is_checked_before_anybody_is_asked(workspace: Workspace) -> None:
    with pytest.raises((ConfigError, ModelError)):
        check(RunConfig.parse({"model": "http://127.0.0.1/x"}), workspace)
    assert issubclass(Child, object)
