"""How many prompts can be scored in a minute, with what they begin with read once and rows asked together?

Claim: at least 3 times as many as with one `generate` call an example, on the starter model and the sample data with 4
demonstrations. Each round draws other demonstrations, so that nothing of one candidate is known from another.

    python benchmarks/prefix.py [--model NAME] [--workspace FOLDER] [--rounds 5] [--rows 32] [--shots 4]

Writes results/prefix-cpu.json and .txt.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import _report
import torch

from studio.data.turns import Message
from studio.models.generate import ends_of
from studio.optimiser import AT_ONCE
from studio.prompt import Demonstration, Prompt
from studio.speaker import ModelSpeaker
from studio.study import StudySettings, parts
from studio.trained import load_base
from studio.workspace import Workspace

RESULTS = Path(__file__).parent / "results" / "prefix-cpu"
LONGEST = 96  # tokens of an answer, as in a search


def one_by_one(model: Any, tokenizer: Any, asked: Sequence[list[Message]]) -> list[str]:
    """As tutorials have it: a call an example, the whole prompt each time."""
    said = []
    for messages in asked:
        given = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        width = given["input_ids"].shape[1]
        with torch.inference_mode():
            written = model.generate(
                **given,
                max_new_tokens=LONGEST,
                do_sample=False,
                eos_token_id=sorted(ends_of(model, tokenizer)),
                pad_token_id=tokenizer.pad_token_id,
            )
        said.append(tokenizer.decode(written[0, width:], skip_special_tokens=True).strip())
    return said


def ours(speaker: ModelSpeaker, asked: Sequence[list[Message]]) -> list[str]:
    """As a search does."""
    batches = (asked[at : at + AT_ONCE] for at in range(0, len(asked), AT_ONCE))
    return [one.text if one else "" for batch in batches for one in speaker.answers(batch, LONGEST)]


def likelihoods(speaker: ModelSpeaker, asked: Sequence[list[Message]], right: Sequence[str]) -> None:
    """As a search does that looks at how likely the right answers are."""
    for at in range(0, len(asked), AT_ONCE):
        speaker.likelihoods(asked[at : at + AT_ONCE], right[at : at + AT_ONCE])


def seconds(work: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    began = time.perf_counter()
    done = work(*arguments)
    return time.perf_counter() - began, done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="starter")
    parser.add_argument("--workspace", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--shots", type=int, default=4)
    options = parser.parse_args()
    print(_report.machine())
    with tempfile.TemporaryDirectory() as scratch:
        workspace = Workspace(options.workspace or Path(scratch) / "workspace").create()
        data = {"source": "customer_messages"}
        rows = parts(workspace, StudySettings.parse({"dataset": data, "search_rows": options.rows}))
        model, tokenizer = load_base(options.model, workspace, lambda *_: None)
    examples, dice = rows.search, random.Random(0)  # noqa: S311 - nothing secret
    right = [each.answer for each in examples]
    times: dict[str, list[float]] = {"theirs": [], "ours": [], "likelihood": []}
    same, tokens, texts = 0, 0, [""]
    for _ in range(options.rounds):
        shown = dice.sample(rows.pool, options.shots)
        prompt = Prompt(demonstrations=tuple(Demonstration(fields=each.fields, answer=each.answer) for each in shown))
        asked = [prompt.messages(each.fields) for each in examples]
        took, their_texts = seconds(one_by_one, model, tokenizer, asked)
        times["theirs"].append(took)
        took, texts = seconds(ours, ModelSpeaker(model, tokenizer), asked)  # a new one has nothing kept
        times["ours"].append(took)
        took, _ = seconds(likelihoods, ModelSpeaker(model, tokenizer), asked, right)
        times["likelihood"].append(took)
        same += sum(a == b for a, b in zip(texts, their_texts, strict=True))
        tokens = sum(len(tokenizer(each)["input_ids"]) for each in texts)
    minutes = {name: [60 / each for each in found] for name, found in times.items()}
    lines = [
        f"{len(examples)} rows a candidate, {options.shots} demonstrations, {tokens / len(texts):.0f} tokens an answer",
        _report.row("one generate call an example", minutes["theirs"], "a min"),
        _report.row("ours, answers", minutes["ours"], "a min"),
        _report.row("ours, likelihood of the right answers", minutes["likelihood"], "a min"),
        _report.ratio("answers: ours / one by one (goal 3)", times["ours"], times["theirs"]),
        _report.ratio("likelihood: ours / one by one", times["likelihood"], times["theirs"]),
        f"the same answer in {same} of {options.rounds * len(examples)} (rounding differs between batches)",
    ]
    _report.keep(RESULTS, f"{options.model}, {options.shots} demonstrations", {"seconds": times}, lines)


if __name__ == "__main__":
    main()
