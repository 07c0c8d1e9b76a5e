"""PPO on a small machine: does the reward rise, what does it take beside supervised fine-tuning, and beside TRL's.

Claims: with the keyword reward the mean reward rises by at least half of the possible range within 40 updates, its KL
bounded, on three seeds; PPO's peak of memory is at most 1.35 times that of supervised fine-tuning of the same model and
lengths, each at its defaults; TRL's last PPOTrainer (1.12, in an environment of its own) takes at least twice as many
seconds an update on the same prompts, answers and passes; a reward for valid JSON lifts its share over that of a model
that a few steps of supervised fine-tuning have taught the form.

    python benchmarks/policy.py [--only reward,memory,trl,json] [--workspace FOLDER] [--seeds 0,1,2] [--trl PYTHON]

`--trl` is a Python that has trl==1.12.0. Writes results/policy-cpu.json and .txt.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import _report

from studio.config import RunConfig
from studio.data.library import open_source
from studio.data.prompts import encode_prompts
from studio.evaluation.intervals import wilson
from studio.events import EvalDone, Ready, Saved, StepDone
from studio.workspace import RunFolder, Workspace

RESULTS = Path(__file__).parent / "results" / "policy-cpu"
PROMPTS, ANSWER, UPDATES, KL = 8, 24, 40, 10.0
TAUGHT, FORM, FEW = 8, 80, 15  # supervised steps before the reward for a form, tokens of an answer in it, updates
WORDS = "the, and"  # in nearly any English text, and rarely both in a short answer


def config(objective: dict[str, Any], updates: int, seed: int = 0, **training: Any) -> RunConfig:
    return RunConfig.parse(
        {
            "model": "starter",
            "dataset": {"source": "customer_messages"},
            "objective": {"max_length": 256, **objective},
            "rewards": {"keywords": {"present": WORDS}} if objective["name"] != "next_token" else {},
            "training": {
                "max_steps": updates,
                "per_device_train_batch_size": PROMPTS,
                "eval_steps": updates,
                "answer_rows": 0,
                "sample_rows": 0,
                **training,
            },
            "seed": seed,
        }
    )


def trained(workspace: Workspace, chosen: RunConfig) -> RunFolder:
    path = workspace.root / "config.yaml"
    path.write_text(chosen.to_yaml(), encoding="utf-8")
    command = [str(Path(sys.executable).parent / "finetune-studio"), "train", str(path)]
    done = subprocess.run([*command, "--workspace", str(workspace.root)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"A run failed: {done.stderr.strip()}")
    return RunFolder(Path(done.stdout.strip().splitlines()[-1]))


def reward(workspace: Workspace, options: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    """Mean reward of the first and the last five updates, a run a seed."""
    found = []
    for seed in map(int, options.seeds.split(",")):
        # A few hundred answers are all there is: the coefficient must follow its target within them.
        held = {"kl_target": KL, "kl_coef": 0.05, "kl_horizon": 20}
        chosen = config({"name": "ppo", "max_completion_length": ANSWER, **held}, UPDATES, seed, learning_rate=1e-3)
        events, _ = trained(workspace, chosen).events.read_from()
        steps = [event.metrics for event in events if isinstance(event, StepDone)]
        evals = [event.metrics["eval_reward"] for event in events if isinstance(event, EvalDone)]
        rewards = [step["reward"] for step in steps]
        found.append(
            {
                "seed": seed,
                "first": statistics.mean(rewards[:5]),
                "last": statistics.mean(rewards[-5:]),
                "held_out": [evals[0], evals[-1]],
                "kl": [step["kl"] for step in steps],
                "rewards": rewards,
            }
        )
    lines = [
        f"seed {each['seed']}: mean reward {each['first']:.2f} -> {each['last']:.2f} in {UPDATES} updates "
        f"(+{each['last'] - each['first']:.2f}, goal +0.50), held-out {each['held_out'][0]:.2f} -> "
        f"{each['held_out'][1]:.2f}, last KLs {statistics.mean(each['kl'][-5:]):.1f} nats an answer (target {KL:g})"
        for each in found
    ]
    return {"seeds": found}, lines


def memory(workspace: Workspace, options: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    """Peaks of the workers."""
    peaks, seconds = {}, {}
    for name, objective in (
        ("SFT", {"name": "next_token"}),
        ("PPO", {"name": "ppo", "max_completion_length": ANSWER}),
    ):
        events, _ = trained(workspace, config(objective, 8)).events.read_from()
        peaks[name] = next(event.peak_memory for event in events if isinstance(event, Saved))
        begun = next(event.time for event in events if isinstance(event, Ready))
        told = [event.time for event in events if isinstance(event, StepDone)]
        seconds[name] = (told[-1] - begun) / len(told)
    line = (
        f"peak memory: SFT {peaks['SFT']:.2f} GB, PPO {peaks['PPO']:.2f} GB, "
        f"{peaks['PPO'] / peaks['SFT']:.2f} x (goal 1.35)"
    )
    return {"peaks": peaks, "seconds": seconds}, [line]


def json_reward(workspace: Workspace, options: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    """Share of valid JSON among sampled answers, over the first and the last updates from a model that was tuned."""
    from studio.trained import load_trained

    taught = load_trained(trained(workspace, config({"name": "next_token"}, TAUGHT)), workspace)
    start = workspace.root / "taught"
    taught.model.merge_and_unload().save_pretrained(start)
    taught.tokenizer.save_pretrained(start)
    del taught
    chosen = config({"name": "ppo", "max_completion_length": FORM}, FEW, learning_rate=5e-4).to_dict()
    chosen |= {"model": str(start), "rewards": {"json_valid": {}}}
    events, _ = trained(workspace, RunConfig.parse(chosen)).events.read_from()
    rewards = [event.metrics["reward"] for event in events if isinstance(event, StepDone)]
    evals = [event.metrics["eval_reward"] for event in events if isinstance(event, EvalDone)]
    sides = []
    for part in (rewards[:5], rewards[-5:]):
        hits, count = PROMPTS * sum(part), PROMPTS * len(part)
        low, high = wilson(hits, count)
        sides.append(f"{hits / count:.2f} of {count} answers ({low:.2f} to {high:.2f})")
    line = (
        f"valid JSON after {TAUGHT} supervised steps: {sides[0]}; after {FEW} updates of PPO: {sides[1]}; the "
        f"likeliest answers to held-out prompts {evals[0]:.2f} -> {evals[-1]:.2f}"
    )
    return {"rewards": rewards, "held_out": evals}, [line]


def _prompts(workspace: Workspace, model: Path) -> list[list[int]]:
    """Token ids of the prompts that ours answers, in an order that mixes their lengths as ours is mixed."""
    from transformers import AutoTokenizer

    opened = open_source("customer_messages", workspace)
    prompts, _ = encode_prompts(
        opened.train.load().rows, opened.mapping, AutoTokenizer.from_pretrained(model), 256 - ANSWER
    )
    return [prompt.input_ids for prompt in prompts]


def trl(workspace: Workspace, options: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    """Seconds an update of both, in turn."""
    if not options.trl:
        return {}, ["TRL's PPOTrainer: not measured, no --trl was given"]
    ours, theirs, peaks = [], [], []
    model = next(workspace.models.glob("SmolLM2*/config.json")).parent
    asked = json.dumps(_prompts(workspace, model))
    for _ in range(options.rounds):
        objective = {"name": "ppo", "max_completion_length": ANSWER, "num_ppo_epochs": 2}
        events, _ = trained(workspace, config(objective, 6)).events.read_from()
        times = [event.time for event in events if isinstance(event, StepDone)]
        ours.append(statistics.median(b - a for a, b in itertools.pairwise(times)))
        script = Path(__file__).with_name("_trl_ppo.py")
        # -P: what lies beside the script hides no package of the same name.
        command = [options.trl, "-P", str(script), str(model), str(PROMPTS), str(ANSWER)]
        done = subprocess.run(command, input=asked, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"TRL's run failed: {done.stderr[-2000:]}")
        answer = json.loads(done.stdout.strip().splitlines()[-1])
        theirs.append(answer["seconds"])
        peaks.append(answer["peak"])
    lines = [
        _report.row("ours, an update", ours, "s"),
        _report.row("TRL 1.12 PPOTrainer, an update", theirs, "s"),
        _report.ratio("TRL / ours (goal 2)", ours, theirs),
        _report.row("TRL 1.12 PPOTrainer, peak of memory", peaks, "GB"),
    ]
    return {"ours": ours, "theirs": theirs, "their_peak": peaks}, lines


PARTS = {"reward": reward, "memory": memory, "trl": trl, "json": json_reward}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--trl", help="a Python that has trl==1.12.0")
    _report.measure(RESULTS, PARTS, parser)


if __name__ == "__main__":
    main()
