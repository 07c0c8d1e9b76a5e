"""What a run will hold in memory, by a formula of plain numbers: known before anything is loaded, without torch.

Each part follows what `studio.training` does with it; what was measured instead says so. `benchmarks/planning.py`
compares the sum with real runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from studio.config import RunConfig
from studio.methods import Method
from studio.models.flow import Flow
from studio.models.machine import Room
from studio.models.structure import Structure, is_embedding
from studio.training.settings import LOGITS_AT_ONCE, TrainingSettings

ANSWERS_AT_ONCE = 8  # conversations that are answered together at a run's end
USABLE = 0.8  # of free memory; a run that takes more of it is a tight one
_FRAMEWORK = 650_000_000  # bytes of Python, torch and the libraries in a CPU's worker; measured
_CONTEXT = 600_000_000  # bytes of a GPU that CUDA and its libraries take; not measured


@dataclass(frozen=True)
class Batch:
    """The largest one there can be: the longest rows together."""

    rows: int
    tokens: int  # of all rows, without padding
    longest: int  # tokens of the longest row


NO_ROWS = Batch(0, 0, 0)  # what stays in memory whatever is learnt from


@dataclass(frozen=True)
class Part:
    """One reason for memory."""

    name: str
    size: int  # bytes
    why: str
    reclaimable: bool = False  # the system's cache of a file: it goes where anything else wants the room


@dataclass(frozen=True)
class Needs:
    """What is held at the moment at which most is; parts that others have made room for by then are left out."""

    parts: tuple[Part, ...]

    @property
    def total(self) -> int:
        """Bytes without which a run cannot be."""
        return sum(part.size for part in self.parts if not part.reclaimable)

    @property
    def resident(self) -> int:
        """Bytes that the system counts as the process's, where nothing else wants the room."""
        return sum(part.size for part in self.parts)

    def verdict(self, free: int) -> Literal["fits", "tight", "too large"]:
        return "fits" if self.total <= USABLE * free else "tight" if self.total <= free else "too large"


def needs(config: RunConfig, structure: Structure, batch: Batch, room: Room) -> Needs:
    """Raises ConfigError where the method's settings do not fit a model of that structure."""
    method, flow = config.method, Flow(structure)
    held, product = formats(config, room)
    learns = learning(method, structure)
    tokens = batch.rows * (batch.longest + method.in_front()) if method.pads else batch.tokens
    weights = method.weight_bytes(structure, held)
    copies = product * learns if product < 4 else 0  # of weights that learn, in the format of products
    activations = tokens * _per_token(config, structure, flow, product)
    logits = _logits(config, structure, flow, product, tokens, room) if config.objective.writes else 0
    gradients = 4 * learns
    updates = method.kept_whole(structure, product)
    if config.training.gradient_checkpointing:
        updates //= flow.blocks  # one block at a time
    passing = activations + updates + logits
    if config.training.gradient_accumulation_steps == 1:
        # They come while activations go: only what is beyond those is felt.
        gradients = max(0, gradients - passing)
    answers = max(0, _answers(config, flow, product, batch.longest) - gradients - passing)
    own = 0 if method.in_place else 4 * learns
    parts = [
        Part("Libraries", _CONTEXT if room.gpu else _FRAMEWORK, "Python, torch and what they load, before any model."),
        Part(
            "Weights",
            weights,
            f"The base, {weights / flow.weights:.2g} bytes for each of its {flow.weights:,} weights.",
        ),
        Part(
            "As read",
            0 if room.gpu else held * _packed(method, structure, flow),
            "The file's own numbers, which stay in memory beside the packed ones until something else wants the room: "
            "not counted.",
            reclaimable=True,
        ),
        Part(
            "What learns",
            own + copies,
            f"{_told(method, structure)}{learns:,} weights in float32, and a copy of them for matrix products.",
        ),
        Part(
            "As it was",
            (2 * learns) if method.in_place and not room.gpu else 0,
            "A copy of each weight that learns, so that the base can still answer.",
        ),
        Part(
            "Optimizer", optimizer_bytes(config) * learns, "Two averages of the gradient for each weight that learns."
        ),
        Part(
            "Penalty",
            config.penalty.held * learns,
            "Where each weight that learns started, and what else the penalty knows of it.",
        ),
        Part("Gradients", gradients, "One number for each weight that learns, as far as activations left no room."),
        Part("Activations", activations, _why_activations(config, tokens)),
        Part(
            "Updates",
            updates,
            "What layers make of their learnt weights, kept for the backward pass however few the tokens.",
        ),
        Part("Logits", logits, "Scores of the vocabulary, for a few tokens at a time, and their gradients."),
        Part("Answers", answers, "Keys and values of the answers at the end, where those take more than training."),
    ]
    return Needs(tuple(part for part in parts if part.size > 0))


