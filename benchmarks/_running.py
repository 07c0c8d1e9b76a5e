"""How the contenders of `training.py` are run: ours from its command line, others in environments of their own."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping as Environment
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml
from _contender import Job, Report

from studio.data.templates import Mapping
from studio.events import ModelReady, Phase, Saved, StepDone
from studio.launch import worker_environment
from studio.workspace import RunFolder

HERE = Path(__file__).parent
MAPPING = Mapping("instruction", {"instruction": "instruction", "input": "input", "output": "output"})
PACKAGES = {
    "trl": ("trl==1.16.0", "transformers==5.23.0", "peft==0.21.2"),
    "llamafactory": ("llamafactory==0.9.5",),
}
TORCH = "torch==2.13.0"  # for all; from whatever index this machine's pip uses


@dataclass(frozen=True)
class Work:
    """The rows of one benchmark, in all the shapes contenders want, and where things are."""

    job: Job  # output and report are filled in for each contender
    source: Path  # the rows as a file the studio reads
    lengths: list[tuple[int, int]]  # (tokens, labelled tokens) of each row
    model: str  # as a config names it
    models: Path  # the workspace's folder of models
    environments: Path
    scratch: Path


def write_source(path: Path, texts: list[dict[str, str]]) -> None:
    """Rows for the studio: an instruction and an output a line."""
    with path.open("w", encoding="utf-8") as file:
        for text in texts:
            file.write(json.dumps({"instruction": text["prompt"], "input": "", "output": text["answer"]}) + "\n")


def ours(work: Work, **changes: dict[str, Any]) -> Report:
    """The studio itself, from its command line, in a workspace that knows only the model.

    `changes` are settings by section of the config.
    """
    job = work.job
    config: dict[str, Any] = {
        "model": work.model,
        "dataset": {"source": str(work.source), "validation_share": 0.0, **asdict(MAPPING)},
        "objective": {"name": "next_token", "max_length": job.max_length},
        "method": {"name": "lora", "r": job.rank, "lora_alpha": job.alpha},
        "training": {
            "per_device_train_batch_size": job.batch,
            "learning_rate": job.learning_rate,
            "warmup_steps": 0,
            "answer_rows": 0,
        },
        "seed": job.seed,
    }
    return studio_run(
        {
            name: {**value, **changes.get(name, {})} if isinstance(value, dict) else value
            for name, value in config.items()
        },
        work,
    )


def studio_run(config: dict[str, Any], work: Work) -> Report:
    """What a run of `config` did, read from its events."""
    with tempfile.TemporaryDirectory(dir=work.scratch) as root:
        (Path(root) / "models").symlink_to(work.models)
        path = Path(root) / "config.yaml"
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        command = [str(Path(sys.executable).parent / "finetune-studio"), "train", str(path), "--workspace", root]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"The studio's run failed: {done.stderr.strip()}")
        return studio_report(RunFolder(Path(done.stdout.strip().splitlines()[-1])))


def studio_report(folder: RunFolder) -> Report:
    """From the first step's begin to the last one's end on the clock, whatever happened between."""
    events, _ = folder.events.read_from()
    steps = [event for event in events if isinstance(event, StepDone)]
    began = next(event.time for event in events if isinstance(event, Phase) and event.name == "Training")
    saved = next(event for event in events if isinstance(event, Saved))
    place = next(event for event in events if isinstance(event, ModelReady))
    tokens, seconds = [0, *(step.tokens for step in steps)], [0.0, *(step.seconds for step in steps)]
    return Report(
        losses=[step.metrics["loss"] for step in steps],
        tokens=tokens[-1],
        seconds=steps[-1].time - began,
        memory=saved.peak_memory,
        saved=saved.time,
        versions={"dtype": place.dtype},
        step_tokens=[after - before for before, after in itertools.pairwise(tokens)],
        step_seconds=[after - before for before, after in itertools.pairwise(seconds)],
    )


def child(name: str, file: str, python: Path, work: Work) -> Report:
    """Run contender `name` of `file` with `python`; it tells in a file what it did."""
    with tempfile.TemporaryDirectory(dir=work.scratch) as root:
        job = Job(**{**asdict(work.job), "output": f"{root}/adapter", "report": f"{root}/report.json"})
        job.write(Path(root) / "job.json")
        command = [str(python), str(HERE / file), name, f"{root}/job.json"]
        # By hand it gets what the studio gives its own workers, the allocator for one; others get what they find.
        environment = worker_environment() if file == "_by_hand.py" else dict(os.environ)
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=quiet(environment))
        if done.returncode:
            raise SystemExit(f"{name} failed:\n{done.stderr[-2000:]}")
        return Report(**json.loads(Path(job.report).read_text(encoding="utf-8")))


def quiet(environment: Environment[str, str]) -> dict[str, str]:
    """The environment of a process that asks no hub anything."""
    return {**environment, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "DISABLE_VERSION_CHECK": "1"}


def environment(name: str, work: Work) -> Path:
    """The Python into whose environment `name` is installed, once. Its torch is ours, or a CUDA build would come."""
    folder = work.environments / name
    python = folder / "bin" / "python"
    ready = folder / "installed"
    wanted = "\n".join(PACKAGES[name])
    if not (ready.exists() and ready.read_text(encoding="utf-8") == wanted):
        print(f"Installing {', '.join(PACKAGES[name])} into {folder.name} ...", file=sys.stderr, flush=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        limits = folder / "constraints.txt"
        limits.write_text(TORCH, encoding="utf-8")
        command = [str(python), "-m", "pip", "install", "-q", "-c", str(limits), TORCH, *PACKAGES[name]]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            raise SystemExit(f"{name} could not be installed; pip says why: pip install {TORCH} {wanted}")
        _without_media(python)
        ready.write_text(wanted, encoding="utf-8")
    return python


def _without_media(python: Path) -> None:
    """Take away torchvision and torchaudio where they do not load: builds for a GPU beside a torch for the CPU.

    LLaMA-Factory needs them for pictures and sound alone, but imports the second always: an empty file serves.
    """
    for name, stand_in in (("torchvision", False), ("torchaudio", True)):
        if subprocess.run([str(python), "-c", f"import {name}"], capture_output=True, check=False).returncode:
            subprocess.run([str(python), "-m", "pip", "uninstall", "-q", "-y", name], capture_output=True, check=True)
            if stand_in:
                next(python.parents[1].glob("lib/python3*/site-packages")).joinpath(f"{name}.py").touch()
