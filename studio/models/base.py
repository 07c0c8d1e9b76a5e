"""A located model in memory: on which device, in which number format, and why."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from studio.data.bounded import bound
from studio.errors import ModelError
from studio.models.catalog import BUNDLED, Located
from studio.models.machine import cpu_has_bfloat16
from studio.models.purpose import check_purpose
from studio.models.quiet import no_bars
from studio.models.tiny import tiny_model, tiny_tokenizer

# Tokens that models reserve for padding or never write, in order of preference.
_PADDING = ("<|endoftext|>", "<|finetune_right_pad_id|>", "<pad>", "[PAD]", "<unk>")


@dataclass(frozen=True)
class Placement:
    """Where a model computes and in what, with the reason as a sentence."""

    device: str  # 'cuda', 'mps' or 'cpu'
    dtype: str  # 'bfloat16', 'float16' or 'float32', of the frozen weights
    reason: str


@dataclass(frozen=True)
class Loaded:
    """A model ready to be given an adapter, in eval mode."""

    model: Any
    tokenizer: Any
    placement: Placement
    located: Located
    parameters: int  # as if nothing were quantised


def placement(dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto") -> Placement:
    """The best device there is, and `dtype` or the best one for that device."""
    device = _device()
    if dtype != "auto":
        return Placement(device, dtype, f"{dtype} as the run asks for, on {_NAMES[device]}.")
    chosen, reason = _AUTO[device]()
    return Placement(device, chosen, reason)


def products(place: Placement, *, exact: bool) -> tuple[torch.dtype | None, str]:
    """What training multiplies matrices in, where that is not the weights' own format, and a sentence on it.

    Weights that learn are kept in float32, so that small updates count; their products need it no more than
    those of frozen ones. `exact`: the person chose the format.
    """
    if place.device == "mps":
        return None, ""
    if place.dtype == "bfloat16":
        return torch.bfloat16, ""
    if place.dtype == "float32" and not exact and _AUTO[place.device]()[0] == "bfloat16":
        return torch.bfloat16, "Matrix products are computed in bfloat16, which is quicker here."
    return None, ""


def _device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _on_cuda() -> tuple[str, str]:
    name = torch.cuda.get_device_name()
    if torch.cuda.is_bf16_supported(including_emulation=False):
        return "bfloat16", f"The {name} computes bfloat16 natively: half of float32's memory, the same range."
    return "float16", f"The {name} has no bfloat16, so float16 takes its place."


def _on_mps() -> tuple[str, str]:
    try:
        square = torch.ones(2, 2, dtype=torch.bfloat16, device="mps")
        torch.mm(square, square)
    except (RuntimeError, TypeError):
        return "float32", "This version of macOS lacks bfloat16 on its GPU, so float32 takes its place."
    return "bfloat16", "Apple's GPU computes bfloat16: half of float32's memory, the same range."


def _on_cpu() -> tuple[str, str]:
    if cpu_has_bfloat16():
        return "bfloat16", "No GPU was found; this CPU computes bfloat16 natively, about twice as fast as float32."
    return "float32", "No GPU was found, and this CPU only emulates bfloat16, which is slower than float32."


_AUTO = {"cuda": _on_cuda, "mps": _on_mps, "cpu": _on_cpu}
_NAMES = {"cuda": "the NVIDIA GPU", "mps": "Apple's GPU", "cpu": "the CPU, as no GPU was found"}


def load(
    located: Located,
    placement: Placement,
    quantization: Any | None = None,
    *,
    writes: bool = True,
    model: Any = None,
) -> Loaded:
    """The model and its tokenizer, in eval mode. Raises ModelError.

    `quantization` is a transformers quantization config; None loads the weights as `placement` says. One
    that need not write text comes without its output layer, and may be an encoder. `model` is it, where it is in
    memory already.
    """
    with no_bars():
        if located.path is None:
            model = _tiny(placement, quantization, writes) if model is None else model
            tokenizer = tiny_tokenizer()
        else:
            model = _model(located.path, located.title, placement, quantization, writes) if model is None else model
            tokenizer = load_tokenizer(located.path, located.title, writes=writes)
    model.name_or_path = public_name(located)
    model.tokenizer = tokenizer  # a learnt prompt can begin as a text
    _settle_padding(model, tokenizer)
    if not writes:
        _settle_body(model, tokenizer)
    _keep_trainable(model)
    return Loaded(model.eval(), tokenizer, placement, located, model.num_parameters())


def public_name(located: Located) -> str:
    """What an adapter's config names as its base: something others can find, where there is such a thing."""
    if located.source == "folder":
        return str(located.path)
    bundled = BUNDLED.get(located.source)
    return bundled.hub_name if bundled else "tiny" if located.source == "tiny" else located.title


