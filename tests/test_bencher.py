"""Benchmarks of the tiny model in their process: left and taken up, out of memory, beside a run; and llama.cpp."""

from __future__ import annotations

import json
import math
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from itertools import count
from pathlib import Path
from threading import Timer
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock

from studio.adapter import save
from studio.bench import Bench, begin, look_up
from studio.bencher import DIED, LOG, NO_MEMORY, Bencher, _Setup
from studio.benchmarks import engines
from studio.benchmarks.engines import LlamaEngine, TorchEngine, Written
from studio.benchmarks.requests import batch_of, prompts, quality, rows_of
from studio.benchmarks.variants import BenchSettings, Variant
from studio.cli import main
from studio.config import RunConfig
from studio.errors import ModelError, RunError
from studio.events import Done, Saved
from studio.methods import methods
from studio.models.generate import ends_of
from studio.models.machine import forget_peak_memory
from studio.models.tiny import tiny_model, tiny_tokenizer
from studio.processes import own_device
from studio.speaker import ModelSpeaker
from studio.workspace import Workspace

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")  # of peft

SMALL = {
    "models": ["tiny"],
    "precision": ["float32"],
    "batch_size": [1],
    "prompt_tokens": [8],
    "answer_tokens": [4],
    "rounds": 1,
    "batches": 2,
}


def settings(**values: Any) -> BenchSettings:
    return BenchSettings.parse({**SMALL, **values})


@pytest.fixture
def bencher(workspace: Workspace) -> Iterator[Bencher]:
    running = Bencher(workspace)
    yield running
    running.close()


