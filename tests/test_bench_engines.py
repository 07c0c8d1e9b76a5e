"""What variants of a model are asked, and what asks them: transformers in each of its ways, and llama.cpp."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from studio.benchmarks import engines
from studio.benchmarks.engines import LlamaEngine, TorchEngine
from studio.benchmarks.requests import batch_of, prompts, quality, rows_of
from studio.benchmarks.variants import BenchSettings, Variant
from studio.config import RunConfig
from studio.errors import ModelError, RunError
from studio.models.generate import ends_of
from studio.models.tiny import tiny_model, tiny_tokenizer
from studio.speaker import ModelSpeaker
from studio.workspace import Workspace


def settings(**values: Any) -> BenchSettings:
    return BenchSettings.parse({"models": ["tiny"], **values})


def variant(**values: Any) -> Variant:
    usual = {"model": "tiny", "precision": "float32", "attention": "sdpa", "cache": "dynamic", "compile": False}
    return Variant.parse({**usual, "batch_size": 1, "prompt_tokens": 0, "answer_tokens": 6, **values})


def torch_engine(**values: Any) -> TorchEngine:
    return TorchEngine(tiny_model(), tiny_tokenizer(), variant(**values), settings(), lambda: None)


def test_prompts_are_cut_to_length_the_same_each_time_and_begin_apart() -> None:
    engine, made = torch_engine(), variant(prompt_tokens=600)
    first, second = (batch_of(prompts(engine, [], made), 70) for _ in range(2))
    assert first == second
    assert {len(each) for each in first} == {600}
    assert len({tuple(each[:8]) for each in first}) > 60


def test_rows_are_asked_in_an_order_of_the_seed_and_long_ones_left_out(
    workspace: Workspace, rows_file: Path, tiny_config: Callable[..., RunConfig]
) -> None:
    asked = settings(prompts=str(rows_file), rows=5)
    rows = rows_of(workspace, asked)
    (empty := workspace.new_run("empty")).held_out.touch()
    tiny_config().save(empty.config)
    with pytest.raises(RunError, match="No row of the chosen prompts"):
        rows_of(workspace, settings(prompts=f"run:{empty.id}"))
    assert rows == rows_of(workspace, asked) != rows_of(workspace, asked.model_copy(update={"seed": 1}))
    assert len(rows) == 5
    engine = torch_engine()
    lengths = sorted({len(engine.chat(row.asks)) for row in rows})
    engine.reads = lengths[0] + 6
    known = batch_of(prompts(engine, rows, variant()), 20)
    assert {len(each) for each in known} == {lengths[0]}
    engine.reads = 8
    with pytest.raises(ModelError, match="None of the prompts fits"):
        next(prompts(engine, rows, variant()))
    engine.model.config.max_position_embeddings = 8
    nothing = quality(engine, rows)  # fits, so that nothing is known
    assert (nothing.perplexity, nothing.rows, nothing.asked) == (None, 0, 5)


@pytest.mark.parametrize(
    "changes", [{"attention": "eager"}, {"cache": "static"}], ids=lambda changes: next(iter(changes.values()))
)
def test_other_ways_to_compute_give_the_same_answers(changes: dict[str, Any]) -> None:
    asked = [[5, 6, 7], [40, 41, 42, 43, 44]]
    plain, other = torch_engine(), torch_engine(**changes)
    written = other.write(asked, 12, full=False)
    assert written.rows == plain.write(asked, 12, full=False).rows
    assert len(written.times) == max(map(len, written.rows))
    assert other.nats([5, 6], [7, 8]) == pytest.approx(plain.nats([5, 6], [7, 8]), rel=1e-4)
    assert other.model.config._attn_implementation == changes.get("attention", "sdpa")


def test_compiled_models_say_the_same_and_those_that_are_not_are_not_called_so(monkeypatch: pytest.MonkeyPatch) -> None:
    config = engines._compiled()
    config.backend = "eager"  # traced as ever, but no C++ made of it, which would take a minute
    monkeypatch.setattr(engines, "_compiled", lambda: config)
    asked = [[5, 6, 7], [40, 41, 42, 43, 44]]
    compiled = torch_engine(cache="static", compile=True)
    assert compiled.write(asked, 6, full=True).rows == torch_engine().write(asked, 6, full=True).rows
    with pytest.raises(ModelError, match="does not compile"):  # transformers leaves it out with a warning
        torch_engine(cache="dynamic", compile=True).write(asked, 6, full=True)


def test_a_static_cache_is_as_large_as_its_load_needs() -> None:
    engine, sizes = torch_engine(cache="static"), []
    for most in (4, 40, 4):
        engine.anew()
        engine.write([[5, 6, 7]], most, full=True)
        sizes.append(engine.model._previous_max_cache_length)
    assert sizes[0] == sizes[2] < sizes[1]


def test_answers_to_prompts_made_to_length_go_on_beyond_an_end() -> None:
    engine = torch_engine()
    first = engine.write([[5, 6, 7]], 12, full=True).rows[0][0]
    engine.model.generation_config.eos_token_id = [engine.tokenizer.eos_token_id, first]
    assert engine.write([[5, 6, 7]], 12, full=False).rows == [[first]]  # really produced, not asked for
    assert len(engine.write([[5, 6, 7]], 12, full=True).rows[0]) == 12


class Llama:
    """As llama-cpp-python's, computed by the tiny model."""

    def __init__(self, *, n_ctx: int, logits_all: bool = False, verbose: bool, **_: Any) -> None:
        self._model, self._tokenizer, self._all = tiny_model(), tiny_tokenizer(), logits_all
        self.metadata = {"tokenizer.chat_template": self._tokenizer.chat_template}
        self.scores = np.zeros((n_ctx, 259), dtype=np.float32)
        self._read: list[int] = []
        assert not verbose

    def tokenize(self, text: bytes, add_bos: bool = True, special: bool = False) -> list[int]:
        assert not add_bos
        return self._tokenizer(text.decode())["input_ids"]

    def detokenize(self, tokens: list[int], special: bool = False) -> bytes:
        return self._tokenizer.decode(tokens, skip_special_tokens=not special).encode()

    def token_eos(self) -> int:
        return self._tokenizer.eos_token_id

    token_bos = token_eos

    def reset(self) -> None:
        self._read = []

    def eval(self, tokens: Sequence[int]) -> None:
        assert self._all
        with torch.inference_mode():
            found = self._model(input_ids=torch.tensor([list(tokens)])).logits[0].numpy()
        self.scores[: len(found)] = found

    def generate(self, tokens: Sequence[int], *, temp: float, top_k: int, top_p: float, min_p: float) -> Iterator[int]:
        assert (temp, top_k, top_p, min_p) == (0.0, 0, 1.0, 0.0)
        assert not self._read, "it would go on from the prompt before"
        self._read = list(tokens)
        for _ in count():
            with torch.inference_mode():
                token = int(self._model(input_ids=torch.tensor([self._read])).logits[0, -1].argmax())
            self._read.append(token)
            yield token


