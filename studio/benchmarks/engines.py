"""What answers: transformers with PyTorch, or llama.cpp. Both tell when each token came."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import psutil

from studio.benchmarks.variants import MERGED, BenchSettings, Variant, run_of
from studio.data.rendering import ENDS
from studio.data.turns import Message
from studio.errors import ModelError
from studio.parts import config_of
from studio.workspace import Workspace

_UNBOUNDED = 1 << 30  # tokens read by a model that names no bound

Pulse = Callable[[], None]  # called at each token; may raise to leave


@dataclass(frozen=True)
class Written:
    """Answers to prompts that were asked together."""

    times: tuple[float, ...]  # seconds from asking until each step's tokens had come
    rows: list[list[int]]  # tokens of each, with the one that ends it where it ended


class Engine(Protocol):
    """A model in memory."""

    reads: int  # tokens at most, answer included

    def text(self, text: str) -> list[int]:
        """Its tokens, nothing added."""
        ...

    def chat(self, messages: Sequence[Message]) -> list[int]:
        """A conversation up to where its answer begins."""
        ...

    def words(self, ids: Sequence[int]) -> str:
        """The text of an answer."""
        ...

    def write(self, prompts: list[list[int]], most: int, *, full: bool) -> Written:
        """Answers of at most that many tokens; `full`: of as many, wherever the model would end them."""
        ...

    def anew(self) -> None:
        """Another load comes: nothing that suited the last one is kept."""
        ...

    def nats(self, context: list[int], target: list[int]) -> float:
        """-log of the probability of `target` behind `context`."""
        ...

    def likely(self, messages: Sequence[Message], answer: str) -> tuple[float, int] | None:
        """(nats, tokens) of that answer, with what ends it by the template; None where they are too long to be read."""
        ...


class TorchEngine:
    """A transformers model as the studio loads it."""

    def __init__(self, model: Any, tokenizer: Any, variant: Variant, settings: BenchSettings, pulse: Pulse) -> None:
        from studio.models.generate import reads

        if variant.attention != model.config._attn_implementation:
            model.set_attn_implementation(variant.attention)
        self.model, self.tokenizer = model.eval(), tokenizer
        self.reads = reads(model) or _UNBOUNDED
        self._inner = model.get_base_model() if hasattr(model, "get_base_model") else model
        self._settings, self._pulse, self._compiles = settings, pulse, variant.compile
        self._options: dict[str, Any] = {"disable_compile": not variant.compile}
        if variant.cache == "static":
            self._options["cache_implementation"] = "static"
        if variant.compile:
            self._options["compile_config"] = _compiled()

    def text(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]

    def chat(self, messages: Sequence[Message]) -> list[int]:
        from studio.models.generate import encode

        return encode(self.tokenizer, messages)

    def words(self, ids: Sequence[int]) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=True).strip()

    def write(self, prompts: list[list[int]], most: int, *, full: bool) -> Written:
        """See Engine. A streamer is handed each step's tokens in main memory: a GPU has computed them by then."""
        import torch

        from studio.models.generate import answering, sample_batch

        torch.manual_seed(self._settings.seed)
        with answering(self.model, adapter=True):
            clock = _Clock(self._pulse)
            rows = sample_batch(
                self.model,
                self.tokenizer,
                prompts,
                max_new_tokens=most,
                temperature=self._settings.temperature,
                streamer=clock,
                options=self._options | ({"min_new_tokens": most} if full else {}),
            )
        if self._compiles and not hasattr(self._inner, "_compiled_call"):  # of which transformers but warns
            raise ModelError("transformers does not compile this model.", remedy="Take compiling out.")
        return Written(tuple(clock.times), rows)

    def nats(self, context: list[int], target: list[int]) -> float:
        import torch

        from studio.models.generate import answering
        from studio.speaker import nats_of

        self._pulse()
        device = self.model.device
        with answering(self.model, adapter=True):
            found = self.model(input_ids=torch.tensor([[*context, *target[:-1]]], device=device), use_cache=False)
            logits = found.logits[0, -len(target) :]  # a learnt prompt stands before the context
            return nats_of(logits, target)

    def anew(self) -> None:
        """See Engine: transformers makes a static cache no smaller than the largest before."""
        vars(self._inner).pop("_previous_max_cache_length", None)

    def likely(self, messages: Sequence[Message], answer: str) -> tuple[float, int] | None:
        (found,) = self._speaker.likely([messages], [answer])
        return (found.nats, found.tokens) if found else None

    @cached_property
    def _speaker(self) -> Any:
        """Scores as an evaluation does."""
        from studio.speaker import ModelSpeaker

        return ModelSpeaker(self.model, self.tokenizer, self._pulse)


