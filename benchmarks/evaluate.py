"""How much sooner is an evaluation done whose rows are asked in batches, and does it find the same, and a gain?

`gain`: a newcomer's first run is significantly better than what it began with on rows that it held out; `--run` names
one that was trained already.
`answers`: 500 of them are there at least 4 times as soon as with one `generate` call each, the likelihoods of the right
answers and the file with all of it included. Both are measured in turn, a part of the rows after the other.
`texts`: perplexity equals that of lm-eval's `loglikelihood_rolling` to 1e-3 (needs `pip install lm-eval`).

    python benchmarks/evaluate.py [--only gain,answers,texts] [--model NAME] [--workspace FOLDER] [--run RUN]
        [--rows 500] [--rounds 5]

Writes results/evaluate-cpu.json and .txt.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import Any

import _report
from policy import trained
from prefix import LONGEST, one_by_one, seconds

from studio.config import RunConfig
from studio.evaluate import Evaluation, EvaluationSettings, begin, of_run
from studio.evaluated import plain, report
from studio.evaluation.likelihood import MOST, read_texts
from studio.evaluator import finish
from studio.models.catalog import locate
from studio.trained import Awake, load_base
from studio.workspace import Workspace
from tabs.start import FIRST_RUN

RESULTS = Path(__file__).parent / "results" / "evaluate-cpu"


def gain(workspace: Workspace, options: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    """What `finetune-studio evaluate RUN` says."""
    run = options.run or trained(workspace, RunConfig.parse(FIRST_RUN)).path.name
    evaluation = begin(workspace, of_run(workspace, run))
    took, _ = seconds(finish, workspace, evaluation)
    found = report(evaluation)
    lines = [text for text, _ in found.words]
    for part in found.parts:
        for who, title in enumerate(found.titles):
            values = [(each.measure.title, each.values[who]) for each in part.measured]
            lines += [f"{title}: {name} {each.value:.3g} ({each.low:.3g} to {each.high:.3g})" for name, each in values]
    return plain(found) | {"seconds": took}, [*lines, f"{took:.0f} s"]


def answers(workspace: Workspace, options: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    """Rows of the sample, a part of them a round."""
    awake = Awake()
    awake.load(workspace, options.model, "", lambda *_: None)
    times: dict[str, list[float]] = {"theirs": [], "ours": []}
    same, asked = 0, 0
    for seed in range(options.rounds):
        evaluation = begin(workspace, _settings(options, seed))
        (part,) = evaluation.sets
        took, texts = seconds(one_by_one, awake.model, awake.tokenizer, [each.asked for each in part.rows])
        times["theirs"].append(took)
        took, _ = seconds(_finish, workspace, evaluation, awake)
        times["ours"].append(took)
        same += sum(part.said[0][place] == text for place, text in enumerate(texts))
        asked += len(texts)
    lines = [
        f"{asked} rows of customer_messages, answers of {LONGEST} tokens at most, {options.model}",
        _report.row("one generate call a row", times["theirs"], "s"),
        _report.row("an evaluation, likelihoods too", times["ours"], "s"),
        _report.ratio("ours / one by one", times["ours"], times["theirs"]),
        f"the same answer in {same} of {asked} (rounding differs between batches)",
    ]
    return {"seconds": times, "same": same, "rows": asked}, lines


def _settings(options: argparse.Namespace, seed: int) -> EvaluationSettings:
    return EvaluationSettings.parse(
        {
            "candidates": [{"model": options.model}],
            "dataset": {"source": "customer_messages"},
            "rows": options.rows // options.rounds,
            "max_new_tokens": LONGEST,
            "seed": seed,
        }
    )


def _finish(workspace: Workspace, evaluation: Evaluation, awake: Awake) -> None:
    finish(workspace, evaluation, awake=awake)


def texts(workspace: Workspace, options: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    """This project's own documents, by lm-eval and by us, in 32 bits."""
    from lm_eval.api.instance import Instance  # pyright: ignore[reportMissingImports]
    from lm_eval.models.huggingface import HFLM  # pyright: ignore[reportMissingImports]

    located = locate(options.model, workspace.models, lambda *_: None)
    model, tokenizer = load_base(options.model, workspace, lambda *_: None, number_format="float32")
    read = [(Path(__file__).parents[1] / name).read_text(encoding="utf-8") for name in ("CONTRIBUTING.md", "LICENSE")]
    theirs = HFLM(pretrained=model, tokenizer=tokenizer, max_length=MOST, batch_size=1)
    began = time.perf_counter()
    asked = [Instance("loglikelihood_rolling", {}, (text,), 0) for text in read]
    expected = theirs.loglikelihood_rolling(asked, disable_tqdm=True)
    took = [time.perf_counter() - began]
    ours, found = seconds(read_texts, model, tokenizer, read)
    took.append(ours)
    pairs = [
        (math.exp(nats / tokens), math.exp(-likely / tokens))
        for (nats, tokens), likely in zip(found, expected, strict=True)
    ]
    lines = [f"perplexity of a text, ours and lm-eval's: {ours:.6f} and {other:.6f}" for ours, other in pairs]
    lines += [f"{located.title}; lm-eval {took[0]:.1f} s, ours {took[1]:.1f} s"]
    return {"perplexities": pairs, "seconds": took}, lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="starter")
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--run", default="")
    _report.measure(RESULTS, {"gain": gain, "answers": answers, "texts": texts}, parser)


if __name__ == "__main__":
    main()