def test_llama_cpp_is_asked_as_transformers_is() -> None:
    ours = torch_engine()
    theirs = LlamaEngine("tiny.gguf", settings(), 64, lambda: None, Llama)
    talk = [{"role": "user", "content": "say 3"}]
    assert theirs.chat(talk) == ours.chat(talk)
    assert theirs.text("say 3") == ours.text("say 3")
    assert theirs.ends == ends_of(tiny_model(), tiny_tokenizer())
    written, again = (theirs.write([ours.chat(talk)], 9, full=True) for _ in range(2))
    assert written.rows == again.rows == ours.write([ours.chat(talk)], 9, full=True).rows
    assert len(written.times) == 9
    assert theirs.words(written.rows[0]) == ours.words(written.rows[0])
    assert theirs.nats([5, 6, 7], [8, 9]) == pytest.approx(ours.nats([5, 6, 7], [8, 9]), rel=1e-4)
    likely = ModelSpeaker(tiny_model(), tiny_tokenizer()).likely([talk], ["3!"])[0]  # as an evaluation has it
    assert likely
    assert theirs.likely(talk, "3!") == pytest.approx((likely.nats, likely.tokens), rel=1e-4)
    assert ours.likely(talk, "3!") == pytest.approx((likely.nats, likely.tokens), rel=1e-4)
    assert theirs.likely(talk, "3" * 64) is None
    theirs.ends = {written.rows[0][0]}
    assert theirs.write([ours.chat(talk)], 9, full=False).rows == [written.rows[0][:1]]
    theirs.model.metadata = {}
    with pytest.raises(ModelError, match="no chat template"):
        theirs.chat(talk)
