"""Every sample reads, is small, is what its maker writes, and holds nobody's data."""

import doctest
import importlib.util
import itertools
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from studio.data.files import read
from studio.data.makers.code_instructions import CodeInstructions
from studio.data.makers.normalise import Normalise, normalise
from studio.data.templates import Mapping, check

SAMPLES = Path(__file__).resolve().parents[2] / "assets" / "samples"
FOLDERS = sorted(path.parent for path in SAMPLES.glob("*/about.json"))
SHARED = [folder for folder in FOLDERS if folder.name != "customer_messages"]  # which has a test of its own
ROWS = {  # train and validation together
    "code_folder": 10, "code_tasks": 192, "legal_clauses": 192, "legal_contracts": 100, "medical_notes": 216,
    "medical_triage": 350, "messy_support": 117, "old_tales": 184, "preferences": 168, "reviews": 360,
}  # fmt: skip
WITH_PERSONAL_DATA = {"medical_notes", "messy_support"}
MAIL = re.compile(r"[\w.+-]+@([\w-]+(?:\.[\w-]+)+)")
PHONE = re.compile(r"(?<![\w.§-])(?:\+\d{1,3}[ -])?\(?\d{3}\)?[ -]\d{3}[ -]\d{4}\b|\+\d{6,}")

every = pytest.mark.parametrize("folder", SHARED, ids=lambda folder: folder.name)


def about(folder):
    return json.loads((folder / "about.json").read_text(encoding="utf-8"))


def files(folder):
    return [folder / name for name in (about(folder)["train"], about(folder)["validation"]) if name]


def rows(folder):
    return [row for path in files(folder) for row in read(path).rows]


def text_of(row):
    return " ".join(str(cell) for cell in row.values())


def test_the_samples_are_those_we_count():
    assert {folder.name for folder in SHARED} == set(ROWS)


@every
def test_it_reads_and_its_mapping_names_its_columns(folder):
    told = about(folder)
    assert list(told) == ["title", "about", "licence", "train", "validation", "mapping"]
    assert told["licence"] == "CC0-1.0"
    for path in files(folder):
        dataset = read(path)
        assert dataset.set_aside == []
        check(Mapping.parse(told["mapping"]), dataset)
    assert len(rows(folder)) == ROWS[folder.name]


