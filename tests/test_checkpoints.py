"""Checkpoints on disk: whole or not there, whatever cuts their writing short or changes them afterwards."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest

from studio import checkpoints
from studio.checkpoints import found, keep, newest, write


def fill(folder: Path) -> None:
    (folder / "weights").write_bytes(os.urandom(4000))
    (folder / "state.json").write_text('{"a": 1}')


def test_what_was_written_is_found_newest_first_and_whole(tmp_path: Path) -> None:
    for step in (5, 9, 40):
        write(tmp_path, step, fill)
    assert [each.step for each in found(tmp_path)] == [40, 9, 5]
    assert all(not each.damage() for each in found(tmp_path))
    latest, skipped = newest(tmp_path)
    assert latest is not None
    assert (latest.step, skipped) == (40, [])


def test_one_changed_byte_anywhere_is_seen_and_the_one_before_is_taken(tmp_path: Path) -> None:
    write(tmp_path, 1, fill)
    dice = random.Random(3)
    for _ in range(100):
        last = write(tmp_path, 2, fill)
        file = dice.choice(sorted(last.path.iterdir()))
        data = bytearray(file.read_bytes())
        if dice.random() < 0.5:
            del data[dice.randrange(len(data)) :]
        else:
            data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        file.write_bytes(data)
        usable, skipped = newest(tmp_path)
        assert usable is not None
        assert usable.step == 1, file.name
        assert len(skipped) == 1
        assert "step 2 was skipped" in skipped[0]


@pytest.mark.parametrize("name", ["weights", "state.json", "manifest.json"])
def test_a_file_that_is_gone_is_seen(tmp_path: Path, name: str) -> None:
    (write(tmp_path, 1, fill).path / name).unlink()
    assert newest(tmp_path)[0] is None


def test_what_fails_amid_writing_leaves_the_one_before(tmp_path: Path) -> None:
    def full(folder: Path) -> None:
        fill(folder)
        raise OSError(28, "No space left on device")

    write(tmp_path, 1, fill)
    with pytest.raises(OSError, match="No space"):
        write(tmp_path, 2, full)
    assert [each.name for each in tmp_path.iterdir()] == ["step-1"]
    assert newest(tmp_path)[0] == found(tmp_path)[0]


def test_a_process_that_dies_at_any_file_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Death is a fork's end between two flushes to disk: nothing of Python's own tidying runs."""
    write(tmp_path, 1, fill)
    real, boundaries = checkpoints._to_disk, 0
    for fatal in range(20):
        seen = 0

        def dying(path: Path, fatal: int = fatal) -> None:
            nonlocal seen
            if seen == fatal:
                os._exit(9)
            seen += 1
            real(path)

        child = os.fork()
        if child == 0:
            monkeypatch.setattr(checkpoints, "_to_disk", dying)
            write(tmp_path, 2, fill)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        usable, skipped = newest(tmp_path)
        assert usable is not None
        assert skipped == []
        if os.waitstatus_to_exitcode(status) == 0:
            break
        boundaries += 1
        assert usable.step in (1, 2)
        assert usable.step == 1 or fatal >= 4  # only the last flush comes after the rename
    assert boundaries == 5  # two files, the manifest, the folder, its parent


def test_only_the_newest_and_the_wanted_are_kept(tmp_path: Path) -> None:
    for step in range(1, 7):
        write(tmp_path, step, fill)
    (tmp_path / ".writing-7").mkdir()
    keep(tmp_path, 2, {3})
    assert sorted(each.name for each in tmp_path.iterdir()) == ["step-3", "step-5", "step-6"]


def test_a_folder_that_is_none_holds_none(tmp_path: Path) -> None:
    assert newest(tmp_path / "gone") == (None, [])
    keep(tmp_path / "gone", 1)


def test_a_value_of_another_kind_in_the_manifest_is_damage(tmp_path: Path) -> None:
    last = write(tmp_path, 1, fill)
    for text in ("[]", "null", "{}", '{"seal": 1, "files": 3, "step": 1}', "\x00"):
        (last.path / "manifest.json").write_text(text)
        assert last.damage()


def test_a_second_one_of_a_step_replaces_the_first(tmp_path: Path) -> None:
    write(tmp_path, 1, fill)
    before: Any = (tmp_path / "step-1" / "weights").read_bytes()
    write(tmp_path, 1, fill)
    assert (tmp_path / "step-1" / "weights").read_bytes() != before
    assert newest(tmp_path)[0] is not None


def test_one_that_is_written_outlives_damaged_newer_ones(tmp_path: Path) -> None:
    """A run that goes on from step 5 past a damaged step 10 keeps what it writes on its way there."""
    for step in (5, 10):
        write(tmp_path, step, fill)
    (tmp_path / "step-10" / "weights").write_bytes(b"")
    write(tmp_path, 6, fill)
    keep(tmp_path, 1)
    latest, skipped = newest(tmp_path)
    assert latest is not None
    assert (latest.step, skipped) == (6, [])
