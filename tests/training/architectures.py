"""Random models of a few thousand weights, of many architectures: enough of each for what is its own to show."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, logging

logging.set_verbosity_error()

VOCABULARY = 301  # a prime
WINDOW = 5  # of those that look back no further; shorter than rows

_WIDE = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "max_position_embeddings": 128, "initializer_range": 0.2, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
_GROUPED = {**_WIDE, "num_key_value_heads": 2}
_SLIDING = {**_GROUPED, "sliding_window": WINDOW, "num_hidden_layers": 4}
_HEAD = {"head_dim": 8}
_EXPERTS = {**_GROUPED, "num_local_experts": 4, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
_OLD = {
    "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128, "initializer_range": 0.2, "resid_pdrop": 0.0,
    "attn_pdrop": 0.0, "embd_pdrop": 0.0, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
_DELTA = {"linear_num_value_heads": 4, "linear_num_key_heads": 2, "linear_key_head_dim": 8, "linear_value_head_dim": 8}
_ENCODER = {**_WIDE, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
_ROBERTA = {**_ENCODER, "pad_token_id": 1}

# Their rows can lie side by side.
WRITERS: dict[str, dict[str, Any]] = {
    "llama": {**_GROUPED, "tie_word_embeddings": True},
    "mistral": {**_SLIDING, "tie_word_embeddings": False},
    "gemma2": {**_SLIDING, **_HEAD, "final_logit_softcapping": 5.0, "attn_logit_softcapping": 3.0},
    "cohere2": {**_SLIDING, "logit_scale": 0.3},
    "granite": {**_GROUPED, "logits_scaling": 3.0, "residual_multiplier": 0.5, "embedding_multiplier": 2.0},
    "gpt2": _OLD,
    "opt": {**_WIDE, "ffn_dim": 64, "word_embed_proj_dim": 32, "init_std": 0.2, "dropout": 0.0},
    "gpt_oss": {**_SLIDING, **_HEAD, "num_local_experts": 4},
    "deepseek_v3": {
        **_WIDE, "q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8,
        "n_routed_experts": 4, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1, "moe_intermediate_size": 32,
        "first_k_dense_replace": 1, "num_key_value_heads": 4,
    },
    "apertus": _GROUPED, "arcee": _GROUPED, "biogpt": _ENCODER, "cohere": {**_GROUPED, "logit_scale": 0.3},
    "diffllama": _GROUPED, "ernie4_5": _GROUPED, "exaone4": _SLIDING, "gemma": {**_GROUPED, **_HEAD},
    "gemma3_text": {**_SLIDING, **_HEAD, "layer_types": ["sliding_attention", "full_attention"] * 2},
    "glm": {**_GROUPED, **_HEAD}, "glm4": {**_GROUPED, **_HEAD}, "gpt_bigcode": _OLD, "gpt_neox": _WIDE,
    "granitemoe": _EXPERTS, "helium": {**_GROUPED, **_HEAD}, "hunyuan_v1_dense": {**_GROUPED, **_HEAD},
    "ministral": {**_SLIDING, **_HEAD}, "mixtral": _EXPERTS, "nanochat": _GROUPED, "olmo": _GROUPED,
    "modernbert-decoder": {**_WIDE, "local_attention": 2 * WINDOW, "cls_token_id": 1, "sep_token_id": 2},
    "olmo2": _GROUPED, "olmo3": _SLIDING, "olmoe": _EXPERTS, "persimmon": _WIDE, "phi": _GROUPED, "phi3": _SLIDING,
    "qwen2": _GROUPED, "qwen2_moe": _EXPERTS, "qwen3": {**_GROUPED, **_HEAD}, "qwen3_moe": {**_EXPERTS, **_HEAD},
    "seed_oss": {**_GROUPED, **_HEAD}, "smollm3": {**_GROUPED, "num_hidden_layers": 4}, "starcoder2": _SLIDING,
    "vaultgemma": {**_SLIDING, **_HEAD},
}  # fmt: skip
READERS: dict[str, dict[str, Any]] = {
    "albert": {**_ENCODER, "embedding_size": 16}, "bert": _ENCODER, "camembert": _ROBERTA, "electra": _ENCODER,
    "distilbert": {
        "dim": 32, "hidden_dim": 64, "n_layers": 2, "n_heads": 4, "max_position_embeddings": 128, "dropout": 0.0,
        "attention_dropout": 0.0, "initializer_range": 0.2,
    },
    "eurobert": {**_GROUPED, **_HEAD}, "roberta": _ROBERTA, "xlm-roberta": _ROBERTA,
    "modernbert": {
        **_WIDE, "local_attention": 2 * WINDOW, "num_hidden_layers": 4, "cls_token_id": 1, "sep_token_id": 2,
    },
}  # fmt: skip

# Theirs cannot: what tells neighbours apart is missing, or positions follow from the padding.
PADDED_WRITERS: dict[str, dict[str, Any]] = {
    "bloom": {**_WIDE, "n_layer": 2, "n_head": 4, "hidden_dropout": 0.0, "attention_dropout": 0.0},
    "codegen": {**_OLD, "rotary_dim": 4, "n_ctx": 128}, "falcon": _WIDE, "gptj": {**_OLD, "rotary_dim": 4},
    "gpt_neo": {**_WIDE, "num_layers": 2, "num_heads": 4, "attention_types": [[["global", "local"], 1]]},
    "lfm2": {**_GROUPED, "num_hidden_layers": 3, "full_attn_idxs": [1]},
    "mamba": {**_WIDE, "state_size": 8},
    "mamba2": {**_WIDE, "state_size": 8, "num_heads": 8, "head_dim": 8, "n_groups": 1, "chunk_size": 8},
    "mpt": {"d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 128}, "nemotron": {**_GROUPED, **_HEAD},
    "qwen3_5_text": {**_GROUPED, **_HEAD, **_DELTA, "num_hidden_layers": 4},
    "recurrent_gemma": {**_GROUPED, "lru_width": 32, "attention_window_size": 32, "num_hidden_layers": 3},
    "stablelm": _GROUPED,
    "xglm": {**_WIDE, "d_model": 32, "ffn_dim": 64, "num_layers": 2, "attention_heads": 4, "dropout": 0.0},
}  # fmt: skip
PADDED_READERS: dict[str, dict[str, Any]] = {"deberta-v2": _ENCODER, "mpnet": _ENCODER}

_ALL = {**WRITERS, **READERS, **PADDED_WRITERS, **PADDED_READERS}


def config(name: str, **changes: Any) -> Any:
    known = {**_ALL[name], **changes}
    mixed = "num_local_experts" in known and "num_experts" in known  # some fields are other names of others
    if mixed:
        known.pop("num_experts" if name in ("mixtral", "granitemoe") else "num_local_experts")
    return AutoConfig.for_model(name, vocab_size=VOCABULARY, **known)


def build(name: str, seed: int = 0, **changes: Any) -> Any:
    """In eval mode, in float32; weights are so large that attention matters."""
    kind: Any = AutoModelForCausalLM if name in WRITERS | PADDED_WRITERS else AutoModel
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        model = kind.from_config(config(name, **changes)).eval()
        for weight in model.parameters():
            if weight.dim() > 1 and weight.std() < 0.05:
                weight.normal_(0, 0.2)
    model.config.pad_token_id = model.config.pad_token_id or 0
    return model