class _Clock:
    """A transformers streamer that looks at the time. The first thing it is handed is the prompt."""

    def __init__(self, pulse: Pulse) -> None:
        self.times: list[float] = []
        self._pulse, self._prompt = pulse, True
        self._began = time.perf_counter()

    def put(self, value: Any) -> None:
        if self._prompt:
            self._prompt = False
            return
        self.times.append(time.perf_counter() - self._began)
        self._pulse()

    def end(self) -> None:
        """Nothing: it knows the times."""


def _compiled() -> Any:
    """Of GPUs as transformers does by itself; it compiles for a CPU only where told to by this."""
    import torch
    from transformers import CompileConfig

    if torch.cuda.is_available():
        return CompileConfig()
    config = CompileConfig(mode="default")
    config._compile_all_devices = True  # pyright: ignore[reportAttributeAccessIssue]
    return config


class LlamaEngine:
    """llama.cpp through llama-cpp-python: one request at a time, each read from its beginning.

    `Llama` is that of its module `llama_cpp`.
    """

    def __init__(self, path: str, settings: BenchSettings, tokens: int, pulse: Pulse, llama: Any) -> None:
        """`tokens`: of the longest prompt with its answer."""
        threads = int(os.environ.get("OMP_NUM_THREADS", 0)) or psutil.cpu_count(logical=False) or 1
        self._open = lambda **more: llama(
            model_path=os.path.expanduser(path),
            n_ctx=tokens,
            n_threads=threads,
            n_threads_batch=threads,
            n_gpu_layers=-1,  # none, where it was built without a GPU
            seed=settings.seed,
            verbose=False,
            **more,
        )
        self.model = self._open()
        self.reads, self._settings, self._pulse = tokens, settings, pulse
        self.ends = self._ends()
        self._scorer: Any = None  # one that keeps the logits of all tokens, which takes memory that answers need not

    def text(self, text: str) -> list[int]:
        return self.model.tokenize(text.encode(), add_bos=False, special=False)

    def chat(self, messages: Sequence[Message]) -> list[int]:
        """By the file's own template. Raises ModelError where it has none."""
        return self._tokens(self._rendered(messages, begins=True))

    def _rendered(self, messages: Sequence[Message], *, begins: bool) -> str:
        """`begins`: with what an answer begins with."""
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        template = self.model.metadata.get("tokenizer.chat_template")
        if not template:
            raise ModelError("This GGUF file has no chat template.", remedy="Choose prompts made to length.")
        ends = {name: self._word(token()) for name, token in self._special().items()}
        text = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(template)
        return text.render(messages=list(messages), add_generation_prompt=begins, **ends)

    def _tokens(self, rendered: str) -> list[int]:
        return self.model.tokenize(rendered.encode(), add_bos=False, special=True)

    def _ends(self) -> set[int]:
        """The tokens that end an answer: the file's own, and those of templates where each is one token to it."""
        told = self.model.metadata.get("tokenizer.ggml.eot_token_id")
        known = [ids for ids in map(self._tokens, ENDS) if len(ids) == 1]
        return {self.model.token_eos(), *([int(told)] if told else []), *(ids[0] for ids in known)}

    def _special(self) -> dict[str, Callable[[], int]]:
        return {"bos_token": self.model.token_bos, "eos_token": self.model.token_eos}

    def _word(self, token: int) -> str:
        return self.model.detokenize([token], special=True).decode(errors="replace")

    def words(self, ids: Sequence[int]) -> str:
        return self.model.detokenize(list(ids)).decode(errors="replace").strip()

    def write(self, prompts: list[list[int]], most: int, *, full: bool) -> Written:
        (prompt,) = prompts
        self.model.reset()  # or it would go on from what the last prompt began with alike
        times: list[float] = []
        row: list[int] = []
        began = time.perf_counter()
        drawn = self.model.generate(prompt, temp=self._settings.temperature, top_k=0, top_p=1.0, min_p=0.0)
        for token in drawn:
            times.append(time.perf_counter() - began)
            row.append(token)
            self._pulse()
            if len(row) == most or (token in self.ends and not full):
                break
        return Written(tuple(times), [row])

    def nats(self, context: list[int], target: list[int]) -> float:
        import numpy as np

        self._pulse()
        self._scorer = self._scorer or self._open(logits_all=True)
        self._scorer.reset()
        self._scorer.eval([*context, *target[:-1]])
        logits = np.asarray(self._scorer.scores[len(context) - 1 : len(context) - 1 + len(target)], dtype=np.float64)
        highest = logits.max(axis=1)
        norms = highest + np.log(np.exp(logits - highest[:, None]).sum(axis=1))
        return float((norms - logits[np.arange(len(target)), target]).sum())

    def anew(self) -> None:
        """See Engine: its cache has one size."""

    def likely(self, messages: Sequence[Message], answer: str) -> tuple[float, int] | None:
        asked = self._rendered(messages, begins=True)
        whole = self._rendered([*messages, {"role": "assistant", "content": answer}], begins=False)
        context, target = self._tokens(asked), self._tokens(whole[len(asked) :].rstrip())
        fits = whole.startswith(asked) and target and len(context) + len(target) <= self.reads
        return (self.nats(context, target), len(target)) if fits else None