def formats(config: RunConfig, room: Room) -> tuple[int, int]:
    """Bytes of a number: (of the base's weights, of matrix products), as `studio.models.base` settles them."""
    chosen = config.number_format
    held = {"auto": 2 if room.halves else 4, "float32": 4}.get(chosen, 2)
    halved = held == 2 or (room.halves and config.training.dtype == "auto")
    return held, 2 if halved else 4


def learning(method: Method, structure: Structure) -> int:
    """How many weights learn. Where only the loaded model tells: what experts would add is left out."""
    told = method.trainable(structure)
    if told is not None:
        return told
    layers = structure.linear()
    return getattr(method, "r", 0) * sum(sum(layers[name]) for name in method.matched(structure) if name in layers)


def _told(method: Method, structure: Structure) -> str:
    return "" if method.trainable(structure) is not None else "About "


def _packed(method: Method, structure: Structure, flow: Flow) -> int:
    """How many weights the method holds in another way than at so many bytes each."""
    return flow.weights - (method.weight_bytes(structure, 1) - method.weight_bytes(structure, 0))


def optimizer_bytes(config: RunConfig) -> int:
    """A weight that learns."""
    return 2 if config.training.optim.endswith("8bit") else 8


def _per_token(config: RunConfig, structure: Structure, flow: Flow, product: int) -> int:
    """Bytes of activations for each token."""
    method = config.method
    kept, stream = kept_per_token(method, structure, product), 4 if method.in_place else product
    if config.training.gradient_checkpointing:
        blocks = max(1, flow.blocks - method.first_block(structure))
        kept = blocks * stream * flow.hidden + kept / blocks
    # Gradients on their way through the widest sublayer, and the hidden states at the end.
    return round(kept + 3 * product * flow.widest + 2 * stream * flow.hidden)


def kept_per_token(method: Method, structure: Structure, product: int) -> float:
    """Bytes that autograd keeps for each token in all blocks; `product` is a number's in matrix products."""
    flow, first = Flow(structure), method.first_block(structure)
    # A norm that learns keeps its result too, and then the stream between the blocks is float32.
    norms = (8 if method.in_place else 4) * flow.norms(first)
    return product * (flow.frozen(first) + method.kept(structure)) + norms


def _logits(config: RunConfig, structure: Structure, flow: Flow, product: int, tokens: int, room: Room) -> int:
    """Bytes of logits, of their float32 copy and of what logsumexp makes of that."""
    if config.method.pads:  # the model's own logits of every column, and what is chosen from them, both ways
        return 4 * product * tokens * flow.vocabulary
    at_once = min(LOGITS_AT_ONCE[room.gpu], tokens * flow.vocabulary)
    learnt = 0
    if config.method.in_place and _head_learns(config.method, structure):
        learnt = (8 + product) * flow.vocabulary * flow.hidden  # the head's gradient, one chunk's, and a copy
    return (product + 8) * at_once + learnt


def _head_learns(method: Method, structure: Structure) -> bool:
    named = method.matched(structure)
    return not named or any(is_embedding(name) for name in named)


def _answers(config: RunConfig, flow: Flow, product: int, longest: int) -> int:
    """Bytes of keys and values, and of what passes through one block while prompts are read."""
    rows = min(ANSWERS_AT_ONCE, max(config.training.answer_rows, config.training.sample_rows))
    if not config.objective.writes or not rows:
        return 0
    tokens = rows * (longest + config.training.max_new_tokens)
    return product * tokens * (flow.remembered + 3 * flow.widest) + 4 * rows * flow.vocabulary


def adapter_bytes(method: Method, structure: Structure) -> int:
    """On disk: what learns, in float32."""
    return 4 * learning(method, structure)


def _why_activations(config: RunConfig, tokens: int) -> str:
    how = "one hidden state a block" if config.training.gradient_checkpointing else "what each layer computed"
    return f"For the backward pass, {how}, for the {tokens:,} tokens of the largest batch."


def disk_bytes(learnt: int, training: TrainingSettings) -> int:
    """What a run keeps at most where what learns takes `learnt` bytes: that, and checkpoints, the optimizer in each.

    The newest ones, that of the best evaluation, and one that is being written.
    """
    moments = 2.0 if training.optim.startswith("adamw_torch") else 0.5
    return round(learnt * (1 + (1 + moments) * (training.save_total_limit + 2)))
