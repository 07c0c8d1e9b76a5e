"""The inspector's process: what it shows is what training gets, and it survives what ends it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.child import Progress
from studio.data.parquet import write_rows
from studio.data.seen import see
from studio.data.templates import Mapping
from studio.data.vocabulary import Proposal, propose
from studio.errors import DatasetError, ModelError
from studio.inspector import Inspector, Result
from studio.models.tiny import tiny_tokenizer
from studio.workspace import Workspace

PAIR = Mapping("prompt_completion", {"prompt": "p", "completion": "c"})
TURNS = Mapping("messages", {"messages": "m"})
ROW = {"p": "hé", "c": "ok"}


@pytest.fixture
def inspector(workspace: Workspace) -> Iterator[Inspector]:
    one = Inspector(workspace)
    yield one
    one.close()


def result(replies: Iterator[Progress | Result]) -> Result:
    *_, last = replies
    assert isinstance(last, Result)
    return last


def test_it_shows_what_the_tokenizer_makes_of_a_row(inspector: Inspector) -> None:
    assert inspector.see("tiny", ROW, PAIR, 24) == see(ROW, PAIR, tiny_tokenizer(), 24)


def test_one_request_leaves_no_template_behind(inspector: Inspector) -> None:
    plain = inspector.see("tiny", ROW, PAIR, 100, "plain")
    assert plain.rendered.startswith("### Instruction:")
    assert inspector.see("tiny", ROW, PAIR, 100).rendered.startswith("<|im_start|>user")


def test_a_base_model_needs_a_template_unless_rows_are_text(inspector: Inspector, tmp_path: Path) -> None:
    from studio.models.tiny import tiny_model

    bare = tiny_tokenizer()
    bare.chat_template = None
    tiny_model().save_pretrained(tmp_path / "base")
    bare.save_pretrained(tmp_path / "base")
    model = str(tmp_path / "base")
    with pytest.raises(ModelError, match="no chat template"):
        inspector.see(model, ROW, PAIR, 100)
    assert inspector.see(model, ROW, PAIR, 100, "chatml").trained == 3
    assert inspector.see(model, {"t": "abc"}, Mapping("text", {"text": "t"}), 100).trained == 3


def test_lengths_of_a_file_with_unsaved_changes(inspector: Inspector, tmp_path: Path) -> None:
    rows = [{"p": "hi", "c": "x" * (number % 40)} for number in range(600)]
    write_rows(rows, tmp_path / "rows.parquet")
    extra = {0: ROW, 1: None, 600: {"p": "hi", "c": "new"}, 601: None}
    *progress, last = inspector.lengths("tiny", tmp_path / "rows.parquet", PAIR, 40, extra=extra)
    assert isinstance(last, Result)
    assert progress[-1] == Progress("Counting tokens", 600, 600)
    assert last.lengths.rows == 600
    empty = [number for number in range(600) if number % 40 == 0 and number > 1]
    assert last.lengths.untrained_ids == empty
    assert last.lengths.truncated_ids == [n for n in range(2, 600) if 21 + n % 40 + 2 > 40 and n % 40]
    assert last.lengths.parts["c"].longest == 39
    assert last.warnings == []


def test_columns_of_turns_come_back_from_json(inspector: Inspector, tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "<|im_end|>"}, {"role": "assistant", "content": "ok"}]
    write_rows([{"m": turns}, {"m": None}], tmp_path / "rows.parquet")
    found = result(inspector.lengths("tiny", tmp_path / "rows.parquet", TURNS, 100))
    assert (found.lengths.rows, found.lengths.untrained_ids) == (2, [1])
    assert "'<|im_end|>'" in found.warnings[0]
    assert inspector.warnings("tiny", [{"m": turns}], TURNS) == [found.warnings[0].replace("of 2", "of 1")]
    with pytest.raises(DatasetError, match="no column 'p' or 'c'"):
        result(inspector.lengths("tiny", tmp_path / "rows.parquet", PAIR, 100))


def test_a_closed_request_ends_and_the_next_is_answered(inspector: Inspector, tmp_path: Path) -> None:
    write_rows([{"p": "hi", "c": "ok"}] * 20_000, tmp_path / "rows.parquet")
    counting = inspector.lengths("tiny", tmp_path / "rows.parquet", PAIR, 100)
    assert next(counting) == Progress("Counting tokens", 256, 20_000)
    counting.close()  # pyright: ignore[reportAttributeAccessIssue] - a generator, whatever its type says
    assert inspector.see("tiny", ROW, PAIR, 100).trained == 3


def test_a_dead_process_is_replaced(inspector: Inspector) -> None:
    inspector.see("tiny", ROW, PAIR, 100)
    process = inspector.child._process
    assert process is not None
    process.kill()
    process.wait()
    assert inspector.see("tiny", ROW, PAIR, 100).trained == 3


@pytest.mark.parametrize("model", ["starter", "someone/something"])
def test_nothing_is_fetched_unasked(inspector: Inspector, workspace: Workspace, model: str) -> None:
    with pytest.raises(ModelError, match="not on this machine yet") as caught:
        inspector.see(model, ROW, PAIR, 100)
    assert "Fetch" in caught.value.remedy
    assert not any(workspace.models.rglob("*.safetensors"))


@pytest.mark.starter
def test_the_starter(inspector: Inspector, workspace: Workspace, starter_model: Path) -> None:
    shutil.copytree(starter_model, workspace.models / starter_model.name, copy_function=shutil.copy)
    seen = inspector.see("starter", {"p": "Say 日本", "c": "日本🙂"}, PAIR, 100)
    assert "".join(piece.text for piece in seen.pieces) == seen.rendered
    assert "".join(piece.text for piece in seen.pieces if piece.state == "trained") == "日本🙂<|im_end|>"


def test_the_page_side_imports_nothing_heavy() -> None:
    code = "import sys, studio.inspector; print({'torch', 'transformers', 'pyarrow', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "set()", done.stderr


def test_the_terms_of_a_data_set(inspector: Inspector, tmp_path: Path) -> None:
    rows = [{"p": "the valve", "c": "a hydrant"}, {"p": "the hydrant", "c": "a valve"}]
    write_rows(iter(rows), tmp_path / "rows.parquet")
    *_, found = inspector.terms("tiny", tmp_path / "rows.parquet", PAIR, 1, 2)
    assert found == propose(["the valve", "a hydrant", "the hydrant", "a valve"], tiny_tokenizer(), 1, 2)
    assert isinstance(found, Proposal)
    assert [each.term for each in found.terms] == [" hydrant"]


def test_what_is_learnt_and_cut_off_is_what_training_learns(inspector: Inspector) -> None:
    assert inspector.see("tiny", ROW, PAIR, 1000).trained == 3
    whole = inspector.see("tiny", ROW, PAIR, 1000, loss_on="everything")
    assert whole.trained == whole.tokens - 1  # the first of all is never predicted
