"""What does a run take along, how near is each form of it to what was trained, and does the same come again?

`forms`: each export of a finished run: its size, the seconds until it is made and checked, and what the check found of
logits, likeliest tokens and answers. `--run` names one of the workspace's; without it 8 steps of LoRA are trained.
k-quants are left out where llama.cpp's quantiser is not installed.
`script`: the program that a run is written out as, beside the run: how far its losses are at most, in float32, and how
far those of one with a mistake in it.
`again`: 'Run again' gives the losses, gradient norms and scores of the run, to the bit.

Give a workspace that holds the starter to spare its download.

    python benchmarks/exports.py [--only forms,script,again] [--workspace FOLDER] [--run RUN] [--rounds 1] [--steps 8]

Writes results/exports-cpu.json and .txt.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from contextlib import closing
from pathlib import Path
from typing import Any

import _report
from policy import trained

from studio.again import again
from studio.config import RunConfig
from studio.events import EvalDone, StepDone
from studio.exporter import Exported, Exporter, delete, parse
from studio.exports.gguf import K_QUANTS, quantiser
from studio.models.catalog import folder_of
from studio.store import Store
from studio.workspace import RunFolder, Workspace

RESULTS = Path(__file__).parent / "results" / "exports-cpu"
FORMS: list[dict[str, Any]] = [
    {"name": "adapter"},
    {"name": "script"},
    *({"name": "merged", "precision": each} for each in ("float32", "bfloat16")),
    *({"name": "gguf", "quantization": each} for each in ("f16", "q8_0", "q4_0", *reversed(K_QUANTS))),
]
LOGITS = re.compile(r"by (\S+) at most and (\S+) on average, where they spread by (\S+); .* in ([\d.]+)% of places")
ANSWERS = re.compile(r"Asked (\d+) times without chance, it writes the same answer (\d+) times")
ASIDE = ("tokens_per_second", "memory")  # of a step's numbers: of the clock and the machine, not of the model
MODELS = {"tiny": 12, "starter": 6}  # steps
WRONG = {  # a mistake → what of the program is another thing
    "a learning rate 10 % higher": (r"^LEARNING_RATE = (.*)$", r"LEARNING_RATE = 1.1 * \1"),
    "another mask": (r'for start, end in row\["learnt"\]', 'for start, end in [(0, len(row["text"]))]'),
    "another order": (r"random\.Random\(SEED \+ epoch\)", "random.Random(SEED + epoch + 1)"),
    "another seed": (r"set_seed\(SEED\)", "set_seed(SEED + 1)"),
}


def run_of(workspace: Workspace, options: argparse.Namespace) -> RunFolder:
    """The run that is exported."""
    if options.run:
        return workspace.run(options.run)
    return trained(workspace, config_of("starter", options.steps, "auto"))


def config_of(model: str, steps: int, dtype: str) -> RunConfig:
    """LoRA on a sample, scored twice while it learns."""
    training = {"max_steps": steps, "per_device_train_batch_size": 4, "dtype": dtype, "answer_rows": 0}
    training |= {"eval_steps": max(1, steps // 2), "eval_rows": 8, "sample_rows": 0}
    # The tiny model spells letter by letter: in 128 of them no held-out row comes to its answer.
    objective = {"name": "next_token", "max_length": 512 if model == "tiny" else 128}
    return RunConfig.parse({"model": model, "method": "lora", "objective": objective, "training": training})


# -- each form -------------------------------------------------------------------------------------------


def forms(workspace: Workspace, options: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    """One after the other, each as the Export tab makes it; what was made is deleted again."""
    run, found, lines = run_of(workspace, options).path.name, [], []
    state = Store(workspace).state(run)
    for form in FORMS:
        if form.get("quantization") in K_QUANTS and not quantiser():
            lines.append(f"{form['quantization']} was left out: llama.cpp's quantiser is not installed")
            continue
        made = [exported(workspace, run, form) for _ in range(options.rounds)]
        found.append({"form": form, "seconds": [each.seconds for each in made], **seen(made[-1])})
        lines.append(line(found[-1]))
        print(lines[-1], flush=True)
    head = f"{state.title}, {state.step} steps; held-out rows as each form's check asks them"
    return {"run": state.title, "steps": state.step, "forms": found}, [head, *lines]


def exported(workspace: Workspace, run: str, form: dict[str, Any]) -> Exported:
    with closing(Exporter(workspace)) as exporter:
        *_, made = exporter.export(run, parse(form))
    assert isinstance(made, Exported)
    delete(workspace, made.name)
    return made


def seen(made: Exported) -> dict[str, Any]:
    """Its size, and the figures in what was checked."""
    told = " ".join(made.checked)
    logits, answers = LOGITS.search(told), ANSWERS.search(told)
    names = ("largest", "mean", "spread", "same")
    return {
        "bytes": made.bytes,
        "logits": dict(zip(names, map(float, logits.groups()), strict=True)) if logits else None,
        "answers": list(map(int, answers.groups())) if answers else None,
        "checked": made.checked,
    }


def line(found: dict[str, Any]) -> str:
    form, logits, answers = found["form"], found["logits"], found["answers"]
    title = " ".join(map(str, form.values()))
    size = f"{found['bytes'] / 1e6:>7.1f} MB" if found["bytes"] >= 1e6 else f"{found['bytes'] / 1e3:>7.1f} kB"
    text = f"{title:<16} {size} {statistics.median(found['seconds']):>7.1f} s"
    if logits:
        text += f"   logits off by {logits['largest']:.2g} at most, {logits['mean']:.2g} on average of "
        text += f"{logits['spread']:.2g}; same likeliest {logits['same']:.1f} %"
    return text + (f"; same answers {answers[1]} of {answers[0]}" if answers else "")


# -- the program -----------------------------------------------------------------------------------------


def script(workspace: Workspace, _options: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    """The tiny model and the starter, in float32; and how far off the tiny model's program is with a mistake in it."""
    found, lines = {}, []
    for model, steps in MODELS.items():
        run = trained(workspace, config_of(model, steps, "float32"))
        with tempfile.TemporaryDirectory() as scratch:
            folder, base = unpacked(workspace, run, Path(scratch)), folder_of(model, workspace.models)
            began = time.monotonic()
            found[model] = {"steps": steps, **apart(folder, base), "seconds": time.monotonic() - began}
            mistakes = {name: apart(mistaken(folder, name), base)["apart"] for name in WRONG if model == "tiny"}
        each = found[model]
        lines.append(
            f"{model}: {steps} steps, {each['losses']} losses of {each['least']:.2f} to {each['most']:.2f} nats, the "
            f"program's at most {each['apart']:.1e} from the run's; {each['seconds']:.0f} s"
        )
        lines += [f"{model}, {name}: {off:.1e} from the run's" for name, off in mistakes.items()]
        each["mistakes"] = mistakes
    return found, lines


