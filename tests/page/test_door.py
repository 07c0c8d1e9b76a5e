"""The door in front of the page, and the studios of a workshop behind it: real processes, asked as anybody could."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from studio.config import RunConfig
from studio.jobs import create_run
from studio.workshop import Workshop
from studio.workspace import Workspace
from tests.nursery import popen

WORD = "the-presenters-word"
Make = Callable[..., RunConfig]


@contextmanager
def serving(folder: Path, *arguments: str) -> Iterator[str]:
    """A studio in a process of its own; its address."""
    log = folder / "server.log"
    with log.open("wb") as out:
        process: Any = popen(
            [sys.executable, "-m", "tabs._main", "--no-browser", "--no-warm-worker", "--port", "0",
             "--workspace", str(folder / "w"), *arguments],
            stdout=out, stderr=out, start_new_session=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "FINETUNE_STUDIO_WORD": WORD},
        )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while not (found := re.search(r"http://127\.0\.0\.1:\d+", log.read_text())):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, "the studio did not start"
            time.sleep(0.05)
        yield found[0]
        process.send_signal(signal.SIGINT)
        process.wait(timeout=20)
    finally:
        process.kill()


GUESTS: list[httpx.Client] = []


@pytest.fixture(autouse=True, scope="module")
def farewell() -> Iterator[None]:
    yield
    for each in GUESTS:
        each.close()


def stranger(url: str, cookies: dict[str, str] | None = None) -> httpx.Client:
    GUESTS.append(httpx.Client(base_url=url, timeout=60, cookies=cookies))
    return GUESTS[-1]


def come(url: str, name: str, word: str, code: str = "") -> httpx.Client:
    """Who has tried to come in; a stranger still, where that failed."""
    client = stranger(url)
    client.post("/studio/door", data={"name": name, "word": word, "code": code}, headers={"Origin": url})
    return client


BEHIND = (
    "/config", "/gradio_api/info", "/gradio_api/startup-events", "/gradio_api/file=/etc/passwd", "/theme.css",
    "/studio/runs/x", "/studio/meters", "/studio/plotly.js", "/studio/download/x.zip", "/studio/everybody", "/assets/x",
)  # fmt: skip


def refused_everywhere(client: httpx.Client) -> None:
    for path in BEHIND:
        assert client.get(path).status_code == 401, path
    for path in ("/gradio_api/upload", "/gradio_api/queue/join", "/gradio_api/run/predict", "/studio/memory/free"):
        assert client.post(path, json={}).status_code == 401, path
    led = client.get("/", headers={"Accept": "text/html"})
    assert led.status_code == 303
    assert led.headers["location"] == "/studio/door"


# -- one account ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("one"), "--auth", "Ada") as url:
        yield url


def test_strangers_reach_nothing_but_the_form(one: str) -> None:
    refused_everywhere(stranger(one))
    refused_everywhere(stranger(one, {"studio-session": "x" * 43}))
    form = stranger(one).get("/studio/door")
    assert form.status_code == 200
    assert "Your word" in form.text
    assert "script-src" not in form.headers["content-security-policy"]


def test_who_knows_the_word_gets_the_page_until_they_leave(one: str) -> None:
    refused_everywhere(come(one, "Ada", "wrong"))
    refused_everywhere(come(one, "Bob", WORD))
    ada = come(one, "ada", WORD)
    assert ada.get("/config").status_code == 200
    assert "Sign out" in ada.get("/").text
    (cookie,) = [each for each in ada.cookies.jar if each.name == "studio-session"]
    assert cookie.has_nonstandard_attr("HttpOnly")
    kept = dict(ada.cookies)
    assert ada.post("/studio/door/leave").headers["location"] == "/studio/door"
    refused_everywhere(stranger(one, kept))


def test_another_sites_form_does_not_come_in(one: str) -> None:
    answer = httpx.post(
        f"{one}/studio/door", data={"name": "Ada", "word": WORD}, headers={"Origin": "http://evil.example"}
    )
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers
    assert httpx.get(f"{one}/studio/door", headers={"Host": "evil.example"}).status_code == 400


def test_words_cannot_be_tried_one_after_the_other(one: str) -> None:
    answers = [httpx.post(f"{one}/studio/door", data={"name": "Eve", "word": f"word{n}"}) for n in range(7)]
    assert all(each.status_code == 403 for each in answers)
    assert "Too many" not in answers[4].text
    assert "Too many" in answers[5].text
    assert come(one, "Ada", WORD).get("/config").status_code == 200  # others are not kept out by that


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "a\x00\r\nb", "x" * 10_000])
def test_what_a_stranger_writes_is_shown_as_text(one: str, name: str) -> None:
    answer = httpx.post(f"{one}/studio/door", data={"name": name, "word": "x"})
    assert answer.status_code == 403
    assert "<script" not in answer.text
    assert len(answer.text) < 10_000


def test_a_form_of_any_size_is_not_read(one: str) -> None:
    assert httpx.post(f"{one}/studio/door", content=b"x" * 100_000).status_code == 413
    assert httpx.post(f"{one}/studio/door", content=iter([b"name=Ada"])).status_code == 413  # of unknown length


# -- many people ------------------------------------------------------------------------------------


class Room:
    """A workshop that is open, and two who take part in it."""

    def __init__(self, url: str, root: Path) -> None:
        self.url, self.workshop = url, Workshop(Workspace(root))
        self.ada, self.bob = (come(url, name, f"word of {name}", self.workshop.code) for name in ("Ada", "Bob"))

    def workspace(self, name: str) -> Workspace:
        return next(self.workshop.workspace_of(each) for each in self.workshop.people() if each.name == name)


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    folder = tmp_path_factory.mktemp("many")
    with serving(folder, "--workshop", "--limit", "disk_gb=0.002") as url:
        yield Room(url, folder / "w")


@pytest.fixture
def run(room: Room, tiny_config: Make) -> str:
    """One of Ada's."""
    return create_run(room.workspace("Ada"), tiny_config()).id


