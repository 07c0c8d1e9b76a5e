"""An endpoint that a person names: what it says, and one sentence for each way in which it fails."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from studio.endpoint import Endpoint, WriterSettings
from studio.errors import ConfigError, ModelError
from studio.prompts import Spent
from tests.fake_endpoint import Reply, said, serving

ASKED = [{"role": "user", "content": "Write it better."}]
SECRET = "sk-very-secret"


def named(url: str, **values: Any) -> WriterSettings:
    return WriterSettings.parse({"url": url, "model": "wise", **values})


def test_it_can_be_asked_within_a_loop() -> None:
    async def ask(url: str) -> str:
        return Endpoint(named(url))(ASKED)

    with serving(lambda _: said("Better.")) as served, ThreadPoolExecutor(1) as thread:
        # in a thread, as a browser test of this process may have left a loop in ours
        assert thread.submit(asyncio.run, ask(served.url)).result() == "Better."


def test_it_says_what_the_model_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", SECRET)
    with serving(lambda _: said("Better.")) as served:
        assert Endpoint(named(f"{served.url}/", key="SOME_API_KEY"))(ASKED) == "Better."
        assert Endpoint(named(served.url))(ASKED) == "Better."
    assert served.requests == [{"model": "wise", "messages": ASKED}] * 2
    assert served.paths == ["/v1/chat/completions"] * 2
    assert [each.get("authorization", each.get("Authorization")) for each in served.headers] == [
        f"Bearer {SECRET}",
        None,
    ]


def test_what_may_pass_is_asked_again_but_not_for_ever() -> None:
    replies: list[Reply] = [(429, b"slow down"), (503, b"<html>"), said("Better.")]
    with serving(lambda _: replies.pop(0)) as served:
        assert Endpoint(named(served.url), waits=(0.0, 0.0))(ASKED) == "Better."
    for status, problem in ((429, "more than it allows"), (500, "refuses the request")):
        with serving(lambda _, status=status: (status, b"")) as served:
            with pytest.raises(ModelError, match=problem):
                Endpoint(named(served.url), waits=(0.0, 0.0))(ASKED)
            assert len(served.requests) == 3


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        ((401, b"{}"), r"refuses to answer without a key \(401\)"),
        ((404, b"404 page not found"), r"has no model 'wise', or no chat at that address"),
        ((302, b""), r"refuses the request \(302\)"),
        ((400, json.dumps({"error": {"message": "No\n such thing."}}).encode()), r"\(400: No such thing\)"),
        ((400, json.dumps({"error": "odd"}).encode()), r"refuses the request \(400\)"),
        ((200, b"<html>Welcome</html>"), "not as a chat endpoint"),
        ((200, b"\xff\x00"), "not as a chat endpoint"),
        ((200, b'{"choices": []}'), "not as a chat endpoint"),
        ((200, b'{"choices": [{"message": {"content": 3}}]}'), "not as a chat endpoint"),
        ((200, b"[" * 100_000), "not as a chat endpoint"),
        ((200, b" " * 2_000_001), "not as a chat endpoint"),
    ],
)
def test_each_failure_is_one_sentence_and_is_not_tried_again(reply: Reply, problem: str) -> None:
    with serving(lambda _: reply) as served:
        with pytest.raises(ModelError, match=problem) as refused:
            Endpoint(named(served.url), waits=(0.0,))(ASKED)
        assert len(served.requests) == 1
    assert refused.value.remedy
    assert "\n" not in str(refused.value)


def test_one_that_says_nothing_is_no_failure() -> None:
    """Such as a model that used all its room to think."""
    with serving(lambda _: (200, b'{"choices": [{"message": {"content": null}}]}')) as served:
        assert Endpoint(named(served.url))(ASKED) == ""


def test_one_that_is_down_is_said_to_be() -> None:
    with socket.socket() as taken:  # bound, so nobody else can listen there
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(ModelError, match=r"127\.0\.0\.1:\d+ cannot be reached \(ConnectError\)"):
            Endpoint(named(f"http://127.0.0.1:{taken.getsockname()[1]}/v1"), waits=(0.0,))(ASKED)


def test_one_that_is_slow_is_given_up_and_can_be_stopped() -> None:
    over, asked = threading.Event(), threading.Event()

    def look() -> None:
        if asked.is_set():
            raise Spent("It was stopped.")

    def slow(_: Any) -> Reply:
        asked.set()
        over.wait()
        return said("Too late.")

    with serving(slow) as served:
        try:
            with pytest.raises(ModelError, match=r"gave no answer within 0\.3 seconds"):
                Endpoint(named(served.url, timeout=0.3))(ASKED)
            assert len(served.requests) == 1
            asked.clear()
            with pytest.raises(Spent, match="stopped"):
                Endpoint(named(served.url))(ASKED, look)
        finally:
            over.set()


def test_the_key_is_shown_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", SECRET)
    settings = named("http://127.0.0.1:1/v1", key="SOME_API_KEY")
    assert SECRET not in settings.model_dump_json()
    told = json.dumps({"error": {"message": f"No such model for {SECRET}"}}).encode()
    for reply, problem in (((401, told), "refuses the key in SOME_API_KEY"), ((400, told), "No such model for …")):
        with serving(lambda _, reply=reply: reply) as served, pytest.raises(ModelError, match=problem) as refused:
            Endpoint(settings.model_copy(update={"url": served.url}))(ASKED)
        assert SECRET not in str(refused.value)
    for pasted in (SECRET, "hf_abcdefgh", "sk-proj-_API_KEY", "k" * 164, "HF_TOKEN"):
        with pytest.raises(ConfigError, match="not named by an environment variable") as refused:
            WriterSettings.parse({"key": pasted})
        assert pasted not in str(refused.value)


@pytest.mark.parametrize("held", ["", " ", "two words", "schlüssel", "line\nbreak"])
def test_a_variable_without_a_key_is_refused_before_anything_is_asked(
    held: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_API_KEY", held)
    with pytest.raises(ConfigError, match="SOME_API_KEY holds no key"):
        named("http://localhost:1/v1", key="SOME_API_KEY").check()


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd", "localhost:11434", "ftp://host/v1", "http://", "//host/v1", "http://host:99999999/v1",
        "http://[::1/v1", "http://ho st/v1", "http://ho\x01st/v1", "http://☃-/v1", "http://host/v 1",
        "https://me:word@host/v1", "https://host/v1?key=abc", "https://host/#x",
    ],
)  # fmt: skip
def test_only_plain_web_addresses_are_taken(url: str) -> None:
    with pytest.raises(ConfigError, match="The address of the endpoint"):
        named(url)


def test_half_an_endpoint_is_none() -> None:
    WriterSettings().check()
    with pytest.raises(ConfigError, match="no address"):
        WriterSettings(model="wise").check()
    with pytest.raises(ConfigError, match="No model"):
        WriterSettings(url="http://localhost:1/v1").check()