def unpacked(workspace: Workspace, run: RunFolder, folder: Path) -> Path:
    """The program and its rows."""
    with closing(Exporter(workspace)) as exporter:
        *_, made = exporter.export(run.path.name, parse("script"))
    assert isinstance(made, Exported)
    with zipfile.ZipFile(made.path(workspace)) as archive:
        archive.extractall(folder)
    delete(workspace, made.name)
    return folder


def mistaken(folder: Path, name: str) -> Path:
    """The program with that mistake, beside it."""
    there = folder / name
    shutil.copytree(folder, there, ignore=shutil.ignore_patterns("out", *WRONG))
    right, wrong = WRONG[name]
    text, count = re.subn(right, wrong, (there / "train.py").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert count == 1, name
    (there / "train.py").write_text(text, encoding="utf-8")
    return there


def apart(folder: Path, base: Path | None) -> dict[str, Any]:
    """Run the program in a process of its own: how far its losses are from the run's, in nats."""
    command = [sys.executable, "train.py", *(["--model", str(base)] if base else [])]
    alone = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": ""}
    done = subprocess.run(command, cwd=folder, env=alone, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"The program failed: {done.stderr.strip()[-2000:]}")
    there, mine = (curve(folder / each) for each in ("curve.jsonl", "out/losses.jsonl"))
    assert mine.keys() == there.keys()
    assert {name for name, _ in there} == {"loss", "eval_loss"}
    off = max(abs(mine[key] - there[key]) for key in there)
    return {"losses": len(there), "least": min(there.values()), "most": max(there.values()), "apart": off}


def curve(path: Path) -> dict[tuple[str, int], float]:
    """Losses of training and of evaluations, by step."""
    rows = [json.loads(each) for each in path.read_text(encoding="utf-8").splitlines()]
    return {(name, row["step"]): row[name] for row in rows for name in ("loss", "eval_loss") if name in row}


# -- the same again --------------------------------------------------------------------------------------


def repeated(workspace: Workspace, _options: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    """A run, and what 'Run again' makes of it."""
    found, lines = {}, []
    for model, steps in MODELS.items():
        first = trained(workspace, config_of(model, steps, "float32"))
        second = trained(workspace, again(Store(workspace).state(first.path.name), workspace))
        one, other = numbers(first), numbers(second)
        count, same = sum(len(each) for _, each in one), one == other
        found[model] = {"steps": steps, "numbers": count, "same": same}
        lines.append(f"{model}: {count} numbers of {steps} steps are {'equal to the bit' if same else 'OTHERS'}")
    return found, lines


def numbers(folder: RunFolder) -> list[tuple[int, dict[str, float]]]:
    """All losses, gradient norms and scores."""
    return [
        (event.step, {name: value for name, value in event.metrics.items() if name not in ASIDE})
        for event in folder.events.read_from()[0]
        if isinstance(event, StepDone | EvalDone)
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--run", help="that is exported")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=8, help="of the run that is exported where none is named")
    _report.measure(RESULTS, {"forms": forms, "script": script, "again": repeated}, parser)
