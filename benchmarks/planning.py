"""How near the formula comes: memory as `studio.estimate` tells it beside what real runs held.

Claim: within 25 % over LoRA, QLoRA and full fine-tuning, three shapes of batches and two models: the starter and
a Llama of another shape with random weights. Rows are blocks of an exact length; each run takes two steps in a
worker of its own. Run it from the project's folder; a
workspace that holds the starter spares its download.

    python benchmarks/planning.py [--workspace FOLDER] [--only lora]
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import _report
import yaml

from studio.config import RunConfig
from studio.estimate import Batch, needs
from studio.events import Saved
from studio.models.catalog import locate, structure_of
from studio.models.machine import room
from studio.workspace import RunFolder, Workspace

RESULTS = Path(__file__).parent / "results" / "planning-cpu"
METHODS = ("lora", "qlora", "full")
SHAPES = ((2, 128), (8, 64), (4, 256))  # rows, tokens each
STEPS = 2
WORDS = 30_000  # enough for the largest shape


@dataclass(frozen=True)
class Outcome:
    """One run; gigabytes."""

    model: str
    method: str
    rows: int
    length: int  # tokens of a row
    predicted: float  # the file's cache included, which the peak of a process counts, too
    measured: float
    parts: dict[str, float]

    @property
    def error(self) -> float:
        return self.predicted / self.measured - 1

    def line(self) -> str:
        shape = f"{self.rows} x {self.length}"
        return (
            f"{self.model:<12} {self.method:<6} {shape:>8} {self.predicted:>9.2f} GB {self.measured:>9.2f} GB "
            f"{self.error:>+7.0%}"
        )


def another_model(workspace: Workspace, folder: Path) -> str:
    """A Llama with many heads, an output layer of its own and random weights; the starter's tokenizer."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    starter = locate("starter", workspace.models, lambda *_: None).path
    assert starter is not None
    tokenizer = AutoTokenizer.from_pretrained(starter)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=512, intermediate_size=1792, num_hidden_layers=8,
        num_attention_heads=8, num_key_value_heads=8, max_position_embeddings=2048, tie_word_embeddings=False,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, bos_token_id=None,
    )  # fmt: skip
    model: Any = LlamaForCausalLM(config)
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def write_rows(path: Path) -> None:
    """One long text: packed, it fills blocks of any length."""
    draw = random.Random(0)  # noqa: S311 - words, not secrets
    words = ("the", "run", "learns", "what", "rows", "say", "and", "keeps", "it", "small")
    lines = ("{" + f'"text": "{" ".join(draw.choices(words, k=WORDS // 100))}"' + "}" for _ in range(100))
    path.write_text("\n".join(lines), encoding="utf-8")


def config_of(model: str, method: str, rows: int, length: int, data: Path) -> dict[str, Any]:
    return {
        "model": model,
        "dataset": {
            "source": str(data), "validation_share": 0.0, "format": "text", "columns": {"text": "text"},
        },
        "objective": {"name": "next_token", "max_length": length},
        "method": {"name": method},
        "training": {"per_device_train_batch_size": rows, "max_steps": STEPS, "answer_rows": 0},
    }  # fmt: skip


def measured(config: dict[str, Any], workspace: Workspace, scratch: Path) -> float:
    """GB that the worker held at most."""
    with tempfile.TemporaryDirectory(dir=scratch) as root:
        (Path(root) / "models").symlink_to(workspace.models)
        path = Path(root) / "config.yaml"
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        command = [str(Path(sys.executable).parent / "finetune-studio"), "train", str(path), "--workspace", root]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"A run failed: {done.stderr.strip()}")
        events, _ = RunFolder(Path(done.stdout.strip().splitlines()[-1])).events.read_from()
    return next(event.peak_memory for event in events if isinstance(event, Saved))


def outcome(title: str, config: dict[str, Any], workspace: Workspace, scratch: Path) -> Outcome:
    """The formula first, then the run."""
    asked = RunConfig.parse(config)
    structure = structure_of(asked.model, workspace.models)
    assert structure is not None
    rows, length = asked.training.per_device_train_batch_size, config["objective"]["max_length"]
    told = needs(asked, structure, Batch(rows, rows * length, length), room())
    parts = {part.name: part.size / 1e9 for part in told.parts}
    peak = measured(config, workspace, scratch)
    return Outcome(title, config["method"]["name"], rows, length, told.resident / 1e9, peak, parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspace", type=Path)
    parser.add_argument("--only", default="", help="one of the methods; nothing is kept then")
    options = parser.parse_args()
    found = []
    print(_report.machine())
    with tempfile.TemporaryDirectory() as scratch:
        workspace = Workspace(options.workspace or Path(scratch) / "workspace").create()
        data = Path(scratch) / "text.jsonl"
        write_rows(data)
        models = {"starter": "starter", "random 65 M": another_model(workspace, Path(scratch) / "another")}
        for title, model in models.items():
            for method in [options.only] if options.only else METHODS:
                for rows, length in SHAPES:
                    config = config_of(model, method, rows, length, data)
                    found.append(outcome(title, config, workspace, Path(scratch)))
                    print(found[-1].line(), flush=True)
        shutil.rmtree(Path(scratch) / "another")
    worst = max(abs(each.error) for each in found)
    lines = [
        "model        method    batch    formula   measured   error",
        *(each.line() for each in found),
        f"furthest off: {worst:.0%}",
    ]
    if not options.only:
        _report.keep(RESULTS, "memory", {"runs": [asdict(each) for each in found]}, lines)
    print(lines[-1])


if __name__ == "__main__":
    main()
