"""Learning from rewards, on the tiny model: what is drawn, what is learnt, and what ends a run."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from studio.config import RunConfig
from studio.events import Done, EvalDone, Failed, Note, Paused, Saved, StepDone
from studio.jobs import create_run, unleash
from studio.launch import worker_environment
from studio.methods.bottleneck import Bottleneck
from studio.methods.full import Full
from studio.methods.lora import Lora
from studio.methods.lora_scratch import LoraScratch
from studio.models.tiny import tiny_model, tiny_tokenizer
from studio.models.valued import Valued
from studio.training.losses import token_logprobs
from studio.training.rollouts import draw, expected, told
from studio.training.route import Padded, Route, SideBySide, choose
from studio.workspace import RunFolder, Workspace
from tests.nursery import popen

Make = Callable[..., RunConfig]
PROMPTS = [{"input_ids": list(range(10, 10 + n)), "prompt": f"p{n}", "reference": "r", "before": ""} for n in (5, 3, 9)]


def answers(temperature: float = 1.0, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return draw(tiny_model(), tiny_tokenizer(), PROMPTS, max_new_tokens=6, temperature=temperature)


def test_answers_keep_the_order_of_their_prompts_and_stop_at_their_ends() -> None:
    rollout = answers()
    assert [len(prompt) for prompt in rollout.prompts] == [5, 3, 9]
    assert [text.prompt for text in rollout.texts] == ["p5", "p3", "p9"]
    assert rollout.mask.sum(dim=1).tolist() == [len(answer) for answer in rollout.answers]
    end = tiny_tokenizer().eos_token_id
    for answer, ended in zip(rollout.answers, rollout.ended.tolist(), strict=True):
        assert ended == (answer[-1] == end)
        assert end not in answer[:-1]
        assert ended or len(answer) == 6


def test_an_answer_comes_with_all_that_was_said() -> None:
    said = [{"role": "system", "content": "Be brief."}]
    rows = [PROMPTS[0] | {"before": json.dumps(said)}, PROMPTS[1]]
    first, second = draw(tiny_model(), tiny_tokenizer(), rows, max_new_tokens=2, temperature=0.0).texts
    assert first.asked() == [*said, {"role": "user", "content": "p5"}]
    assert second.asked() == [{"role": "user", "content": "p3"}]


def test_the_dice_decide_and_nothing_else() -> None:
    assert answers(seed=1).answers == answers(seed=1).answers
    assert answers(seed=1).answers != answers(seed=2).answers
    assert answers(0.0, seed=1).answers == answers(0.0, seed=2).answers


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_log_probs_are_those_of_the_library(temperature: float) -> None:
    rollout, model = answers(), tiny_model().eval()
    found = told(choose(model), rollout, range(3), temperature)
    for place, (prompt, answer) in enumerate(zip(rollout.prompts, rollout.answers, strict=True)):
        logits = model(torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1] / temperature
        expected = logits.log_softmax(-1).gather(1, torch.tensor(answer)[:, None])[:, 0]
        torch.testing.assert_close(found.logprobs[place, : len(answer)], expected, rtol=1e-4, atol=1e-5)
        spread = torch.distributions.Categorical(logits=logits).entropy()
        torch.testing.assert_close(found.entropy[place, : len(answer)], spread, rtol=1e-4, atol=1e-5)
        assert not found.logprobs[place, len(answer) :].any()


def test_what_was_drawn_is_as_likely_as_the_draw_says() -> None:
    """Sampling and scoring see the same distribution: tokens drawn often are those called likely."""
    torch.manual_seed(0)
    model, row = tiny_model().eval(), PROMPTS[0]
    rollout = draw(model, tiny_tokenizer(), [row] * 600, max_new_tokens=1, temperature=0.5)
    logits = model(torch.tensor([row["input_ids"]])).logits[0, -1].detach() / 0.5
    drawn = torch.bincount(torch.tensor([answer[0] for answer in rollout.answers]), minlength=len(logits)) / 600
    assert float((drawn - logits.softmax(-1)).abs().sum()) < float((drawn - logits.softmax(-1).roll(1)).abs().sum())
    # The mean log-prob of what is drawn is minus the entropy.
    with torch.no_grad():
        found = told(choose(model), rollout, range(600), 0.5)
    assert float(found.logprobs.mean()) == pytest.approx(-float(found.entropy.mean()), abs=0.1)


@pytest.mark.parametrize("kind", [SideBySide, Padded])
def test_both_routes_know_the_hidden_states_behind_what_they_give(kind: type[Route]) -> None:
    rollout, model = answers(), tiny_model().eval()
    route = kind(model, None)  # pyright: ignore[reportCallIssue]
    batch, at = rollout.take(range(3))
    states = route.states(batch, at)
    token_logprobs(route, states, batch["input_ids"][at + 1])
    expected = torch.cat(
        [
            model.model(torch.tensor([prompt + answer])).last_hidden_state[0, len(prompt) - 1 : -1]
            for prompt, answer in zip(rollout.prompts, rollout.answers, strict=True)
        ]
    )
    torch.testing.assert_close(route.hidden(states), expected, rtol=1e-3, atol=1e-4)
    Valued(model).values(route.hidden(states)).sum().backward()
    assert all(weight.grad is None for weight in model.parameters())  # learning values leaves the answers alone


# -- runs ----------------------------------------------------------------------------------------------


def rewarded(tiny_config: Make, name: str = "ppo", **changes: Any) -> RunConfig:
    objective = {"max_completion_length": 8, "max_length": 128, "kl_coef": 0.01, **changes.pop("objective", {})}
    training = {"max_steps": 6, "per_device_train_batch_size": 8, "eval_steps": 3, "dtype": "float32", "answer_rows": 0}
    values = tiny_config().to_dict()
    values["objective"] = {"name": name, **objective}
    values["training"] |= {**training, **changes.pop("training", {})}
    values["rewards"] = changes.pop("rewards", {"length": {"words": 4}})
    return RunConfig.parse({**values, **changes})


# peft asks transformers under a name that transformers has just renamed.
@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("method", [Lora(r=4), LoraScratch(r=4), Full(), Bottleneck()], ids=lambda each: each.title)
def test_a_critic_with_updates_of_its_own_leaves_the_policy_alone(method: Any, checkpointing: bool) -> None:
    torch.manual_seed(0)
    policy = method.attach(tiny_model())
    with torch.no_grad():
        for weight in policy.parameters():
            if weight.requires_grad:
                weight += 0.1 * torch.randn_like(weight)
    rollout = answers()
    before = told(choose(policy), rollout, range(3), 1.0).logprobs
    model = Valued(policy, r=4).train()
    if checkpointing:
        policy.activation_checkpointing_enable()
    route = choose(model.backbone)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.startswith("value_") and not name.endswith("lora_A.weight"):
                weight += 0.1
    torch.testing.assert_close(told(route, rollout, range(3), 1.0).logprobs, before)
    with route.running(), model.valuing():
        values = expected(route, rollout, range(3), model.values)
        values.sum().backward()
    learnt = {name for name, weight in model.named_parameters() if weight.grad is not None and weight.grad.any()}
    assert learnt == {name for name, _ in model.named_parameters() if name.startswith("value_")}
    assert sum(name.endswith("lora_A.weight") for name in learnt) == 7 * tiny_model().config.num_hidden_layers
    with route.running():
        after = told(route, rollout, range(3), 1.0)
        torch.testing.assert_close(after.logprobs, before)
        after.logprobs.sum().backward()
    assert any(weight.grad is not None and weight.grad.any() for weight in model.backbone.parameters())


def run(workspace: Workspace, config: RunConfig) -> RunFolder:
    folder = create_run(workspace, config)
    worker(folder).wait(120)
    return folder


def worker(folder: RunFolder) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "studio.worker", str(folder.path)]
    return popen(command, env=worker_environment(), start_new_session=True)


def steps(folder: RunFolder) -> list[dict[str, float]]:
    return [event.metrics for event in folder.events.read_from()[0] if isinstance(event, StepDone)]


@pytest.mark.parametrize("name", ["ppo", "grpo", "rloo"])
def test_what_is_rewarded_is_said_more(workspace: Workspace, tiny_config: Make, tmp_path: Path, name: str) -> None:
    """Spaces make words: the policy learns to say them."""
    critic = {"vf_coef": 0.5, "value_learning_rate": 0.01, "num_ppo_epochs": 4, "kl_coef": 0.0}
    path = tmp_path / "more.jsonl"
    path.write_text("\n".join(json.dumps({"prompt": f"say {i % 7}", "completion": f"row {i}"}) for i in range(100)))
    config = rewarded(
        tiny_config,
        name,
        dataset={"source": str(path), "validation_share": 0.1},
        objective={"max_completion_length": 4, **(critic if name == "ppo" else {})},
        training={
            "max_steps": 22 if name == "ppo" else 16,
            "learning_rate": 0.006 if name == "ppo" else 0.02,
            "per_device_train_batch_size": 32 if name == "ppo" else 16,
            "gradient_accumulation_steps": 2 if name == "ppo" else 1,
        },
    )
    folder = run(workspace, config)
    events = folder.events.read_from()[0]
    assert isinstance(events[-1], Done), folder.log.read_text()
    told_steps = steps(folder)
    rewards = [metrics["reward"] for metrics in told_steps]
    assert sum(rewards[-4:]) / 4 > sum(rewards[:4]) / 4 + 0.05, rewards
    first, last = told_steps[0], told_steps[-1]
    assert first["kl"] == pytest.approx(0, abs=1e-4)  # it starts as its own reference
    assert last["kl"] > 0
    assert 0 < last["entropy"] < 7
    assert ("value_loss" in last and "explained_variance" in last) == (name == "ppo")
    evals = [event.metrics for event in events if isinstance(event, EvalDone)]
    assert evals[-1]["eval_reward"] == -evals[-1]["eval_loss"]
    assert any(isinstance(event, Saved) for event in events)
    assert (folder.adapter / "adapter_model.safetensors").is_file()


@pytest.mark.parametrize("rank", [0, 4])
def test_batches_that_memory_has_room_for_change_nothing(workspace: Workspace, tiny_config: Make, rank: int) -> None:
    def told_by(rows: int) -> list[dict[str, float]]:
        sizes = {"per_device_train_batch_size": rows, "gradient_accumulation_steps": 8 // rows, "max_steps": 2}
        how = {"num_mini_batches": 2, "value_r": rank}
        return steps(run(workspace, rewarded(tiny_config, objective=how, training=sizes)))

    for whole, parted in zip(told_by(8), told_by(2), strict=True):
        for name in ("reward", "kl", "entropy", "policy_loss", "value_loss", "update_kl"):
            assert parted[name] == pytest.approx(whole[name], rel=1e-3, abs=1e-5), name


def test_killed_and_gone_on_it_ends_as_if_it_never_was(workspace: Workspace, tiny_config: Make) -> None:
    config = rewarded(
        tiny_config,
        objective={"kl_target": 0.5, "reward_scaling": True, "num_mini_batches": 2, "value_r": 4},
        training={"save_steps": 2, "max_steps": 6, "gradient_accumulation_steps": 2, "per_device_train_batch_size": 4},
    )
    whole = run(workspace, config)
    cut = create_run(workspace, config)
    victim = worker(cut)
    while len(steps(cut)) < 4:
        assert victim.poll() is None, cut.log.read_text()
        time.sleep(0.002)
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    worker(cut).wait(120)
    untimed = [{k: v for k, v in each.items() if k not in ("tokens_per_second", "memory")} for each in steps(cut)]
    assert untimed == [
        {k: v for k, v in each.items() if k not in ("tokens_per_second", "memory")} for each in steps(whole)
    ]
    assert len(untimed) == 6
    saved = [(folder.adapter / "adapter_model.safetensors").read_bytes() for folder in (cut, whole)]
    assert saved[0] == saved[1]


def test_a_pause_amid_a_step_waits_for_no_answers_and_changes_nothing(workspace: Workspace, tiny_config: Make) -> None:
    answers = {"max_completion_length": 60}  # writing them is nearly all of a step
    asked = rewarded(tiny_config, objective=answers, training={"save_steps": 100, "max_steps": 4, "eval_steps": 4})
    whole = run(workspace, asked)
    rests = create_run(workspace, asked)
    first = worker(rests)
    while len(steps(rests)) < 2:
        assert first.poll() is None, rests.log.read_text()
        time.sleep(0.002)
    time.sleep(0.05)
    done = len(steps(rests))
    rests.pause_flag.touch()
    first.wait(60)
    last = rests.events.read_from()[0][-1]
    assert isinstance(last, Paused), rests.log.read_text()
    assert last.step == done
    unleash(rests)
    worker(rests).wait(120)
    assert [each["loss"] for each in steps(rests)] == [each["loss"] for each in steps(whole)]
    saved = [(folder.adapter / "adapter_model.safetensors").read_bytes() for folder in (rests, whole)]
    assert saved[0] == saved[1]


def failed(folder: RunFolder) -> Failed:
    last = folder.events.read_from()[0][-1]
    assert isinstance(last, Failed), folder.log.read_text()
    return last


def test_a_policy_that_says_one_thing_only_is_stopped(workspace: Workspace, tiny_config: Make) -> None:
    config = rewarded(tiny_config, objective={"entropy_floor": 9.0}, training={"save_steps": 1})
    folder = run(workspace, config)
    assert "collapsed at step 1" in failed(folder).problem
    assert "KL coefficient" in failed(folder).remedy


def test_prompts_are_left_out_where_they_leave_no_room(workspace: Workspace, tiny_config: Make, tmp_path: Path) -> None:
    path = tmp_path / "mixed.jsonl"
    long = {"prompt": "why " * 60, "completion": "so"}
    path.write_text(
        "\n".join(json.dumps(r) for r in [long, *({"prompt": f"q{i}", "completion": "a"} for i in range(9))])
    )
    base = rewarded(tiny_config, training={"max_steps": 1}).to_dict()
    folder = run(workspace, RunConfig.parse({**base, "dataset": {"source": str(path), "validation_share": 0.0}}))
    events = folder.events.read_from()[0]
    assert isinstance(events[-1], Done), folder.log.read_text()
    assert any(isinstance(e, Note) and e.text.startswith("1 prompts longer than 120 tokens") for e in events)


def test_a_reward_may_ask_the_model_amid_training(workspace: Workspace, tiny_config: Make) -> None:
    asking = {"perplexity": {}, "judge": {"weight": 0.5}}
    folder = run(workspace, rewarded(tiny_config, rewards=asking, training={"max_steps": 1}))
    events = folder.events.read_from()[0]
    assert isinstance(events[-1], Done), folder.log.read_text()
    (told,) = steps(folder)
    assert 0 < told["reward_perplexity"] < 0.1  # random weights find little likely
    assert 0 < told["reward_judge"] < 1
    assert told["reward"] == pytest.approx(told["reward_perplexity"] + 0.5 * told["reward_judge"], abs=1e-4)


def test_a_penalty_holds_a_policy_back_too(workspace: Workspace, tiny_config: Make) -> None:
    config = rewarded(tiny_config, training={"max_steps": 3}, penalty={"name": "l2", "alpha": 1.0})
    told_steps = steps(run(workspace, config))
    assert told_steps[-1]["l2"] > 0


def test_scores_that_were_all_equal_so_far_stay_as_they_are(workspace: Workspace, tiny_config: Make) -> None:
    config = rewarded(
        tiny_config,
        objective={"reward_scaling": True},
        training={"max_steps": 1},
        rewards={"expression": {"expression": "3"}},
    )
    assert steps(run(workspace, config))[0]["value_loss"] < 10
