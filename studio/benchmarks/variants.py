"""What can be measured: a benchmark's settings, the variants they stand for, and which of them this machine can run."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from itertools import product
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field

from studio.models.machine import gpus, host_memory, processor, torch_has_cuda
from studio.settings import Settings, setting

Precision = Literal["float32", "bfloat16", "float16", "int8", "nf4", "gguf"]
Attention = Literal["eager", "sdpa", "flash_attention_2"]
Cache = Literal["dynamic", "static"]

FOUND = "prompt:"  # before the name of a search for a prompt: its sealed rows, asked with the best it found
RUN, MERGED = "run:", "merged:"  # before a run's id: its model with what it learnt beside the base, or within it
_PACKAGES = ("torch", "transformers", "peft", "bitsandbytes", "flash-attn", "llama-cpp-python")
WORDS = {
    "float32": "fp32",
    "bfloat16": "bf16",
    "float16": "fp16",
    "int8": "8-bit",
    "nf4": "4-bit NF4",
    "gguf": "GGUF",
    "eager": "eager attention",
    "sdpa": "SDPA",
    "flash_attention_2": "FlashAttention",
    "dynamic": "dynamic cache",
    "static": "static cache",
}


# One number is the list of it.
Numbers = Annotated[
    tuple[Annotated[int, Field(ge=1, le=100_000)], ...],
    BeforeValidator(lambda value: [value] if isinstance(value, int) else value),
]


class BenchSettings(Settings):
    """What is measured: each combination of these lists is a variant."""

    version: int = Field(default=1, ge=1, le=1)
    models: tuple[str, ...] = setting(
        ("starter",),
        "Models",
        min_length=1,
        max_length=32,
        help="Named as a run's model is; 'run:ID' is a run's model with its adapter beside the base, 'merged:ID' with "
        "the adapter written into the base's weights.",
    )
    precision: tuple[Precision, ...] = setting(
        ("bfloat16",),
        "Number format",
        min_length=1,
        help="Of the weights: float32, bfloat16, float16, int8 and nf4 through bitsandbytes, gguf through llama.cpp.",
        source="Dettmers et al. 2022, arXiv:2208.07339; 2023, arXiv:2305.14314",
    )
    attention: tuple[Attention, ...] = setting(
        ("sdpa",),
        "Attention",
        min_length=1,
        help="Who computes it: eager, sdpa, or flash_attention_2.",
        source="Dao 2023, arXiv:2307.08691",
    )
    cache: tuple[Cache, ...] = setting(
        ("dynamic",),
        "Cache",
        min_length=1,
        help="Of keys and values: dynamic grows with the answer, static has its full size from the start.",
        source="Hugging Face, Transformers documentation: Cache strategies",
    )
    compile: tuple[bool, ...] = setting(
        (False,),
        "torch.compile",
        min_length=1,
        help="Compiled once, which may take minutes, in the hope that each token is quicker. Needs the static cache.",
        source="Ansel et al. 2024, doi:10.1145/3620665.3640366",
    )
    batch_size: Numbers = setting(
        (1, 8),
        "Batch sizes",
        min_length=1,
        help="Requests answered at once, such as 1, 8. Several are separate lines.",
        source="Pope et al. 2022, arXiv:2211.05102",
    )
    prompt_tokens: Numbers = setting(
        (128,), "Prompt length", min_length=1, unit="tokens", help="Of prompts made to length; several, with commas."
    )
    answer_tokens: Numbers = setting(
        (64,),
        "Answer length",
        min_length=1,
        unit="tokens",
        help="Answers to prompts made to length are so long; others end where the model ends them, or there at last.",
    )
    prompts: str = setting(
        "",
        "Prompts",
        max_length=1000,
        help="A data set, 'run:ID' for the rows that a run held out, or 'prompt:NAME' for the sealed rows of a search, "
        "asked with the prompt it found: they are asked, and quality is that of their right answers. Empty: a text of "
        "ours, cut to the prompt length.",
    )
    rows: int = setting(
        32, "Rows", ge=1, le=10_000, advanced=True, help="So many prompts are asked, and right answers scored, at most."
    )
    gguf: str = setting(
        "",
        "GGUF file",
        max_length=1000,
        help="Of one of these models, for llama.cpp: the path of a file on this machine. For 'gguf' as precision.",
    )
    rounds: int = setting(
        3, "Rounds", ge=1, le=100, help="All variants are measured so often, in turn, so that a change of the machine "
        "meets all of them. How far rounds lie apart says how sure a difference is.",
        source="Georges et al. 2007, doi:10.1145/1297027.1297033",
    )  # fmt: skip
    batches: int = setting(
        3, "Batches a round", ge=1, le=1000, help="Measured of each variant in each round, after the warm-up."
    )
    warmup: int = setting(
        1,
        "Warm-up",
        ge=0,
        le=100,
        unit="batches",
        advanced=True,
        help="Answered first and not counted.",
        source="Georges et al. 2007, doi:10.1145/1297027.1297033",
    )
    temperature: float = setting(
        0.0,
        "Temperature",
        ge=0,
        le=2,
        advanced=True,
        help="0 takes the likeliest token each time; above, tokens are drawn.",
        source="Hinton et al. 2015, arXiv:1503.02531, eq. 1",
    )
    seed: int = setting(
        0, "Seed", ge=0, le=2**31 - 1, advanced=True, help="For the order of the prompts, and for drawing."
    )


class Variant(Settings):
    """One way to run one model on one load."""

    model: str  # as in the settings; of GGUF the file
    precision: Precision
    attention: str  # '' for llama.cpp, which decides itself
    cache: str
    compile: bool
    batch_size: int
    prompt_tokens: int  # 0: as the rows have them
    answer_tokens: int  # at most, where the prompts are rows

    @property
    def setup(self) -> str:
        """The same for variants that need the model to be loaded but once."""
        return "|".join([self.model, self.precision, self.attention, self.cache, "compiled" * self.compile])

    @property
    def load(self) -> tuple[int, int]:
        """Tokens of the answers and of the prompts: variants of the same load can be compared."""
        return self.prompt_tokens, self.answer_tokens

    @property
    def key(self) -> str:
        return f"{self.setup}|{self.batch_size}|{self.prompt_tokens}|{self.answer_tokens}"

    @property
    def how(self) -> str:
        """In words, without the model."""
        parts = [WORDS[each] for each in (self.precision, self.attention, self.cache) if each]
        return ", ".join([*parts, *["compiled"] * self.compile, f"batch {self.batch_size}"])


@dataclass(frozen=True)
class Machine:
    """Where something is measured: what tells one from another, and what can be measured there."""

    name: str  # its host's
    processor: str
    cores: int
    memory: float  # GB
    gpu: str  # '' where torch can use none
    versions: dict[str, str]  # of what is installed
    compiles: bool = False  # whether there is what torch.compile needs

    def has(self, package: str) -> bool:
        return package in self.versions


def this_machine() -> Machine:
    """Found without importing torch."""
    found = gpus() if torch_has_cuda() else []
    gpu = found[0].name if found else ""
    needed = ("triton",) if gpu else ()
    compilers = any(map(shutil.which, ("g++", "clang++", "c++", "cl")))
    return Machine(
        name=platform.node(),
        processor=processor(),
        cores=os.cpu_count() or 1,
        memory=round(host_memory().total / 1e9, 1),
        gpu=gpu,
        versions={"python": platform.python_version()} | {each: told for each in _PACKAGES if (told := _version(each))},
        compiles=bool(gpu or compilers) and all(map(find_spec, needed)),
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def differs(here: Mapping[str, Any], there: Mapping[str, Any]) -> str:
    """What speaks against comparing figures of two machines, as a sentence; '' where they are one and the same."""
    apart = [each for each in ("name", "processor", "cores", "gpu") if here.get(each) != there.get(each)]
    if apart:
        told = there.get("gpu") or there.get("processor") or "unknown"
        return f"Measured on another machine ({there.get('name')}, {told}): differences may be the machine's."
    now, was = here.get("versions", {}), there.get("versions", {})
    changed = [
        f"{each} {was.get(each, 'absent')}" for each in now.keys() | was.keys() if now.get(each) != was.get(each)
    ]
    return f"Measured on this machine with {', '.join(sorted(changed))}." if changed else ""


def why_not(variant: Variant, machine: Machine) -> str:
    """Why `variant` cannot be measured on `machine`, in a sentence; '' where it can."""
    if variant.precision == "gguf":
        if not machine.has("llama-cpp-python"):
            return "GGUF needs llama.cpp: pip install 'finetune-studio[gguf]', which compiles for some minutes."
        one = variant.batch_size > 1
        return "llama-cpp-python answers one request at a time: only batch size 1 can be measured." if one else ""
    quantised = variant.precision in ("int8", "nf4")
    if quantised and not machine.has("bitsandbytes"):
        return "8 and 4 bits need bitsandbytes, which is not installed: pip install bitsandbytes."
    if variant.attention == "flash_attention_2":
        if not machine.gpu:
            return "FlashAttention runs on NVIDIA GPUs only, and torch finds none here."
        if not machine.has("flash-attn"):
            return "FlashAttention is not installed: pip install flash-attn."
        if variant.precision == "float32":
            return "FlashAttention computes in 16 bits: choose bf16 or fp16."
    if variant.compile:
        if not machine.compiles:
            return "torch.compile needs Triton on a GPU and a C++ compiler on a CPU; there is none here."
        if variant.cache != "static":
            return "torch.compile needs the static cache: with a growing one each token has another shape."
        if quantised:
            return "Weights in 8 or 4 bits are not compiled."
    return ""


def choices(machine: Machine) -> dict[str, dict[Any, str]]:
    """What can be chosen of precision, attention, cache and compiling → why it cannot be had here, or ''."""
    usual = {"model": "", "precision": "bfloat16", "attention": "sdpa", "cache": "static", "compile": False}
    rest = {"batch_size": 1, "prompt_tokens": 0, "answer_tokens": 1}
    axes = {
        "precision": get_args(Precision),
        "attention": get_args(Attention),
        "cache": get_args(Cache),
        "compile": (False, True),
    }
    return {
        axis: {each: why_not(Variant.parse({**usual, **rest, axis: each}), machine) for each in values}
        for axis, values in axes.items()
    }


def variants(settings: BenchSettings) -> list[Variant]:
    """All that the settings ask for, small loads before larger ones of the same setup."""
    prompt_tokens = (0,) if settings.prompts else settings.prompt_tokens
    loads = sorted(set(product(settings.answer_tokens, prompt_tokens, settings.batch_size)))
    plain = [each for each in settings.precision if each != "gguf"]
    loaded: list[tuple[Any, ...]] = [
        *product(settings.models, plain, settings.attention, settings.cache, settings.compile)
    ]
    if "gguf" in settings.precision:
        loaded.append((settings.gguf, "gguf", "", "", False))
    names = tuple(Variant.model_fields)
    return [
        Variant.parse(dict(zip(names, (*setup, batch_size, prompt, answer), strict=True)))
        for setup in dict.fromkeys(loaded)
        for answer, prompt, batch_size in loads
    ]


def run_of(model: str) -> str:
    """The id of the run whose model it is; '' where it is none."""
    return next((model.removeprefix(each) for each in (RUN, MERGED) if model.startswith(each)), "")


def search_of(prompts: str) -> str:
    """The name of the search whose prompt stands around the rows; '' where there is none."""
    return prompts.removeprefix(FOUND) if prompts.startswith(FOUND) else ""


def setups(some: Sequence[Variant]) -> dict[str, list[Variant]]:
    """Those that need a model loaded alike, together."""
    found: dict[str, list[Variant]] = {}
    for each in some:
        found.setdefault(each.setup, []).append(each)
    return found
