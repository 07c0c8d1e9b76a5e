"""Small bases that write or only read, what they tell, and a few steps of learning."""

from __future__ import annotations

from typing import Any

import torch

from studio.models.structure import Structure
from studio.models.tiny import tiny_model

BATCH = torch.tensor([[1, 87, 85, 71, 84, 20, 74, 75, 2, 21], [1, 67, 85, 85, 75, 20, 70, 71, 2, 21]])
BERT: dict[str, Any] = {
    "vocab_size": 259,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}


def tiny_bert() -> Any:
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    return BertModel(BertConfig(**BERT), add_pooling_layer=False).eval()


def tiny_gpt2() -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(n_layer=2, n_embd=32, n_head=2, vocab_size=259, n_positions=16)).eval()


BASES = {"llama": tiny_model, "gpt2": tiny_gpt2, "bert": tiny_bert}


def structure(model: Any) -> Structure:
    return Structure({name: tuple(weight.shape) for name, weight in model.named_parameters()})


def output(model: Any) -> torch.Tensor:
    """What a model tells: logits, or where it only reads its last hidden states."""
    told = model(input_ids=BATCH)
    return told.logits if hasattr(told, "logits") else told.last_hidden_state


def learn(model: Any, steps: int = 3, rate: float = 5e-3) -> None:
    optimizer = torch.optim.AdamW([each for each in model.parameters() if each.requires_grad], lr=rate)
    model.train()
    for _ in range(steps):
        optimizer.zero_grad()
        output(model).float().logsumexp(-1).mean().backward()
        optimizer.step()
    model.eval()
