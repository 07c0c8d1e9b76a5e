"""What the page shows of a benchmark: what to take, the plots, each variant's figures."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from studio.bench import Bench, Measured, apart, same_texts
from studio.benchmarks.advice import advise, comparable, pareto
from studio.benchmarks.variants import WORDS, BenchSettings, choices, run_of, search_of, this_machine
from studio.settings import facts

MOST_DOTS = 300  # answers of a variant whose latencies are drawn
_SWITCH = {False: "as it is", True: "compiled"}


def axes() -> dict[str, Any]:
    """What `assets/axes.js` draws: what can be measured here, and why the rest cannot."""
    known = {fact.name: fact for fact in facts(BenchSettings)}
    return {
        "axes": [
            {
                "key": axis,
                "label": known[axis].label,
                "help": known[axis].help,
                "choices": [
                    {
                        "value": value,
                        "label": _SWITCH[value] if isinstance(value, bool) else WORDS[value],
                        "why": why,
                        "on": value in known[axis].default,
                    }
                    for value, why in values.items()
                ],
            }
            for axis, values in choices(this_machine()).items()
        ]
    }


def board(bench: Bench, beside: Bench | None = None) -> dict[str, Any]:
    """What `assets/benchmark.js` draws; `beside` is an earlier one whose figures stand beside these."""
    settings, machine = bench.settings, bench.machine
    found, earlier = list(bench.measured.values()), list(beside.measured.values()) if beside else []
    alike = bool(beside and same_texts(bench, beside))
    same = comparable(found + earlier * alike)
    lines = _lines(found, same) + [
        line | {"other": True} | ({} if alike else _UNKNOWN) for line in _lines(earlier, same, len(found))
    ]
    sampled = "the likeliest token each time" if not settings.temperature else f"temperature {settings.temperature:g}"
    prompts = f"prompts of {settings.prompts}" if settings.prompts else "prompts cut from a text of ours"
    if search := search_of(settings.prompts):
        prompts = f"the sealed rows of the search {search}, asked with the prompt it found"
    return {
        "name": bench.binder.name,
        "ended": bench.ended,
        "about": f"On {machine['gpu'] or machine['processor']} ({machine['name']}, {machine['cores']} cores): "
        f"{prompts}, {sampled}, seed {settings.seed}; {settings.rounds} rounds of {settings.batches} batches, after "
        f"{settings.warmup} to warm up.",
        "beside": _beside(bench, beside) if beside else "",
        "advice": [asdict(each) for each in advise(list(bench.measured.values()))],
        "lines": lines,
    }


def _beside(bench: Bench, beside: Bench) -> str:
    told = apart(bench, beside) or "Measured on this machine, with the same versions, and asked the same."
    without = "" if same_texts(bench, beside) else " Its quality is that of other answers and not shown."
    return f"Hollow: the earlier benchmark. {told}{without}"


_UNKNOWN = {"bits": None, "perplexity": None, "compared": False, "scored": ""}  # quality that says nothing here


def _lines(found: list[Measured], same: list[Measured], after: int = 0) -> list[dict[str, Any]]:
    """`same` are those whose quality is of the same texts."""
    best, compared = pareto(found), {id(each) for each in same}
    return [
        _line(each, each.variant.key in best) | {"number": number, "other": False, "compared": id(each) in compared}
        for number, each in enumerate(found, after + 1)
    ]


def _line(each: Measured, front: bool) -> dict[str, Any]:
    variant, found, quality = each.variant, each.figures, each.quality
    prompt = f"{variant.prompt_tokens} + " if variant.prompt_tokens else "rows + "
    shown: dict[str, Any] = {
        "title": each.title,
        "how": variant.how,
        "load": f"{prompt}{variant.answer_tokens} tokens",
        "setup": f"{variant.setup} {variant.load}",
        "batch": variant.batch_size,
        "why": each.why,
        "answer": each.answer,
        "front": front,
        "run": run_of(variant.model),
        "measured": found is not None,
    }
    if found:
        latencies = [time for batches in each.rounds.values() for batch in batches for time in batch.latencies]
        shown |= {
            "first": asdict(found.first),
            "between": asdict(found.between) if found.between else None,
            "each": asdict(found.each) if found.each else None,
            "latency": asdict(found.latency),
            "rate": found.output_rate,
            "rates": [min(found.rates), max(found.rates)],
            "total": found.total_rate,
            "requests": found.request_rate,
            "asked": found.requests,
            "wrote": found.mean_answer,
            "loading": min(each.loads),
            "warming": max(each.warmups),
            "host": each.host,
            "device": each.device,
            "memory": each.memory,
            "perplexity": quality.perplexity if quality else None,
            "bits": quality.bits_per_byte if quality else None,
            "scored": f"{quality.rows} of {quality.asked} rows" if quality and quality.rows < quality.asked else "",
            "latencies": latencies[:: max(1, len(latencies) // MOST_DOTS)],
        }
    return shown
