"""Quality: what is wrong with the rows, the rows themselves, and a fix that is shown before it is made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from studio.data import changes
from studio.data.checks import Check, Finding, checks, examine
from studio.data.library import look, settle
from studio.data.table import Table
from studio.data.templates import Mapping
from studio.errors import DatasetError
from studio.settings import facts
from tabs._data.bench import Bench, Outcome, Tell, compared, draft_of, progress_of, table_of, who
from tabs._form import Group
from tabs._live import ASSETS
from tabs._shared import PRIVATE, QUIET, Page, escaped

PREVIEWED = 8
EXAMPLES = 3
NOT_YET = '<p class="muted">Nothing was checked yet. “Check the data” looks at every row; it changes nothing.</p>'


@dataclass(frozen=True)
class Report:
    """What a check of the whole data set found, and the thresholds it used."""

    name: str
    revision: int
    mapping: Mapping
    used: dict[str, Check]
    findings: dict[str, Finding]


def build(bench: Bench, part: gr.Tab) -> None:
    """What to look for, the findings, and the preview of a fix."""
    report, proposed = gr.State(None), gr.State("")
    titles = [(f"{cls.title}: {cls.about}", key) for key, cls in checks().items()]
    usual = [key for key, cls in checks().items() if cls.default]
    with gr.Row(elem_classes="tools"):
        go = gr.Button("Check the data", variant="primary", elem_id="quality-go")
        stop = gr.Button("Cancel", elem_id="quality-stop", visible=False)
    with gr.Accordion("What is looked for", open=False):
        wanted = gr.CheckboxGroup(titles, value=usual, label="Checks", elem_id="quality-wanted")
        gr.Markdown("**Thresholds**")
        groups = {key: Group(cls) for key, cls in checks().items() if facts(cls)}
    state = gr.HTML(NOT_YET, apply_default_css=False, elem_id="quality-state")
    preview = gr.HTML("", apply_default_css=False, elem_id="quality-preview")
    apply = gr.Button("Apply to all of them", variant="primary", visible=False, elem_id="quality-apply")
    cards = gr.HTML(
        [],
        html_template='<div class="findings"></div>',
        js_on_load=(ASSETS / "findings.js").read_text(encoding="utf-8"),
        apply_default_css=False,
        elem_id="quality-findings",
    )

    fields = [component for group in groups.values() for component in group.components()]

    def check(page: Page, name: str, wanted: list[str], *raw: Any) -> Iterator[Any]:
        yield from _check(page, name, _chosen(groups, wanted, raw))

    running = go.click(
        bench.on(check), [bench.chooser, wanted, *fields], [report, state, cards, preview, apply, stop], **PRIVATE
    )
    stop.click(
        lambda: ('<p class="muted">Cancelled.</p>', gr.Button(visible=False)),
        None,
        [state, stop],
        cancels=[running],
        **QUIET,
    )
    bench.chooser.change(_forget, None, [report, state, cards, preview, apply], **QUIET)
    cards.click(bench.on(_clicked), [bench.chooser, report], [bench.only, preview, proposed, apply], **PRIVATE)
    apply.click(
        bench.on(_apply), [bench.chooser, report, proposed, bench.changed], [bench.changed, preview, apply], **PRIVATE
    )


def _chosen(groups: dict[str, Group], wanted: list[str], raw: tuple[Any, ...]) -> list[Check]:
    """The checks asked for, with the thresholds of the form. Raises ConfigError."""
    values, at = {}, 0
    for key, group in groups.items():
        end = at + len(group.facts)
        values[key] = group.parse(raw[at:end])
        at = end
    return [cls.parse(values.get(key, {}), key) for key, cls in checks().items() if key in wanted]


def _forget() -> Any:
    return None, NOT_YET, [], "", gr.Button(visible=False)


def _check(page: Page, name: str, chosen: list[Check]) -> Iterator[Any]:
    """One pass over the rows, with progress; then the findings."""
    mapping = settle(look(name, page.workspace)).mapping
    table = table_of(page, name)
    revision, total = table.revision, len(table.ids())
    found: Outcome[list[Finding]] = Outcome()

    def work(tell: Tell) -> list[Finding]:
        def seen(rows: int) -> None:
            tell(0.9 * rows / max(total, 1), f"{rows:,} of {total:,} rows")

        return examine(table.rows(), mapping, chosen, seen)

    for html in progress_of(work, found):
        yield gr.skip(), html, [], "", gr.Button(visible=False), gr.Button(visible=True)
    findings = {finding.check: finding for finding in found.result or []}
    used = {type(check).__module__.rpartition(".")[2]: check for check in chosen}
    report = Report(name, revision, mapping, used, findings)
    yield (
        report,
        _summary(total, findings),
        _cards(table, findings),
        "",
        gr.Button(visible=False),
        gr.Button(visible=False),
    )


def _summary(total: int, findings: dict[str, Finding]) -> str:
    if not findings:
        return f'<p class="ready">Nothing was found in {total:,} rows.</p>'
    rows = len({hit.row_id for finding in findings.values() for hit in finding.hits})
    kinds = "1 kind of finding" if len(findings) == 1 else f"{len(findings)} kinds of findings"
    return f'<p class="note">{kinds} in {rows:,} of {total:,} rows. Not each is a fault: look at the rows first.</p>'


def _cards(table: Table, findings: dict[str, Finding]) -> list[dict[str, Any]]:
    return [
        {
            "check": finding.check,
            "title": finding.title,
            "severity": finding.severity,
            "about": finding.about,
            "remedy": finding.remedy,
            "count": f"{len(finding.hits):,} row{'s' * (len(finding.hits) > 1)}",
            "examples": [f"{table.called(hit.row_id)}: {hit.why}" for hit in finding.hits[:EXAMPLES]],
        }
        for finding in findings.values()
    ]


def _current(page: Page, name: str, report: Report | None, key: str) -> tuple[Table, Finding, Check]:
    """The finding, if the rows are still those it was found in."""
    table = table_of(page, name)
    if report is None or report.name != name or key not in report.findings:
        raise DatasetError("There is no such finding.", remedy="Press 'Check the data' again.")
    if report.revision != table.revision:
        raise DatasetError("The rows were changed since they were checked.", remedy="Press 'Check the data' again.")
    return table, report.findings[key], report.used[key]


def _clicked(page: Page, name: str, report: Report | None, event: gr.EventData) -> Any:
    data = event._data or {}
    if report is None or data.get("check") not in report.findings:
        return [gr.skip()] * 4
    finding = report.findings[data["check"]]
    if data.get("action") == "show":
        return (finding.title, tuple(hit.row_id for hit in finding.hits)), gr.skip(), gr.skip(), gr.skip()
    table, finding, check = _current(page, name, report, data["check"])
    shown = []
    for row, old in table.fetch([hit.row_id for hit in finding.hits[:PREVIEWED]]):
        new = check.fix(old, report.mapping, row)
        if new is None:
            shown.append((f"{table.called(row)} goes", _first_text(old), None))
            continue
        shown += [(f"{table.called(row)}, {c}", old[c], new.get(c)) for c in table.columns if new.get(c) != old[c]]
    heading = f'<p class="note"><strong>{escaped(finding.title)}</strong>: {escaped(finding.remedy.lower())}.</p>'
    count = f"{len(finding.hits):,} row{'s' * (len(finding.hits) > 1)}"
    button = gr.Button(f"{finding.remedy}: apply to {count}", visible=True)
    return gr.skip(), heading + compared(shown), finding.check, button


def _first_text(row: dict[str, Any]) -> str:
    return " | ".join(changes.cell_text(cell)[:200] for cell in row.values() if cell not in (None, ""))


def _apply(page: Page, name: str, report: Report | None, key: str, changed: int, request: gr.Request) -> Any:
    """The fix for all rows of the finding; Undo takes it back at once."""
    _, finding, check = _current(page, name, report, key)
    assert report is not None
    rows = [hit.row_id for hit in finding.hits]
    mapping = report.mapping

    def make(table: Table) -> changes.Change:
        what = f"{finding.title}: {finding.remedy.lower()}"
        return changes.rewrite(table, rows, lambda row, cells: check.fix(cells, mapping, row), what)

    change = draft_of(page, name).do(make, who(request))
    done = f"{change.rows:,} row{'s were' if change.rows > 1 else ' was'} changed or deleted. Undo is under Rows."
    return changed + 1, f'<p class="ready">{done} Check again to see what is left.</p>', gr.Button(visible=False)
