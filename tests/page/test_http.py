"""The routes and the doors that stay shut, asked over real HTTP."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import uvicorn

from studio.config import RunConfig
from studio.errors import RunError
from studio.events import EvalDone, Failed, Note, Phase, Queued, Saved, StepDone
from studio.workspace import RunFolder, Workspace
from tabs.app import _listen, make_app


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Workspace, str]]:
    workspace = Workspace(tmp_path_factory.mktemp("served")).create()
    server = uvicorn.Server(uvicorn.Config(make_app(workspace, keep_warm=False), port=0, log_level="error"))
    thread = threading.Thread(target=server.run, name="served", daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield workspace, f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(timeout=10)


@pytest.fixture
def run(served: tuple[Workspace, str]) -> RunFolder:
    folder = served[0].new_run("lora")
    RunConfig.parse({"model": "tiny"}).save(folder.config)
    return folder


def step(number: int) -> StepDone:
    return StepDone(step=number, total_steps=9, seconds=1.0 * number, tokens=number, metrics={"loss": 1.0 / number})


def test_a_run_is_told_in_increments(served: tuple[Workspace, str], run: RunFolder) -> None:
    url = f"{served[1]}/studio/runs/{run.id}"
    for event in (Queued(), Phase(name="Training", total=9), step(1), step(2)):
        run.events.append(event)
    first = httpx.get(url).json()
    assert first["curves"]["loss"] == [[1, 2], [1.0, 0.5]]
    run.events.append(step(3))
    second = httpx.get(url, params={"since": first["next"]}).json()
    assert second["curves"] == {"loss": [[3], [0.33333]]}
    assert httpx.get(url, params={"since": second["next"]}).json()["curves"] == {}


def test_an_increment_is_small(served: tuple[Workspace, str], run: RunFolder) -> None:
    for number in range(1, 10_001):
        run.events.append(step(number))
    url = f"{served[1]}/studio/runs/{run.id}"
    since = httpx.get(url).json()["next"]
    run.events.append(step(10_001))
    assert len(httpx.get(url, params={"since": since}).content) < 5_000


def test_the_end_tells_what_came_of_it(served: tuple[Workspace, str], run: RunFolder) -> None:
    for event in (
        Note(text="<img src=x>"), EvalDone(step=0, metrics={"eval_loss": 2.0}), step(1),
        EvalDone(step=1, metrics={"eval_loss": 0.5}), Saved(step=1, size=9), Failed(problem="P.", remedy="R."),
    ):  # fmt: skip
        run.events.append(event)
    told = httpx.get(f"{served[1]}/studio/runs/{run.id}").json()
    assert (told["status"], told["problem"], told["remedy"]) == ("failed", "P.", "R.")
    (loss,) = told["result"]["headlines"]
    assert (loss["before"], loss["after"]) == (2.0, 0.5)
    assert "far better" in loss["verdict"]


@pytest.mark.parametrize("name", ["no-such-run", "..", "%2e%2e", "..%2f..%2fetc", "a%00b", "x" * 300])
def test_no_other_file_can_be_asked_for(served: tuple[Workspace, str], name: str) -> None:
    assert httpx.get(f"{served[1]}/studio/runs/{name}").status_code in (400, 404)


def test_a_run_can_be_stopped_but_not_from_another_site(served: tuple[Workspace, str], run: RunFolder) -> None:
    url = f"{served[1]}/studio/runs/{run.id}/stop"
    assert httpx.post(url, headers={"Origin": "https://evil.example"}).status_code == 403
    assert not run.stop_flag.exists()
    assert httpx.post(url, headers={"Origin": served[1]}).status_code == 200
    assert run.stop_flag.exists()
    assert httpx.post(f"{served[1]}/studio/runs/{run.id}/delete").status_code == 422


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_no_answer_on_a_kept_connection_waits_for_the_readers_acknowledgement(host: str) -> None:
    async def delayed() -> bool:
        met: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def meet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            own = writer.get_extra_info("socket")
            met.set_result(own.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        async with await asyncio.start_server(meet, sock=_listen(host, 0)) as server:
            _, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
            writer.close()
            return not await met

    try:
        with ThreadPoolExecutor(1) as aside:  # a browser's test before this one left an event loop in this thread
            assert not aside.submit(lambda: asyncio.run(delayed())).result()
    except RunError:
        pytest.skip("this machine has no such address")


def test_plotly_is_our_own_and_complete(served: tuple[Workspace, str]) -> None:
    answer = httpx.get(f"{served[1]}/studio/plotly.js")
    assert answer.status_code == 200
    assert "javascript" in answer.headers["content-type"]
    assert len(answer.content) > 1_000_000


def test_a_foreign_host_is_refused(served: tuple[Workspace, str]) -> None:
    """DNS rebinding: a page of evil.example whose name suddenly points at this machine."""
    assert httpx.get(served[1], headers={"Host": "evil.example"}).status_code == 400
    assert httpx.get(served[1]).status_code == 200


def test_another_sites_page_cannot_act_here(served: tuple[Workspace, str]) -> None:
    url = f"{served[1]}/gradio_api/queue/join"
    assert httpx.post(url, json={}, headers={"Origin": "https://evil.example"}).status_code == 403
    assert httpx.post(url, json={}, headers={"Origin": served[1]}).status_code != 403


def test_no_other_site_is_told_it_may_read(served: tuple[Workspace, str]) -> None:
    answer = httpx.get(f"{served[1]}/config", headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in answer.headers


def test_the_page_keeps_no_history_and_offers_no_api(served: tuple[Workspace, str]) -> None:
    config = httpx.get(f"{served[1]}/config").json()
    assert not config.get("run_history")
    public = [each for each in config["dependencies"] if each.get("api_visibility") == "public"]
    assert public == []


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="only Linux says how often a thread woke")
def test_who_waits_for_nobody_sleeps(served: tuple[Workspace, str]) -> None:
    """An idle server's processor belongs to the training beside it."""
    assert httpx.get(f"{served[1]}/config").is_success  # its queue looks for whom to serve since somebody came
    (thread,) = (each for each in threading.enumerate() if each.name == "served")
    status = Path(f"/proc/self/task/{thread.native_id}/status")

    def woken() -> int:
        return int(status.read_text().split("\nvoluntary_ctxt_switches:")[1].split()[0])

    before = woken()
    time.sleep(2)
    assert woken() - before < 2 * 200
