"""Reflection: a model behind an endpoint rewrites the prompt, well, badly or not at all."""

from __future__ import annotations

import json
import random
import shutil
import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from studio.binder import Binder
from studio.child import Stopped
from studio.data.turns import Message
from studio.endpoint import Endpoint
from studio.optimiser import Optimiser, Tell
from studio.prompt import Prompt
from studio.rewards import Combined, Tools
from studio.speaker import Spoken
from studio.study import Study, StudySettings, begin, parts
from studio.workspace import Workspace
from tests.fake_endpoint import Behaviour, Reply, said, serving

ALWAYS = "Always answer in capitals."


class Obedient:
    """Repeats a word: in capitals where it is told to, but words of an odd length only where it is told 'always'."""

    def __init__(self) -> None:
        self.calls = 0

    def answers(self, asked: Sequence[Sequence[Message]], max_new_tokens: int) -> list[Spoken | None]:
        self.calls += len(asked)
        return [Spoken(self._answer(each), 9, 3) for each in asked]

    def likelihoods(self, asked: Sequence[Sequence[Message]], answers: Sequence[str]) -> list[tuple[float, int] | None]:
        self.calls += len(asked)
        return [(-0.1 if self._answer(each) == right else -2.0, 9) for each, right in zip(asked, answers, strict=True)]

    def _answer(self, asked: Sequence[Message]) -> str:
        told = " ".join(each["content"] for each in asked).lower()
        word = asked[-1]["content"].split()[-1]
        return word.upper() if "capitals" in told and ("always" in told or len(word) % 2 == 0) else word


class Imitator(Obedient):
    """Answers in capitals where it was shown how."""

    def _answer(self, asked: Sequence[Message]) -> str:
        word = asked[-1]["content"].split()[-1]
        return word.upper() if any(each["role"] == "assistant" for each in asked) else word


@pytest.fixture
def source(tmp_path: Path) -> str:
    """Sixty-four words, and the same in capitals."""
    dice = random.Random(5)
    words = ["".join(dice.choices(string.ascii_lowercase, k=20 + place % 2)) for place in range(64)]
    file = tmp_path / "words.jsonl"
    file.write_text("".join(json.dumps({"prompt": word, "completion": word.upper()}) + "\n" for word in words))
    return str(file)


def study_of(workspace: Workspace, source: str, url: str, **values: Any) -> Study:
    asked = {
        "model": "tiny",
        "dataset": {"source": source},
        "strategy": "reflective",
        "guide": "goal",
        "rewards": {"exact": {}},
        "writer": {"url": url, "model": "wise"},
        "calls": 4_000,
        **values,
    }
    return begin(workspace, StudySettings.parse(asked))


def optimised(
    workspace: Workspace,
    study: Study,
    waits: Sequence[float] = (),
    tell: Tell = lambda *_: None,
    model: type[Obedient] = Obedient,
) -> Obedient:
    """To its end; the model that was asked."""
    speaker, goal = model(), Combined(study.settings.rewards, Tools(workspace))
    writer = Endpoint(study.settings.writer, waits=waits)
    Optimiser(study, parts(workspace, study.settings), speaker, goal, writer, tell).run()
    return speaker


def best(study: Study) -> Prompt:
    assert study.best
    return study.best.prompt


@pytest.mark.parametrize("guide", ["goal", "likelihood"])
def test_what_a_model_writes_after_reading_what_went_wrong_is_taken(
    guide: str, workspace: Workspace, source: str
) -> None:
    strategy = {"name": "reflective", "proposals": 3}
    with serving(lambda _: said(f"<think>``` Hm. ```</think>So:\n```\n{ALWAYS}\n```\nGood luck.")) as served:
        study = study_of(workspace, source, served.url, guide=guide, strategy=strategy)
        optimised(workspace, study)
    assert best(study).system == ALWAYS
    assert study.verdict
    assert study.verdict.gained
    asked = served.requests[0]["messages"][0]["content"]
    seen = [each for each in parts(workspace, study.settings).search if each.answer in asked]
    assert len(seen) == 4
    assert all(each.fields["row"] in asked for each in seen)
    assert "its system text" in asked
    if guide == "goal":
        assert len(served.requests) == 1, "nothing is better than all rows right"


def test_examples_are_drawn_in_turn_with_what_is_written(workspace: Workspace, source: str) -> None:
    def write(asked: dict[str, Any]) -> Reply:
        return said(f"Version {len(served.requests)}: {{row}}")

    with serving(write) as served:
        study = study_of(workspace, source, served.url, strategy={"name": "reflective", "proposals": 6, "shots": 3})
        optimised(workspace, study, model=Imitator)
    shown = best(study).demonstrations
    assert 1 <= len(shown) <= 3
    assert all(each.answer == each.fields["prompt"].upper() for each in shown)
    assert {each.fields["prompt"] for each in shown} <= {
        each.fields["prompt"] for each in parts(workspace, study.settings).pool
    }
    assert best(study).template == "{row}"
    assert study.best
    assert "random example" in study.best.how
    assert study.verdict
    assert study.verdict.gained