def opened(
    variant: Variant, settings: BenchSettings, workspace: Workspace, merged: Path | None, tokens: int, pulse: Pulse
) -> tuple[Engine, float]:
    """The model of a variant, and the seconds that loading took once its files are there. Raises StudioError.

    `merged` is the folder that `merge` wrote, for a run's merged model; `tokens` what a request takes at most.
    """
    if variant.precision == "gguf":
        from llama_cpp import Llama  # pyright: ignore[reportMissingImports]

        began = time.perf_counter()
        engine = LlamaEngine(variant.model, settings, tokens, pulse, Llama)
        return engine, time.perf_counter() - began
    from studio.models.base import load, placement
    from studio.models.catalog import Located, locate
    from studio.models.tiny import tiny_model
    from studio.trained import onto

    tiny_model()  # what all models need is imported with the first: no part of loading this one
    run = run_of(variant.model)
    config = config_of(workspace, run) if run else None
    if config:
        import peft  # noqa: F401 - the same
    source = config.model if config else variant.model
    located = Located(merged, variant.model, "folder") if merged else locate(source, workspace.models, lambda *_: None)
    quantization = _quantization(variant)
    began = time.perf_counter()
    loaded = load(located, placement(_dtype(variant)), quantization)
    if config and not merged:
        trained = onto(loaded, workspace.run(run), config)
        model, tokenizer = trained.model, trained.tokenizer
    else:
        model, tokenizer = loaded.model, loaded.tokenizer
    engine = TorchEngine(model, tokenizer, variant, settings, pulse)
    return engine, time.perf_counter() - began


def _dtype(variant: Variant) -> Any:
    """Of the weights that are not quantised."""
    return "auto" if variant.precision in ("int8", "nf4") else variant.precision


def _quantization(variant: Variant) -> Any:
    """A transformers config for 8 or 4 bits, as a run of QLoRA has it."""
    from studio.methods import methods

    bits = {"int8": "8", "nf4": "4"}.get(variant.precision)
    return methods()["qlora"].parse({"bits": bits}).quantization() if bits else None


def merge(workspace: Workspace, model: str, folder: Path) -> None:
    """Write a run's model into `folder`, the adapter in the base's weights; whole, or not at all. Raises StudioError.

    In float32, however it was trained: in 16 bits the sum would be rounded once more, in 4 it would be lost.
    """
    from studio.models.base import load, placement
    from studio.models.catalog import locate
    from studio.trained import onto

    run = model.removeprefix(MERGED)
    config = config_of(workspace, run)
    loaded = load(locate(config.model, workspace.models, lambda *_: None), placement("float32"))
    trained = onto(loaded, workspace.run(run), config)
    merged = trained.model.merge_and_unload()
    aside = folder.with_name(f"{folder.name}.part")
    merged.save_pretrained(aside)
    trained.tokenizer.save_pretrained(aside)
    aside.rename(folder)
