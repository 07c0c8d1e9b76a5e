"""A benchmark's figures by hand, and what machines can do."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import asdict, replace
from typing import Any

import pytest

from studio.benchmarks.figures import Batch, Quality, Spread, as_csv, figures, front
from studio.benchmarks.variants import (
    BenchSettings,
    Machine,
    Variant,
    choices,
    differs,
    this_machine,
    variants,
    why_not,
)

CPU = Machine("here", "a CPU", 2, 25.0, "", {"torch": "2.13.0", "bitsandbytes": "0.50.2"}, compiles=True)
GPU = replace(CPU, gpu="an NVIDIA GPU", versions=CPU.versions | {"flash-attn": "2.8", "llama-cpp-python": "0.3"})
ONE = {
    "model": "tiny",
    "precision": "float32",
    "attention": "sdpa",
    "cache": "dynamic",
    "compile": False,
    "batch_size": 1,
    "prompt_tokens": 16,
    "answer_tokens": 8,
}


def settings(**values: Any) -> BenchSettings:
    return BenchSettings.parse({"models": ["tiny"], "precision": ["float32"], **values})


# -- figures ---------------------------------------------------------------------------------------------


def test_figures_are_those_of_their_formulas() -> None:
    """Two answers at once, of 3 tokens and of 1, then one of 2; worked by hand."""
    rounds = [[Batch((0.5, 0.7, 1.0), (3, 1), (10, 6))], [Batch((0.4, 0.8), (2,), (4,))]]
    found = figures(rounds)
    assert found.requests == 3
    assert (found.first.mean, found.first.p50) == (pytest.approx(1.4 / 3), 0.5)
    assert found.between
    assert found.between.mean == pytest.approx((0.2 + 0.3 + 0.4) / 3)
    assert found.each  # (1.0 - 0.5) / 2 and (0.8 - 0.4) / 1; of one token nothing can be told
    assert found.each.mean == pytest.approx((0.25 + 0.4) / 2)
    assert found.latency.mean == pytest.approx((1.0 + 0.5 + 0.8) / 3)  # the short one had ended with its first token
    assert found.output_rate == pytest.approx(6 / 1.8)
    assert found.total_rate == pytest.approx(26 / 1.8)
    assert found.request_rate == pytest.approx(3 / 1.8)
    assert found.rates == pytest.approx((4 / 1.0, 2 / 0.8))
    assert (found.mean_answer, found.mean_prompt) == (2, pytest.approx(20 / 3))


def test_a_spread_has_the_percentiles_of_numpy_and_the_deviation_of_a_sample() -> None:
    spread = Spread.of([1.0, 2.0, 3.0, 4.0])
    assert spread
    assert spread.sd == pytest.approx(math.sqrt(5 / 3))
    assert (spread.p50, spread.p95, spread.p99) == (2.5, pytest.approx(3.85), pytest.approx(3.97))
    assert Spread.of([]) is None
    assert Spread.of([7.0]) == Spread(7.0, 0.0, 7.0, 7.0, 7.0)


def test_answers_of_one_token_have_no_time_between_tokens() -> None:
    found = figures([[Batch((0.5,), (1, 1), (3, 3))]])
    assert found.between is None
    assert found.each is None
    assert found.output_rate == 4


def test_quality_is_weighted_by_tokens_and_comparable_by_bytes() -> None:
    quality = Quality(nats=2 * math.log(8), tokens=2, bytes=3)
    assert quality.perplexity == pytest.approx(8)
    assert quality.bits_per_byte == pytest.approx(2)  # 6 bits over 3 bytes
    for broken in (Quality(math.nan, 2, 3), Quality(0.0, 0, 0), Quality(1e9, 2, 3)):
        assert broken.perplexity is None
    assert Quality(math.nan, 2, 3).bits_per_byte is None


def test_the_front_is_what_nothing_beats_in_everything() -> None:
    assert front([(1, 4), (2, 2), (3, 3), (4, 1), (2, 2)]) == [True, True, False, True, True]
    assert front([]) == []


def test_a_table_runs_nothing_in_a_spreadsheet() -> None:
    text = as_csv([{"title": "=cmd()", "output_rate": -1.5, "why": None}])
    assert list(csv.reader(io.StringIO(text))) == [["title", "output_rate", "why"], ["'=cmd()", "-1.5", ""]]
    assert as_csv([]).strip() == ""


# -- what can be measured --------------------------------------------------------------------------------


def test_every_combination_is_a_variant_and_small_loads_come_first() -> None:
    found = variants(settings(precision=["float32", "nf4"], cache=["dynamic", "static"], batch_size=[8, 1]))
    assert len({each.key for each in found}) == len(found) == 8
    assert [each.batch_size for each in found[:2]] == [1, 8]
    assert len({each.setup for each in found}) == 4
    of_rows = variants(settings(prompts="customer_messages", prompt_tokens=[16, 32], batch_size=4))
    assert [(each.prompt_tokens, each.batch_size) for each in of_rows] == [(0, 4)]  # rows are as long as they are


@pytest.mark.parametrize(
    ("machine", "changes", "why"),
    [
        (CPU, {}, ""),
        (CPU, {"precision": "float16"}, ""),
        (CPU, {"precision": "nf4"}, ""),
        (CPU, {"attention": "flash_attention_2"}, "NVIDIA GPUs only"),
        (CPU, {"precision": "gguf"}, "finetune-studio[gguf]"),
        (CPU, {"compile": True}, "needs the static cache"),
        (CPU, {"compile": True, "cache": "static"}, ""),
        (CPU, {"compile": True, "cache": "static", "precision": "int8"}, "are not compiled"),
        (replace(CPU, compiles=False), {"compile": True, "cache": "static"}, "C++ compiler"),
        (replace(CPU, versions={}), {"precision": "int8"}, "pip install bitsandbytes"),
        (GPU, {"attention": "flash_attention_2"}, "computes in 16 bits"),
        (GPU, {"attention": "flash_attention_2", "precision": "bfloat16"}, ""),
        (replace(GPU, versions={}), {"attention": "flash_attention_2"}, "pip install flash-attn"),
        (GPU, {"precision": "gguf"}, ""),
        (GPU, {"precision": "gguf", "batch_size": 2}, "one request at a time"),
    ],
)
def test_what_a_machine_cannot_do_is_said(machine: Machine, changes: dict[str, Any], why: str) -> None:
    found = why_not(Variant.parse({**ONE, **changes}), machine)
    assert why in found
    assert bool(found) == bool(why)


def test_choices_name_only_what_cannot_be_had_at_all() -> None:
    found = choices(CPU)
    assert found["attention"]["eager"] == found["compile"][True] == ""  # with the static cache it can
    assert "NVIDIA" in found["attention"]["flash_attention_2"]
    assert found["precision"].keys() == {"float32", "bfloat16", "float16", "int8", "nf4", "gguf"}


def test_another_machine_is_said_and_another_version_too() -> None:
    here = asdict(CPU)
    assert differs(here, asdict(CPU)) == ""
    assert "another machine (there, an NVIDIA GPU)" in differs(here, asdict(replace(GPU, name="there")))
    assert differs(here, asdict(replace(CPU, versions=CPU.versions | {"torch": "2.7"}))) == (
        "Measured on this machine with torch 2.7."
    )
    machine = this_machine()
    assert machine.has("torch")
    assert machine.cores > 0
