"""`finetune-studio check`: how a file reads and what is wrong with it, in words and as JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from studio import cli
from studio.data.library import SAMPLES, samples
from tests.conftest import ROOT
from tests.test_cli import COMMAND, run

SHARED = ROOT.parent / "shared" / "data"


def checked(tmp_path: Path, source: str | Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    """(exit code, what `check --json` says)."""
    code = cli.main(no_page, ["--workspace", str(tmp_path / "w"), "check", str(source), "--json"])
    return code, json.loads(capsys.readouterr().out)


def no_page(*_: object) -> None:
    raise AssertionError("a command opens no page")


def test_check_says_how_a_file_reads_and_what_is_wrong_with_it(tmp_path: Path) -> None:
    rows = [{"question": f"What is {i}?", "answer": f"It is the number {i}."} for i in range(12)]
    rows += [rows[4], {"question": "And \x1b[31m this?", "answer": " "}]
    path = tmp_path / "faq.jsonl"
    path.write_text("\n".join([*map(json.dumps, rows), "{broken"]), encoding="utf-8")
    done = run("--workspace", str(tmp_path / "w"), "check", path.name, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for line in (
        "Format:   Instruction (Alpaca) (instruction), detected",
        "Mapping:  instruction: question, output: answer",
        "Rows:     14, 13 of them to learn from",
        "1 row could not be read and was set aside:",
        "Error: Missing answer, 1 row",
        "  row 14: nothing in 'answer'",
        "Warning: Duplicate, 1 row",
        "  row 13: the same as row 5",
    ):
        assert line in done.stdout.splitlines()
    assert "  line 15: " in done.stdout
    assert done.stderr == ""  # progress is for a terminal
    assert {entry.name for entry in tmp_path.iterdir()} == {"faq.jsonl", "w"}


def test_check_says_the_same_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = checked(tmp_path, "messy_support", capsys)
    assert code == 0
    assert (said["usable"], said["format"], said["rows"], said["rows_to_learn_from"]) == (
        True, "prompt_completion", 117, 109,
    )  # fmt: skip
    assert said["mapping"] == {"prompt": "prompt", "completion": "answer"}
    assert said["set_aside"] == {"count": 0, "first": []}
    findings = {finding["check"]: finding for finding in said["findings"]}
    assert findings["empty_answer"]["count"] == 8  # as the sample says of itself
    lines = samples()["messy_support"].train.read_text(encoding="utf-8").splitlines()
    for copy in findings["duplicate"]["examples"]:  # rows are counted from 1 on both sides
        original = int(copy["why"].removeprefix("the same as row "))
        assert json.loads(lines[copy["row"] - 1]) == json.loads(lines[original - 1])
    assert len(findings["personal_data"]["examples"]) < findings["personal_data"]["count"] == 12
    assert [f["severity"] for f in said["findings"]] == sorted(
        (f["severity"] for f in said["findings"]), key=["error", "warning", "hint"].index
    )


def test_check_takes_every_sample_and_a_folder_of_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, sample in samples().items():
        code, said = checked(tmp_path, name, capsys)
        assert (code, said["format"]) == (0, sample.mapping.format)
        assert (said["held_out_rows"] > 0) == (sample.validation is not None)
    code, said = checked(tmp_path, SAMPLES / "code_folder" / "code", capsys)
    assert (code, said["format"], said["rows"]) == (0, "text", 10)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the real data files stand beside the checkout")
@pytest.mark.parametrize(
    ("name", "format_", "rows"), [("alpaca_en_demo.json", "instruction", 999), ("dpo_en_demo.json", "preference", 300)]
)
def test_check_takes_real_files(
    tmp_path: Path, name: str, format_: str, rows: int, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = checked(tmp_path, SHARED / name, capsys)
    assert (code, said["format"], said["mapping_origin"], said["rows"]) == (0, format_, "detected", rows)
    assert said["rows_to_learn_from"] == rows


def test_check_uses_the_dataset_info_beside_a_file_that_names_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, info = tmp_path / "faq.json", tmp_path / "dataset_info.json"
    path.write_text(json.dumps([{"frage": f"How many are {i}?", "antwort": f"There are {i}."} for i in range(9)]))
    assert checked(tmp_path, path, capsys)[0] == 1  # no column has a name that is known
    entry = {"file_name": "faq.json", "columns": {"prompt": "frage", "response": "antwort"}}
    info.write_text(json.dumps({"other": {"file_name": "other.json"}, "mine": entry}))
    code, said = checked(tmp_path, path, capsys)
    assert (code, said["mapping_origin"]) == (0, "from dataset_info.json")
    assert said["mapping"] == {"instruction": "frage", "output": "antwort"}
    path.write_text(json.dumps([{"prompt": f"How many are {i}?", "response": f"There are {i}."} for i in range(9)]))
    code, said = checked(tmp_path, path, capsys)  # it names columns that the file has not
    assert (code, said["mapping_origin"]) == (0, "detected")
    assert "dataset_info.json beside it was not used" in said["notes"][0]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("nowhere.csv", None, "no data set or file"),
        ("empty.csv", b"", "is empty"),
        ("header.csv", b"question,answer\n", "no rows"),
        ("numbers.csv", b"foo,bar\n1,2\n3,4\n", "'foo', 'bar'"),
        ("unanswered.csv", b"question,answer\nWhy?,\nHow?,\n", "no row to learn from: in the first one the answer"),
        ("photo.png", b"\x89PNG\r\n\x1a\n", "not of a kind"),
        ("broken.parquet", b"PAR1" + b"x" * 99, "damaged"),
    ],
)
def test_check_refuses_what_cannot_be_used_in_one_sentence(
    tmp_path: Path, name: str, content: bytes | None, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    code, values = checked(tmp_path, path, capsys)
    assert (code, values["usable"], values.keys()) == (1, False, {"usable", "problem", "remedy"})
    assert said in values["problem"]
    assert cli.main(no_page, ["--workspace", str(tmp_path / "w"), "check", str(path)]) == 1
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", f"finetune-studio: {values['problem']} {values['remedy']}\n")


def test_check_writes_any_letter_to_any_terminal_and_to_a_reader_who_leaves(tmp_path: Path) -> None:
    path = tmp_path / "maße.jsonl"
    path.write_text('{"prompt": "Wie groß?", "completion": "1,80 m"}', encoding="utf-8")
    command = [COMMAND, "--workspace", str(tmp_path / "w"), "check", str(path)]
    plain = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHONIOENCODING": "ascii"}, check=True
    )
    assert plain.stdout.splitlines()[0] == r"Data set: ma\xdfe.jsonl"
    reader, writer = os.pipe()
    os.close(reader)
    left = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (left.returncode, left.stderr) == (0, "")


def test_check_imports_nothing_heavy() -> None:
    code = (
        "import sys, tempfile\n"
        "from studio.cli import main\n"
        "assert main(None, ['--workspace', tempfile.mkdtemp(), 'check', 'reviews']) == 0\n"
        "print('HEAVY', sorted({'torch', 'transformers', 'gradio', 'datasets'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert "HEAVY []" in done.stdout, done.stdout + done.stderr
