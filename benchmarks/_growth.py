"""`training.py --growth` and `--whole`: what more data and longer rows cost, and a whole job from start to adapter."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from itertools import cycle, islice, product
from pathlib import Path

import _report
import yaml
from _competitors import llamafactory_settings
from _contender import Report
from _limit import Shapes, operations
from _running import Work, environment, ours, quiet, write_source

ROWS = (1_000, 10_000, 100_000)
LENGTHS = (128, 256, 512, 1024, 2048)  # tokens a row
TOKENS = 4096  # an update, whatever the rows' length
STEPS = 20  # of each size of data
LONG_STEPS = 6  # of each length; the first warms up
WHOLE_ROWS = 100

Reports = dict[int, list[Report]]  # of each size, a report a round


def growth(work: Work, rounds: int, results: Path) -> None:
    """Speed and memory of ours over more rows, then over longer ones beside what their FLOPs say."""
    sizes = _in_turn(_many, work, ROWS, rounds)
    lines = ["the same rows again and again:"]
    lines += [_line(f"{size:,} rows, {STEPS} updates", found) for size, found in sizes.items()]
    speeds, held = [_speed(each) for each in sizes.values()], [_memory(each) for each in sizes.values()]
    lines.append(
        f"slowest / quickest {min(speeds) / max(speeds):.2f} (goal >= 0.9), memory {held[-1] - held[0]:+.2f} GB"
    )
    lengths = _in_turn(_long, work, LENGTHS, rounds)
    shapes = Shapes.read(Path(work.job.model))
    # Rows of one length, learnt whole but for the first token, which nothing predicts.
    costs = {each: operations(shapes, work.job.rank, [(each, each - 1)]) / each for each in LENGTHS}
    reference = _speed(lengths[LENGTHS[0]]) * costs[LENGTHS[0]]  # FLOP/s
    lines += ["", f"{TOKENS:,} tokens an update, all learnt; beside what the FLOPs of a token say:"]
    for length, found in lengths.items():
        expected = reference / costs[length]
        said = f"  FLOPs say {expected:.0f} tok/s: measured {_speed(found) / expected:.2f} of it"
        lines.append(_line(f"{length:,} tokens a row", found) + said)
    values = {
        "rows": {size: [asdict(each) for each in found] for size, found in sizes.items()},
        "lengths": {length: [asdict(each) for each in found] for length, found in lengths.items()},
        "flops_a_token": costs,
    }
    _report.keep(results, "growth", values, lines)


def _in_turn(run: Callable[[Work, int], Report], work: Work, sizes: Sequence[int], rounds: int) -> Reports:
    found: Reports = {size: [] for size in sizes}
    for _, size in product(range(rounds), sizes):
        found[size].append(run(work, size))
    return found


def whole(work: Work, rounds: int, results: Path) -> None:
    """Seconds from a process's start until its adapter is on disk, ours and theirs in turn, both from cold."""
    mine, theirs = [], []
    for _ in range(rounds):
        began = time.time()
        mine.append(ours(work).saved - began)
        theirs.append(_command_line(work))
    lines = [
        f"{len(work.lengths)} rows, process start -> adapter saved:",
        _report.row("finetune-studio train", mine, "s"),
        _report.row("llamafactory-cli train, batch 1 x accumulation 8", theirs, "s"),
        _report.ratio("llamafactory-cli / finetune-studio", mine, theirs) + "  goal >= 3",
    ]
    _report.keep(results, "whole", {"ours": mine, "llamafactory": theirs}, lines)


def _many(work: Work, size: int) -> Report:
    """So many rows of data, of which a bounded number of updates is trained."""
    texts = json.loads(Path(work.job.rows).read_text(encoding="utf-8"))
    source = work.scratch / f"{size}.jsonl"
    write_source(source, list(islice(cycle(texts), size)))
    return ours(replace(work, source=source), training={"max_steps": STEPS})


def _long(work: Work, length: int) -> Report:
    """Plain text, packed into rows of exactly `length` tokens."""
    texts = json.loads(Path(work.job.rows).read_text(encoding="utf-8"))
    mean = sum(tokens for tokens, _ in work.lengths) / len(work.lengths)
    enough = islice(cycle(texts), int(3 * TOKENS * LONG_STEPS / mean))  # without a template they are shorter
    source = work.scratch / "texts.jsonl"
    with source.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps({"text": f"{one['prompt']}\n\n{one['answer']}"}) + "\n" for one in enough)
    return ours(
        work,
        dataset={"source": str(source), "format": "text", "columns": {"text": "text"}},
        objective={"max_length": length},
        training={"per_device_train_batch_size": TOKENS // length, "max_steps": LONG_STEPS},
    )


def _speed(reports: list[Report]) -> float:
    """Tokens a second without the first update, which warms up; the median of the rounds."""
    return statistics.median(sum(each.step_tokens[1:]) / sum(each.step_seconds[1:]) for each in reports)


def _memory(reports: list[Report]) -> float:
    return statistics.median(each.memory for each in reports)


def _line(name: str, reports: list[Report]) -> str:
    return f"{name:<32} {_speed(reports):>8.0f} tok/s {_memory(reports):>7.2f} GB"


def _command_line(work: Work) -> float:
    """Seconds from the start of `llamafactory-cli train` until its adapter is written."""
    python = environment("llamafactory", work)
    with tempfile.TemporaryDirectory(dir=work.scratch) as root:
        job = replace(work.job, output=f"{root}/adapter")
        settings = llamafactory_settings(job, Path(root) / "data")
        settings |= {"per_device_train_batch_size": 1, "gradient_accumulation_steps": job.batch}
        config = Path(root) / "config.yaml"
        config.write_text(yaml.safe_dump(settings), encoding="utf-8")
        began = time.time()
        command = [str(python.parent / "llamafactory-cli"), "train", str(config)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=quiet(os.environ))
        if done.returncode:
            raise SystemExit(f"llamafactory-cli failed:\n{done.stderr[-2000:]}")
        return (Path(job.output) / "adapter_model.safetensors").stat().st_mtime - began
