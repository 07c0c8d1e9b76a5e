"""Names that the server makes, and names that it refuses."""

from __future__ import annotations

import errno
import itertools
from pathlib import Path

import pytest

from studio.errors import RunError, explain
from studio.workspace import Workspace, slug


def test_two_runs_that_draw_the_same_letters_get_two_folders(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    letters = itertools.chain(["aaaa", "aaaa"], itertools.repeat("bbbb"))
    monkeypatch.setattr("studio.workspace.secrets.token_hex", lambda _: next(letters))
    monkeypatch.setattr("studio.workspace.time.strftime", lambda _: "20260101-000000")
    assert workspace.new_run("x").id != workspace.new_run("x").id


@pytest.mark.parametrize("text", ["../../etc/passwd", "", "..", "a/b\\c", "con\x00", "Ünïcode ✓", "x" * 300])
def test_a_file_name_made_of_any_text_is_harmless(text: str, workspace: Workspace) -> None:
    name = slug(text)
    assert name
    assert len(name) <= 40
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert workspace.new_run(text).path.parent == workspace.runs


def test_a_workspace_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written"):
        Workspace(tmp_path / "file" / "w").create()


def test_a_disk_that_cannot_be_written_is_called_so() -> None:
    said = explain(OSError(errno.EROFS, "Read-only file system", "/media/usb/runs"))
    assert said.problem == "/media/usb/runs cannot be written: its disk is read-only."
    assert "--workspace" in said.remedy
