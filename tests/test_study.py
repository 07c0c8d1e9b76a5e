"""Studies: what cannot be searched is refused, parts share nothing, standings are fair, and the verdict is honest."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from studio.bench import check_prompts
from studio.benchmarks.requests import rows_of
from studio.benchmarks.variants import BenchSettings
from studio.config import RunConfig
from studio.data.duplicates import clusters
from studio.data.library import divided, open_source
from studio.errors import DatasetError, RunError, StudioError
from studio.parts import SIDES, parts
from studio.prompt import Prompt
from studio.study import Study, StudySettings, Verdict, begin, look_up
from studio.workspace import Workspace
from tests.coached import rows, write_rows

Make = Callable[..., StudySettings]


@pytest.fixture
def settings(tmp_path: Path) -> Make:
    def make(data: list[dict[str, str]] | None = None, **changes: Any) -> StudySettings:
        source = write_rows(tmp_path / "things.jsonl", rows() if data is None else data)
        chosen = {"model": "tiny", "dataset": {"source": source}, "rewards": {"exact": {}}}
        return StudySettings.parse({**chosen, **changes})

    return make


def texts(workspace: Workspace, chosen: StudySettings) -> dict[str, list[str]]:
    found = parts(workspace, chosen)
    return {side: [f"{each.fields['row']} {each.answer}" for each in found.of(side)] for side in SIDES}


# -- parts -------------------------------------------------------------------------------------------------


def test_every_row_is_in_one_part_and_the_same_one_each_time(workspace: Workspace, settings: Make) -> None:
    chosen = settings(pool_rows=1000, search_rows=1000, select_rows=1000, sealed_rows=1000)
    found = texts(workspace, chosen)
    everything = [text for side in SIDES for text in found[side]]
    assert sorted(everything) == sorted(f"{each['prompt']} {each['completion']}" for each in rows())
    assert texts(workspace, chosen) == found
    assert texts(workspace, settings(seed=1)) != texts(workspace, settings())


def test_near_duplicates_never_straddle_parts(workspace: Workspace, settings: Make) -> None:
    words = " ".join(f"word{place}" for place in range(60))
    planted = [
        {"prompt": f"{words.replace('word9 ', f'kind{kind} ')} thing {copy}", "completion": f"the {kind}"}
        for kind in range(6)
        for copy in range(8)
    ]
    planted = [{**each, "prompt": f"{each['completion']} " * 40 + each["prompt"]} for each in planted]
    found = texts(workspace, settings([*rows(120), *planted], pool_rows=1000, search_rows=1000, select_rows=1000))
    everything = [(side, text) for side in SIDES for text in found[side]]
    alike = clusters([text for _, text in everything])
    assert sum(map(len, alike)) > 30
    assert all(len({everything[place][0] for place in group}) == 1 for group in alike)


def test_a_run_s_study_scores_on_rows_that_the_run_held_out(
    workspace: Workspace, settings: Make, tiny_config: Callable[..., RunConfig]
) -> None:
    long = " ".join(f"word{place}" for place in range(200))
    data = [{**each, "prompt": f"{each['prompt']} {long if place < 40 else ''}"} for place, each in enumerate(rows())]
    source = settings(data).dataset.source
    config = tiny_config(dataset={"source": source, "validation_share": 0.3, "test_share": 0.2}, seed=5)
    folder = workspace.new_run("things")
    config.save(folder.config)
    opened = open_source(source, workspace)
    sides = divided(opened, (0.3, 0.2), 5)
    assert sides.validation
    assert sides.test
    learnt = {each["prompt"] for each in sides.train.rows}
    held_out = {each["prompt"] for side in (sides.validation, sides.test) for each in side.rows}
    study = begin(workspace, settings(data, run=folder.path.name, tuned=False, model="starter", pool_rows=1000))
    found = parts(workspace, study.settings)
    assert study.settings.model == "tiny"
    shown = {each.fields["prompt"] for each in found.pool}
    assert shown <= learnt
    assert any(long in each for each in learnt)
    assert any(long in each for each in held_out)
    for side in ("search", "select", "sealed"):
        asked = {each.fields["prompt"] for each in found.of(side)}
        assert asked <= held_out
        assert not any(long in each for each in asked)  # the like of which was learnt


def test_what_the_first_prompt_shows_is_scored_nowhere(workspace: Workspace, settings: Make) -> None:
    sizes = {"pool_rows": 1000, "search_rows": 1000, "select_rows": 1000, "sealed_rows": 1000}
    told = [{"fields": {"row": each["prompt"]}, "answer": each["completion"]} for each in rows()[:100]]
    found = texts(workspace, settings(prompt={"demonstrations": told[:60]}, **sizes))
    known = {f"{each['fields']['row']} {each['answer']}" for each in told[:60]}
    assert not known & {text for side in ("search", "select", "sealed") for text in found[side]}
    assert known & {text for side in SIDES for text in texts(workspace, settings(**sizes))[side] if side == "sealed"}


def test_the_answer_s_column_is_no_placeholder(workspace: Workspace, settings: Make) -> None:
    found = parts(workspace, settings([{**each, "mood": "mild"} for each in rows()]))
    assert found.search[0].fields.keys() == {"row", "prompt", "mood"}
    asked = Prompt(template="{row} {mood} {completion} {}").messages(found.search[0].fields)
    assert asked[-1]["content"].endswith(" mild {completion} {}")


# -- what cannot be searched -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"prompt": {"template": "Answer!"}}, "no placeholder"),
        ({"prompt": {"template": "{completion}"}}, "no placeholder"),
        ({"rewards": {}}, "Nothing says what a good answer is"),
        ({"rewards": {"exact": {"weight": 0}}}, "Nothing says what a good answer is"),
        ({"rewards": {"keywords": {}}}, "Keywords"),
        ({"calls": 200}, "200 calls leave none to search with"),
        ({"run": "20260101-000000-gone-0000"}, "no such run"),
        ({"model": "./nowhere"}, "nowhere"),
        ({"model": "minilm"}, "cannot write"),
        ({"dataset": {"source": "nothing.jsonl"}}, "no data set or file"),
        ({"dataset": {"source": "old_tales"}}, "Plain text asks nothing"),
        ({"writer": {"url": "http://localhost:1/v1"}}, "No model of the endpoint"),
        ({"writer": {"model": "any"}}, "no address"),
    ],
)
def test_what_cannot_be_searched_is_refused_in_a_sentence(
    workspace: Workspace, settings: Make, changes: dict[str, Any], problem: str
) -> None:
    with pytest.raises(StudioError, match=problem):
        begin(workspace, settings(**changes))
    assert not workspace.studies.exists()


@pytest.mark.parametrize(
    ("objective", "problem"), [({"name": "next_token"}, "saved nothing"), ({"name": "reward_model"}, "writes no text")]
)
def test_a_run_that_cannot_answer_is_refused(
    workspace: Workspace, settings: Make, tiny_config: Callable[..., RunConfig], objective: Any, problem: str
) -> None:
    folder = workspace.new_run("things")
    folder.config.write_text(json.dumps({**tiny_config().model_dump(mode="json"), "objective": objective}))
    with pytest.raises(StudioError, match=problem):
        begin(workspace, settings(run=folder.path.name))


@pytest.mark.parametrize("data", [[], rows(1), rows(15), rows(1) * 50, [{"prompt": "?", "completion": ""}] * 50])
def test_too_few_rows_are_refused(workspace: Workspace, settings: Make, data: list[dict[str, str]]) -> None:
    with pytest.raises(DatasetError):
        begin(workspace, settings(data))


def test_settings_survive_the_disk(workspace: Workspace, settings: Make) -> None:
    chosen = settings(prompt={"system": "Be brief.", "template": "> {row}"}, strategy={"name": "halving", "sets": 5})
    study = begin(workspace, chosen)
    again = look_up(workspace, study.binder.name)
    assert again.settings == study.settings
    assert again.start == chosen.prompt
    with pytest.raises(RunError):
        look_up(workspace, "../../etc")


def test_without_a_prompt_it_begins_with_the_data_s_own(workspace: Workspace, settings: Make) -> None:
    assert begin(workspace, settings()).start == Prompt()
    shared = [{**each, "system": "You name colours."} for each in rows()]
    assert begin(workspace, settings(shared)).start.system == "You name colours."
    differing = [{**each, "system": f"You are number {place}."} for place, each in enumerate(rows())]
    assert begin(workspace, settings(differing)).start.system == ""


# -- standings and verdict ---------------------------------------------------------------------------------


@pytest.fixture
def study(workspace: Workspace, settings: Make) -> Study:
    found = begin(workspace, settings())
    found.keep({"prompt": found.start.key, "value": found.start.model_dump(mode="json"), "how": "the first one"})
    return found


def tried(study: Study, system: str) -> str:
    prompt = Prompt(system=system)
    study.keep({"prompt": prompt.key, "value": prompt.model_dump(mode="json"), "how": system})
    return prompt.key


def score(study: Study, key: str, side: str, scores: dict[int, float] | list[float]) -> None:
    by = "likelihood" if side == "search" else "goal"
    places = scores if isinstance(scores, dict) else dict(enumerate(scores))
    told = [[place, each, 10, 2, "so"] for place, each in places.items()]
    study.keep({"scored": key, "side": side, "by": by, "took": 0.5, "rows": told})


def order(study: Study) -> list[str]:
    return [each.how for each in study.standings()]


def test_while_it_searches_prompts_stand_by_what_they_gained_on_the_same_rows(study: Study) -> None:
    """Place 3 is hard: who was not asked it has the better mean, and is no better for it."""
    score(study, study.start.key, "search", [-1, -1, -1, -9])
    score(study, study.start.key, "select", [0, 0, 1, 1])
    assert order(study) == ["the first one"]
    score(study, tried(study, "worse"), "search", {0: -1.5, 1: -1.5})
    score(study, tried(study, "a little better"), "search", {0: -0.9, 1: -0.9})
    score(study, tried(study, "got far"), "search", [-0.5, -0.5, -0.5, -8.9])
    score(study, tried(study, "lucky once"), "search", {0: -0.1})
    tried(study, "not yet scored")
    assert order(study) == [
        "got far", "a little better", "lucky once", "the first one", "worse", "not yet scored",
    ]  # fmt: skip
    assert study.best
    assert study.best.how == "got far"
    assert [each.how for each in study.finalists()] == ["got far", "a little better", "lucky once"]


def test_rows_to_choose_on_have_the_last_word(study: Study) -> None:
    score(study, study.start.key, "search", [-1, -1])
    score(study, study.start.key, "select", [0, 1])
    for how, found in {"first": -0.1, "second": -0.2, "third": -0.3}.items():
        score(study, tried(study, how), "search", [found, found])
    score(study, Prompt(system="first").key, "select", [0, 0])
    score(study, Prompt(system="second").key, "select", [1, 1])
    score(study, Prompt(system="third").key, "select", {0: 1})  # it is being asked
    assert order(study) == ["second", "the first one", "first", "third"]
    assert [each.how for each in study.finalists()] == ["first", "second", "third"]  # the same as before


def verdict(study: Study, before: list[float], after: list[float]) -> Verdict:
    """Of a study whose best prompt is another than the first."""
    better = tried(study, "better")
    for key, search, sealed in ((study.start.key, -1.0, before), (better, -0.5, after)):
        score(study, key, "search", [search])
        score(study, key, "select", [-search < 1])
        score(study, key, "sealed", sealed)
    assert study.verdict is None
    study.keep({"end": "It is over."})
    assert study.verdict
    return study.verdict


def test_a_gain_counts_when_its_interval_is_above_nothing(study: Study) -> None:
    found = verdict(study, [0, 1] * 20, [1, 1] * 20)
    assert (found.rows, found.before, found.after, found.gained) == (40, 0.5, 1.0, True)
    assert found.gain_interval[0] < 0.5 < found.gain_interval[1]
    assert found.words.startswith("Better, from 0.5 to 1 on 40 sealed rows")


def test_no_significant_gain_is_an_answer(study: Study) -> None:
    """Two of forty rows: it may well be luck."""
    found = verdict(study, [0, 1] * 20, [1, 0, 1, 1, 1, 1, *[0, 1] * 17])
    assert not found.gained
    assert found.gain_interval[0] <= 0 < found.gain_interval[1]
    assert found.words.startswith("No significant gain")


def test_a_handful_of_rows_proves_nothing(study: Study) -> None:
    found = verdict(study, [0] * 5, [0.1, 0.2, 0.1, 0.3, 0.1])
    assert found.gain_interval[0] > 0
    assert not found.gained
    assert found.words.startswith("Perhaps better")


def test_what_was_chosen_may_be_worse(study: Study) -> None:
    found = verdict(study, [1] * 40, [0, 1] * 20)
    assert not found.gained
    assert found.words.startswith("Worse")


def test_where_the_first_prompt_stays_the_verdict_says_so(study: Study) -> None:
    score(study, study.start.key, "search", [-1])
    score(study, study.start.key, "select", [0])
    score(study, tried(study, "worse"), "search", [-2])
    score(study, study.start.key, "sealed", [0, 1])
    study.keep({"end": "It is over."})
    assert study.verdict
    assert not study.verdict.changed
    assert study.verdict.words.startswith("No gain")


def test_a_torn_line_is_read_as_nothing(study: Study, workspace: Workspace) -> None:
    score(study, study.start.key, "search", [-1, -2])
    with study.binder.steps.open("a") as file:
        file.write(json.dumps({"scored": study.start.key, "side": "sea"})[:30])
    again = look_up(workspace, study.binder.name)
    assert again.calls == 2
    again.keep({"seconds": 3.0})
    assert look_up(workspace, study.binder.name).seconds == 3.0


def test_a_benchmark_asks_the_sealed_rows_with_the_prompt_that_was_found(workspace: Workspace, study: Study) -> None:
    asked = BenchSettings.parse({"models": ["tiny"], "prompts": f"prompt:{study.binder.name}", "rows": 1000})
    with pytest.raises(RunError, match="not at its end"):
        check_prompts(workspace, asked.prompts)
    verdict(study, [0] * 8, [1] * 8)
    check_prompts(workspace, asked.prompts)
    found, sealed = rows_of(workspace, asked), parts(workspace, study.settings).sealed
    assert sorted(row.answer for row in found) == sorted(each.answer for each in sealed)
    assert all(row.asks[0] == {"role": "system", "content": "better"} for row in found)
    with pytest.raises(RunError, match="not there any more"):
        check_prompts(workspace, "prompt:../../etc")
