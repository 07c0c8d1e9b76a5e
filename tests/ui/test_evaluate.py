"""Models evaluated in the page: base against tuned on held-out rows, labels, and what got worse."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from studio.evaluate import EvaluationSettings, begin
from studio.workspace import Workspace
from tests.coached import rows, write_rows
from tests.ui.conftest import Open, Studio, go
from tests.ui.steps import choose, toast
from tests.ui.test_arena import trained
from tests.ui.test_tiny import fill

pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"),
]


def learnt(workspace: Path) -> None:
    """A run that held 20 rows out."""
    source = write_rows(workspace.parent / "things.jsonl", rows(40))
    trained(workspace, dataset={"source": source, "validation_share": 0.5})


def improved(workspace: Path) -> str:
    """An evaluation whose second model is right on all rows, and the first on every third."""
    labels = [
        {"prompt": f"<b>{each}</b> {place}", "completion": f"go {each}"}
        for place in range(12)
        for each in ("in", "out")
    ]
    source = write_rows(workspace.parent / "labels.jsonl", labels)
    asked = {"candidates": [{"model": "tiny"}], "dataset": {"source": source}}
    evaluation = begin(Workspace(workspace), EvaluationSettings.parse(asked))
    (part,) = evaluation.sets
    for who in range(2):
        said = [
            [place, row.right if who or place % 3 == 0 else "go <i>" if place % 3 == 1 else "?"]
            for place, row in enumerate(part.rows)
        ]
        evaluation.keep({"said": who, "set": 0, "rows": said})
        evaluation.keep({"likely": who, "set": 0, "rows": [[place, 2.0 - who, 4] for place in range(len(said))]})
    about = evaluation.binder.folder / "about.json"
    told = json.loads(about.read_text(encoding="utf-8"))
    told["contenders"] = [{"title": title, "identity": ""} for title in ("Before", "After")]
    told["settings"]["candidates"] = [{"model": "tiny"}, {"model": "starter"}]
    about.write_text(json.dumps(told), encoding="utf-8")
    return evaluation.binder.name


def test_base_and_tuned_are_evaluated_on_rows_that_were_held_out(studio: Studio, open_page: Open) -> None:
    learnt(studio.workspace)
    page = open_page()
    go(page, "Evaluate")
    panel, who = page.locator("#evaluate-report"), page.locator("#evaluate-who")
    expect(panel).to_contain_text("No evaluation yet")
    expect(who.locator(".token")).to_have_count(2)  # the run, and what it began with
    fill(page, "max_new_tokens", "80")  # it takes long enough to be left
    choose(page, "evaluate-old", "Old tales")
    fill(page, "rows", "0")
    page.locator("#evaluate-start").click()
    toast(page, "'rows' is 0")
    fill(page, "rows", "20")
    page.locator("#evaluate-start").click()
    page.locator("#evaluate-leave").click()
    expect(page.locator("#evaluate-told")).to_contain_text("Left where it was")
    expect(panel).to_contain_text("Not at its end")
    page.locator("#evaluate-more").click()
    expect(panel.locator(".whiskers .line").first).to_be_visible(timeout=40_000)
    expect(page.locator("#evaluate-leave")).not_to_be_visible(timeout=40_000)
    expect(page.locator("#evaluate-more")).not_to_be_visible()
    expect(panel).not_to_contain_text("Not at its end")
    expect(panel.locator("section h3")).to_have_text(
        [re.compile("things.jsonl"), re.compile("^Old data: "), "Row by row"]
    )
    expect(panel).to_contain_text("20 rows are left out")
    expect(panel).to_contain_text("nrefs:1|case:mixed")
    expect(panel.locator(".rows .one")).to_have_count(10)
    page.locator("#evaluate-save").click()
    expect(page.locator("#evaluate-told a")).to_have_text("Report and answers")


def test_what_got_worse_or_better_is_found_and_nothing_from_data_is_markup(studio: Studio, open_page: Open) -> None:
    improved(studio.workspace)
    page = open_page(width=390)
    go_narrow(page)
    panel = page.locator("#evaluate-report")
    expect(panel.locator("p.ready")).to_contain_text("After is better than Before on labels.jsonl: Accuracy from 33.3%")
    expect(panel.locator(".confusion")).to_have_count(2)
    expect(panel.locator(".confusion").first).to_contain_text("(another answer)")
    expect(panel.locator("tr", has_text="Perplexity").locator(".change.better")).to_contain_text("p < 0.001")
    shown = panel.locator(".rows .one")
    expect(shown).to_have_count(10)
    panel.get_by_role("button", name="Further").click()
    expect(panel.locator(".pager")).to_contain_text("11–20 of 24")
    panel.get_by_role("button", name="Got worse").click()
    expect(panel.locator(".rows")).to_contain_text("No such rows")
    panel.get_by_role("button", name="Got better").click()
    expect(panel.locator(".pager")).to_contain_text("1–10 of 16")
    expect(shown.first.locator("del")).to_have_text("<i>")
    expect(shown.nth(1).locator("del")).to_have_count(0)  # nothing in common: easier read as it is
    expect(shown.first).to_contain_text("<b>")
    assert panel.locator("i, b").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    page.once("dialog", lambda dialog: dialog.accept())
    page.locator("#evaluate-delete").click()
    expect(panel).to_contain_text("No evaluation yet")


def test_tasks_of_lm_eval_stand_beside_one_another(
    studio: Studio, open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("studio.evaluate.installed", lambda: True)
    workspace = Workspace(studio.workspace)
    workspace.tasks.mkdir()
    write_rows(workspace.tasks / "rows.jsonl", [{"text": "a"}])
    told = "task: sums\ndataset_path: json\ndataset_kwargs: {data_files: rows.jsonl}\n"
    (workspace.tasks / "sums.yaml").write_text(told, encoding="utf-8")
    asked = {"candidates": [{"model": "tiny"}, {"model": "starter"}], "tasks": ["sums"]}
    evaluation = begin(workspace, EvaluationSettings.parse(asked))
    evaluation.keep({"counted": "sums", "rows": 40})
    score = {"task": "sums", "metric": "<i>acc", "filter": "none", "value": 0.25, "stderr": 0.0625, "higher": True}
    result = {"scores": [score], "chat": True, "signature": "lm-eval 1"}
    evaluation.keep({"scored": 0, "task": "sums", "result": result})
    page = open_page(width=390)
    go_narrow(page)
    panel = page.locator("#evaluate-report")
    expect(panel.locator("section h3")).to_have_text(["Task: sums"])
    expect(panel).to_contain_text("40 of 80 requests are made")
    expect(panel.locator("thead th")).to_have_count(3)
    expect(panel.locator("tbody th")).to_have_text("<i>accmore is better")
    expect(panel.locator("tbody td")).to_have_text(["0.25± 0.063", "–"])
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def go_narrow(page: Page) -> None:
    """On a narrow page the tab may hide in the strip's menu."""
    tab = page.get_by_role("tab", name="Evaluate", exact=True).locator("visible=true")
    if tab.count():
        tab.first.click()
    else:
        page.locator("#tabs .overflow-menu > button").first.click()
        page.locator("#tabs .overflow-dropdown button", has_text="Evaluate").click()
