"""What a model is made of: names and shapes of its weights, read from its files' headers without torch."""

from __future__ import annotations

import json
import re
import struct
from dataclasses import dataclass
from pathlib import Path

_EMBEDDING = re.compile(r"embed_.*|.*embed(ding)?s?|wte|wpe|lm_head|shared", re.IGNORECASE)  # a layer's own name
_EXPERT = re.compile(r"(.*\.)experts\.(\d+\.|[^.]+$)")  # one of many, or all of them in one weight
_NUMBER = re.compile(r"(.*?\.|)(\d+)\.")  # what stands before the first number of a name, and that number
_NORMS = ("norm", "ln_")
_LONGEST_HEADER = 100_000_000  # bytes, as in the format's own reader

# What families of models call the layer that leads back to the stream that blocks add to.
_BEHIND_ATTENTION = ("o_proj", "out_proj", "c_proj", "dense", "out_lin", "wo", "o")
_BEHIND_FEED_FORWARD = ("down_proj", "c_proj", "fc2", "fc_out", "dense_4h_to_h", "output.dense", "ffn_output",
                        "lin2", "w2", "wo")  # fmt: skip


@dataclass(frozen=True)
class Structure:
    """Weight name → shape, such as 'model.layers.0.mlp.up_proj.weight' → (1536, 576)."""

    weights: dict[str, tuple[int, ...]]

    def linear(self) -> dict[str, tuple[int, int]]:
        """Layer name → shape of each linear layer, embeddings and the output layer left out.

        So are experts and the router beside them: transformers holds those as parameters, not as linear layers.
        """
        experts = self.experts()
        routers = {f"{before}{name}" for before in experts.values() for name in ("gate", "router")}
        found = {}
        for name, shape in self.weights.items():
            layer, _, last = name.rpartition(".")
            if last == "weight" and len(shape) == 2 and not (is_embedding(name) or name in experts or layer in routers):
                found[layer] = (shape[0], shape[1])
        return found

    def experts(self) -> dict[str, str]:
        """Weight name of each expert → what its name begins with, such as 'model.layers.0.mlp.'."""
        return {name: expert[1] for name in self.weights if (expert := _EXPERT.match(name))}

    def blocks(self) -> list[str]:
        """What the names of each block's weights begin with, in order, such as 'model.layers.0.'; [] for none.

        Blocks are the numbered group with the most members; a number within a block, such as that of an
        expert, numbers no block.
        """
        groups: dict[str, set[int]] = {}
        for name in self.weights:
            if first := _NUMBER.match(name):
                groups.setdefault(first[1], set()).add(int(first[2]))
        if not groups:
            return []
        group = max(groups, key=lambda each: len(groups[each]))
        return [f"{group}{number}." for number in sorted(groups[group])]

    def body(self) -> Structure:
        """As transformers loads it to read only: without the prefix of its body, and without what stands on that.

        The prefix, such as 'model.' or 'bert.', is what the names of blocks and of embeddings both begin with; an
        encoder's or a decoder's own is none.
        """
        first = "".join(self.blocks()[:1]).partition(".")[0]
        tops = {name.partition(".")[0] for name in self.weights if is_embedding(name)} - {"encoder", "decoder"}
        prefix = f"{first}." if first in tops else ""
        kept = {name: shape for name, shape in self.weights.items() if name.startswith(prefix)}
        return Structure(
            {name.removeprefix(prefix): shape for name, shape in kept.items() if not name.startswith("lm_head.")}
        )


def llama_shapes(
    vocabulary: int, layers: int, hidden: int, intermediate: int, heads: int, key_value_heads: int
) -> dict[str, tuple[int, ...]]:
    """Weight name → shape of a Llama whose output layer is tied to its embeddings."""
    narrow = hidden * key_value_heads // heads
    block = {
        "self_attn.q_proj": (hidden, hidden),
        "self_attn.k_proj": (narrow, hidden),
        "self_attn.v_proj": (narrow, hidden),
        "self_attn.o_proj": (hidden, hidden),
        "mlp.gate_proj": (intermediate, hidden),
        "mlp.up_proj": (intermediate, hidden),
        "mlp.down_proj": (hidden, intermediate),
        "input_layernorm": (hidden,),
        "post_attention_layernorm": (hidden,),
    }
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocabulary, hidden)}
    for layer in range(layers):
        shapes |= {f"model.layers.{layer}.{name}.weight": shape for name, shape in block.items()}
    return {**shapes, "model.norm.weight": (hidden,)}


def is_embedding(name: str) -> bool:
    """Whether a weight of that name holds vectors of tokens or positions, or is the output layer's."""
    return _EMBEDDING.fullmatch(name.split(".")[-2:][0]) is not None


def is_norm(name: str) -> bool:
    """Whether a weight of that name belongs to a norm."""
    return any(sign in name.lower() for sign in _NORMS)


def leads_back(layer: str, *, attention: bool) -> bool:
    """Whether a layer, named within its block, is the last of its attention or of its feed-forward part."""
    name = f".{layer.lower()}"
    ends = tuple(f".{end}" for end in (_BEHIND_ATTENTION if attention else _BEHIND_FEED_FORWARD))
    return ("att" in name) == attention and name.endswith(ends)


def read_structure(folder: Path) -> Structure | None:
    """From the headers of a folder's *.safetensors; None where there are none or one is damaged."""
    weights: dict[str, tuple[int, ...]] = {}
    try:
        for path in sorted(folder.glob("*.safetensors")):
            with path.open("rb") as file:
                (size,) = struct.unpack("<Q", file.read(8))
                if size > _LONGEST_HEADER:
                    return None
                header = json.loads(file.read(size))
            weights |= {name: tuple(about["shape"]) for name, about in header.items() if name != "__metadata__"}
    except (OSError, ValueError, KeyError, TypeError, struct.error):
        return None
    return Structure(weights) if weights else None
