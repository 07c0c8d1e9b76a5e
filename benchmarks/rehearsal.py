"""How near a rehearsal comes: the peak and the time it foretells beside what the run itself then took.

Claim: within 10 % over LoRA, QLoRA and full fine-tuning, three shapes of batches and two models: the starter and a
Llama of another shape with random weights. The rows are a sample's own, so that no two batches are alike. Each run is
rehearsed, then trained, in turn on a machine that should do nothing else: what disturbs one of the two is an error.
Give a workspace that holds the starter to spare its download.

    python benchmarks/rehearsal.py [--workspace FOLDER] [--only lora] [--steps 20]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import _report
from planning import METHODS, another_model

from studio.config import RunConfig
from studio.events import Ready, Saved
from studio.rehearsal import Rehearsal, Rehearser
from studio.workspace import RunFolder, Workspace

RESULTS = Path(__file__).parent / "results" / "rehearsal-cpu"
SHAPES = ((2, 128), (8, 256), (4, 512))  # rows, cut-off


@dataclass(frozen=True)
class Outcome:
    """One run; gigabytes and seconds."""

    model: str
    method: str
    rows: int
    cut_off: int
    peak: tuple[float, float]  # foretold, measured
    seconds: tuple[float, float]
    within: bool  # the time lay within the bounds that were told

    def off(self) -> list[float]:
        return [told / measured - 1 for told, measured in (self.peak, self.seconds)]

    def line(self) -> str:
        memory, time = self.off()
        return (
            f"{self.model:<12} {self.method:<6} {self.rows:>3} x {self.cut_off:<4}"
            f" {self.peak[0]:>6.2f} {self.peak[1]:>6.2f} GB {memory:>+5.0%}"
            f" {self.seconds[0]:>7.1f} {self.seconds[1]:>7.1f} s {time:>+5.0%}"
            f"  {'within' if self.within else 'beyond'} its bounds"
        )


def outcome(title: str, config: RunConfig, workspace: Workspace) -> Outcome:
    """The rehearsal first, then the run."""
    rehearser = Rehearser(workspace)
    *_, told = rehearser.rehearse(config)
    rehearser.close()
    assert isinstance(told, Rehearsal)
    peak, seconds = trained(config, workspace)
    training, objective = config.training, config.objective.model_dump()
    return Outcome(
        title,
        config.method_name,
        training.per_device_train_batch_size,
        objective["max_length"],
        (told.peak / 1e9, peak),
        (told.seconds.likely, seconds),
        told.seconds.low <= seconds <= told.seconds.high,
    )


def trained(config: RunConfig, workspace: Workspace) -> tuple[float, float]:
    """GB that the worker held at most, and seconds between its first step and its last evaluation."""
    path = workspace.root / "config.yaml"
    path.write_text(config.to_yaml(), encoding="utf-8")
    command = [str(Path(sys.executable).parent / "finetune-studio"), "train", str(path)]
    done = subprocess.run([*command, "--workspace", str(workspace.root)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"A run failed: {done.stderr.strip()}")
    events, _ = RunFolder(Path(done.stdout.strip().splitlines()[-1])).events.read_from()
    begun = next(event.time for event in events if isinstance(event, Ready))
    saved = next(event for event in events if isinstance(event, Saved))
    return saved.peak_memory, saved.time - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspace", type=Path)
    parser.add_argument("--only", default="", help="one of the methods; nothing is kept then")
    parser.add_argument("--steps", type=int, default=20)
    options = parser.parse_args()
    print(_report.machine())
    found = []
    with tempfile.TemporaryDirectory() as scratch:
        workspace = Workspace(options.workspace or Path(scratch) / "workspace").create()
        models = {"starter": "starter", "random 65 M": another_model(workspace, Path(scratch) / "another")}
        for title, model in models.items():
            for method in [options.only] if options.only else METHODS:
                for rows, cut_off in SHAPES:
                    config = RunConfig.parse(
                        {
                            "model": model,
                            "method": method,
                            "objective": {"name": "next_token", "max_length": cut_off},
                            "training": {
                                "per_device_train_batch_size": rows,
                                "max_steps": options.steps,
                                "answer_rows": 0,
                            },
                        }
                    )
                    found.append(outcome(title, config, workspace))
                    print(found[-1].line(), flush=True)
    memory, time = (max(abs(each.off()[part]) for each in found) for part in (0, 1))
    lines = [
        "model        method  batch     peak: foretold, measured    time: foretold, measured",
        *(each.line() for each in found),
        f"furthest off: memory {memory:.0%}, time {time:.0%}",
    ]
    if not options.only:
        _report.keep(RESULTS, "rehearsal", {"runs": [asdict(each) for each in found]}, lines)
    print(lines[-1])


if __name__ == "__main__":
    main()
