"""Are the benchmark's figures true, and what are they on this machine?

Claims: tokens/s as the benchmark states them agree within 5 % with a bare loop around `generate` that looks at the
clock before and after, batch by batch in turn with the same model and prompts; the same of llama.cpp (needs
llama-cpp-python and `--gguf FILE`), whose tokens/s while it writes are what llama-bench calls tg.

    python benchmarks/bench.py [--only torch,variants] [--model NAME] [--workspace FOLDER] [--batches 8] [--tokens 48]

Writes results/bench-cpu.json and .txt. `variants` measures number formats of the model, as the page does.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import _report

from studio.bench import begin, look_up
from studio.bencher import Bencher
from studio.benchmarks.engines import Engine, LlamaEngine, opened
from studio.benchmarks.figures import Batch, figures
from studio.benchmarks.requests import batch_of, prompts
from studio.benchmarks.variants import BenchSettings, Variant, variants
from studio.cli_bench import lines
from studio.workspace import Workspace

RESULTS = Path(__file__).parent / "results" / "bench-cpu"
PROMPT = 64  # tokens


def _pairs(
    engine: Engine, variant: Variant, options: argparse.Namespace, bare: Callable[[list[list[int]]], int]
) -> tuple[list[float], list[float]]:
    """Tokens/s of each batch as the benchmark has it, and as the bare loop has it; who goes first changes."""
    ours: list[float] = []
    theirs: list[float] = []

    def measured(asked: list[list[int]]) -> None:
        written = engine.write(asked, options.tokens, full=True)
        counts = tuple(len(row) for row in written.rows)
        ours.append(figures([[Batch(written.times, counts, tuple(map(len, asked)))]]).output_rate)

    def timed(asked: list[list[int]]) -> None:
        began = time.perf_counter()
        count = bare(asked)
        theirs.append(count / (time.perf_counter() - began))

    source = prompts(engine, [], variant)
    for turn in range(options.batches + 1):
        asked = batch_of(source, variant.batch_size)
        for work in (measured, timed) if turn % 2 else (timed, measured):
            work(asked)
    return ours[1:], theirs[1:]  # the first ones warm up


def _said(name: str, ours: list[float], theirs: list[float]) -> list[str]:
    return [
        _report.row(f"{name}: the benchmark", ours, "tokens/s"),
        _report.row(f"{name}: a bare loop around generate", theirs, "tokens/s"),
        _report.ratio(f"{name}: benchmark / bare loop (goal 0.95-1.05)", theirs, ours),
    ]


def with_torch(workspace: Workspace, options: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    """One request at a time, and eight together."""
    import torch

    asked = BenchSettings.parse(
        {"models": [options.model], "batch_size": [1, 8], "prompt_tokens": [PROMPT], "answer_tokens": [options.tokens]}
    )
    values: dict[str, Any] = {}
    said: list[str] = []
    for variant in variants(asked):
        engine: Any
        engine, _ = opened(variant, asked, workspace, None, 0, lambda: None)

        def bare(rows: list[list[int]], engine: Any = engine) -> int:
            ids = torch.tensor(rows)
            with torch.inference_mode():
                written = engine.model.generate(
                    input_ids=ids,
                    attention_mask=torch.ones_like(ids),
                    do_sample=False,
                    max_new_tokens=options.tokens,
                    min_new_tokens=options.tokens,
                    pad_token_id=engine.tokenizer.pad_token_id,
                )
            return written[:, ids.shape[1] :].numel()

        ours, theirs = _pairs(engine, variant, options, bare)
        values[f"batch {variant.batch_size}"] = {"ours": ours, "bare": theirs}
        said += _said(f"{options.model}, batch {variant.batch_size}", ours, theirs)
    return values, said


def with_llama(workspace: Workspace, options: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    """The same of a GGUF file, and its rate while it writes, as llama-bench has it."""
    try:
        from llama_cpp import Llama  # pyright: ignore[reportMissingImports]
    except ImportError:
        return {}, ["llama.cpp: not measured, as llama-cpp-python is not installed"]
    asked = BenchSettings.parse({"precision": ["gguf"], "gguf": options.gguf, "prompt_tokens": [PROMPT]})
    variant = Variant.parse({**variants(asked)[0].model_dump(), "answer_tokens": options.tokens, "batch_size": 1})
    engine = LlamaEngine(options.gguf, asked, PROMPT + options.tokens + 1, lambda: None, Llama)
    writing: list[float] = []

    def bare(rows: list[list[int]]) -> int:
        engine.model.reset()
        times = [time.perf_counter()]
        for _, _token in zip(
            range(options.tokens), engine.model.generate(rows[0], temp=0.0, top_k=0, top_p=1.0, min_p=0.0), strict=False
        ):
            times.append(time.perf_counter())
        writing.append((len(times) - 2) / sum(b - a for a, b in pairwise(times[1:])))
        return len(times) - 1

    ours, theirs = _pairs(engine, variant, options, bare)
    return {"ours": ours, "bare": theirs, "tg": writing[1:]}, [
        *_said(Path(options.gguf).name, ours, theirs),
        _report.row("tg: tokens/s behind the first token", writing[1:], "tokens/s"),
    ]


def by_variants(workspace: Workspace, options: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    """What the page's benchmark says of the model's number formats."""
    bench = begin(
        workspace,
        BenchSettings.parse(
            {
                "models": [options.model],
                "precision": ["float32", "bfloat16", "int8", "nf4"],
                "batch_size": [1, 8],
                "prompt_tokens": [PROMPT],
                "answer_tokens": [options.tokens],
                "rounds": 2,
            }
        ),
    )
    bencher = Bencher(workspace)
    for part in bencher.run(bench.binder.name):
        print(f"\r\x1b[K{part.doing}", end="", flush=True)
    bencher.close()
    bench = look_up(workspace, bench.binder.name)
    return bench.plain(), lines(bench)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="starter")
    parser.add_argument("--batches", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--gguf", default="")
    _report.measure(RESULTS, {"torch": with_torch, "llama": with_llama, "variants": by_variants}, parser)


if __name__ == "__main__":
    main()
