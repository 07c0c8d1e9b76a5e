"""A benchmark's figures by hand, what machines can do, what is made of it all, and how it stands on disk."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from studio.bench import Bench, Measured, apart, begin, benches, check_prompts, holds_out, look_up, unfinished
from studio.benchmarks.advice import advise, comparable, pareto
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
from studio.config import RunConfig
from studio.errors import ConfigError, StudioError
from studio.workspace import Workspace
from tabs._bench import board

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


# -- on disk ---------------------------------------------------------------------------------------------


def found_step(key: str, turn: int, batch: Batch, **more: Any) -> dict[str, Any]:
    batches = [[batch.times, batch.wrote, batch.read]]
    told = {"load": 1.0, "warmup": 0.1, "host": 0.5, "device": 0.5, "answer": "hi", "batches": batches}
    return {"found": key, "round": turn, **told, **more}


def quality_step(each: Variant, nats: float | None, **more: Any) -> dict[str, Any]:
    return {"quality": each.setup, "nats": nats, "tokens": 100, "bytes": 400, "rows": 6, "asked": 6, **more}


def failed_step(key: str, *, died: bool = False) -> dict[str, Any]:
    return {"failed": key, "why": "It does not fit.", "died": died}


def test_what_is_missing_is_known_and_what_was_measured_is_found_again(workspace: Workspace) -> None:
    bench = begin(workspace, settings(batch_size=[1, 2], rounds=2))
    one, two = bench.measured
    assert [each.key for each in bench.missing(0)] == [one, two]
    bench.keep(found_step(one, 0, Batch((0.1, 0.2), (2,), (16,))))
    bench.keep(failed_step(two))
    bench.keep(quality_step(bench.measured[one].variant, None))
    again = look_up(workspace, bench.binder.name)
    assert not again.missing(0)
    assert [each.key for each in again.missing(1)] == [one]
    assert unfinished(workspace, again.settings)
    again.keep(found_step(one, 1, Batch((0.1, 0.4), (2,), (16,)), load=0.5, host=0.7, device=0.7, answer="ho"))
    assert again.ended
    assert unfinished(workspace, again.settings) is None
    measured = again.measured[one]
    assert (measured.answer, measured.memory, measured.quality and measured.quality.perplexity) == ("hi", 0.7, None)
    rows = again.rows()
    assert rows[0].keys() == rows[1].keys()
    assert (rows[0]["load_seconds"], rows[0]["latency_p50"]) == (0.5, pytest.approx(0.3))
    assert rows[1]["why"] == "It does not fit."
    json.dumps(again.plain(), allow_nan=False)
    assert [each.binder.name for each in benches(workspace)] == [bench.binder.name]


def test_what_was_measured_is_kept_where_a_later_round_fails(workspace: Workspace) -> None:
    bench = begin(workspace, settings(batch_size=[1, 2], rounds=2))
    one, two = bench.measured
    for key in (one, two):
        bench.keep(found_step(key, 0, Batch((0.1, 0.2), (2,), (16,))))
        bench.keep(failed_step(key, died=key == two))
    bench.keep(quality_step(bench.measured[one].variant, 200.0))
    again = look_up(workspace, bench.binder.name)
    assert all(each.figures and each.why for each in again.measured.values())
    assert advise(list(again.measured.values()))[0].best == one
    assert [(line["measured"], line["why"]) for line in board(again)["lines"]] == [(True, "It does not fit.")] * 2
    assert not again.missing(1)  # not once more by itself
    assert not again.ended  # but by whoever goes on: what ended one process need not end another
    again.retry()
    assert [each.key for each in again.missing(1)] == [two]
    again.keep(found_step(two, 1, Batch((0.1, 0.2), (2,), (16,))))
    assert look_up(workspace, bench.binder.name).ended
    assert not look_up(workspace, bench.binder.name).measured[two].why


def test_what_was_left_before_it_was_scored_has_not_ended(workspace: Workspace) -> None:
    bench = begin(workspace, settings(batch_size=[1, 2], rounds=1))
    for key in bench.measured:
        bench.keep(found_step(key, 0, Batch((0.1, 0.2), (2,), (16,))))
    assert not bench.ended
    assert [[each.key for each in some] for some in bench.unscored()] == [list(bench.measured)]
    bench.keep(quality_step(bench.unscored()[0][0], None, tokens=0, bytes=0))
    assert bench.ended  # also where it cannot be told


def test_memory_is_that_of_the_gpu_or_not_known(workspace: Workspace) -> None:
    plain, gpu = (Measured(Variant.parse(ONE), "Tiny", gpu, host=3.0, device=0.0) for gpu in (False, True))
    assert (plain.memory, gpu.memory) == (3.0, 0.0)  # as llama.cpp's, which does not tell
    bench = begin(workspace, settings(precision=["float32", "bfloat16"], batch_size=[1]))
    for place, (key, each) in enumerate(bench.measured.items()):
        bench.keep(found_step(key, 0, Batch((0.1, 0.2 - place / 10), (2,), (16,)), host=place, device=place))
        bench.keep(quality_step(each.variant, 200.0))
    assert pareto(list(bench.measured.values())) == {list(bench.measured)[1]}  # what is not known is no win


def test_combinations_that_make_no_sense_are_left_out_with_their_reason(workspace: Workspace) -> None:
    bench = begin(workspace, settings(cache=["dynamic", "static"], compile=[False, True], batch_size=[1]))
    why = {each.variant.how: each.why for each in bench.measured.values()}
    assert sum(map(bool, why.values())) == 1
    assert "static cache" in why["fp32, SDPA, dynamic cache, compiled, batch 1"]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"attention": ["flash_attention_2"]}, "NVIDIA GPUs only"),
        ({"precision": ["gguf"]}, "llama"),
        ({"compile": [True]}, "static cache"),
        ({"models": ["run:nobody"]}, "no such run"),
        ({"models": ["merged:../.."]}, "no such run"),
        ({"models": ["minilm"]}, "cannot write any"),
        ({"models": ["no model"]}, "neither a folder nor a name"),
        ({"prompts": "nothing"}, "nothing"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_is_made(
    workspace: Workspace, changes: dict[str, Any], problem: str
) -> None:
    with pytest.raises(StudioError, match=problem):
        begin(workspace, settings(**changes))
    assert not list(benches(workspace))


def test_settings_that_are_none_are_refused() -> None:
    for wrong in ({"batch_size": []}, {"batch_size": ["1", "many"]}, {"batch_size": [0]}, {"precision": ["fp7"]}):
        with pytest.raises(ConfigError):
            settings(**wrong)


def test_runs_that_cannot_be_asked_are_refused(workspace: Workspace, tiny_config: Callable[..., RunConfig]) -> None:
    folder = workspace.new_run("untrained")
    tiny_config().save(folder.config)
    with pytest.raises(ConfigError, match="saved nothing"):
        begin(workspace, settings(models=[f"run:{folder.id}"]))
    with pytest.raises(StudioError, match="held no rows out"):
        check_prompts(workspace, f"run:{folder.id}")
    folder.held_out.touch()
    assert not holds_out(workspace, folder.id)
    with pytest.raises(StudioError, match="held no rows out"):
        check_prompts(workspace, f"run:{folder.id}")
    folder.adapter.mkdir()
    RunConfig.parse({**tiny_config().to_dict(), "method": {"name": "prompt"}}).save(folder.config)
    with pytest.raises(ConfigError, match="cannot be written into the base"):
        begin(workspace, settings(models=[f"merged:{folder.id}"]))
    assert begin(workspace, settings(models=[f"run:{folder.id}"])).title.endswith("(adapter)")


@pytest.mark.parametrize("name", ["missing.gguf", ".", "pipe", "text.txt", "~nobody/model.gguf", "~\0", "a\0b"])
def test_what_is_no_gguf_file_is_refused(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("studio.bench.this_machine", lambda: GPU)
    monkeypatch.chdir(tmp_path)
    if hasattr(os, "mkfifo"):
        os.mkfifo("pipe")
    Path("text.txt").write_text("GGU", encoding="utf-8")
    with pytest.raises(ConfigError, match="no GGUF file that can be read"):
        begin(workspace, settings(precision=["gguf"], batch_size=[1], gguf=name))
    Path("tiny.gguf").write_bytes(b"GGUF")
    assert "tiny.gguf" in begin(workspace, settings(precision=["gguf"], batch_size=[1], gguf="tiny.gguf")).title


def test_rows_without_answers_ask_nothing(workspace: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "say", "completion": ""}\n' * 4, encoding="utf-8")
    with pytest.raises(StudioError):
        begin(workspace, settings(prompts=str(path)))


# -- in words --------------------------------------------------------------------------------------------


@pytest.fixture
def told(workspace: Workspace) -> Callable[..., Bench]:
    """A benchmark of which is known: (precision, batch) → (seconds of an answer of 4 tokens, nats, GB)."""

    def make(facts: dict[tuple[str, int], tuple[float, float, float]], **more: Any) -> Bench:
        bench = begin(
            workspace,
            settings(
                precision=list(dict.fromkeys(precision for precision, _ in facts)),
                batch_size=sorted({size for _, size in facts}),
                **more,
            ),
        )
        for key, each in bench.measured.items():
            seconds, nats, memory = facts[each.variant.precision, each.variant.batch_size]
            size = each.variant.batch_size
            batch = Batch(tuple(seconds * at / 4 for at in range(1, 5)), (4,) * size, (16,) * size)
            for turn in range(2):
                bench.keep(found_step(key, turn, batch, host=memory, device=memory))
            bench.keep(quality_step(each.variant, nats))
        return bench

    return make


def test_the_quicker_one_is_taken_where_both_are_as_good(told: Callable[..., Bench]) -> None:
    bench = told({("float32", 1): (2.0, 200.0, 1.0), ("bfloat16", 1): (1.0, 200.5, 0.5)})
    (advice,) = advise(list(bench.measured.values()))
    assert advice.text == "Take Tiny (random weights), bf16, SDPA, dynamic cache."
    assert "bfloat16" in advice.best
    assert any("An answer takes 1 s, its first token 250 ms" in each for each in advice.because)
    assert "2 requests are few" in advice.because[-1]
    assert pareto(list(bench.measured.values())) == set(bench.measured)  # fp32 is a little better still


def test_a_fast_variant_that_is_wrong_is_no_win(told: Callable[..., Bench]) -> None:
    bench = told({("float32", 1): (2.0, 200.0, 1.0), ("nf4", 1): (1.0, 265.0, 0.4)})
    (advice,) = advise(list(bench.measured.values()))
    assert "float32" in advice.best
    told_of = " ".join(advice.because)
    assert "is 2 times quicker, but not as good: perplexity 14.15 instead of 7.389" in told_of
    assert "is 2.5 times leaner, but not as good" in told_of


def test_quality_of_fewer_texts_is_not_compared(told: Callable[..., Bench]) -> None:
    bench = told({("float32", 1): (2.0, 200.0, 1.0), ("bfloat16", 1): (1.0, 200.0, 0.5), ("nf4", 1): (1.0, 0.0, 0.5)})
    exact, short, unknown = bench.measured.values()
    bench.keep(quality_step(short.variant, 10.0, bytes=80, rows=2))  # of which each byte is likelier
    bench.keep(quality_step(unknown.variant, None, tokens=0, bytes=0, rows=0, asked=0))
    measured = list(bench.measured.values())
    assert comparable(measured) == [exact]
    assert pareto(measured) == {exact.variant.key}
    (advice,) = advise(measured)
    assert advice.best == exact.variant.key
    assert f"quality is not known or is that of fewer texts: {short.name}; {unknown.name}." in " ".join(advice.because)
    assert "not as good" not in " ".join(advice.because)
    lines = board(bench)["lines"]
    assert [(line["compared"], line["scored"]) for line in lines] == [(True, ""), (False, "2 of 6 rows"), (False, "")]


def test_an_earlier_one_that_asked_otherwise_is_said_to_have(told: Callable[..., Bench]) -> None:
    facts = {("float32", 1): (2.0, 200.0, 1.0)}
    now, alike, drawn = told(facts), told(facts, rows=8), told(facts, temperature=0.5)
    asked = Bench(drawn.binder)
    asked.settings = now.settings.model_copy(update={"prompts": "customer_messages"})
    assert apart(now, now) == ""
    assert apart(now, alike) == "Asked otherwise: rows 8."
    assert apart(now, drawn) == "Asked otherwise: temperature 0.5."
    assert "prompts 'customer_messages'" in apart(now, asked)
    assert [line["bits"] for line in board(now, alike)["lines"]] == [pytest.approx(0.7213, rel=1e-3)] * 2
    beside = board(now, asked)
    assert [line["bits"] for line in beside["lines"]] == [pytest.approx(0.7213, rel=1e-3), None]
    assert [line["other"] for line in beside["lines"]] == [False, True]
    assert "Asked otherwise" in beside["beside"]
    assert "not shown" in beside["beside"]


def test_many_requests_may_want_another_than_one(told: Callable[..., Bench]) -> None:
    bench = told(
        {
            ("float32", 1): (1.0, 200.0, 0.5),
            ("float32", 8): (4.0, 200.0, 1.0),
            ("bfloat16", 1): (1.5, 200.0, 0.5),
            ("bfloat16", 8): (2.0, 200.0, 0.8),
        }
    )
    (advice,) = advise(list(bench.measured.values()))
    assert advice.text == (
        "Take Tiny (random weights), fp32, SDPA, dynamic cache where one person waits, and Tiny (random weights), "
        "bf16, SDPA, dynamic cache, batch 8 where many do."
    )
    assert any("Most tokens a second" in each and "16 instead of 4" in each for each in advice.because)
    assert any("The least memory, as good" in each for each in advice.because)


def test_what_rounds_cannot_tell_apart_is_called_as_quick(told: Callable[..., Bench]) -> None:
    bench = told({("float32", 1): (1.0, 200.0, 0.5), ("bfloat16", 1): (1.0, 200.0, 0.5)})
    (advice,) = advise(list(bench.measured.values()))
    assert "is as quick, as far as 2 rounds tell" in advice.because[0]


def test_loads_are_advised_on_one_by_one(told: Callable[..., Bench]) -> None:
    bench = told({("float32", 1): (1.0, 200.0, 0.5)}, prompt_tokens=[16, 32])
    assert [each.load for each in advise(list(bench.measured.values()))] == ["16 + 64 tokens", "32 + 64 tokens"]


def test_without_any_quality_that_is_said(told: Callable[..., Bench]) -> None:
    bench = told({("float32", 1): (1.0, math.nan, 0.5)})
    (advice,) = advise(list(bench.measured.values()))
    assert any("No quality is known" in each for each in advice.because)
    assert not pareto(list(bench.measured.values()))


def test_where_nothing_was_measured_the_reason_is_said(workspace: Workspace) -> None:
    bench = begin(workspace, settings(batch_size=[1]))
    assert advise(list(bench.measured.values()))[0].text == "Nothing is measured yet."
    bench.keep(failed_step(next(iter(bench.measured))))
    assert advise(list(bench.measured.values()))[0].text == "Nothing could be measured: It does not fit."
