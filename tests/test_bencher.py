"""Benchmarks of the tiny model in their process: left and taken up, out of memory, beside a run."""

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
from studio.benchmarks.engines import Written
from studio.benchmarks.variants import BenchSettings
from studio.cli import main
from studio.config import RunConfig
from studio.errors import RunError
from studio.events import Done, Saved
from studio.methods import methods
from studio.models.machine import forget_peak_memory
from studio.models.tiny import tiny_model, tiny_tokenizer
from studio.processes import own_device
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