@pytest.fixture
def run(workspace: Workspace, tiny_config: Callable[..., RunConfig]) -> str:
    """One whose adapter says other things than its base."""
    folder = workspace.new_run("things")
    tiny_config().save(folder.config)
    model = methods()["lora"]().attach(tiny_model())
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.copy_(0.3 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
    save(model, folder.adapter)
    turns = [[{"role": "user", "content": f"say {at}"}, {"role": "assistant", "content": f"{at}!"}] for at in range(6)]
    folder.held_out.write_text("".join(json.dumps(each) + "\n" for each in turns), encoding="utf-8")
    folder.events.append(Saved(step=4, size=2_000_000, peak_memory=1.5))
    folder.events.append(Done())
    return folder.id


def test_it_is_left_and_goes_on_and_counts_what_was_written(workspace: Workspace, bencher: Bencher) -> None:
    bench = begin(workspace, settings(precision=["float32", "bfloat16"], batch_size=[1, 3], rounds=2))
    name = bench.binder.name
    with closing(bencher.run(name)) as parts:  # pyright: ignore[reportArgumentType] - a generator
        next(part for part in parts if "bf16" in part.doing)
    halfway = look_up(workspace, name)
    assert [bool(each.rounds) for each in halfway.measured.values()] == [True, True, False, False]
    with FileLock(workspace.device_lock(own_device()), timeout=0):
        pass
    told = list(bencher.run(name))
    assert told[-1].done <= told[-1].total == 6 * 3  # what was measured is not measured again
    after = look_up(workspace, name)
    assert after.ended
    for each in after.measured.values():
        assert each.figures
        assert each.figures.requests == 4 * each.variant.batch_size
        assert (each.figures.mean_prompt, each.figures.mean_answer) == (8, 4)
        assert all(list(batch.times) == sorted(batch.times) for batches in each.rounds.values() for batch in batches)
        assert each.quality
        assert each.quality.perplexity
        assert each.host > 0.05
        assert each.answer
    exact, short = (each.quality for each in list(after.measured.values())[::2])
    assert exact != short
    assert exact
    assert exact.nats == pytest.approx(_nats_of_text(exact.tokens), rel=1e-4)


def _nats_of_text(tokens: int) -> float:
    """As a plain forward pass has it."""
    from studio.benchmarks.passage import PARAGRAPHS

    model, tokenizer, total, counted = tiny_model(), tiny_tokenizer(), 0.0, 0
    for text in PARAGRAPHS:
        ids = torch.tensor([tokenizer(text)["input_ids"]])
        with torch.inference_mode():
            loss = model(input_ids=ids, labels=ids).loss
        total += float(loss) * (ids.shape[1] - 1)
        counted += ids.shape[1] - 1
    assert counted == tokens
    return total


def test_an_adapter_and_the_model_it_is_merged_into_say_the_same(
    workspace: Workspace, bencher: Bencher, run: str
) -> None:
    bench = begin(
        workspace, settings(models=["tiny", f"run:{run}", f"merged:{run}"], prompts=f"run:{run}", answer_tokens=[12])
    )
    (workspace.cache / f"merged-{own_device()}-old" / "run").mkdir(parents=True)  # left by a process that was killed
    list(bencher.run(bench.binder.name))
    base, beside, merged = look_up(workspace, bench.binder.name).measured.values()
    assert not base.why + beside.why + merged.why
    assert beside.answer == merged.answer != base.answer
    assert beside.quality
    assert merged.quality
    assert base.quality
    assert beside.quality.nats == pytest.approx(merged.quality.nats, rel=1e-4)
    assert abs(beside.quality.nats - base.quality.nats) > 1
    assert not list(workspace.cache.glob("merged-*"))


def test_what_cannot_be_merged_is_tried_once_for_all(workspace: Workspace, bencher: Bencher, run: str) -> None:
    bench = begin(workspace, settings(models=[f"merged:{run}"], precision=["float32", "bfloat16"]))
    next(workspace.run(run).adapter.glob("*.safetensors")).write_bytes(b"torn")
    told = [part.doing for part in bencher.run(bench.binder.name)]
    assert len(told) == 1
    assert "writing the adapter" in told[0]
    after = look_up(workspace, bench.binder.name)
    assert all(each.why and not each.figures for each in after.measured.values())
    assert after.ended


@pytest.mark.parametrize("of_memory", [False, True])
def test_what_dies_is_marked_and_the_others_go_on(
    workspace: Workspace, bencher: Bencher, monkeypatch: pytest.MonkeyPatch, *, of_memory: bool
) -> None:
    """Of memory where the system says that it killed something meanwhile."""
    kills = count()
    monkeypatch.setattr("studio.bencher.memory_kills", lambda: next(kills) if of_memory else 0)
    bench = begin(workspace, settings(batch_size=[1, 2, 4], batches=50))
    killed = False
    for part in bencher.run(bench.binder.name):
        if "batch 2" in part.doing and "warming" not in part.doing and not killed:
            killed = True
            assert bencher.child.pid
            os.kill(bencher.child.pid, signal.SIGKILL)
    after = look_up(workspace, bench.binder.name)
    one, two, four = after.measured.values()
    assert (two.why, two.figures) == (NO_MEMORY if of_memory else DIED, None)
    assert one.figures
    assert four.figures
    assert after.ended == of_memory
    assert (after.binder.folder / LOG).exists() != of_memory
    if not of_memory:
        assert list(bencher.run(bench.binder.name))[-1].total == 51  # it alone
        assert look_up(workspace, bench.binder.name).ended


def test_what_is_left_while_it_is_scored_is_scored_by_whoever_goes_on(workspace: Workspace, bencher: Bencher) -> None:
    bench = begin(workspace, settings(batches=1))
    with closing(bencher.run(bench.binder.name)) as parts:  # pyright: ignore[reportArgumentType] - a generator
        next(part for part in parts if "scoring" in part.doing)
    (left,) = look_up(workspace, bench.binder.name).measured.values()
    assert left.figures
    assert left.quality is None
    told = [part.doing for part in bencher.run(bench.binder.name)]
    assert [each.partition(": ")[2] for each in told] == ["loading", "scoring the right answers"]
    after = look_up(workspace, bench.binder.name)
    assert after.ended
    (found,) = after.measured.values()
    assert found.rounds == left.rounds
    assert found.quality
    assert found.quality.rows == found.quality.asked == 6


def test_what_the_one_before_measured_last_is_not_measured_again(workspace: Workspace, bencher: Bencher) -> None:
    bench = begin(workspace, settings())
    (key, each), lock = *bench.measured.items(), FileLock(bench.binder.folder / "lock", thread_local=False)

    def leave() -> None:
        told = {"load": 1.0, "warmup": 0.1, "host": 0.5, "device": 0.0, "answer": "", "batches": [[[1.0], [1], [8]]]}
        bench.keep({"found": key, "round": 0, **told})
        bench.keep({"quality": each.variant.setup, "nats": 1.0, "tokens": 1, "bytes": 1, "rows": 1, "asked": 1})
        lock.release()

    lock.acquire()
    timer = Timer(0.3, leave)
    timer.start()
    assert not list(bencher.run(bench.binder.name))
    timer.join()


def test_it_ends_without_a_fault_where_it_is_closed(workspace: Workspace, bencher: Bencher) -> None:
    bench = begin(workspace, settings(batches=500))
    told = []
    for part in bencher.run(bench.binder.name):
        told.append(part)
        if part.total:
            bencher.close()
    assert told[-1].total
    assert not look_up(workspace, bench.binder.name).ended
    with FileLock(workspace.device_lock(own_device()), timeout=0):
        pass


def test_it_waits_for_a_run_that_trains_and_says_so(workspace: Workspace, bencher: Bencher) -> None:
    bench = begin(workspace, settings())
    with FileLock(workspace.device_lock(own_device())):  # as a run that trains holds it
        parts = bencher.run(bench.binder.name)
        assert next(parts).doing == "Waiting for what is measured beside it"
        with pytest.raises(RunError, match="under way already"):
            next(Bencher(workspace).run(bench.binder.name))
        with pytest.raises(RunError, match="under way already"):
            bencher.delete(bench.binder.name)
    assert "loading" in " ".join(part.doing for part in parts)
    assert look_up(workspace, bench.binder.name).ended
    bencher.delete(bench.binder.name)
    with pytest.raises(RunError):
        look_up(workspace, bench.binder.name)


class Fake:
    """An engine of which larger batches take too much memory."""

    reads = 100

    def text(self, text: str) -> list[int]:
        return list(text.encode())

    def chat(self, messages: Sequence[dict[str, str]]) -> list[int]:
        return self.text(messages[-1]["content"])

    def words(self, ids: Sequence[int]) -> str:
        return bytes(ids).decode()

    def write(self, prompts: list[list[int]], most: int, *, full: bool) -> Written:
        if len(prompts) == 1:
            np.ones(25_000_000)  # 0.2 GB
        if len(prompts) == 2:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory")
        return Written(tuple(float(at) for at in range(1, most + 1)), [[65] * most for _ in prompts])

    def anew(self) -> None:
        """Nothing."""

    def nats(self, context: list[int], target: list[int]) -> float:
        return math.nan

    def likely(self, messages: Sequence[dict[str, str]], answer: str) -> tuple[float, int] | None:
        return None


def test_memory_that_runs_out_ends_its_variant_alone(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "opened", lambda *_: (Fake(), 1.5))
    bench = begin(workspace, settings(batch_size=[1, 2, 4], prompt_tokens=[8, 200]))
    request = {
        "settings": bench.settings.model_dump(mode="json"),
        "variants": [each.model_dump(mode="json") for each in bench.missing(0)],
        "round": 0,
        "quality": True,
        "merged": "",
    }
    steps: list[dict[str, Any]] = []
    forget_peak_memory()

    def reply(**values: Any) -> None:
        steps.append(json.loads(json.dumps(values, allow_nan=False)))

    _Setup(request, workspace, reply, lambda *_: None, lambda: False).measure()
    for step in steps:
        bench.keep(step)
    found = {(each.variant.prompt_tokens, each.variant.batch_size): each for each in bench.measured.values()}
    assert found[8, 2].why == NO_MEMORY
    assert "more than the 100 that it reads" in found[200, 1].why
    assert [each for each, one in found.items() if one.figures] == [(8, 1), (8, 4)]
    assert found[8, 4].host < found[8, 1].host - 0.1  # its own, not that of the one before
    assert found[8, 4].answer == "AAAA"
    assert found[8, 4].loads == [1.5]
    quality_told = found[8, 4].quality
    assert quality_told
    assert quality_told.perplexity is None  # it overflowed, and stayed JSON


# -- requests and engines --------------------------------------------------------------------------------


def variant(**values: Any) -> Variant:
    usual = {"model": "tiny", "precision": "float32", "attention": "sdpa", "cache": "dynamic", "compile": False}
    return Variant.parse({**usual, "batch_size": 1, "prompt_tokens": 0, "answer_tokens": 6, **values})


def torch_engine(**values: Any) -> TorchEngine:
    return TorchEngine(tiny_model(), tiny_tokenizer(), variant(**values), settings(), lambda: None)


def test_prompts_are_cut_to_length_the_same_each_time_and_begin_apart() -> None:
    engine, made = torch_engine(), variant(prompt_tokens=600)
    first, second = (batch_of(prompts(engine, [], made), 70) for _ in range(2))
    assert first == second
    assert {len(each) for each in first} == {600}
    assert len({tuple(each[:8]) for each in first}) > 60


def test_rows_are_asked_in_an_order_of_the_seed_and_long_ones_left_out(
    workspace: Workspace, rows_file: Path, tiny_config: Callable[..., RunConfig]
) -> None:
    asked = settings(prompts=str(rows_file), rows=5)
    rows = rows_of(workspace, asked)
    (empty := workspace.new_run("empty")).held_out.touch()
    tiny_config().save(empty.config)
    with pytest.raises(RunError, match="No row of the chosen prompts"):
        rows_of(workspace, settings(prompts=f"run:{empty.id}"))
    assert rows == rows_of(workspace, asked) != rows_of(workspace, asked.model_copy(update={"seed": 1}))
    assert len(rows) == 5
    engine = torch_engine()
    lengths = sorted({len(engine.chat(row.asks)) for row in rows})
    engine.reads = lengths[0] + 6
    known = batch_of(prompts(engine, rows, variant()), 20)
    assert {len(each) for each in known} == {lengths[0]}
    engine.reads = 8
    with pytest.raises(ModelError, match="None of the prompts fits"):
        next(prompts(engine, rows, variant()))
    engine.model.config.max_position_embeddings = 8
    nothing = quality(engine, rows)  # fits, so that nothing is known
    assert (nothing.perplexity, nothing.rows, nothing.asked) == (None, 0, 5)


@pytest.mark.parametrize(
    "changes", [{"attention": "eager"}, {"cache": "static"}], ids=lambda changes: next(iter(changes.values()))
)
def test_other_ways_to_compute_give_the_same_answers(changes: dict[str, Any]) -> None:
    asked = [[5, 6, 7], [40, 41, 42, 43, 44]]
    plain, other = torch_engine(), torch_engine(**changes)
    written = other.write(asked, 12, full=False)
    assert written.rows == plain.write(asked, 12, full=False).rows
    assert len(written.times) == max(map(len, written.rows))
    assert other.nats([5, 6], [7, 8]) == pytest.approx(plain.nats([5, 6], [7, 8]), rel=1e-4)
    assert other.model.config._attn_implementation == changes.get("attention", "sdpa")


def test_compiled_models_say_the_same_and_those_that_are_not_are_not_called_so(monkeypatch: pytest.MonkeyPatch) -> None:
    config = engines._compiled()
    config.backend = "eager"  # traced as ever, but no C++ made of it, which would take a minute
    monkeypatch.setattr(engines, "_compiled", lambda: config)
    asked = [[5, 6, 7], [40, 41, 42, 43, 44]]
    compiled = torch_engine(cache="static", compile=True)
    assert compiled.write(asked, 6, full=True).rows == torch_engine().write(asked, 6, full=True).rows
    with pytest.raises(ModelError, match="does not compile"):  # transformers leaves it out with a warning
        torch_engine(cache="dynamic", compile=True).write(asked, 6, full=True)


def test_a_static_cache_is_as_large_as_its_load_needs() -> None:
    engine, sizes = torch_engine(cache="static"), []
    for most in (4, 40, 4):
        engine.anew()
        engine.write([[5, 6, 7]], most, full=True)
        sizes.append(engine.model._previous_max_cache_length)
    assert sizes[0] == sizes[2] < sizes[1]


def test_answers_to_prompts_made_to_length_go_on_beyond_an_end() -> None:
    engine = torch_engine()
    first = engine.write([[5, 6, 7]], 12, full=True).rows[0][0]
    engine.model.generation_config.eos_token_id = [engine.tokenizer.eos_token_id, first]
    assert engine.write([[5, 6, 7]], 12, full=False).rows == [[first]]  # really produced, not asked for
    assert len(engine.write([[5, 6, 7]], 12, full=True).rows[0]) == 12


class Llama:
    """As llama-cpp-python's, computed by the tiny model."""

    def __init__(self, *, n_ctx: int, logits_all: bool = False, verbose: bool, **_: Any) -> None:
        self._model, self._tokenizer, self._all = tiny_model(), tiny_tokenizer(), logits_all
        self.metadata = {"tokenizer.chat_template": self._tokenizer.chat_template}
        self.scores = np.zeros((n_ctx, 259), dtype=np.float32)
        self._read: list[int] = []
        assert not verbose

    def tokenize(self, text: bytes, add_bos: bool = True, special: bool = False) -> list[int]:
        assert not add_bos
        return self._tokenizer(text.decode())["input_ids"]

    def detokenize(self, tokens: list[int], special: bool = False) -> bytes:
        return self._tokenizer.decode(tokens, skip_special_tokens=not special).encode()

    def token_eos(self) -> int:
        return self._tokenizer.eos_token_id

    token_bos = token_eos

    def reset(self) -> None:
        self._read = []

    def eval(self, tokens: Sequence[int]) -> None:
        assert self._all
        with torch.inference_mode():
            found = self._model(input_ids=torch.tensor([list(tokens)])).logits[0].numpy()
        self.scores[: len(found)] = found

    def generate(self, tokens: Sequence[int], *, temp: float, top_k: int, top_p: float, min_p: float) -> Iterator[int]:
        assert (temp, top_k, top_p, min_p) == (0.0, 0, 1.0, 0.0)
        assert not self._read, "it would go on from the prompt before"
        self._read = list(tokens)
        for _ in count():
            with torch.inference_mode():
                token = int(self._model(input_ids=torch.tensor([self._read])).logits[0, -1].argmax())
            self._read.append(token)
            yield token


def test_llama_cpp_is_asked_as_transformers_is() -> None:
    ours = torch_engine()
    theirs = LlamaEngine("tiny.gguf", settings(), 64, lambda: None, Llama)
    talk = [{"role": "user", "content": "say 3"}]
    assert theirs.chat(talk) == ours.chat(talk)
    assert theirs.text("say 3") == ours.text("say 3")
    assert theirs.ends == ends_of(tiny_model(), tiny_tokenizer())
    written, again = (theirs.write([ours.chat(talk)], 9, full=True) for _ in range(2))
    assert written.rows == again.rows == ours.write([ours.chat(talk)], 9, full=True).rows
    assert len(written.times) == 9
    assert theirs.words(written.rows[0]) == ours.words(written.rows[0])
    assert theirs.nats([5, 6, 7], [8, 9]) == pytest.approx(ours.nats([5, 6, 7], [8, 9]), rel=1e-4)
    likely = ModelSpeaker(tiny_model(), tiny_tokenizer()).likely([talk], ["3!"])[0]  # as an evaluation has it
    assert likely
    assert theirs.likely(talk, "3!") == pytest.approx((likely.nats, likely.tokens), rel=1e-4)
    assert ours.likely(talk, "3!") == pytest.approx((likely.nats, likely.tokens), rel=1e-4)
    assert theirs.likely(talk, "3" * 64) is None
    theirs.ends = {written.rows[0][0]}
    assert theirs.write([ours.chat(talk)], 9, full=False).rows == [written.rows[0][:1]]
    theirs.model.metadata = {}
    with pytest.raises(ModelError, match="no chat template"):
        theirs.chat(talk)


# -- the command line ------------------------------------------------------------------------------------


def test_the_command_line_measures_and_says_what_to_take(
    workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def bench(text: str, *more: str) -> tuple[int, str, str]:
        path = tmp_path / "bench.yaml"
        path.write_text(text, encoding="utf-8")
        code = main(lambda *_: None, ["bench", str(path), "--workspace", str(workspace.root), *more])
        said, complaint = capsys.readouterr()
        return code, said, complaint

    small = "\n".join(f"{key}: {json.dumps(value)}" for key, value in SMALL.items())
    code, said, complaint = bench(small)
    assert code == 0, complaint
    *_, folder = said.splitlines()
    assert "Take Tiny (random weights), fp32, SDPA, dynamic cache." in said
    assert "tokens/s" in said
    assert (Path(folder) / "results.csv").read_text(encoding="utf-8").startswith("model,precision")
    code, said, _ = bench(small, "--json", "--against", folder)
    found = json.loads(said)
    assert code == 0
    assert found["results"][0]["mean_answer"] == 4
    assert found["against"]["machine"] == found["machine"]
    code, _, complaint = bench(small.replace("prompt_tokens", "attention: [flash_attention_2]\nprompt_tokens"))
    assert code == 1
    assert "FlashAttention runs on NVIDIA GPUs only" in complaint


def test_a_bench_that_was_read_knows_its_machine(workspace: Workspace) -> None:
    bench = begin(workspace, settings())
    assert isinstance(look_up(workspace, bench.binder.name), Bench)
    assert bench.machine["versions"]["torch"].startswith(torch.__version__.partition("+")[0])
