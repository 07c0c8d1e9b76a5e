"""Benchmarks without a browser."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

from studio.bench import Bench, Measured, apart, begin, look_up, unfinished
from studio.bencher import Bencher
from studio.benchmarks.advice import advise, moment, pareto
from studio.benchmarks.figures import as_csv
from studio.benchmarks.variants import BenchSettings
from studio.cli_prompts import Say, Told, table
from studio.config import read_settings
from studio.workspace import Workspace, write_whole


def bench(
    config: Path,
    workspace: Workspace,
    say: Say,
    told: Told,
    *,
    resume: bool = False,
    against: str = "",
    as_json: bool = False,
) -> None:
    """Measure what a config asks for, and say what came of it. Ctrl-C leaves; what was measured is kept.

    `resume` goes on with the newest unfinished one of that same config, where there is one; `against` is an earlier
    one, shown beside it. Raises StudioError.
    """
    settings = BenchSettings.parse(read_settings(config))
    other = look_up(workspace, Path(against).name) if against else None
    found = (unfinished(workspace, settings) if resume else None) or begin(workspace, settings)
    bencher = Bencher(workspace)
    with closing(bencher), told() as tell:
        for part in bencher.run(found.binder.name):
            tell(f"{part.doing} ({part.done:,.0f} of {part.total:,.0f})" if part.total else part.doing)
    found = look_up(workspace, found.binder.name)
    files = keep_files(found)
    if as_json:
        say(json.dumps(found.plain() | {"against": other and other.plain()}))
        return
    for line in [*lines(found), *(_beside(found, other) if other else [])]:
        say(line)
    say(f"All figures are in {' and '.join(files)}.")
    say(str(found.binder.folder))


def keep_files(found: Bench) -> list[str]:
    """Write the figures as CSV and JSON into the benchmark's folder; the files' names. Raises OSError."""
    written = {"results.csv": as_csv(found.rows()), "results.json": json.dumps(found.plain(), indent=1)}
    for name, text in written.items():
        write_whole(found.binder.folder / name, text)
    return list(written)


_HEADING = (
    "first token", "a token", "latency", "95 %", "tokens/s", "requests/s", "loading", "memory", "perplexity", "variant",
)  # fmt: skip


def lines(found: Bench) -> list[str]:
    """The figures as a table, what they mean, and what could not be measured."""
    best = pareto(list(found.measured.values()))
    measured = [each for each in found.measured.values() if each.figures]
    failed = [f"{each.name}: {each.why}" for each in found.measured.values() if each.why]
    machine = found.machine
    said = [
        f"{machine['name']}: {machine['gpu'] or machine['processor']}, {machine['cores']} cores; "
        f"temperature {found.settings.temperature:g}, seed {found.settings.seed}.",
        "",
        *table([_HEADING, *(_row(each, best) for each in measured)]),
        "* No other of the same load is better in quality, tokens a second and memory at once.",
        "",
    ]
    for advice in advise(list(found.measured.values())):
        said += [f"{advice.load}: {advice.text}" if advice.load else advice.text]
        said += [f"- {each}" for each in advice.because]
    partly = [
        f"{each.name}: its quality is that of {each.quality.rows} of {each.quality.asked} rows, as the others are long."
        for each in measured
        if each.quality and each.quality.rows < each.quality.asked
    ]
    return [*said, *partly, *failed]


def _row(each: Measured, best: set[str]) -> tuple[str, ...]:
    found, quality = each.figures, each.quality
    assert found
    perplexity = quality.perplexity if quality else None
    return (
        moment(found.first.p50),
        moment(found.each.p50) if found.each else "–",
        moment(found.latency.p50),
        moment(found.latency.p95),
        f"{found.output_rate:,.1f}",
        f"{found.request_rate:,.2f}",
        moment(min(each.loads)),
        f"{each.memory:.2f} GB" if each.memory else "–",
        "–" if perplexity is None else f"{perplexity:,.4g}",
        f"{each.name}{' *' * (each.variant.key in best)}",
    )


def _beside(found: Bench, other: Bench) -> list[str]:
    """The same variants as they were in another benchmark, as far as it has them."""
    said = ["", f"Beside {other.binder.name}: {apart(found, other) or 'the same machine, asked the same.'}"]
    for key, now in found.measured.items():
        was = other.measured.get(key)
        if was and was.figures and now.figures:
            ratio = now.figures.output_rate / was.figures.output_rate
            said.append(f"- {now.name}: {ratio:.2f} times the tokens a second.")
    return said if len(said) > 2 else [*said, "- It has none of these variants."]
