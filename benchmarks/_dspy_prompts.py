"""dspy's random search over demonstrations, in an environment of its own; what prompts.py asks it.

    PYTHON benchmarks/_dspy_prompts.py < what is asked, as JSON

Writes a line of JSON: seconds of the search, answers to the sealed rows, demonstrations it chose.
"""

import json
import os
import random
import sys
import time
import urllib.request

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # nothing from the net

import dspy  # pyright: ignore[reportMissingImports]
from dspy.teleprompt import BootstrapFewShotWithRandomSearch  # pyright: ignore[reportMissingImports]

GOOD = 0.8  # score from which an answer of the model's own may be shown: four of five fields
ENDLESS = 10**9


class Plain(dspy.ChatAdapter):
    """Row and answer as they are, as ours says them; dspy's own form is more than a small model follows."""

    def format(self, signature, demos, inputs):
        said = []
        for each in demos:
            said += [{"role": "user", "content": each["row"]}, {"role": "assistant", "content": each["answer"]}]
        return [*said, {"role": "user", "content": inputs["row"]}]

    def parse(self, signature, completion):
        return {"answer": completion}


def main() -> None:
    asked = json.load(sys.stdin)
    sys.stdout, out = sys.stderr, sys.stdout  # dspy prints

    def metric(example, given, trace=None):
        told = json.dumps({"reference": example.answer, "answer": getattr(given, "answer", "") or ""}).encode()
        with urllib.request.urlopen(f"{asked['url']}/score", told) as reply:  # noqa: S310 - our own server
            return json.load(reply)["score"]

    def rows(pairs):
        return [dspy.Example(row=row, answer=answer).with_inputs("row") for row, answer in pairs]

    def model(name):
        return dspy.LM(
            f"openai/{name}", api_base=f"{asked['url']}/v1", api_key="none", cache=False, temperature=0.0,
            max_tokens=asked["max_new_tokens"], num_retries=0,
        )  # fmt: skip

    adapter = Plain() if asked["adapter"] == "plain" else dspy.ChatAdapter()
    train = rows(asked["train"])
    random.Random(asked["seed"]).shuffle(train)  # noqa: S311 - nothing secret
    began = time.monotonic()
    with dspy.context(lm=model("search"), adapter=adapter):
        search = BootstrapFewShotWithRandomSearch(
            metric,
            max_labeled_demos=asked["shots"],
            num_candidate_programs=asked["calls"] // len(asked["validate"]),
            num_threads=asked["threads"],
            max_errors=ENDLESS,
            metric_threshold=GOOD,
        )
        best = search.compile(dspy.Predict("row -> answer"), trainset=train, valset=rows(asked["validate"]))
    seconds = time.monotonic() - began
    with dspy.context(lm=model("sealed"), adapter=adapter):
        answers = []
        for row in asked["sealed"]:
            try:
                answers.append(best(row=row).answer or "")
            except Exception:  # an answer in another form than dspy asks for is none
                answers.append("")
    found = {"seconds": seconds, "answers": answers, "shots": len(best.demos)}
    print(json.dumps(found), file=out)


if __name__ == "__main__":
    main()
