"""What the real hub's errors become, and how its progress bars are read."""

from __future__ import annotations

import errno
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub import errors

from studio.models.hub import HubUnreachable, HuggingFaceHub, progress_bar, refusal


def answered(kind: type[Any], status: int) -> BaseException:
    """An error of huggingface_hub as it comes with a response, without making one."""
    error = kind.__new__(kind)  # pyright: ignore[reportCallIssue]
    error.response = SimpleNamespace(status_code=status)
    return error


@pytest.mark.parametrize(
    ("error", "said", "advice"),
    [
        (answered(errors.GatedRepoError, 403), "needs its licence accepted", "https://huggingface.co/a/b"),
        (answered(errors.RepositoryNotFoundError, 404), "has no model 'a/b'", "spelling"),
        (answered(errors.HfHubHTTPError, 503), "answered 503", "Wait a minute"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk is full", "Free some space"),
        (errors.OfflineModeIsEnabled("offline mode is enabled."), "cannot be reached", "starter"),
        (ConnectionError("[Errno -2] Name or service not known"), "Name or service not known", "network"),
    ],
)
def test_each_failure_says_what_to_do(error: BaseException, said: str, advice: str) -> None:
    found = refusal("a/b", error)
    assert said in found.problem
    assert advice in found.remedy


def test_only_silence_counts_as_unreachable() -> None:
    assert isinstance(refusal("a/b", ConnectionError("x")), HubUnreachable)
    assert not isinstance(refusal("a/b", answered(errors.GatedRepoError, 403)), HubUnreachable)


def test_offline_by_choice_asks_nobody() -> None:
    hub = HuggingFaceHub()  # HF_HUB_OFFLINE is set for all tests
    assert not hub.reachable()
    assert hub.cached("nobody/nothing") is None
    with pytest.raises(HubUnreachable):
        hub.files("nobody/nothing")


def test_only_bytes_on_disk_are_progress() -> None:
    told: list[tuple[str, float, float]] = []
    bar = progress_bar("Fetching a/b", 10, lambda *each: told.append(each), [])
    for desc in ("Fetching 3 files", "Downloading bytes", "Reconstructing (incomplete total...)"):
        one = bar(desc=desc, total=0, initial=0, unit="B", unit_scale=True)
        one.update(4)
        one.set_description("x")
        one.refresh()
        one.update(8)
        one.close()
    assert told == [("Fetching a/b", 4, 10), ("Fetching a/b", 10, 10)]


def test_a_stop_asked_for_while_fetching_reaches_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the library wraps or replaces what its progress bar raised."""

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

    hub = HuggingFaceHub()
    monkeypatch.setattr(hub, "files", lambda model: {"config.json": 2})
    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    with pytest.raises(Stop):
        hub.download("a/b", ["config.json"], stop)
