"""Quality: what is wrong with the rows, the rows themselves, and a fix that is shown before it is made."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from studio.catalog import key_of
from studio.data import changes, checked
from studio.data.checks import Check, Finding, checks
from studio.data.collection import find
from studio.data.draft import unsaved
from studio.data.library import look, names, settle
from studio.data.parquet import Row
from studio.data.table import Table
from studio.data.templates import Mapping
from studio.errors import DatasetError
from studio.settings import facts
from tabs._data.bench import Bench, compared, draft_of, edited, handed, same_rows, table_of, who
from tabs._form import Group
from tabs._live import script
from tabs._shared import PRIVATE, QUIET, Page, escaped, meter

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

    def mended(self, key: str, row: int, cells: Row) -> Row | None:
        """The row as the finding's fix leaves it; None where it goes."""
        return self.used[key].fix(cells, self.mapping, row) if key in self.used else None


def build(bench: Bench, part: gr.Tab) -> None:
    """What to look for, the findings, and the preview of a fix."""
    report, proposed = gr.State(None), gr.State("")
    titles = [(cls.title, key) for key, cls in checks().items()]
    usual = [key for key, cls in checks().items() if cls.default]
    with gr.Row(elem_classes="tools"):
        go = gr.Button("Check the data", variant="primary", elem_id="quality-go")
        stop = gr.Button("Cancel", elem_id="quality-stop", visible=False)
    with gr.Accordion("What is looked for", open=False):
        held_out = gr.Dropdown(
            [],
            label="Compare with a held-out data set",
            info="Rows that are also there, or nearly, are found: a score on them would measure memory.",
            interactive=True,
            elem_id="quality-held-out",
        )
        wanted = gr.CheckboxGroup(titles, value=usual, label="Checks", elem_id="quality-wanted")
        groups: dict[str, Group] = {}
        with gr.Row():
            for key, cls in checks().items():
                if facts(cls):
                    with gr.Column(min_width=280):
                        gr.Markdown(f"**{cls.title}**: {cls.about}")
                        groups[key] = Group(cls)
    state = gr.HTML(NOT_YET, apply_default_css=False, elem_id="quality-state")
    preview = gr.HTML("", apply_default_css=False, elem_id="quality-preview")
    apply = gr.Button("Apply to all of them", variant="primary", visible=False, elem_id="quality-apply")
    cards = gr.HTML(
        [],
        html_template='<div class="findings"></div>',
        js_on_load=script("findings"),
        apply_default_css=False,
        elem_id="quality-findings",
    )

    fields = [component for group in groups.values() for component in group.components()]

    def check(page: Page, name: str, wanted: list[str], held_out: str, *raw: Any) -> Iterator[Any]:
        yield from _check(page, name, _chosen(groups, wanted, raw), held_out)

    running = go.click(
        bench.on(check),
        [bench.chooser, wanted, held_out, *fields],
        [report, state, cards, preview, apply, stop],
        **PRIVATE,
    )
    stop.click(
        lambda: ('<p class="muted">Cancelled.</p>', gr.Button(visible=False)),
        None,
        [state, stop],
        cancels=[running],
        **QUIET,
    )
    bench.chosen.change(bench.on(_others), bench.chooser, held_out, **QUIET)
    bench.chosen.change(_forget, None, [report, state, cards, preview, apply], cancels=[running], **QUIET)
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


OWN = "its own held-out rows"


def _others(page: Page, name: str) -> Any:
    """What the rows can be compared with."""
    own = [(OWN, OWN)] if look(name, page.workspace).validation is not None else []
    others = [(each.title, each.name) for each in names(page.workspace) if each.name != name]
    return gr.Dropdown([("(nothing)", ""), *own, *others], value=OWN if own else "")


def _held_out(page: Page, name: str, other: str) -> tuple[Path, Mapping] | None:
    """The rows to compare with, read by their own columns. Raises DatasetError where those are not settled."""
    if not other:
        return None
    opened = settle(look(name if other == OWN else other, page.workspace))
    part = opened.validation if other == OWN else opened.train
    return (part.path, opened.mapping) if part else None


def _check(page: Page, name: str, chosen: list[Check], other: str) -> Iterator[Any]:
    """One pass over the rows in a process of its own, with progress; then the findings."""
    mapping = settle(look(name, page.workspace)).mapping
    table = table_of(page, name)
    revision, total, began = table.revision, len(table.ids()), time.monotonic()
    kept, against = find(page.workspace, name), _held_out(page, name, other)
    drafted = kept is not None and unsaved(kept) > 0
    hidden, stop = gr.Button(visible=False), gr.Button(visible=True)
    yield gr.skip(), meter(0, "Starting", 0), [], "", hidden, stop
    asked = page.examiner.examine(table.path, edited(table), mapping, chosen, against)
    with closing(asked) as replies:  # pyright: ignore[reportArgumentType]
        for reply in replies:
            if isinstance(reply, tuple):
                share = 0.9 * reply[0] / max(reply[1], 1)  # what compares rows comes after the last one
                text = f"{reply[0]:,} of {reply[1]:,} rows"
                yield (
                    gr.skip(),
                    meter(share, text, time.monotonic() - began),
                    gr.skip(),
                    gr.skip(),
                    gr.skip(),
                    gr.skip(),
                )
                continue
            if not drafted:  # what is found of a draft is of rows that no run reads
                checked.keep(page.workspace, table.path, map(key_of, chosen), reply, against[0] if against else None)
            findings = {finding.check: finding for finding in reply}
            report = Report(name, revision, mapping, {key_of(check): check for check in chosen}, findings)
            yield report, _summary(total, findings), _cards(table, findings), "", hidden, hidden


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


def _current(page: Page, name: str, report: Report | None, key: str) -> tuple[Table, Report, Finding]:
    """The finding, if the rows are still those it was found in."""
    table = table_of(page, name)
    if report is None or report.name != name or key not in report.findings:
        raise DatasetError("There is no such finding.", remedy="Press 'Check the data' again.")
    return same_rows(table, report.revision), report, report.findings[key]


def _clicked(page: Page, name: str, report: Report | None, event: gr.EventData) -> Any:
    data = event._data or {}
    if report is None or data.get("check") not in report.findings:
        return [gr.skip()] * 4
    table, report, finding = _current(page, name, report, data["check"])
    if data.get("action") == "show":
        return handed(name, table, (hit.row_id for hit in finding.hits)), gr.skip(), gr.skip(), gr.skip()
    shown = []
    for row, old in table.fetch([hit.row_id for hit in finding.hits[:PREVIEWED]]):
        new = report.mended(finding.check, row, old)
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
    _, report, finding = _current(page, name, report, key)
    rows = [hit.row_id for hit in finding.hits]

    def make(table: Table) -> changes.Change:
        what = f"{finding.title}: {finding.remedy.lower()}"
        return changes.rewrite(same_rows(table, report.revision), rows, functools.partial(report.mended, key), what)

    change = draft_of(page, name).do(make, who(request))
    done = f"{change.rows:,} row{'s were' if change.rows > 1 else ' was'} changed or deleted. Undo is under Rows."
    return changed + 1, f'<p class="ready">{done} Check again to see what is left.</p>', gr.Button(visible=False)