def test_a_placeholder_that_was_lost_is_put_back_and_no_other_comes_in(workspace: Workspace, source: str) -> None:
    def write(asked: dict[str, Any]) -> Reply:
        part = "instruction" if "its instruction" in asked["messages"][0]["content"] else "system text"
        return said("``````" if part == "system text" else "Always the {prompt} in capitals, as JSON: {}")

    with serving(write) as served:
        study = study_of(workspace, source, served.url)
        optimised(workspace, study)
    assert "Keep {row}" in served.requests[1]["messages"][0]["content"]
    assert best(study).template == "Always the prompt in capitals, as JSON: {}\n\n{row}"
    assert all("{row}" in each.prompt.template for each in study.tried.values())


@pytest.mark.parametrize(
    ("behave", "end"),
    [
        (lambda _: (200, b"<html>"), "not as a chat endpoint"),
        (lambda _: (401, b""), "refuses to answer without a key"),
        (lambda _: (503, b""), "refuses the request"),
        (lambda _: said(""), "nothing usable to say, 5 times in a row"),
        (lambda _: said("```\n" + "x" * 20_001 + "\n```"), "nothing usable to say"),
    ],
)
def test_a_bad_endpoint_ends_the_search_with_what_it_has(
    behave: Behaviour, end: str, workspace: Workspace, source: str
) -> None:
    with serving(behave) as served:
        study = study_of(workspace, source, served.url)
        optimised(workspace, study, waits=(0.0,))
    assert end in study.end
    assert best(study) == study.start
    assert study.verdict
    assert not study.verdict.gained
    texts = {(each.prompt.system, each.prompt.template) for each in study.tried.values()}
    assert len(texts) == 1, "what is not usable is not scored"


def test_one_that_fails_later_leaves_what_was_found(workspace: Workspace, source: str) -> None:
    replies = [said("Answer in capitals."), (429, b""), (429, b"")]
    with serving(lambda _: replies.pop(0)) as served:
        study = study_of(workspace, source, served.url, strategy={"name": "reflective", "shown": 16})
        optimised(workspace, study, waits=(0.0,))
    assert "gave up: 127.0.0.1" in study.end
    assert best(study).system == "Answer in capitals."


def test_a_model_that_writes_for_ever_ends_with_the_proposals_or_the_calls(workspace: Workspace, source: str) -> None:
    def write(asked: dict[str, Any]) -> Reply:
        return said(f"Version {len(served.requests)}: {{row}}")

    for values, end in (
        ({"strategy": {"name": "reflective", "proposals": 6}}, "tried all"),
        ({"calls": 130}, "130 calls are used up"),
    ):
        with serving(write) as served:
            study = study_of(workspace, source, served.url, **values)
            optimised(workspace, study)
        assert end in study.end
        assert study.calls <= study.settings.calls
        assert best(study) == study.start


def test_who_leaves_amid_the_writing_is_gone_at_once(workspace: Workspace, source: str) -> None:
    def tell(doing: str, done: float, total: float) -> None:
        if "write" in doing:
            raise Stopped

    with serving(lambda _: said(ALWAYS)) as served:
        study = study_of(workspace, source, served.url)
        with pytest.raises(Stopped):
            optimised(workspace, study, tell=tell)
    assert not study.enough


def test_it_goes_on_wherever_it_was_cut(workspace: Workspace, source: str, tmp_path: Path) -> None:
    """What was written is not asked for again, nor is a row, and the same comes of it."""

    def write(asked: dict[str, Any]) -> Reply:
        text = asked["messages"][0]["content"]
        dice = random.Random(text)
        return said(dice.choice(["In capitals, {row}", f"Say {dice.random()}: {{row}}", f"{dice.random()}", ""]))

    with serving(write) as served:
        whole = study_of(workspace, source, served.url, strategy={"name": "reflective", "proposals": 12})
        optimised(workspace, whole)
        requests, scored = len(served.requests), {key: each.scored for key, each in whole.tried.items()}
        assert requests == len(whole.written) >= 6
        lines = whole.binder.steps.read_bytes().splitlines(keepends=True)
        for kept in range(0, len(lines), 9):
            shutil.copytree(whole.binder.folder, tmp_path / str(kept))
            (tmp_path / str(kept) / "steps.jsonl").write_bytes(b"".join(lines[:kept]))
            cut = Study(Binder(tmp_path / str(kept), whole.binder.about))
            written, calls = len(cut.written), cut.calls
            served.requests.clear()
            assert optimised(workspace, cut).calls == whole.calls - calls
            assert len(served.requests) == requests - written
            assert {key: each.scored for key, each in cut.tried.items()} == scored
            assert cut.end == whole.end
