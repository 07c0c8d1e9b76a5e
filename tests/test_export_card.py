"""The model card: what it says is so, and nothing that a person or a model wrote becomes markup."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from studio import binder as evaluations
from studio.config import RunConfig
from studio.events import (
    AnswersScored,
    DataReady,
    Done,
    EvalDone,
    LabelsScored,
    ModelReady,
    Note,
    PreferencesScored,
    Saved,
    StepDone,
)
from studio.exports import Source, exports
from studio.exports._curves import drawing, ticks
from studio.exports._markdown import fenced, inline
from studio.exports.card import model_card
from studio.jobs import create_run
from studio.store import Point
from studio.workspace import RunFolder, Workspace
from studio.worth import KEYS, Line, Report, Side, Training

DATA = DataReady(
    train_rows=32,
    validation_rows=8,
    truncated_rows=3,
    skipped_rows=2,
    tokens=4000,
    trained_tokens=900,
    fingerprint="ab12",
)
MODEL = ModelReady(
    name="Tiny", parameters=90_624, trainable_parameters=4096, device="cpu", dtype="float32", reason="It is asked for."
)
ANSWERS = AnswersScored(rows=8, base={"exact_match": 0.0}, tuned={"exact_match": 0.5}, examples=[])


@pytest.fixture
def finished(workspace: Workspace, tiny_config: Callable[..., RunConfig]) -> Callable[..., Source]:
    def make(*more: Any, **changes: Any) -> Source:
        folder = create_run(workspace, tiny_config(**changes))
        told = [DATA, MODEL]
        told += [
            StepDone(step=at, total_steps=4, seconds=at, tokens=at, metrics={"loss": 5 - at}) for at in (1, 2, 3, 4)
        ]
        told += [EvalDone(step=at, metrics={"eval_loss": loss}) for at, loss in ((0, 5.0), (2, 2.0), (4, 2.5))]
        for event in (*told, *more, Saved(step=4, size=9), Done()):
            folder.events.append(event)
        folder.events.close()
        return Source.of(workspace, folder.id)

    return make


def front_matter(text: str) -> dict[str, Any]:
    return yaml.safe_load(text.split("---\n")[1])


def as_adapter(folder: RunFolder, **about: Any) -> None:
    folder.adapter.mkdir()
    (folder.adapter / "adapter_config.json").write_text(json.dumps(about), encoding="utf-8")


def test_the_card_says_what_the_run_tells(finished: Callable[..., Source], tmp_path: Path) -> None:
    source = finished(ANSWERS, Note(text="Rows are padded."))
    as_adapter(source.folder, peft_type="LORA")
    to = tmp_path / "card.zip"
    chosen = exports()["card"]()
    chosen.check(source)
    chosen.write(source, to, lambda *_: None)
    assert to.stat().st_size < chosen.room(source)
    with zipfile.ZipFile(to) as archive:
        text, curves = (archive.read(name).decode() for name in ("README.md", "curves.svg"))
    assert {"README.md": text, "curves.svg": curves} == model_card(source)
    assert front_matter(text) == {
        "library_name": "peft", "license": "apache-2.0", "pipeline_tag": "text-generation",
        "tags": ["finetune-studio", "lora", "next_token"],
    }  # fmt: skip
    for said in (
        "90,624 parameters; 4,096 were learnt",
        "| Loss (nats) | 5 | 2.5 | 8 |",
        "| Exact match | 0.0% (0.0% to 32.4%) | 50.0% (21.5% to 78.5%) | 8 |",
        "| Rows trained on | 32 |",
        "| Cut off at the cut-off length | 3 |",
        "| Left out, nothing to learn | 2 |",
        "| Rows equal to an earlier one | 0 |",
        "Only 8 held-out rows were scored",
        "Its loss on held-out rows rose again before the end",
        "The base is random: it knows no language.",
        "Rows are padded",
        "![Loss by step](curves.svg)",
        "PeftModel.from_pretrained",
    ):
        assert said in text, said
    assert yaml.safe_load(re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)[0])["training"]["learning_rate"] == 0.01


def test_a_path_of_this_machine_is_not_published(finished: Callable[..., Source], tmp_path: Path) -> None:
    text = model_card(finished())["README.md"]
    assert "rows.jsonl" in text.replace("\\", "")
    assert str(tmp_path) not in text.replace("\\", "")


def test_what_evaluations_and_the_report_on_its_worth_found_stands_there_with_intervals(
    finished: Callable[..., Source], workspace: Workspace
) -> None:
    source = finished()
    assert "not on other tasks or other data" in model_card(source)["README.md"]
    run = source.state.id
    candidates = [{"model": "tiny"}, {"run": run}]
    about = {
        "title": "Of <b>two</b>",
        "settings": {"candidates": candidates},
        "contenders": [{"title": "Base", "identity": ""}, {"title": "*Tuned*", "identity": ""}],
        "sets": [{"name": "new", "title": "Rows", "kind": "labels", "several": None, "notes": []}],
    }
    rows = [{"set": 0, "asked": [{"role": "user", "content": f"q{at}"}], "right": "yes"} for at in range(40)]
    said = [
        {"said": who, "set": 0, "rows": [[at, "yes" if at < right else "no"] for at in range(40)]}
        for who, right in ((0, 10), (1, 30))
    ]
    evaluations.create(workspace.evaluations, "two", about).append(*rows, *said)
    other = {
        **about,
        "title": "Of another",
        "settings": {"candidates": [{"model": "tiny"}, {"run": run, "tuned": False}]},
    }
    evaluations.create(workspace.evaluations, "other", other).append(*rows, *said)
    sides = {key: Side(scores=scores, prompt_tokens=9, answer_tokens=9, seconds=0.5, memory=0) for key, scores in (
        ("base", (0.0,) * 6), ("tuned", (1.0, 0.5) * 3)
    )}  # fmt: skip
    lines = tuple(Line(key=key, side=sides.get(key)) for key in KEYS)
    training = Training(seconds=1, tokens=9)
    found = Report(title="T", rows=6, rewards={}, lines=lines, training=training)
    source.folder.worth.write_text(found.model_dump_json(), encoding="utf-8")

    text = model_card(source)["README.md"]
    assert "### Of &lt;b&gt;two&lt;/b&gt;: Rows" in text
    assert r"| Measure | Base | \*Tuned\* | Rows |" in text
    assert "| Accuracy | 25.0% (14.2% to 40.2%) | 75.0% (59.8% to 85.8%) | 40 |" in text
    assert "is better than Base on Rows" in text
    assert "Of another" not in text
    assert "not on other tasks or other data" not in text
    assert re.search(r"\| Base, plain prompt \| 0 \(0 to 0\) \| 0\.5 s \|", text)
    assert re.search(r"\| Tuned, plain prompt \| 0\.75 \(0\.5\d* to 0\.9\d*\) \|", text)
    assert "Fine-tuning made the model better" in text


def test_how_to_use_it_depends_on_the_weights_beside_it(finished: Callable[..., Source]) -> None:
    source = finished(model="tiny")
    as_adapter(source.folder, peft_type="LORA")
    texts = {weights: model_card(source, weights)["README.md"] for weights in ("adapter", "merged", "gguf")}
    assert {each: front_matter(text)["library_name"] for each, text in texts.items()} == {
        "adapter": "peft", "merged": "transformers", "gguf": "gguf",
    }  # fmt: skip
    code = {each: re.findall(r"```(?:python|sh)\n(.*?)```", text, re.DOTALL)[0] for each, text in texts.items()}
    for weights in ("adapter", "merged"):
        compile(code[weights], weights, "exec")
        assert ("PeftModel" in code[weights]) == (weights == "adapter")
    assert "llama-cli" in code["gguf"]


def test_a_sample_tells_its_licence_and_its_language(finished: Callable[..., Source]) -> None:
    dataset = {"source": "customer_messages", "format": None, "columns": {}, "validation_share": 0.1}
    text = model_card(finished(dataset=dataset))["README.md"]
    assert front_matter(text)["language"] == ["en"]
    assert "Its data is mostly in 'en'" in text
    assert re.search(r"\| Licence \| (?!not known)\w", text)


def test_what_is_not_known_is_not_said(finished: Callable[..., Source], rows_file: Path) -> None:
    source = finished()
    rows_file.unlink()
    text = model_card(source)["README.md"]
    assert "The data set is not on that machine any more." in text
    assert "Exact match" not in text
    assert "library_name" not in front_matter(text)
    assert "PeftModel" not in text


HOSTILE = [
    "<script>alert(1)</script>",
    "](javascript:alert(1)) ![x](http://evil.example/x.png)",
    "---\nlicense: mit\n---\n# Title",
    "``` ````\n<img src=x onerror=alert(1)>",
    "| a | b |\n|---|\n http://evil.example me@evil.example $x$",
    "{{ 1 }} &lt;b&gt; \u202eevil\x00\x1b[31m",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_names_of_runs_rows_and_labels_stay_text(
    finished: Callable[..., Source], workspace: Workspace, tmp_path: Path, text: str
) -> None:
    name = re.sub(r"[/\x00]", "", text)[:80]
    rows = [{f"{text} p": f"question {at}", f"{text} c": "an answer"} for at in range(20)]
    path = tmp_path / f"{name}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    columns = {"prompt": f"{text} p", "completion": f"{text} c"}
    head = {
        "name": text, "kind": "classes", "labels": [text], "rows": 4, "metrics": {"accuracy": 0.5, text: 1.0},
        "baseline": {"accuracy": 0.25}, "confusion": [], "per_label": [],
    }  # fmt: skip
    more = [
        LabelsScored(heads=[head, {**head, "name": "b"}], examples=[]),
        Note(text=text),
        replace(ANSWERS, base={text: 0.1}, tuned={text: 0.2}),
        PreferencesScored(
            rows=9, accuracy=0.5, low=0.2, high=0.8, edges=[], counts=[], calibration=[], calibration_error=0.1
        ),
    ]
    dataset = {"source": str(path), "format": "prompt_completion", "columns": columns}
    found = model_card(finished(*more, dataset=dataset, label=text[:90]))["README.md"]
    assert front_matter(found)["license"] == "apache-2.0"
    shown = re.sub(r"(?ms)^(`{3,})\w*\n.*?^\1\n", "", found)
    assert not re.search(r"<(?!!--)\w", shown)
    assert not re.search(r"(?<!\\)\]\((?!curves\.svg\))", shown)
    assert not re.search(r"https?://|\w@\w", shown)
    assert not re.search(r"[\x00-\x08\x1b\u202e]", found)
    assert re.findall(r"(?m)^#+ .*", shown)[1:] == [
        f"## {each}" for each in ("How to use", "Scores", "Curves", "Data", "Training", "Limits")
    ]
    cells = {len(re.findall(r"(?<!\\)\|", line)) for line in shown.splitlines() if line.startswith("| ")}
    assert cells <= {3, 5}


def test_inline_text_and_fences() -> None:
    assert inline("a\n\n# b-c *d* <i>") == r"a # b-c \*d\* &lt;i&gt;"
    assert [inline(each) for each in ("- a", "# a", "1. a", "www.a.b", "a@b", "http://a")] == [
        r"\- a", r"\# a", r"1\. a", r"www\.a.b", r"a\@b", r"http\://a",
    ]  # fmt: skip
    assert fenced("a\n````\nb", "yaml").splitlines()[0] == "`````yaml"


def test_curves_are_drawn_within_their_axes_and_as_xml() -> None:
    points = [
        Point(at, {"loss": 5 / at, **({"eval_loss": 3.0} if at % 10 == 0 else {})}, 0.0, 0) for at in range(1, 901)
    ]
    root = ElementTree.fromstring(drawing(points))
    lines = [each for each in root.iter() if each.tag.endswith("polyline")]
    assert len(lines) == 2
    for line in lines:
        spots = [tuple(map(float, spot.split(","))) for spot in line.attrib["points"].split()]
        assert 80 < len(spots) <= 402
        assert all(64 <= x <= 700 and 44 <= y <= 312 for x, y in spots)
        assert [x for x, _ in spots] == sorted(x for x, _ in spots)
    assert min(y for _, y in [tuple(map(float, spot.split(","))) for spot in lines[0].attrib["points"].split()]) == 44
    assert drawing([]) == ""
    assert drawing([Point(1, {"loss": 2.0}, 0.0, 0)])


@pytest.mark.parametrize(
    ("low", "high", "found"),
    [(0, 10, [0, 2, 4, 6, 8, 10]), (1.94, 2.3, [2.0, 2.1, 2.2, 2.3]), (0, 0, [0]), (-1, 1, [-1, -0.5, 0, 0.5, 1])],
)
def test_ticks_are_round_numbers(low: float, high: float, found: list[float]) -> None:
    assert ticks(low, high) == found
