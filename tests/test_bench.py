"""A benchmark on disk, and what is made of it in words."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from studio.bench import Bench, Measured, apart, begin, benches, check_prompts, holds_out, look_up, unfinished
from studio.benchmarks.advice import advise, comparable, pareto
from studio.benchmarks.figures import Batch
from studio.benchmarks.variants import Variant
from studio.config import RunConfig
from studio.errors import ConfigError, StudioError
from studio.workspace import Workspace
from tabs._bench import board
from tests.test_bench_figures import GPU, ONE, settings

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
