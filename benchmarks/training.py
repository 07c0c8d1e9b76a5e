"""How fast training is and what memory it takes, beside what people use today and what the machine would allow.

One epoch over the same rows with the same model, cut-off, LoRA, rate, schedule and rows an update, a process each, in
turn; ratios are medians over the rounds. Real tokens: padding is not counted. The first update, which warms up, is.

    python benchmarks/training.py [--rows 64] [--rounds 2] [--data FILE] [--only ours,by-hand] [--growth] [--whole]

`--data` is a JSON or JSONL file with the columns instruction, input and output, such as data/alpaca_en_demo.json of
LLaMA-Factory's repository, with which the goals were set; without it the sample customer_messages serves, whose rows
are short and nearly equal in length. Competitors are installed into environments of their own (`--environments`).
Goals are for two cores that compute bfloat16. Writes results/training-cpu.json and .txt.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import _growth
import _report
from _contender import Job, Report
from _limit import Shapes, operations, peak
from _running import HERE, MAPPING, Work, child, environment, ours, write_source

from studio.data.library import open_source
from studio.data.templates import to_messages
from studio.data.tokens import encode_rows
from studio.models.catalog import locate
from studio.training.batching import length_grouped
from studio.workspace import Workspace

RESULTS = HERE / "results" / "training-cpu"
TITLES = {
    "ours": "Finetune Studio",
    "llamafactory-8": "LLaMA-Factory 0.9.5, batch 8",
    "llamafactory-1x8": "LLaMA-Factory 0.9.5, batch 1 x accumulation 8",
    "trl": "TRL 1.16 SFTTrainer, defaults",
    "trl-packing": "TRL 1.16 SFTTrainer, packing, bfloat16 weights",
    "by-hand": "a loop written by hand for this one model",
    "plain": "transformers' Trainer, padded to longest, full logits",
    "limit": "nothing but the matrix products",
}
GOALS = {  # ours over theirs, real tokens a second
    "llamafactory-8": 3.5,
    "llamafactory-1x8": 2.5,
    "trl": 5.0,
    "trl-packing": 2.5,
    "by-hand": 0.85,
    "plain": None,
    "limit": 0.5,
}
EXTRA_MEMORY = 1.2  # GB that ours may take beyond LLaMA-Factory at its best


# -- the work ------------------------------------------------------------------------------------------


def prepare(options: argparse.Namespace, workspace: Workspace, scratch: Path) -> Work:
    """The model on disk, and the rows as texts and as the studio's own batches."""
    from transformers import AutoTokenizer

    located = locate(options.model, workspace.models, lambda *_: None)
    assert located.path, "a model in a folder is wanted"
    job = Job(str(located.path), str(scratch / "rows.json"), str(scratch / "batches.json"), "", "")
    rows = open_source(str(options.data or "customer_messages"), workspace, MAPPING).train.rows[: options.rows]
    conversations = [found for row in rows if (found := to_messages(row, MAPPING))]
    texts = [{"prompt": turns[0]["content"], "answer": turns[-1]["content"]} for turns in conversations]
    Path(job.rows).write_text(json.dumps(texts), encoding="utf-8")
    source = scratch / "rows.jsonl"
    write_source(source, texts)
    told = [{"instruction": text["prompt"], "output": text["answer"]} for text in texts]
    encoded, _ = encode_rows(told, MAPPING, AutoTokenizer.from_pretrained(located.path), job.max_length)
    order = length_grouped([len(one.input_ids) for one in encoded], job.batch, job.seed)
    plain = [{"input_ids": encoded[row].input_ids, "labels": encoded[row].labels} for row in order]
    batches = [plain[at : at + job.batch] for at in range(0, len(plain), job.batch)]
    Path(job.batches).write_text(json.dumps(batches), encoding="utf-8")
    lengths = [(len(row["input_ids"]), sum(label != -100 for label in row["labels"][1:])) for row in plain]
    return Work(job, source, lengths, options.model, workspace.models, options.environments, scratch)


# -- contenders ----------------------------------------------------------------------------------------


