"""What people say about runs, the order they wait in, the trash, and the disk they take."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from studio import ledger
from studio.config import RunConfig
from studio.errors import RunError
from studio.events import Done, Note
from studio.jobs import Jobs
from studio.store import Store
from studio.workspace import RunFolder, Workspace

Make = Callable[..., RunConfig]


@pytest.fixture
def ended(workspace: Workspace) -> RunFolder:
    folder = workspace.new_run("lora")
    RunConfig.parse({"model": "tiny"}).save(folder.config)
    folder.events.append(Done())
    folder.events.close()
    return folder


@pytest.fixture
def queue(workspace: Workspace) -> Jobs:
    """Where nothing ever starts."""
    return Jobs(workspace, Store(workspace), keep_warm=False, devices=[])


def test_what_is_said_is_kept_field_by_field(ended: RunFolder) -> None:
    assert ledger.about(ended) == ledger.About()
    ledger.describe(ended, star=True)
    ledger.describe(ended, tags=("good", "日本"), note="<b>two\nlines</b>")
    assert ledger.about(ended) == ledger.About(star=True, tags=("good", "日本"), note="<b>two\nlines</b>")
    assert ledger.describe(ended, star=False).note == "<b>two\nlines</b>"
    assert [path.name for path in ended.path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"star": "perhaps"}', '{"tags": 3}', "\0"])
def test_a_damaged_file_says_nothing_and_is_mended_by_the_next_word(ended: RunFolder, text: str) -> None:
    ledger.describe(ended, star=True)
    ended.about.write_text(text)
    assert ledger.about(ended) == ledger.About()
    ledger.describe(ended, note="again")
    assert ledger.about(ended) == ledger.About(note="again")


def test_bytes_that_are_no_text_say_nothing(ended: RunFolder) -> None:
    ended.about.write_bytes(b"\xff\xfe\x00")
    assert ledger.about(ended) == ledger.About()


def test_tags_are_words_between_commas_each_once() -> None:
    assert ledger.tags_of(" good,, with  two words, Good ,日本 ") == ("good", "with two words", "日本")
    with pytest.raises(RunError, match="13 tags"):
        ledger.tags_of(",".join(map(str, range(13))))
    with pytest.raises(RunError, match="too long"):
        ledger.tags_of("x" * 41)


def test_a_note_has_an_end(ended: RunFolder) -> None:
    ledger.describe(ended, note="x" * 2000)
    with pytest.raises(RunError, match="longer than 2,000"):
        ledger.describe(ended, note="x" * 2001)
    assert ledger.about(ended).note == "x" * 2000


def test_a_deleted_run_comes_back_as_it_was(queue: Jobs, workspace: Workspace, ended: RunFolder) -> None:
    ledger.describe(ended, tags=("good",))
    before = queue.store.state(ended.id)
    queue.delete(ended.id)
    assert queue.store.states() == []
    with pytest.raises(RunError, match="no such run"):
        queue.store.state(ended.id)
    thrown = workspace.bin().run(ended.id)
    assert ledger.about(thrown).tags == ("good",)
    assert abs(ledger.about(thrown).deleted - time.time()) < 60
    assert Store(workspace.bin()).state(ended.id).title == before.title
    ledger.restore(workspace, ended.id)
    assert queue.store.state(ended.id).status == "done"
    assert ledger.about(ended).tags == ("good",)


def test_a_run_under_way_is_not_deleted(queue: Jobs, tiny_config: Make) -> None:
    run_id = queue.submit(tiny_config())
    with pytest.raises(RunError, match="under way"):
        queue.delete(run_id)
    queue.pause(run_id)
    queue.delete(run_id)
    with pytest.raises(RunError, match="no such run"):
        queue.resume(run_id)


def test_a_name_that_exists_again_is_refused_either_way(queue: Jobs, workspace: Workspace, ended: RunFolder) -> None:
    queue.delete(ended.id)
    ended.path.mkdir()
    RunConfig.parse({"model": "tiny", "seed": 7}).save(ended.config)
    ended.events.append(Done())
    with pytest.raises(RunError, match="a run of this name again"):
        ledger.restore(workspace, ended.id)
    with pytest.raises(RunError, match="holds a run of this name"):
        queue.delete(ended.id)
    ledger.erase(workspace, ended.id)
    assert Store(workspace).state(ended.id).config["seed"] == 7
    queue.delete(ended.id)


def test_for_ever_is_for_ever_and_the_rests_of_a_killed_studio_go_too(
    queue: Jobs, workspace: Workspace, ended: RunFolder
) -> None:
    queue.delete(ended.id)
    rests = workspace.trash / ".going-rests"
    (rests / "checkpoints").mkdir(parents=True)
    assert [folder.id for folder in workspace.bin().run_folders()] == [ended.id]
    ledger.erase(workspace, ended.id)
    assert list(workspace.trash.iterdir()) == []
    with pytest.raises(RunError, match="no such run"):
        ledger.restore(workspace, ended.id)


@pytest.mark.parametrize("name", ["", "..", "../runs", ".going-x", "a/b"])
def test_no_other_folder_is_touched(queue: Jobs, workspace: Workspace, name: str, ended: RunFolder) -> None:
    for act in (queue.delete, lambda each: ledger.restore(workspace, each), lambda each: ledger.erase(workspace, each)):
        with pytest.raises(RunError):
            act(name)
    assert ended.config.is_file()


def test_waiting_runs_are_put_in_order(queue: Jobs, tiny_config: Make) -> None:
    first, second, third = (queue.submit(tiny_config()) for _ in range(3))
    queue.move(third, first)
    assert queue.queue() == [third, first, second]
    queue.move(third, None)
    assert queue.queue() == [first, second, third]
    queue.move(second, second)
    assert queue.queue() == [first, second, third]
    queue.move(third, "has begun meanwhile")
    assert queue.queue() == [third, first, second]
    queue.pause(first)
    with pytest.raises(RunError, match="waits no more"):
        queue.move(first, None)


def test_the_order_outlives_the_studio_and_later_runs_come_after(workspace: Workspace, tiny_config: Make) -> None:
    def studio() -> Jobs:
        return Jobs(workspace, Store(workspace), keep_warm=False, devices=[])

    one = studio()
    one.start()
    ids = [one.submit(tiny_config()) for _ in range(3)]
    one.move(ids[2], ids[0])
    assert ledger.order(workspace) == [ids[2], ids[0], ids[1]]  # at once: it may be killed
    one.close()
    late = studio().submit(tiny_config())  # by a studio that did not live to write it down
    other = studio()
    other.start()
    assert other.queue() == [ids[2], ids[0], ids[1], late]
    other.close()
    workspace.order.write_text("{")
    third = studio()
    third.start()
    assert third.queue() == [*ids, late]
    third.close()


def test_sizes_are_counted_aside_and_anew_when_a_run_goes_on(ended: RunFolder) -> None:
    def counted(sizes: ledger.Sizes, other_than: int | None) -> int:
        deadline = time.monotonic() + 10
        while (size := sizes.of(ended)) == other_than:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert size is not None
        return size

    (ended.path / "adapter").mkdir()
    (ended.path / "adapter" / "weights").write_bytes(b"x" * 5000)
    read: list[str] = []
    sizes = ledger.Sizes(read.append)
    assert sizes.of(ended) is None
    first = counted(sizes, None)
    assert first == 5000 + sum(path.stat().st_size for path in ended.path.iterdir() if path.is_file())
    assert set(read) == {ended.id}  # who asks while a count ends may have it counted once more
    (ended.path / "more").write_bytes(b"x" * 100)
    ended.events.append(Note(text="on"))
    assert counted(sizes, first) > first + 100
