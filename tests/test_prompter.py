"""A search by a real model in its process: to the end, left and taken up again, stopped; and a run's worth."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
import torch
from filelock import FileLock

from studio import prompter as module
from studio.adapter import save
from studio.config import RunConfig
from studio.errors import ModelError, RunError
from studio.events import Done, Saved
from studio.methods import methods
from studio.models.tiny import tiny_model
from studio.prompter import Prompter, finish
from studio.speaker import ModelSpeaker
from studio.study import Study, StudySettings, begin, look_up
from studio.trained import Awake
from studio.workspace import Workspace
from studio.worth import known
from tests.coached import rows, write_rows

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")  # of peft

SMALL = {
    "model": "tiny",
    "rewards": {"similarity": {}},
    "strategy": {"name": "random_examples", "shots": 2, "sets": 4},
    "max_new_tokens": 4,
    "search_rows": 8,
    "select_rows": 4,
    "sealed_rows": 4,
}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace(tmp_path_factory.mktemp("prompter")).create()


@pytest.fixture(scope="module")
def prompter(workspace: Workspace) -> Iterator[Prompter]:
    running = Prompter(workspace)
    yield running
    running.close()


@pytest.fixture(scope="module")
def source(workspace: Workspace) -> str:
    return write_rows(workspace.root / "things.jsonl", rows(80))


@pytest.fixture
def study(workspace: Workspace, source: str) -> Callable[..., Study]:
    def make(**changes: Any) -> Study:
        return begin(workspace, StudySettings.parse({**SMALL, "dataset": {"source": source}, **changes}))

    return make


@pytest.fixture
def run(workspace: Workspace, source: str, tiny_config: Callable[..., RunConfig]) -> str:
    """One whose adapter says other things than its base."""
    folder = workspace.new_run("things")
    tiny_config(dataset={"source": source, "validation_share": 0.4}).save(folder.config)
    save(_changed(methods()["lora"]().attach(tiny_model())), folder.adapter)
    folder.events.append(Saved(step=4, size=2_000_000, peak_memory=1.5))
    folder.events.append(Done())
    return folder.id


def _changed(model: Any) -> Any:
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.copy_(0.3 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
    return model


def scores(workspace: Workspace, study: Study) -> Any:
    """All that is known of it; numbers to what they are whatever they are computed beside."""
    return {
        (key, *where): {place: (round(each.score, 4), each.answer) for place, each in found.items()}
        for key, tried in look_up(workspace, study.binder.name).tried.items()
        for where, found in tried.scored.items()
    }


def test_a_search_that_was_left_goes_on_to_the_same_end(
    workspace: Workspace, prompter: Prompter, study: Callable[..., Study]
) -> None:
    whole, halved = study(), study()
    finish(workspace, whole)
    with closing(prompter.run(halved.binder.name)) as told:  # pyright: ignore[reportArgumentType] - a generator
        next(each for each in told if each.done >= 12)
    before = scores(workspace, halved)
    assert not look_up(workspace, halved.binder.name).end
    told = list(prompter.run(halved.binder.name))
    assert told[-1].total == halved.settings.calls
    assert told[-1].done >= 12
    assert {"Searching", "Opening the sealed rows"} <= {each.doing for each in told}
    assert "Waking the model" not in {each.doing for each in told}  # it stayed awake
    after = scores(workspace, halved)
    assert after == scores(workspace, whole)
    assert all(after[where].items() >= found.items() for where, found in before.items())
    assert look_up(workspace, halved.binder.name).verdict
    assert len({answer for found in after.values() for _, answer in found.values()}) > 4


def test_a_stop_lets_it_decide(workspace: Workspace, study: Callable[..., Study]) -> None:
    stopped = study()
    running = Prompter(workspace)

    def tell(doing: str, done: float, total: float) -> None:
        if len(stopped.tried) == 2:
            running.stop(stopped.binder.name)

    finish(workspace, stopped, tell)
    assert stopped.verdict
    assert stopped.end == "It was stopped."
    assert len(stopped.tried) == 2
    with pytest.raises(RunError):
        running.stop("../elsewhere")


def test_a_stop_that_comes_before_the_model_is_there_counts(
    workspace: Workspace, prompter: Prompter, study: Callable[..., Study]
) -> None:
    name = study().binder.name
    flag = workspace.studies / name / "stop"
    flag.touch()
    asked = prompter.run(name)
    assert not flag.exists()  # it was of an earlier time
    prompter.stop(name)
    assert list(asked)
    ended = look_up(workspace, name)
    assert (ended.end, len(ended.tried)) == ("It was stopped.", 1)
    assert ended.verdict
    assert ended.verdict.words.startswith("Nothing was tried")


def test_what_is_under_way_is_not_deleted(
    workspace: Workspace, prompter: Prompter, study: Callable[..., Study]
) -> None:
    one = study()
    with FileLock(one.binder.folder / "lock"), pytest.raises(RunError, match="under way"):
        prompter.delete(one.binder.name)
    assert look_up(workspace, one.binder.name)
    prompter.delete(one.binder.name)
    with pytest.raises(RunError):
        look_up(workspace, one.binder.name)


def test_who_answers_is_the_run_s_model_or_what_it_began_with(
    workspace: Workspace, study: Callable[..., Study], run: str
) -> None:
    answers = []
    for each in (study(run=run), study(run=run, tuned=False)):
        finish(workspace, each, stop=lambda: True)
        answers.append([one.answer for one in each.tried[each.start.key].on("select", "goal").values()])
    assert answers[0] != answers[1]
    awake, asked, said = Awake(), [[{"role": "user", "content": "Who?"}]], []
    for name, tuned in ((run, True), (run, False), ("", True)):
        awake.load(workspace, "tiny", name, lambda *_: None, tuned=tuned)
        said.append(ModelSpeaker(awake.model, awake.tokenizer).likelihoods(asked, ["Me"]))
    assert said[0] != said[1] == said[2]


def test_the_model_itself_writes_where_nobody_else_is_named(
    workspace: Workspace, study: Callable[..., Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LONGEST", 8)
    reflected = study(strategy={"name": "reflective"}, calls=120)
    finish(workspace, reflected)
    assert reflected.written
    assert reflected.verdict


def test_a_model_that_is_gone_is_said(workspace: Workspace, prompter: Prompter, study: Callable[..., Study]) -> None:
    folder = workspace.models / "mine"
    tiny_model().save_pretrained(folder)
    begun = study(model=str(folder))
    shutil.rmtree(folder)
    with pytest.raises(ModelError, match="mine"):
        list(prompter.run(begun.binder.name))
    with pytest.raises(RunError, match="not there any more"):
        list(prompter.run("20200101-000000-none-abcd"))


def test_what_a_run_was_worth_is_measured_in_the_process(
    workspace: Workspace, prompter: Prompter, study: Callable[..., Study], run: str
) -> None:
    finish(workspace, study(run=run, tuned=False, rewards={"perplexity": {}}), stop=lambda: True)
    told = list(prompter.measure(run))
    assert {"Asking the base model", "Asking the tuned model"} <= {each.doing for each in told}
    report = known(workspace, run)
    assert report
    base, tuned = report.side("base"), report.side("tuned")
    assert base
    assert tuned
    assert base.scores != tuned.scores
    assert base.prompt_tokens == tuned.prompt_tokens > 20
    assert base.seconds > 0
    assert tuned.memory > 0.05