def limit(work: Work) -> Report:
    """The time that the epoch's products would take at the higher of two measured rates."""
    shapes = Shapes.read(Path(work.job.model))
    tokens = sum(tokens for tokens, _ in work.lengths)
    rates = peak(shapes, work.job.batch * tokens // len(work.lengths))
    needed = operations(shapes, work.job.rank, work.lengths)
    told = {f"{name} GFLOP/s": f"{rate / 1e9:.0f}" for name, rate in rates.items()}
    told["MFLOP a token"] = f"{needed / tokens / 1e6:.0f}"
    return Report([], tokens, needed / max(rates.values()), 0.0, 0.0, told)


def contenders(work: Work) -> dict[str, Callable[[], Report]]:
    here = Path(sys.executable)
    found: dict[str, Callable[[], Report]] = {
        "ours": lambda: ours(work),
        "by-hand": lambda: child("by-hand", "_by_hand.py", here, work),
        "plain": lambda: child("plain", "_competitors.py", here, work),
        "limit": lambda: limit(work),
    }
    for name in ("llamafactory-8", "llamafactory-1x8", "trl", "trl-packing"):
        found[name] = lambda name=name: child(name, "_competitors.py", environment(name.split("-")[0], work), work)
    return {name: found[name] for name in TITLES}


# -- the table -----------------------------------------------------------------------------------------

Rounds = dict[str, list[Report]]  # of each contender, a report a round


def table(rounds: Rounds, work: Work) -> list[str]:
    """Speeds, then ratios against their goals, memory and losses."""
    tokens = sum(tokens for tokens, _ in work.lengths)
    labelled = sum(labelled for _, labelled in work.lengths)
    lines = [f"{len(work.lengths)} rows, {tokens:,} tokens, {labelled:,} of them labelled; {_report.machine()}", ""]
    lines += [_report.row(TITLES[name], [each.speed for each in found], "tok/s") for name, found in rounds.items()]
    lines += [""] + [
        _report.row(f"{TITLES[name][:40]}, memory", [each.memory for each in found], "GB")
        for name, found in rounds.items()
        if name != "limit"
    ]
    if "limit" in rounds:
        lines += ["", "The machine: " + ", ".join(f"{k} {v}" for k, v in rounds["limit"][-1].versions.items())]
    return [*lines, "", *verdicts(rounds), *losses(rounds)]


def verdicts(rounds: Rounds) -> list[str]:
    """Ours over each other one, a line each, with what was to be reached."""
    if "ours" not in rounds:
        return []
    lines = []
    for name, found in rounds.items():
        if name != "ours":
            pairs = [mine.speed / other.speed for mine, other in zip(rounds["ours"], found, strict=True)]
            lines.append(_report.row(f"ours / {TITLES[name][:44]}", pairs, "x") + _reached(pairs, GOALS[name]))
    if best := rounds.get("llamafactory-1x8"):
        more = [mine.memory - other.memory for mine, other in zip(rounds["ours"], best, strict=True)]
        reached = "reached" if statistics.median(more) <= EXTRA_MEMORY else "MISSED"
        lines.append(_report.row("memory beyond LLaMA-Factory's best", more, "GB") + f"  goal <= 1.2: {reached}")
    return lines


def _reached(ratios: list[float], goal: float | None) -> str:
    if goal is None:
        return ""
    return f"  goal >= {goal}: {'reached' if statistics.median(ratios) >= goal else 'MISSED'}"


def losses(rounds: Rounds) -> list[str]:
    """How far loss curves lie apart where updates saw the same rows, and every curve's last quarter."""
    lines = [""]
    first = {name: found[0] for name, found in rounds.items() if found[0].losses}
    for name, other in (("ours", "plain"), ("by-hand", "plain"), ("ours", "by-hand")):
        if name in first and other in first:
            if first[name].step_tokens != first[other].step_tokens:
                lines.append(f"losses of {name} and {other}: their updates saw other rows")
                continue
            apart = [abs(a - b) for a, b in zip(first[name].losses, first[other].losses, strict=True)]
            lines.append(
                f"losses of {name} and {other}: {max(apart):.4f} apart at most over {len(apart)} updates, "
                f"{statistics.mean(apart):.4f} on average"
            )
    for name, report in first.items():
        last = report.losses[-max(1, len(report.losses) // 4) :]
        change = f"loss {report.losses[0]:.3f} -> {statistics.mean(last):.3f}"
        lines.append(f"{TITLES[name]:<54} {report.tokens:>9,} tokens, {change}, {_packages(report)}")
    return lines


def _packages(report: Report) -> str:
    return " ".join(f"{name} {number}" for name, number in report.versions.items())


def race(work: Work, chosen: list[str], rounds: int) -> None:
    """Each in turn, round by round."""
    found: Rounds = {name: [] for name in TITLES if name in chosen}
    runs = contenders(work)
    for number in range(rounds):
        for name, reports in found.items():
            reports.append(runs[name]())
            said = f"{reports[-1].speed:.0f} tok/s, {reports[-1].memory:.2f} GB"
            print(f"round {number + 1}: {TITLES[name]}: {said}", file=sys.stderr, flush=True)
    values = {name: [asdict(each) for each in reports] for name, reports in found.items()}
    _report.keep(RESULTS, "race", {"rounds": values}, table(found, work))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workspace", type=Path, help="one that holds the starter model spares its download")
    parser.add_argument("--model", default="starter", help="another of Llama's kind, as a config names it")
    parser.add_argument("--environments", type=Path, default=Path.home() / ".cache" / "finetune-studio-benchmarks")
    parser.add_argument("--data", type=Path, help="JSON or JSONL with instruction, input, output")
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", default=",".join(TITLES), help="names, with commas")
    parser.add_argument("--growth", action="store_true", help="instead: what longer data and longer rows cost")
    parser.add_argument("--whole", action="store_true", help="instead: process start to adapter, 100 rows")
    options = parser.parse_args()
    if unknown := set(options.only.split(",")) - set(TITLES):
        parser.error(f"--only knows no {', '.join(sorted(unknown))}; it knows {', '.join(TITLES)}")
    if options.whole:
        options.rows = _growth.WHOLE_ROWS
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        workspace = Workspace(options.workspace or scratch / "workspace").create()
        work = prepare(options, workspace, scratch)
        if options.growth:
            _growth.growth(work, options.rounds, RESULTS)
        elif options.whole:
            _growth.whole(work, options.rounds, RESULTS)
        else:
            race(work, options.only.split(","), options.rounds)


if __name__ == "__main__":
    main()
