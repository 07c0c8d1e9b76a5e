"""`python _by_hand.py by-hand JOB.json`: the loop one writes by hand for this one model, as fast as we could make it.

Llama's forward on the tokens of a batch end to end, without padding: attention row by row, LoRA added in the
same matmul call, frozen weights in bfloat16, adapters kept in float32, and the loss at labelled positions in
chunks whose gradient is taken at once, so that no logits are kept. It serves Llama alone and checks nothing.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from _contender import Job, run_named, tell
from torch import Tensor
from torch.nn import functional

CHUNK = 256  # positions whose logits are in memory at once
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass
class Linear:
    """A frozen weight (out, in) and its adapter: A (rank, in), B (out, rank)."""

    weight: Tensor
    a: Tensor
    b: Tensor
    scale: float

    def __call__(self, x: Tensor) -> Tensor:
        """(tokens, in) → (tokens, out)."""
        low = x @ self.a.to(x.dtype).t()
        return torch.addmm(x @ self.weight.t(), low, self.b.to(x.dtype).t(), alpha=self.scale)


class HeadLoss(torch.autograd.Function):
    """Summed cross-entropy of hidden states (positions, width) under a frozen head, its gradient taken in forward."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, head: Tensor, targets: Tensor) -> Tensor:
        gradient, loss = torch.empty_like(hidden), hidden.new_zeros((), dtype=torch.float32)
        for at in range(0, len(targets), CHUNK):
            part, wanted = hidden[at : at + CHUNK], targets[at : at + CHUNK, None]
            scores = (part @ head.t()).float().log_softmax(-1)
            loss -= scores.gather(1, wanted).sum()
            chances = scores.exp_().scatter_add_(1, wanted, scores.new_full((1, 1), -1.0).expand_as(wanted))
            gradient[at : at + CHUNK] = chances.to(head.dtype) @ head
        ctx.save_for_backward(gradient)
        return loss

    @staticmethod
    def backward(ctx: Any, *above: Any) -> Any:
        return ctx.saved_tensors[0] * above[0].to(ctx.saved_tensors[0].dtype), None, None


class Llama:
    """The decoder over rows laid end to end; `peft_model` gives the weights."""

    def __init__(self, peft_model: Any, scale: float) -> None:
        model = peft_model.get_base_model()
        self.config = model.config
        self.embedding, self.head = model.model.embed_tokens.weight, model.lm_head.weight
        self.norm = model.model.norm.weight
        self.layers: list[dict[str, Any]] = [
            {"in": layer.input_layernorm.weight, "out": layer.post_attention_layernorm.weight}
            | {
                name: Linear(
                    module.base_layer.weight, module.lora_A.default.weight, module.lora_B.default.weight, scale
                )
                for name, module in ((each.rpartition(".")[2], found) for each, found in layer.named_modules())
                if name in PROJECTIONS
            }
            for layer in model.model.layers
        ]
        theta = self.config.rope_parameters["rope_theta"]
        powers = torch.arange(0, self.config.head_dim, 2) / self.config.head_dim
        angles = torch.arange(self.config.max_position_embeddings)[:, None] / theta**powers
        self.cos, self.sin = (torch.cat([f(angles)] * 2, -1)[:, None].bfloat16() for f in (torch.cos, torch.sin))

    def loss(self, rows: list[dict[str, list[int]]]) -> Tensor:
        """Nats a labelled token."""
        lengths = [len(row["input_ids"]) for row in rows]
        x = functional.embedding(torch.tensor([token for row in rows for token in row["input_ids"]]), self.embedding)
        at = torch.cat([torch.arange(length) for length in lengths])
        cos, sin = self.cos[at], self.sin[at]
        for layer in self.layers:
            x = x + layer["o_proj"](self._attention(layer, self._normed(x, layer["in"]), lengths, cos, sin))
            h = self._normed(x, layer["out"])
            x = x + layer["down_proj"](functional.silu(layer["gate_proj"](h)) * layer["up_proj"](h))
        targets = torch.tensor([label for row in rows for label in [*row["labels"][1:], -100]])
        found = (targets != -100).nonzero().squeeze(1)
        summed: Any = HeadLoss.apply(self._normed(x[found], self.norm), self.head, targets[found])
        return summed / len(found)

    def _attention(self, layer: Any, x: Tensor, lengths: list[int], cos: Tensor, sin: Tensor) -> Tensor:
        q, k, v = (layer[name](x).view(len(x), -1, self.config.head_dim) for name in ("q_proj", "k_proj", "v_proj"))
        q, k = (each * cos + self._turned(each) * sin for each in (q, k))
        parts = zip(*(each.transpose(0, 1).split(lengths, 1) for each in (q, k, v)), strict=True)
        out = [
            functional.scaled_dot_product_attention(q[None], k[None], v[None], is_causal=True, enable_gqa=True)[0]
            for q, k, v in parts
        ]
        return torch.cat(out, 1).transpose(0, 1).reshape(len(x), -1)

    @staticmethod
    def _turned(x: Tensor) -> Tensor:
        first, second = x.chunk(2, -1)
        return torch.cat((-second, first), -1)

    def _normed(self, x: Tensor, weight: Tensor) -> Tensor:
        return functional.rms_norm(x, (x.shape[-1],), weight, self.config.rms_norm_eps)


def by_hand(job: Job) -> None:
    """One epoch in the studio's order of rows; the adapter is saved in peft's format."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, set_seed

    batches = json.loads(Path(job.batches).read_text(encoding="utf-8"))
    model: Any = AutoModelForCausalLM.from_pretrained(job.model, dtype=torch.bfloat16)
    set_seed(job.seed)  # peft draws A: the same as in every run that begins from this seed
    lora = LoraConfig(r=job.rank, lora_alpha=job.alpha, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(model, lora)
    learnt = [weight for weight in model.parameters() if weight.requires_grad]
    llama = Llama(model, job.alpha / job.rank)
    optimizer = torch.optim.AdamW(learnt, lr=job.learning_rate, weight_decay=0.0, fused=True)
    losses = []
    began = time.perf_counter()
    for step, rows in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = job.learning_rate * (1 - step / len(batches))
        loss = llama.loss(rows)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learnt, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    seconds = time.perf_counter() - began
    model.save_pretrained(job.output)
    tell(job.report, ("torch",), losses, [sum(len(row["input_ids"]) for row in batch) for batch in batches], seconds)


if __name__ == "__main__":
    run_named({"by-hand": by_hand})