def test_newcomers_need_the_code(room: Room) -> None:
    refused_everywhere(come(room.url, "Eve", "word of Eve", "wrong"))
    refused_everywhere(stranger(room.url))
    assert [each.name for each in room.workshop.people()] == ["Ada", "Bob"]


def test_nobody_sees_anothers_runs_even_by_their_id(room: Room, run: str) -> None:
    assert room.ada.get(f"/studio/runs/{run}").status_code == 200
    assert room.bob.get(f"/studio/runs/{run}").status_code == 404
    assert run in room.ada.get("/studio/ledger").text
    assert run not in room.bob.get("/studio/ledger").text
    for action in ("stop", "pause", "resume", "kill"):
        assert room.bob.post(f"/studio/runs/{run}/{action}").status_code >= 400
    there = room.workspace("Ada").run(run)
    assert not there.stop_flag.exists()
    assert not there.pause_flag.exists()
    for path in (f"../../{room.workspace('Ada').root.name}/runs/{run}", f"..%2F..%2Fruns%2F{run}", str(there.path)):
        assert room.bob.get(f"/studio/runs/{path}").status_code in (400, 404)


def test_nobody_fetches_anothers_files(room: Room) -> None:
    (uploaded,) = room.ada.post("/gradio_api/upload", files={"files": ("rows.csv", b"secret,of Ada\n1,2\n")}).json()
    assert uploaded.startswith(str(room.workspace("Ada").root))
    assert b"of Ada" in room.ada.get(f"/gradio_api/file={uploaded}").content
    made = room.workspace("Ada").downloads / "made-0123456789abcdef.json"
    made.write_text("secret of Ada")
    assert room.ada.get(f"/studio/download/{made.name}").status_code == 200
    assert room.bob.get(f"/studio/download/{made.name}").status_code == 404
    for path in (uploaded, made, room.workshop.workspace.workshop, room.workspace("Ada").root / "server.lock"):
        for answer in (room.bob.get(f"/gradio_api/file={path}"), room.bob.get(f"/file={path}")):
            assert b"Ada" not in answer.content
            assert answer.status_code in (403, 404)


