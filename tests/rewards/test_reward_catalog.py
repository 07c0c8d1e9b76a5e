"""What every reward keeps, whoever wrote it, and by hand what each of them gives."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import pytest
import torch
import yaml

from studio.adapter import save
from studio.config import RunConfig
from studio.data.labels import Head
from studio.errors import ConfigError, RewardError
from studio.methods.lora import Lora
from studio.models.base import load, placement
from studio.models.catalog import Located
from studio.models.heads import Headed
from studio.models.tiny import tiny_model, tiny_tokenizer
from studio.rewards import Answered, Combined, Reward, Scorer, Tools, _model, pattern, rewards
from studio.rewards.length import Length
from studio.workspace import Workspace

pytestmark = [
    # peft asks transformers under a name that transformers has just renamed.
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"),
]

RIGHT = '{"mood": "good", "why": "The cat sat on the mat."}'
ODD = [
    "",
    " \n\t ",
    "a",
    "The cat sat on the mat. Did it?",
    RIGHT,
    '{"mood": NaN}',
    "[" * 3_000,
    "word " * 4_000,
    "x" * 9_000,
    "\U0001f600 cafe\u0301 \u202etrap\u202c \ufb01 \x00 \ufffd",
    "你好。猫坐在垫子上。",
]
SETTINGS: dict[str, dict[str, Any]] = {  # of those that are not ready as they are
    "keywords": {"present": "cat, on the mat", "absent": "dog"},
    "pattern": {"pattern": r"\bc.t\b"},
    "json_valid": {"fields": "mood, why"},
    "sentiment": {"label": "good"},
}


@pytest.fixture(scope="module")
def moods(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, str]:
    """A workspace, and the id of a run in it that tells good from bad, as far as an untrained head can."""
    workspace = Workspace(tmp_path_factory.mktemp("workspace")).create()
    folder = workspace.new_run("moods")
    config = RunConfig.parse({"model": "tiny", "objective": {"name": "classify", "max_length": 64}})
    config.save(folder.config)
    torch.manual_seed(0)
    body = load(Located(None, "Tiny", "tiny"), placement("float32"), writes=False).model
    save(Headed(Lora(r=4).attach(body), [Head("mood", "classes", ("bad", "good"))]), folder.adapter)
    return workspace, folder.id


@pytest.fixture
def tools(moods: tuple[Workspace, str]) -> Tools:
    """A model in training whose adapter has learnt something."""
    torch.manual_seed(1)
    model = Lora(r=4).attach(tiny_model()).train()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight += 0.3 * torch.randn_like(weight)
    return Tools(moods[0], model, tiny_tokenizer())


def made(key: str, moods: tuple[Workspace, str], **settings: Any) -> Reward:
    cls = rewards()[key]
    run = {"run": moods[1]} if "classify" in cls.runs_of else {}
    return cls.parse({**SETTINGS.get(key, {}), **run, **settings})


def scores(reward: Reward, tools: Tools, answers: Sequence[Answered]) -> list[float]:
    return Combined({"one": reward}, tools)(answers).parts["one"]


# Those that a run gives which labels nothing are tested beside its objective.
ALL = [key for key, cls in rewards().items() if not cls.runs_of or "classify" in cls.runs_of]


@pytest.mark.parametrize("key", ALL)
def test_every_answer_gets_a_number_within_bounds_and_the_model_stays_as_it_was(
    key: str, moods: tuple[Workspace, str], tools: Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_model, "_READS", 256)  # so that long answers are cut soon
    reward = made(key, moods)
    reward.check(tools.workspace)
    before = [weight.detach().clone() for weight in tools.model.parameters()]
    ids = torch.tensor([[1, 87, 85, 71]])
    said = tools.model(input_ids=ids).logits
    answers = [Answered("Where is the cat?", text, RIGHT) for text in ODD]
    answers += [Answered("Where is the cat?", text) for text in ODD if len(text) < 100]
    answers.append(Answered("", "", ""))
    found = scores(reward, tools, answers)
    for score in found:
        assert reward.lowest is None or score >= reward.lowest
        assert reward.highest is None or score <= reward.highest
    assert len(set(found)) > 1
    assert scores(reward, tools, answers[3:4]) == pytest.approx(found[3:4], abs=2e-3)  # whatever is scored beside it
    assert scores(reward, tools, []) == []
    assert all(module.training for module in tools.model.modules())
    assert all(torch.equal(one, other) for one, other in zip(before, tools.model.parameters(), strict=True))
    torch.testing.assert_close(tools.model(input_ids=ids).logits, said)  # with its adapter, as before
    assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    ("key", "settings", "answer", "reference", "score"),
    [
        ("length", {"words": 4}, "one two", "", 0.5),
        ("length", {"words": 4}, "one two three four five", "", 1),
        # 'cat' is not in 'Cats' as a word: one of two wanted, one of two unwanted.
        ("keywords", {"present": "cat, New York", "absent": "dog, rude"}, "Cats in new\nyork. No DOG!", "", 0),
        ("keywords", {"present": "", "absent": "dog\nrude"}, "Dog, dog, dog", "", -0.5),
        ("keywords", {"present": "c++, ça va", "absent": ""}, "I like C++ (ÇA VA)", "", 1),
        ("pattern", {"pattern": r"^\d+$"}, "a\n12\nb", "", 1),
        ("pattern", {"pattern": r"\d+", "whole": True}, "12 b", "", 0),
        ("pattern", {"pattern": r"\d+", "whole": True}, " 12\n", "", 1),
        ("pattern", {"pattern": "CAT"}, "cat", "", 0),
        ("pattern", {"pattern": "CAT", "ignore_case": True}, "cat", "", 1),
        ("json_valid", {"fields": ""}, " [1, 2]\n", "", 1),
        ("json_valid", {"fields": ""}, '```json\n{"a": 1}\n```', "", 0),
        ("json_valid", {"fields": "a, b"}, '{"a": 1, "c": 2}', "", 2 / 3),
        ("json_valid", {"fields": "a, b"}, '["a", "b"]', "", 1 / 3),
        ("exact", {}, " positive\n", "positive", 1),
        ("exact", {}, "Positive.", "positive", 0),
        ("exact", {}, '{"b": [1], "a": 2.0}', '{"a": 2, "b": [1]}', 1),
        ("json_fields", {}, '{"b": 1, "a": 1.0, "c": 0}', '{"a": 1, "b": true}', 0.5),
        ("json_fields", {}, "{'a': 1}", '{"a": 1}', 0),
        ("json_fields", {}, '{"a": 1}', "no JSON", 0),
        # Without articles: 'cat sat on mat' and 'mat on cat'; three words are shared, one in order.
        ("similarity", {}, "Mat on cat!", "The cat sat on a mat", 6 / 7),
        ("similarity", {"measure": "order"}, "Mat on cat!", "The cat sat on a mat", 2 / 7),
        ("similarity", {"measure": "order"}, "x cat y sat z mat", "cat sat mat", 6 / 9),
        ("repetition", {"n": 2}, "a b A B", "", 2 / 3),
        ("repetition", {"n": 3}, "one one", "", 1),
        ("repetition", {"n": 1}, "one one", "", 0.5),
        ("repetition", {}, "", "", 0),
        ("expression", {"expression": "words + 2 ** 3 / -4 - (characters > 5)"}, "three small words", "", 0),
        ("expression", {"expression": "clip(words, 2, 4) * min(sentences, 1, 7)"}, "Yes! No? Maybe", "", 3),
        ("expression", {"expression": "digits if 0 < lines <= 2 and not capitals else sqrt(16)"}, "a 12\n\n 3", "", 3),
        ("expression", {"expression": "overlap + reference_words / 10"}, "the cat", "a cat sat", 2 / 3 + 0.3),
        ("expression", {"expression": "sentences"}, "好。真的吗？是 3.5 m.", "", 3),
        ("expression", {"expression": "question_marks == 1 or exclamation_marks > 1"}, "ok?", "", 1),
        ("expression", {"expression": "unique_words - prompt_words"}, "so So so what", "", 0),
        ("expression", {"expression": "abs(log(exp(-2)))"}, "", "", 2),
    ],
)
def test_scores_by_hand(
    key: str,
    settings: dict[str, Any],
    answer: str,
    reference: str,
    score: float,
    moods: tuple[Workspace, str],
) -> None:
    reward = made(key, moods, **settings)
    reward.check(moods[0])
    asked = Answered("say it", answer, reference)
    assert scores(reward, Tools(moods[0]), [asked]) == pytest.approx([score])


def test_likely_text_is_one_over_the_perplexity_of_the_base_model(moods: tuple[Workspace, str], tools: Tools) -> None:
    tokenizer, answers = tools.tokenizer, ["ok then", "o"]
    found = scores(made("perplexity", moods), tools, [Answered("say", each) for each in answers])
    base = tiny_model()
    for answer, score in zip(answers, found, strict=True):
        prompt = tokenizer("<|im_start|>user\nsay<|im_end|>\n<|im_start|>assistant\n")["input_ids"]
        ids = torch.tensor([prompt + tokenizer(answer)["input_ids"]])
        logs = base(input_ids=ids).logits[0, :-1].log_softmax(dim=1).gather(1, ids[0, 1:, None])[len(prompt) - 1 :]
        assert logs.shape == (len(answer), 1)
        assert score == pytest.approx(float(logs.detach().mean().exp()), rel=1e-4)


BEFORE = [{"role": "user", "content": "Ask me about my cat."}, {"role": "assistant", "content": "Gladly."}]


def test_likely_text_is_judged_behind_all_that_was_said(moods: tuple[Workspace, str], tools: Tools) -> None:
    (score,) = scores(made("perplexity", moods), tools, [Answered("say", "ok then", before=BEFORE)])
    turns = [*BEFORE, {"role": "user", "content": "say"}]
    said = "".join(f"<|im_start|>{turn['role']}\n{turn['content']}<|im_end|>\n" for turn in turns)
    prompt = tools.tokenizer(f"{said}<|im_start|>assistant\n")["input_ids"]
    ids = torch.tensor([prompt + tools.tokenizer("ok then")["input_ids"]])
    logs = tiny_model()(input_ids=ids).logits[0, :-1].log_softmax(dim=1).gather(1, ids[0, 1:, None])[len(prompt) - 1 :]
    assert score == pytest.approx(float(logs.detach().mean().exp()), rel=1e-4)


def test_a_judge_is_told_what_was_said_before(moods: tuple[Workspace, str], tools: Tools) -> None:
    alone, behind = (Answered("Where is it?", "On the mat.", "There.", before=before) for before in ((), BEFORE))
    one, other = scores(made("judge", moods), tools, [alone, behind])
    assert one != pytest.approx(other, abs=1e-5)


def test_a_judge_favours_no_place(moods: tuple[Workspace, str], tools: Tools) -> None:
    judge = made("judge", moods)
    one, other = "It is on the mat.", "no idea"
    forth, back, same, rated, empty = scores(
        judge,
        tools,
        [
            Answered("Where is the cat?", one, other),
            Answered("Where is the cat?", other, one),
            Answered("Where is the cat?", one, one),
            Answered("Where is the cat?", one),
            Answered("Where is the cat?", " ", other),
        ],
    )
    assert forth + back == pytest.approx(1, abs=1e-5)
    assert forth != pytest.approx(0.5, abs=1e-4)
    assert same == pytest.approx(0.5, abs=1e-5)
    assert 0 < rated < 1
    assert empty == 0


def test_a_classifier_shares_one_among_its_labels(moods: tuple[Workspace, str], tools: Tools) -> None:
    asked = [Answered("", "fine, thanks"), Answered("", "\n")]
    good, bad = (scores(made("sentiment", moods, label=label), tools, asked) for label in ("good", "bad"))
    assert good[0] + bad[0] == pytest.approx(1)
    assert good[0] != pytest.approx(0.5, abs=1e-4)
    assert (good[1], bad[1]) == (0, 0)


@pytest.mark.parametrize("key", [key for key, cls in rewards().items() if cls.asks_model])
def test_without_a_model_those_that_ask_one_say_so(key: str, moods: tuple[Workspace, str]) -> None:
    with pytest.raises(RewardError, match=f"'{rewards()[key].title}' asks the model"):
        Combined({key: made(key, moods)}, Tools(moods[0]))


@pytest.mark.parametrize(
    ("key", "settings", "problem", "remedy"),
    [
        ("keywords", {"present": " , ", "absent": ""}, "has no words to look for", "Words wanted"),
        ("pattern", {"pattern": ""}, "has nothing to look for", "Regular expression"),
        ("sentiment", {"run": "../moods"}, "'../moods' is no run here that learnt labels", "Classification"),
        ("sentiment", {"label": "fine"}, "no label 'fine'", "bad, good"),
        ("expression", {"expression": "1 / words"}, "cannot be computed for an empty answer", "max"),
        ("expression", {"expression": "log(50 - characters)"}, "cannot be computed for a usual answer", "max"),
        ("expression", {"expression": "9 ** 9 ** 9"}, "cannot be computed for an empty answer", "Guard"),
        ("expression", {"expression": "1e12 ** 20 * 1e12 ** 20 * -1"}, "too large", "Guard"),
    ],
)
def test_what_is_missing_is_said_before_a_run(
    key: str, settings: dict[str, Any], problem: str, remedy: str, moods: tuple[Workspace, str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        made(key, moods, **settings).check(moods[0])
    assert problem in caught.value.problem
    assert remedy in caught.value.remedy


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('os').system('true')",
        "words.__class__",
        "(lambda: 1)()",
        "[word for word in (1, 2)]",
        "'a' * 9",
        "f'{words}'",
        "(x := 1)",
        "min(*(1, 2))",
        "min(1)",
        "clip(words, low=1, high=2)",
        "exp",
        "wrods",
        "True",
        "1j",
        "1e999",
        "words //",
        "words << 9",
        "words in (1, 2)",
        "",
        "-" * 60 + "1",
        "(" * 250 + "1" + ")" * 249,
        "+".join(["words"] * 80),
        "\x00",
    ],
)
def test_a_formula_can_do_arithmetic_only(expression: str) -> None:
    with pytest.raises(ConfigError, match="cannot be used"):
        rewards()["expression"].parse({"expression": expression})


def test_a_pattern_that_is_none_is_refused_and_one_without_end_stopped(
    moods: tuple[Workspace, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="is no regular expression"):
        rewards()["pattern"].parse({"pattern": "(a"})
    monkeypatch.setattr(pattern, "_SECONDS", 0.05)
    reward = rewards()["pattern"].parse({"pattern": r"(a|aa|b*)+$"})
    with pytest.raises(RewardError, match="took over") as caught:
        scores(reward, Tools(moods[0]), [Answered("", "a" * 5_000 + "!")])
    assert "repetitions" in caught.value.remedy


def test_a_formula_that_fails_amid_a_run_names_the_answer(moods: tuple[Workspace, str]) -> None:
    reward = rewards()["expression"].parse({"expression": "1 / (digits - 7)"})
    reward.check(moods[0])
    with pytest.raises(RewardError, match="cannot be computed for the answer '1234567'"):
        scores(reward, Tools(moods[0]), [Answered("", "1234567")])


# -- their sum --------------------------------------------------------------------------------------


class Odd(Length):
    """Scores as it is told to."""

    title: ClassVar[str] = "Odd one"
    gives: ClassVar[Callable[[Sequence[Answered]], Any]]

    def scorer(self, tools: Tools) -> Scorer:
        return type(self).gives


def fails(answers: Sequence[Answered]) -> list[float]:
    raise ZeroDivisionError("three halves of nothing")


def test_the_total_is_the_sum_by_weight(moods: tuple[Workspace, str]) -> None:
    chosen = {"length": Length(words=4, weight=2), "repetition": rewards()["repetition"].parse({"n": 1, "weight": -1})}
    found = Combined(chosen, Tools(moods[0]))([Answered("", "one two"), Answered("", "one one one one")])
    assert found.parts == {"length": [0.5, 1.0], "repetition": [1.0, 0.25]}
    assert found.total == [0.0, 1.75]


@pytest.mark.parametrize(
    ("gives", "problem"),
    [
        (lambda answers: [0.5, math.nan], "'Odd one' gave nan for the answer 'second'"),
        (lambda answers: [math.inf, 0], "'Odd one' gave inf for the answer 'first'"),
        (lambda answers: [1.0], "'Odd one' gave 1 scores for 2 answers"),
        (lambda answers: [1.0] * 3, "'Odd one' gave 3 scores for 2 answers"),
        (lambda answers: ["high", "low"], "'Odd one' failed (ValueError"),
        (lambda answers: None, "'Odd one' failed (TypeError"),
        (fails, "'Odd one' failed (ZeroDivisionError: three halves of nothing)"),
    ],
)
def test_what_is_no_score_is_refused_by_name(
    gives: Callable[..., Any], problem: str, moods: tuple[Workspace, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Odd, "gives", staticmethod(gives), raising=False)
    combined = Combined({"length": Length(), "odd": Odd()}, Tools(moods[0]))
    with pytest.raises(RewardError) as caught:
        combined([Answered("", "first"), Answered("", "second")])
    assert problem in caught.value.problem


# -- in a config ------------------------------------------------------------------------------------


def test_rewards_come_back_from_yaml_as_they_were(moods: tuple[Workspace, str]) -> None:
    chosen = {key: {**made(key, moods).model_dump(), "weight": 0.5} for key in ALL}
    config = RunConfig.parse({"rewards": chosen})
    assert list(config.rewards) == ALL
    for short in (True, False):
        assert RunConfig.parse(yaml.safe_load(config.to_yaml(short=short))) == config
    plain = RunConfig.parse(yaml.safe_load("rewards: {length, repetition}"))
    assert plain.rewards == RunConfig.parse({"rewards": ["length", "repetition"]}).rewards
    assert plain.rewards == {"length": Length(), "repetition": rewards()["repetition"]()}
    assert "rewards" not in RunConfig.parse({}).to_yaml()


@pytest.mark.parametrize(
    ("chosen", "problem"),
    [
        ({"lenght": {}}, "'lenght' is not a known reward"),
        ({"_words": {}}, "'_words' is not a known reward"),
        ({"length": {"word": 3}}, "'reward.word' is not a setting"),
        ({"length": {"words": 0}}, "'reward.words' is 0"),
        ({"length": {"weight": "nan"}}, "'reward.weight'"),
        ({"length": 3}, "is no list of rewards"),
        (3, "is no list of rewards"),
        ("length", "is no list of rewards"),
        (["length", 3], "'3' is not a known reward"),
    ],
)
def test_other_rewards_are_refused_in_a_sentence(chosen: Any, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        RunConfig.parse({"rewards": chosen})
    assert problem in caught.value.problem
    assert caught.value.remedy