@every
def test_its_maker_writes_the_same_bytes(folder, tmp_path):
    copy = tmp_path / "assets" / "samples" / folder.name
    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("__pycache__", "train.*", "validation.*", "terms.json"))
    shutil.copytree(SAMPLES / "shared", copy.parent / "shared", ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-B", "-m", f"assets.samples.{folder.name}.make"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=60)
    data = [path for path in folder.iterdir() if path.name == "terms.json" or path in files(folder)]
    for path in data:
        assert (copy / path.name).read_bytes() == path.read_bytes()
    assert len(data) >= 1


@every
def test_it_is_small(folder):
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 1_500_000


@every
def test_held_out_rows_are_not_in_training(folder):
    parts = [{text_of(row) for row in read(path).rows} for path in files(folder)]
    assert len(parts) == 1 or not parts[0] & parts[1]


@every
def test_personal_data_is_made_up_and_only_where_it_is_declared(folder):
    text = "\n".join(path.read_text(encoding="utf-8") for path in files(folder))
    hosts, phones = set(MAIL.findall(text)), PHONE.findall(text)
    if folder.name not in WITH_PERSONAL_DATA:
        assert (hosts, phones) == (set(), [])
    else:
        assert hosts == {"example.com"}
        assert len(phones) >= 10
        assert all(re.search(r"202-555-01\d\d$", phone) for phone in phones)


@every
def test_rows_differ(folder):
    """Few pairs of rows share most of their runs of three words; the messy sample is made to."""
    runs = []
    for row in rows(folder):
        words = re.findall(r"\w+", text_of(row).lower())
        runs.append(set(zip(words, words[1:], words[2:], strict=False)))
    near = {second for (_, one), (second, two) in itertools.combinations(enumerate(runs), 2) if alike(one, two)}
    if folder.name == "messy_support":
        assert len(near) >= 20
    else:
        assert len(near) <= 0.02 * len(runs)


def alike(one, two):
    return len(one & two) > 0.8 * len(one | two) > 0


def test_labels_of_reviews_are_balanced():
    for path in files(SAMPLES / "reviews"):
        counts = Counter((row["sentiment"], row["topic"]) for row in read(path).rows)
        assert len(counts) == 12
        assert len(set(counts.values())) == 1


def test_triage_is_as_uneven_as_it_says():
    for path in files(SAMPLES / "medical_triage"):
        counts = Counter(row["urgency"] for row in read(path).rows)
        shares = {urgency: round(100 * count / counts.total()) for urgency, count in counts.items()}
        assert shares == {"routine": 70, "soon": 22, "emergency": 8}


def test_functions_of_code_tasks_pass_their_tests(tmp_path):
    tasks = rows(SAMPLES / "code_tasks")
    program = tmp_path / "tasks.py"
    program.write_text("\n".join("\n".join([row["completion"], *row["test_list"]]) for row in tasks), encoding="utf-8")
    subprocess.run([sys.executable, "-I", str(program)], check=True, timeout=60)
    assert all(len(row["test_list"]) == 3 for row in tasks)


def test_answers_on_contracts_stand_in_the_clause_they_name():
    for row in rows(SAMPLES / "legal_contracts"):
        number = re.search(r"\(Clause (\d+)\)$", row["answer"])
        assert number
        clause = re.search(rf"^{number[1]}\. .*\n(.*)", row["contract"], re.MULTILINE)
        assert clause
        assert set(re.findall(r"[\d,.]*\d", row["answer"].split("(Clause")[0])) <= set(
            re.findall(r"[\d,.]*\d", clause[1])
        )


def test_preferences_prefer_something():
    for row in rows(SAMPLES / "preferences"):
        assert row["prompt"]
        assert row["chosen"] != row["rejected"]
    prompts = Counter(row["prompt"] for row in rows(SAMPLES / "preferences"))
    assert prompts.most_common(1)[0][1] == 1


def test_sums_of_preferred_answers_are_right():
    checked = 0
    for row in rows(SAMPLES / "preferences"):
        for left, sign, right, result in re.findall(
            r"(\d+) ?(?:k?m|g)? ([-x/]) (\d+) ?(?:km/h|m|g)? = (\d+)", row["chosen"]
        ):
            a, b = int(left), int(right)
            assert {"-": a - b, "x": a * b, "/": a / b}[sign] == int(result), row
            checked += 1
    assert checked > 80


def test_answers_of_medical_notes_can_be_derived():
    for row in rows(SAMPLES / "medical_notes"):
        doses = re.findall(r"([a-z]+) (\d+) ?mg", row["input"])
        assert doses
        assert re.findall(r"([a-z]+) (\d+) mg", row["output"]) == doses


def test_the_messy_sample_has_the_faults_it_tells_of():
    data = rows(SAMPLES / "messy_support")
    pairs = [(row["prompt"], row["answer"] or "") for row in data]
    assert sum(not answer.strip() for _, answer in pairs) == 8
    assert len(pairs) - len(set(pairs)) == 8
    assert sum(prompt == answer for prompt, answer in pairs) == 4
    assert sum("example.com" in text_of(row) or "555-01" in text_of(row) for row in data) == 12
    assert sum(prompt != prompt.strip() for prompt, _ in pairs) == 8
    assert sum(len(prompt) < 10 for prompt, _ in pairs) == 4
    assert sum(len(prompt) > 5_000 for prompt, _ in pairs) == 1
    assert sum(bool(re.search(r"[äéñ¿ìà]", prompt + answer)) for prompt, answer in pairs) == 6


@pytest.mark.parametrize("path", sorted((SAMPLES / "code_folder" / "code").glob("*.py")), ids=lambda path: path.stem)
def test_code_keeps_what_its_examples_promise(path, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    spec = importlib.util.spec_from_file_location(f"sample_{path.stem}", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    result = doctest.testmod(module)
    assert result.failed == 0
    assert result.attempted >= 3


def test_code_becomes_tasks():
    dropped = Counter()
    made = list(CodeInstructions().make(rows(SAMPLES / "code_folder"), None, lambda *_: None, dropped))
    assert len(made) >= 45
    assert not dropped
    assert {one.row["path"] for one in made} == {row["path"] for row in rows(SAMPLES / "code_folder")}


@pytest.mark.parametrize("name", ["medical_notes", "legal_clauses", "messy_support", "reviews", "old_tales"])
def test_normalising_a_sample_twice_changes_nothing_more(name):
    terms = (SAMPLES / "medical_notes" / "terms.json").read_text(encoding="utf-8")
    rules = Normalise(abbreviations=terms).rules()
    for row in rows(SAMPLES / name):
        for cell in filter(None, row.values()):
            once = normalise(cell, rules)
            assert normalise(once, rules) == once


def test_notes_are_written_out_and_their_drugs_and_doses_kept():
    path = SAMPLES / "medical_notes"
    terms = (path / "terms.json").read_text(encoding="utf-8")
    drugs = json.loads(terms)["drugs"]
    data = rows(path)
    maker = Normalise(columns="input", abbreviations=terms)
    made = {one.origin or 0: one.row["input"] for one in maker.make(data, None, lambda *_: None)}
    assert len(made) == len(data)
    for place, text in made.items():
        assert not re.search(r"\bb\.i\.d|\by/o\b|\d(?:mg)\b", text)
        before = data[place]["input"]
        assert [(drug, before.count(drug)) for drug in drugs] == [(drug, text.count(drug)) for drug in drugs]
        doses = r"(\d+) ?mg"
        assert re.findall(doses, before) == re.findall(doses, text)


def test_clauses_keep_their_citations():
    data = rows(SAMPLES / "legal_clauses")
    cited = r"§ [\w().]+|Section [\d.()a-d]+|Art\. \d+ No\. \d+"
    maker = Normalise(columns="prompt", abbreviations="No. = number\nArt. = article\nnotice = note")
    made = list(maker.make(data, None, lambda *_: None))
    assert made
    for one in made:
        assert re.findall(cited, one.row["prompt"]) == re.findall(cited, data[one.origin or 0]["prompt"])