def _tiny(placement: Placement, quantization: Any | None, writes: bool) -> Any:
    if quantization is None:
        model = tiny_model().to(placement.device, getattr(torch, placement.dtype))
        return model if writes else model.model
    with tempfile.TemporaryDirectory() as folder:  # transformers quantises on the way from disk only
        tiny_model().save_pretrained(folder)
        return _model(Path(folder), "The tiny model", placement, quantization, writes)


def _model(path: Path, title: str, placement: Placement, quantization: Any | None, writes: bool) -> Any:
    """from_pretrained, without remote code or pickles. Raises ModelError, also for incomplete weights."""
    from transformers import AutoModel, AutoModelForCausalLM

    _check_known(path, title, writes=writes)
    loader: Any = AutoModelForCausalLM if writes else AutoModel  # their stubs know no output_loading_info
    try:
        model, told = loader.from_pretrained(
            path,
            dtype=getattr(torch, placement.dtype),
            device_map={"": placement.device},  # straight to its place, so that no second copy exists
            quantization_config=quantization,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
        )
    except Exception as error:
        raise _loading_failed(title, error) from error
    if missing := [name for name in told["missing_keys"] if writes or not name.startswith("pooler.")]:
        raise ModelError(
            f"{title} lacks {len(missing)} of its weights, such as {min(missing)}.",
            remedy="They would be random: fetch the model again, or choose another one.",
        )
    return model


def _check_known(path: Path, title: str, *, writes: bool) -> None:
    """Refuse an unknown architecture, and one that cannot do what is asked of it. Raises ModelError."""
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as KNOWN

    try:
        config = AutoConfig.from_pretrained(path, trust_remote_code=False, local_files_only=True)
    except Exception as error:
        raise ModelError(
            f"{title} has an architecture that this version of transformers does not know.",
            remedy="Update transformers, or choose another model.",
        ) from error
    check_purpose(path, title, writes=writes)
    if writes and config.model_type not in KNOWN:
        raise ModelError(
            f"{title} is a {(config.architectures or [config.model_type])[0]}, which does not write text.",
            remedy="Choose a causal language model, such as the starter.",
        )


def _loading_failed(title: str, error: Exception) -> ModelError:
    said = str(error).strip().splitlines() or [type(error).__name__]
    if isinstance(error, MemoryError) or any(sign in str(error) for sign in ("out of memory", "allocate memory")):
        return ModelError(f"There is not enough memory to load {title}.", remedy="Choose a smaller model.")
    if type(error).__name__ == "SafetensorError":
        return ModelError(f"The weights of {title} are damaged ({said[0][:120]}).", remedy="Fetch the model again.")
    return ModelError(
        f"{title} could not be loaded ({said[0][:200].rstrip('.')}).",
        remedy="Check that the folder is complete, or choose another model.",
    )


def load_tokenizer(path: Path, title: str, *, writes: bool = True) -> Any:
    """The tokenizer in a model's folder; `title` is the model's, for sentences. Raises ModelError.

    From then on this process renders chat templates within bounds.
    """
    from transformers import AutoTokenizer

    bound()
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False, local_files_only=True)
    except Exception as error:
        raise ModelError(
            f"The tokenizer of {title} could not be loaded.", remedy="The folder needs its tokenizer.json beside it."
        ) from error
    if not tokenizer.is_fast or (writes and tokenizer.eos_token_id is None):
        raise ModelError(
            f"{title} has no fast tokenizer with an end token.",
            remedy="Choose a model with a tokenizer.json; without an end token it could never stop writing.",
        )
    return tokenizer


def _settle_padding(model: Any, tokenizer: Any) -> None:
    """A padding token that is not the end token where one exists: a mask must tell the two apart."""
    if tokenizer.pad_token_id in (None, tokenizer.eos_token_id):
        known, size = tokenizer.get_vocab(), model.get_input_embeddings().num_embeddings
        other = [token for token in _PADDING if known.get(token, size) < size and token != tokenizer.eos_token]
        tokenizer.pad_token = other[0] if other else tokenizer.eos_token
    model.config.pad_token_id = tokenizer.pad_token_id
    if getattr(model, "generation_config", None) is not None:
        model.generation_config.pad_token_id = tokenizer.pad_token_id


def _settle_body(model: Any, tokenizer: Any) -> None:
    """An encoder has no positions beyond its window, so its tokenizer must know where to cut.

    Its pooler goes: it is random where the checkpoint has none, and heads read the hidden states.
    """
    window = getattr(model.config, "max_position_embeddings", None)
    if window and tokenizer.model_max_length > window:
        tokenizer.model_max_length = window
    if getattr(model, "pooler", None) is not None:
        model.pooler = None


def _keep_trainable(model: Any) -> None:
    """Forbid bitsandbytes to repack 4-bit weights for inference.

    On CPUs with AVX512-bf16 the first eval-mode forward would do so, and every later backward would
    silently be wrong. Costs a third of the speed of generation.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