def test_nobody_hands_anothers_file_to_a_handler(room: Room) -> None:
    """A file's place in what is sent to a handler is only taken where that person's browser may have put it."""
    (uploaded,) = room.ada.post("/gradio_api/upload", files={"files": ("rows.csv", b"secret,of Ada\n1,2\n")}).json()
    config = room.bob.get("/config").json()
    files = {each["id"] for each in config["components"] if each["type"] in ("file", "uploadbutton")}
    taking = [each for each in config["dependencies"] if files & set(each["inputs"]) and each["backend_fn"]]
    assert taking
    kinds = {each["id"]: each for each in config["components"]}
    for each in taking:
        file = {"path": uploaded, "meta": {"_type": "gradio.FileData"}}
        several = [kinds[place]["props"].get("file_count") == "multiple" for place in each["inputs"]]
        data = [([file] if many else file) if place in files else kinds[place]["props"].get("value")
                for place, many in zip(each["inputs"], several, strict=True)]  # fmt: skip
        asked = {"data": data, "fn_index": each["id"], "session_hash": f"s{each['id']}"}
        told = room.bob.post("/gradio_api/queue/join", json=asked)
        said = told.text
        if told.status_code == 200:
            with room.bob.stream("GET", f"/gradio_api/queue/data?session_hash=s{each['id']}") as stream:
                for line in stream.iter_lines():
                    said += line
                    if "process_completed" in line:
                        break
        assert "of Ada" not in said
        assert '"success":true' not in said.replace(" ", ""), said
    assert not any(b"of Ada" in path.read_bytes() for path in room.workspace("Bob").root.rglob("*") if path.is_file())


def test_more_than_ones_share_of_the_disk_is_refused_before_it_is_sent(room: Room) -> None:
    large = {"files": ("large.csv", bytes(2_100_000))}
    answer = room.bob.post("/gradio_api/upload", files=large)
    assert answer.status_code == 413
    assert "disk" in answer.text
    pieces = room.bob.post("/gradio_api/upload", content=iter([b"x"]), headers={"Content-Type": "multipart/form-data"})
    assert pieces.status_code == 411


def test_the_presenter_sees_everybody_and_nobody_else_does(room: Room, run: str) -> None:
    presenter = come(room.url, "presenter", WORD)
    told = presenter.get("/studio/everybody").json()
    assert [each["name"] for each in told["people"]] == ["Ada", "Bob"]
    assert told["people"][0]["run"]["status"] == "failed"  # it was made and never started
    assert told["people"][1]["run"] is None
    assert room.workshop.code in presenter.get("/studio/everybody").text
    assert "<script>" in presenter.get("/").text
    for client in (room.ada, come(room.url, "presenter", "word of Ada", room.workshop.code)):
        assert client.get("/studio/everybody").status_code in (401, 404)


def test_a_stream_of_events_passes_the_door_as_it_comes(room: Room) -> None:
    with room.ada.stream("GET", "/gradio_api/heartbeat/abc") as beat:
        assert beat.status_code == 200
        assert next(beat.iter_raw())


def test_a_studio_that_died_opens_again(room: Room) -> None:
    import psutil

    assert room.ada.get("/studio/meters").status_code == 200
    hosts = [each for each in psutil.process_iter(["cmdline"]) if "tabs._host" in (each.info["cmdline"] or [])]
    own = [
        each for each in hosts if each.parent() in hosts and str(room.workshop.workspace.root) in str(each.open_files())
    ]
    assert len(own) >= 2
    for each in own:
        each.kill()
    deadline = time.monotonic() + 30
    while room.ada.get("/studio/meters").status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.2)
